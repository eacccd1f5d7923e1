"""JSON files by what is in them: OTLP, or a recording of one of the importers.

A file is one document, indented or not, or JSON lines with a document each. A file on its own line
breaks is told from JSON lines by whether its first line is a whole JSON value.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson

from tracekit.errors import InputError
from tracekit.importers import (
    agentrx,
    claude_code,
    langfuse,
    magentic_one,
    mini_swe_agent,
    swebench_report,
    tau2_bench,
    tau_bench,
    who_and_when,
)
from tracekit.otlp.files import (
    WHOLE_FILE,
    Tally,
    is_otlp,
    json_lines,
    loads,
    parse,
    read_document,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tracekit.importers.context import Context
    from tracekit.otlp.streams import Stream

OTLP_JSON: Final = "otlp_json"

_RECOGNISE_LINES: Final = 100
"""How many lines of JSON lines may pass before one must be of a known kind."""

Line = tuple[int, Any]


class Importer(Protocol):
    """What a module of this package offers for whole JSON documents."""

    @property
    def FORMAT(self) -> str:  # noqa: N802  a constant of the module
        """Name of the format."""

    def matches(self, document: Any, /) -> bool:
        """Whether the document is of this format."""

    def sessions(self, document: Any, context: Context, /) -> Iterator[bytes]:
        """Yield the sessions in it as OTLP requests."""


IMPORTERS: Final[tuple[Importer, ...]] = (
    langfuse,
    mini_swe_agent,
    tau2_bench,
    tau_bench,
    magentic_one,
    who_and_when,
    agentrx,
    swebench_report,
)
"""The modules, each an `Importer`. The first that matches is used; no two match one document."""


class NotARecording(InputError):  # noqa: N818  reads as what it says
    """A file is sound, but of no format that can be imported."""


def read_json(
    stream: Stream, context: Context, tally: Tally, recognised: Callable[[str], None]
) -> Iterator[bytes]:
    """Yield the sessions of a JSON file as OTLP requests.

    Args:
        stream: The file.
        context: Its name; skipped parts and outcomes go there.
        tally: Counts records of logs and metrics.
        recognised: Called with the format once it is known.

    Raises:
        NotARecording: The JSON is of no known shape.
        InputError: It is damaged.
    """
    first, rest = _values(stream)
    lines = itertools.chain([first], rest)
    fmt, seen = _recognise(lines)
    recognised(fmt)
    lines = itertools.chain(seen, lines)
    if fmt == OTLP_JSON:
        for number, document in lines:
            yield read_document(document, stream, tally, number or None)
    elif fmt == claude_code.FORMAT:
        transcript = (document for _, document in lines)
        yield from _guarded(claude_code.sessions(transcript, context), context, fmt)
    else:
        importer = next(module for module in IMPORTERS if fmt == module.FORMAT)
        for number, document in lines:
            if importer.matches(document):
                yield from _guarded(importer.sessions(document, context), context, fmt)
            else:
                context.skip(f"line {number:,}", f"not a recording of {fmt}")


def format_of(document: Any) -> str | None:
    """Return the format of a JSON document; None for an unknown one."""
    if is_otlp(document):
        return OTLP_JSON
    for importer in IMPORTERS:
        if importer.matches(document):
            return importer.FORMAT
    return claude_code.FORMAT if claude_code.matches(document) else None


def _recognise(lines: Iterator[Line]) -> tuple[str, list[Line]]:
    """Return the format of the first lines that have one, and the lines consumed."""
    seen = []
    for number, document in itertools.islice(lines, _RECOGNISE_LINES):
        seen.append((number, document))
        if (fmt := format_of(document)) is not None:
            return fmt, seen
    raise NotARecording("JSON of no known shape")


def _values(stream: Stream) -> tuple[Line, Iterator[Line]]:
    """Return the first value of a JSON file, and the values of the lines after it.

    A document that is the whole file has line number 0.
    """
    number, line = 1, stream.line()
    while line.isspace():
        number, line = number + 1, stream.line()
    value = _try(line)
    if value is not None:
        rest = json_lines(stream, number + 1)
        second = next(rest, None)
        return (0, value) if second is None else (number, value), _chain(second, rest)
    second_line = stream.line()
    if line.startswith(b"{") and isinstance(_try(second_line), dict):
        return (number, parse(line, stream, number)), iter(())  # raises: JSON lines, the first bad
    whole = b"\n" * (number - 1) + line + second_line + stream.rest()
    return (0, parse(whole, stream)), iter(())


def _chain(second: Line | None, rest: Iterator[Line]) -> Iterator[Line]:
    return iter(()) if second is None else itertools.chain([second], rest)


def _try(line: bytes) -> Any:
    try:
        return loads(line)
    except orjson.JSONDecodeError:
        return None


def _guarded(sessions: Iterator[bytes], context: Context, fmt: str) -> Iterator[bytes]:
    """Turn what a document of unexpected shape provokes in an importer into an error for users."""
    try:
        yield from sessions
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
        raise InputError(
            f"{context.name}: looks like {fmt}, but is not as expected "
            f"({type(error).__name__}: {error}); {WHOLE_FILE}"
        ) from error
