"""Giving memory back to the system, which C libraries keep for later."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Return freed memory to the system; does nothing where the C library has no way to.

    glibc keeps what the threads that look at batches have freed: up to a gigabyte after a burst,
    which counts against the limit of a container for as long as the process lives.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
