"""One file to import: its identity, its OTLP requests, and what was passed over in it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Final

from tracekit.errors import InputError
from tracekit.importers.annotations import joined
from tracekit.importers.archive import is_archive, members
from tracekit.importers.context import Beside, Context
from tracekit.importers.documents import NotARecording, read_json
from tracekit.otlp import files, framing
from tracekit.otlp.streams import DEFAULT_LIMITS, Budget, Limits, Stream, decompressed, file_stream

if TYPE_CHECKING:
    from collections.abc import Iterator

ARCHIVE: Final = "archive"
OTLP_PROTOBUF: Final = "otlp_protobuf"
JSON: Final = "json"
UNKNOWN: Final = "unknown"

NOT_A_RECORDING: Final = "not a recording"

_NAMED_FILES: Final = 3
"""How many of an archive's other files are named."""

_PACKED: Final = (".gz", ".zst")
_CLAIMS: Final = (".json", ".jsonl", ".ndjson", ".pb", ".otlp", ".tar", ".tgz")
"""Names that say recording. Of such a file, content that is none is an error, not a skip."""
_KNOWN: Final = {
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a zip archive; unpack it, or use tar",
    b"PAR1": "a Parquet file",
    b"SQLite format 3": "an SQLite database",
    b"7z\xbc\xaf": "a 7z archive; unpack it, or use tar",
    b"BZh": "compressed by bzip2; use gzip or zstd",
    b"\xfd7zXZ": "compressed by xz; use gzip or zstd",
    b"\xff\xfe": "text in UTF-16; use UTF-8",
    b"\xfe\xff": "text in UTF-16; use UTF-8",
}
_EXPECTED: Final = (
    "expected OTLP as protobuf or JSON, or a recording of tau-bench, tau2-bench, mini-swe-agent, "
    "Magentic-One, Who&When, AgentRx, Langfuse or Claude Code"
)


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where a file or member is: its name for messages, its path, and whether the user named it."""

    name: str
    path: PurePath
    folder: str
    named: bool

    def context(self, beside: Beside) -> Context:
        return Context(self.name, stem(self.path.name), self.folder, beside)

    def claims(self) -> bool:
        """Whether content of no known format is an error: the user or the file's name say so."""
        return self.named or _unpacked_name(self.path.name).endswith(_CLAIMS)


class Source:
    """A file, an archive, or standard input.

    Attributes:
        name: Name for the user: the path as given or found.
        size_bytes: Size as stored; 0 where the file cannot be read.
        format: `archive`, `otlp_protobuf`, or `json` until it is read and the name of its format
            from then on; `unknown` for what cannot be read.
        skipped: What was passed over, and why; filled while reading.
        error: Why nothing can be read, where that is known before reading.
    """

    def __init__(  # noqa: PLR0913  the rest are keyword-only details
        self,
        name: str,
        path: Path,
        *,
        named: bool = True,
        limits: Limits = DEFAULT_LIMITS,
        error: InputError | None = None,
        keep: Any = None,
    ) -> None:
        """Describe a file without reading more than its head.

        Args:
            name: Name for the user.
            path: Where the content is.
            named: Whether the user named this file, and not a folder it is in.
            limits: Size limits.
            error: Why it cannot be read, if that is known.
            keep: An object that must live as long as the file is needed.
        """
        self.name = name
        self.error = error
        self.size_bytes = 0
        self.format = UNKNOWN
        self.skipped: list[tuple[str, str]] = []
        self._path = path
        self._limits = limits
        self._keep = keep
        self._outcomes: list[dict[str, Any]] = []
        self._beside = Beside()
        self._read_once = False
        folder = path.resolve().parent.name if keep is None else ""
        self._place = _Place(name, path if keep is None else PurePath(), folder, named)
        if error is None:
            self._look()

    def _look(self) -> None:
        try:
            self.size_bytes = self._path.stat().st_size
            stream = self._open(Budget(self._limits.total_bytes))
            try:
                self.format = _container(stream.head()) or UNKNOWN
            finally:
                stream.close()
        except InputError as error:
            self.error = error
        except OSError as error:
            self.error = InputError(f"{self.name}: cannot be read ({error.strerror})")

    def _open(self, budget: Budget) -> Stream:
        return decompressed(
            file_stream(self._path, self.name, self._limits, Budget(1 << 62)), budget
        )

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the content as stored, in hex.

        Raises:
            InputError: The file cannot be read.
        """
        try:
            with self._path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{self.name}: cannot be read ({error.strerror})") from error

    def chunks(self) -> Iterator[bytes]:
        """Yield OTLP requests of some megabytes, each whole; `skipped` fills on the way.

        Raises:
            InputError: The file cannot be read as a whole. What was yielded before must then not
                be kept: files are taken over as a whole or not at all.
        """
        if self.error is not None:
            raise self.error
        self.skipped.clear()
        self._outcomes.clear()
        self._beside = Beside()
        budget = Budget(self._limits.total_bytes)
        stream = self._open(budget)
        try:
            yield from files.chunks(self._all_requests(stream, budget), self._limits)
        finally:
            stream.close()
        self._read_once = True

    def outcomes(self) -> list[dict[str, Any]]:
        """Return the verdicts in the file: rows of the table `outcomes` without `recorded_ns`.

        They are noted while the chunks are read; a source not read yet is read for them.

        Raises:
            InputError: The file cannot be read.
        """
        if not self._read_once:
            for _ in self.chunks():
                pass
        return list(self._outcomes)

    def _all_requests(self, stream: Stream, budget: Budget) -> Iterator[bytes]:
        yield from self._requests(stream, self._place, budget)
        context = self._place.context(self._beside)
        yield from joined(context)
        self._take(context)

    def _take(self, context: Context) -> None:
        self.skipped.extend(context.skipped)
        self._outcomes.extend(context.outcomes)

    def _requests(self, stream: Stream, place: _Place, budget: Budget) -> Iterator[bytes]:
        container = _container(stream.head())
        if container == ARCHIVE:
            yield from self._archive(stream, place, budget)
        elif container == OTLP_PROTOBUF:
            tally = files.Tally()
            yield from files.read_protobuf(stream, tally)
            self.skipped.extend(tally.skipped(place.name))
        elif container == JSON:
            yield from self._json(stream, place)
        elif stream.head() or place.named:
            self._unknown(place, _reason(stream.head()))
        else:
            self.skipped.append((place.name, "the file is empty"))

    def _json(self, stream: Stream, place: _Place) -> Iterator[bytes]:
        context, tally = place.context(self._beside), files.Tally()
        started = False
        try:
            for request in read_json(stream, context, tally, self._recognised):
                started = True
                yield request
        except NotARecording as error:
            self._unknown(place, str(error), always=place.named)
        except InputError as error:
            if started or place.claims():
                raise
            self.skipped.append((place.name, f"{NOT_A_RECORDING}: {error}"))
        self._take(context)
        self.skipped.extend(tally.skipped(place.name))

    def _recognised(self, fmt: str) -> None:
        if self.format == JSON:
            self.format = fmt

    def _archive(self, stream: Stream, place: _Place, budget: Budget) -> Iterator[bytes]:
        for path, content in members(stream):
            name = f"{place.name}: {path}"
            folder = path.parent.name or stem(place.path.name)
            if isinstance(content, str):
                self.skipped.append((name, content))
                continue
            unpacked = decompressed(content, budget)
            if is_archive(unpacked.head()):
                self.skipped.append((name, "an archive inside an archive"))
            else:
                member = _Place(name, path, folder, named=False)
                yield from self._requests(unpacked, member, budget)
        self.skipped[:] = _joined(self.skipped, f"{place.name}: ")

    def _unknown(self, place: _Place, reason: str, *, always: bool | None = None) -> None:
        """Raise for a file that was said to be a recording, or note that it is none."""
        if place.claims() if always is None else always:
            raise InputError(f"{place.name}: {NOT_A_RECORDING}: {reason}; {_EXPECTED}")
        self.skipped.append((place.name, NOT_A_RECORDING))


def _joined(skipped: list[tuple[str, str]], prefix: str) -> list[tuple[str, str]]:
    """Return skipped parts with an archive's hundreds of other files as one."""
    others = [what for what, why in skipped if why == NOT_A_RECORDING]
    if len(others) <= _NAMED_FILES:
        return skipped
    names = ", ".join(what.removeprefix(prefix) for what in others[:_NAMED_FILES])
    more = f"{prefix}{names} and {len(others) - _NAMED_FILES:,} more"
    kept = [(what, why) for what, why in skipped if why != NOT_A_RECORDING]
    return [*kept, (more, NOT_A_RECORDING)]


def stem(name: str) -> str:
    """Return a file's name without the endings of formats and compression."""
    name = _unpacked_name(name)
    return next((name.removesuffix(end) for end in _CLAIMS if name.endswith(end)), name)


def _unpacked_name(name: str) -> str:
    return next((name.removesuffix(end) for end in _PACKED if name.endswith(end)), name)


def _container(head: bytes) -> str | None:
    """Tell what kind of file has these first bytes; None for an unknown or empty one."""
    if not head:
        return None
    if is_archive(head):
        return ARCHIVE
    looks_json = head.removeprefix(files.BOM).lstrip().startswith((b"{", b"["))
    found = framing.framing_of(head)
    if found is not None and (found[1] or not looks_json):
        return OTLP_PROTOBUF
    return JSON if looks_json else None


def _reason(head: bytes) -> str:
    if not head:
        return "the file is empty"
    known = next((what for magic, what in _KNOWN.items() if head.startswith(magic)), None)
    return known or f"it starts with {head[:12]!r}"
