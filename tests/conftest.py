"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from tracekit.lake import Lake

# A slow or busy machine is no reason to fail: nothing here asserts on time.
settings.register_profile("unhurried", settings.get_profile("default"), deadline=None)
if not os.environ.get("CI"):  # there hypothesis has a profile of its own, repeatable and unhurried
    settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of recorded sessions beside the repository, or skip where it is absent."""
    folder = Path(os.environ.get("TRACEKIT_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no recorded sessions at {folder}: set TRACEKIT_SHARED_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Return a lake with sixty simulated sessions, to be read only."""
    from pages_build import simulated_lake  # noqa: PLC0415 - most tests need no simulation

    return simulated_lake(tmp_path_factory.mktemp("simulated") / "lake")
