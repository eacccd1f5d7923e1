"""Programs that use tracekit as a user's would, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from opentelemetry import trace

from tracekit.instrumentation import propagation, runtime
from tracekit.instrumentation.providers import INSTALLED
from tracekit.instrumentation.scope import current_session
from tracekit.instrumentation.setup import shutdown
from tracekit.testing import capture

if TYPE_CHECKING:
    from collections.abc import Iterator

_OURS = ("OTEL_", "TRACEKIT_", "TRACEPARENT", "TRACESTATE", "BAGGAGE")

_FORKS = "ignore:This process:DeprecationWarning"
"""From Python 3.12 on forks of processes with threads are warned of; hosts do it all the same."""


def run(program: str, *, cwd: Path, arguments: tuple[str, ...] = (), **variables: str) -> str:
    """Run a program and return what it wrote; it must succeed, and warnings are errors.

    Args:
        program: Python source, indented as the caller likes.
        cwd: Folder it runs in; the program is written there, so that processes can import it.
        arguments: Of the program.
        variables: Of its environment, which has none of OpenTelemetry's or tracekit's else.
    """
    path = cwd / "program.py"
    path.write_text(textwrap.dedent(program), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", _FORKS, str(path), *arguments],
        cwd=cwd,
        env=clean_environment() | {"PYTHONPATH": str(Path(__file__).parent)} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def clean_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


@contextmanager
def unconfigured() -> Iterator[None]:
    """Be a process in which nothing of OpenTelemetry or tracekit is set up yet, for a while."""
    once = trace._TRACER_PROVIDER_SET_ONCE  # noqa: SLF001 - there is no other way to start anew
    with (
        capture(),
        mock.patch.dict(os.environ, clean_environment(), clear=True),
        mock.patch.object(trace, "_TRACER_PROVIDER", None),
        mock.patch.object(once, "_done", new=False),
    ):
        runtime.deactivate()
        INSTALLED.pipeline = INSTALLED.provider = None
        try:
            yield
        finally:
            shutdown()
            propagation.unpatch()


def where() -> tuple[str | None, int]:
    """Return session and trace of here."""
    return current_session(), trace.get_current_span().get_span_context().trace_id
