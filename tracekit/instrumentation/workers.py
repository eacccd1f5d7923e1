"""The end of a process of `multiprocessing`, which runs no exit functions.

A worker that comes to its end runs finalizers. A worker of a `Pool` does not: leaving the `with`
block sends it SIGTERM.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from multiprocessing import process, util
from typing import TYPE_CHECKING, Final

from tracekit.instrumentation.providers import INSTALLED

if TYPE_CHECKING:
    from collections.abc import Callable

_GRACE_S: Final = 0.5
"""Beyond the limit of the export, for the thread to count and to log what was lost."""


def at_exit(shutdown: Callable[[], None], owner: object) -> None:
    """Export at the end of this process if it is a worker, and of all that are forked from it.

    Args:
        shutdown: What exports.
        owner: Forked workers do it as long as this lives.
    """

    def in_worker(_: object = None) -> None:
        util.Finalize(None, shutdown, exitpriority=0)
        _at_sigterm()

    util.register_after_fork(owner, in_worker)
    if _is_worker():
        in_worker()


def _is_worker() -> bool:
    # A spawned process is not told of its parent before it has imported the main module; that is
    # when most programs configure tracekit. There is no public way to see that.
    is_importing = getattr(process.current_process(), "_inheriting", False)
    return is_importing or process.parent_process() is not None


def _export() -> None:
    """Export without what `shutdown` locks: the signal may have come in the middle of that."""
    pipeline = INSTALLED.pipeline
    if pipeline is not None and pipeline.export is not None:
        pipeline.export.shutdown()


def _at_sigterm() -> None:
    """Export before SIGTERM ends the process, unless the application handles it itself."""

    def handle(number: int, _: object) -> None:
        # The signal may have come in the middle of anything, also while locks of ours are held:
        # only another thread may wait for these.
        with suppress(RuntimeError):
            exporting = threading.Thread(target=_export, daemon=True)
            exporting.start()
            exporting.join(_limit_s())
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    is_main = threading.current_thread() is threading.main_thread()
    if is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, handle)


def _limit_s() -> float:
    pipeline = INSTALLED.pipeline
    export = None if pipeline is None else pipeline.export
    return _GRACE_S + (0 if export is None else export.limits.exit_s)
