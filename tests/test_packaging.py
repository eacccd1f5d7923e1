"""What a user installs: the wheel, built from this tree, with its data files and metadata."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("tracekit", "samplers")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy, so that no leftovers of other builds slip in."""
    copy = tmp_path_factory.mktemp("source")
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps"]
    build += ["--no-build-isolation", "--wheel-dir", str(target), str(copy)]
    subprocess.run(build, check=True, capture_output=True, text=True)
    (path,) = target.iterdir()
    return zipfile.ZipFile(path)


def text_of(wheel: zipfile.ZipFile, ending: str) -> str:
    (name,) = [name for name in wheel.namelist() if name.endswith(ending)]
    return wheel.read(name).decode()


def test_wheel_holds_every_file_of_the_packages(wheel: zipfile.ZipFile) -> None:
    """The wheel holds every source and data file of both packages, and nothing else."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected == {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert {".py", ".sql", ".yaml", ".typed"} <= {Path(name).suffix or name for name in expected}


def test_wheel_metadata_names_the_distribution(wheel: zipfile.ZipFile) -> None:
    """The distribution is tracekit-agents under Apache-2.0, with the README as its description."""
    metadata = Parser().parsestr(text_of(wheel, ".dist-info/METADATA"))
    assert metadata["Name"] == "tracekit-agents"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_payload() == (ROOT / "README.md").read_text(encoding="utf-8")
    assert text_of(wheel, "/licenses/LICENSE") == (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    """Installing the wheel gives the command `tracekit`, and a function stands behind it."""
    assert "tracekit = tracekit.cli:main" in text_of(wheel, "entry_points.txt")
    from tracekit.cli import main  # noqa: PLC0415  # the import is what is tested

    assert callable(main)
