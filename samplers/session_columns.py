"""The two attribute columns that session assembly reads, without the table of all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from samplers.pending_kernel import fingerprint_keys
from tracekit.otlp.encode import select
from tracekit.otlp.reference import scan_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.otlp.scan import Scan

SCRUBBED: Final = b"[Scrubbed due to"
"""What Logfire writes in place of a session key: the same everywhere, hence no key."""

_SKIPPED = np.frombuffer(SCRUBBED, np.uint8)
_Prints = tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]
_LOW: Final = (1 << 32) - 1


class SessionColumns(NamedTuple):
    """What a request says about sessions.

    Attributes:
        prints: 128-bit fingerprints of the session keys, shape (n, 2).
        has_key: Which spans carry a key.
        is_done: Which spans carry a done event.
        packed: Where each key is in `texts`; rows decoded by the reference are in `odd`.
        odd: Keys of rows the kernel could not read.
    """

    prints: npt.NDArray[np.uint64]
    has_key: npt.NDArray[np.bool_]
    is_done: npt.NDArray[np.bool_]
    packed: npt.NDArray[np.uint64]
    odd: dict[int, str]

    def key(self, scan: Scan, row: int) -> str:
        """Return the session key of one span that has one."""
        if row in self.odd:
            return self.odd[row]
        start, length = int(self.packed[row]) >> 32, int(self.packed[row]) & _LOW
        return scan.buffer[start : start + length].tobytes().decode()


def session_columns(scan: Scan, seeds: npt.NDArray[np.uint64]) -> SessionColumns:
    """Read the session keys and done events of a request.

    Args:
        scan: The scanned request.
        seeds: Seeds of the fingerprints, three words.
    """
    packed, has_key = scan.words("session_key")
    _, is_done = scan.words("done_status")
    prints = np.zeros((scan.spans, 2), np.uint64)
    slow = scan.slow
    if slow.size:
        has_key[slow] = False
    fingerprint_keys(scan.buffer, packed, has_key, _SKIPPED, seeds, prints)
    columns = SessionColumns(prints, has_key, is_done, packed, {})
    if slow.size:
        _read_odd(scan, slow, seeds, columns)
    return columns


def fingerprints(keys: Sequence[str], seeds: npt.NDArray[np.uint64]) -> _Prints:
    """Return 128-bit fingerprints of session keys, and which of them are keys at all.

    Args:
        keys: Texts; one that is empty or scrubbed is no key.
        seeds: Seeds of the fingerprints, three words.
    """
    texts = [key.encode() for key in keys]
    lengths = np.array([len(text) for text in texts], np.uint64)
    packed = (np.cumsum(lengths, dtype=np.uint64) - lengths) << np.uint64(32) | lengths
    has_key, prints = lengths > 0, np.zeros((len(keys), 2), np.uint64)
    # One byte more, so that no keys are no empty buffer.
    blob = np.frombuffer(b"".join(texts) + b" ", np.uint8)
    fingerprint_keys(blob, packed, has_key, _SKIPPED, seeds, prints)
    return prints, has_key


def _read_odd(
    scan: Scan,
    slow: npt.NDArray[np.int64],
    seeds: npt.NDArray[np.uint64],
    columns: SessionColumns,
) -> None:
    """Let the reference decode the spans whose values the kernel does not."""
    decoded = scan_reference(select(scan, slow.tolist()))
    keys = [key or "" for key in decoded["session_key"].to_pylist()]
    columns.is_done[slow] = [bool(status) for status in decoded["done_status"].to_pylist()]
    columns.prints[slow], columns.has_key[slow] = fingerprints(keys, seeds)
    columns.odd.update(zip(slow.tolist(), keys, strict=True))
