"""Recorded HTTP exchanges with model providers: what was on the wire, and the stop value in it.

The recordings are the test cassettes of OpenLLMetry (Apache-2.0), one YAML file per test. Nothing
here looks at their names: provider and API follow from the request's host and path, the stop value
from the bytes of the response.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import struct
import tarfile
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded request and its response, with the body as sent before any content encoding."""

    method: str
    host: str
    path: str
    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Finding:
    """What a response says about its end.

    Attributes:
        provider: Canonical provider name.
        api: Name of the API in `cassette_apis.yaml`.
        stops: Stop values as written, one per choice; empty where there is none.
        status: HTTP status.
        error: Error types and codes of a refused request, most specific first.
        none: Why the API has no stop value, or None.
        usage: Whether the response counts its input tokens.
    """

    provider: str
    api: str
    stops: tuple[str, ...]
    status: int
    error: tuple[str, ...]
    none: str | None
    usage: bool


def exchanges(archive: Path) -> Iterator[Exchange]:
    """Yield every exchange of every cassette in a `.tar.gz`, in the order of the archive."""
    with tarfile.open(archive) as members:
        for member in members:
            if member.name.endswith((".yaml", ".yml")) and (file := members.extractfile(member)):
                document = yaml.load(file, Loader=yaml.CSafeLoader)
                yield from (_exchange(row) for row in document["interactions"])


def _exchange(row: dict[str, Any]) -> Exchange:
    request, response = row["request"], row["response"]
    headers = {name.lower(): values[0] for name, values in response["headers"].items()}
    body = response["body"]["string"]
    raw = body if isinstance(body, bytes) else (body or "").encode()
    # Recorders keep the header of an encoding they have already undone: the magic number decides.
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    url = urlsplit(request["uri"])
    return Exchange(
        method=request["method"],
        host=url.netloc,
        path=unquote(url.path),
        status=response["status"]["code"],
        content_type=headers.get("content-type", ""),
        body=raw,
    )


def events(exchange: Exchange) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a response: one, or one per event of a stream.

    Raises:
        ValueError: The body is none of JSON, JSON lines, server-sent events or AWS event frames.
    """
    body = exchange.body
    if exchange.content_type.startswith("application/vnd.amazon.eventstream"):
        yield from _aws_events(body)
    elif body.lstrip()[:1] == b"{":
        yield from _json_objects(body.decode())
    elif re.match(rb"\s*(id|event|data|retry|):", body):
        data = re.findall(rb"^data: ?(.*)$", body.replace(b"\r", b""), flags=re.MULTILINE)
        yield from (json.loads(line) for line in data if line not in {b"", b"[DONE]"})
    elif body.strip():
        raise ValueError(f"{exchange.host}{exchange.path}: a body of unknown form: {body[:40]!r}")


def _json_objects(text: str) -> Iterator[dict[str, Any]]:
    decoder = json.JSONDecoder()
    position = 0
    while rest := text[position:].lstrip():
        value, length = decoder.raw_decode(rest)
        position = len(text) - len(rest) + length
        yield value


def _aws_events(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield the payloads of AWS event frames; one around a model's own event is taken off.

    A frame: total length, length of the headers and CRC of both (12 bytes), headers, payload, CRC.
    """
    while body:
        total, headers, crc = struct.unpack(">III", body[:12])
        assert zlib.crc32(body[:8]) == crc
        payload = json.loads(body[12 + headers : total - 4])
        yield json.loads(base64.b64decode(payload["bytes"])) if "bytes" in payload else payload
        body = body[total:]


def walk(node: Any, path: list[str], choice: tuple[int, ...] = ()) -> Iterator[tuple[Any, Any]]:
    """Yield (choice, value) for each value that is not null at a path, lists walked by element."""
    if isinstance(node, list):
        for position, item in enumerate(node):
            index = item.get("index", position) if isinstance(item, dict) else position
            yield from walk(item, path, (*choice, index))
    elif not path:
        if node is not None:
            yield choice, node
    elif isinstance(node, dict):
        yield from walk(node.get(path[0]), path[1:], choice)


def last_values(found: Iterator[dict[str, Any]], paths: list[str]) -> dict[Any, Any]:
    """Return the last value of each choice; within one event the first path that has any wins."""
    values: dict[Any, Any] = {}
    for event in found:
        for path in paths:
            if here := dict(walk(event, path.split("."))):
                values.update(here)
                break
    return values


@cache
def _facts() -> dict[str, Any]:
    text = Path(__file__).with_name("cassette_apis.yaml").read_text(encoding="utf-8")
    facts: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return facts


def read(exchange: Exchange) -> Finding:
    """Return what a response says about its end.

    Raises:
        LookupError: The host or path is not in `cassette_apis.yaml`.
    """
    provider = next(
        (p for host, p in _facts()["providers"] if re.fullmatch(host, exchange.host)), ""
    )
    api = next((a for a in _facts()["apis"] if re.fullmatch(a["path"], exchange.path)), None)
    if not provider or api is None:
        raise LookupError(f"no API known at {exchange.host}{exchange.path}")
    found = [] if "none" in api and exchange.status < 400 else list(events(exchange))
    # A gateway may deliver a refusal with status 200; the error object in the body is what counts.
    failed = exchange.status >= 400 or any(isinstance(e.get("error"), dict) for e in found)
    looked_at = [event for event in found if _wanted(event, api.get("only", {}))]
    stops = {} if failed else last_values(iter(looked_at), api.get("stop", []))
    return Finding(
        provider=provider,
        api=api["name"],
        stops=tuple(str(stops[choice]) for choice in sorted(stops)),
        status=exchange.status,
        error=_error(found) if failed else (),
        none=None if failed else api.get("none"),
        usage=bool(last_values(iter(looked_at), api.get("usage", []))),
    )


def _wanted(event: dict[str, Any], only: dict[str, str]) -> bool:
    inner = event.get("response", event)
    return all(inner.get(field) == value for field, value in only.items())


def _error(found: list[dict[str, Any]]) -> tuple[str, ...]:
    values = last_values(iter(found), ["error.code"]) | last_values(iter(found), ["error"])
    error = values.get((), {})
    return tuple(error[field] for field in ("code", "type") if error.get(field))
