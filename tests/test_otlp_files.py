"""OTLP files of every encoding give the same spans; damaged ones give one clear line."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from typing import TYPE_CHECKING, Any

import orjson
import pyarrow as pa
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from otlp_build import request, span
from test_otlp_json import otlp_json

from tracekit.errors import InputError
from tracekit.importers.detect import open_sources
from tracekit.otlp.reference import scan_reference
from tracekit.otlp.streams import Limits
from tracekit.otlp.varints import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from tracekit.importers.source import Source

ZSTD = pa.Codec("zstd")


def spans(count: int, first: int = 1) -> list[Any]:
    return [
        span(
            f"chat {index}",
            {"gen_ai.operation.name": "chat", "gen_ai.usage.input_tokens": index, "cost": 0.5},
            [("gen_ai.choice", {"finish_reason": "stop"})],
            span_id=first + index,
            trace=7,
        )
        for index in range(count)
    ]


REQUESTS = [
    request(spans(3), {"service.name": "a"}, scope="s"),
    request(spans(2, 100), {"service.name": "b"}),
    request(spans(40, 200), {"service.name": "c", "note": "x" * 300}),
]
WHOLE = b"".join(REQUESTS)
"""All requests as one: protobuf joins repeated fields by concatenation."""


def as_json(data: bytes) -> bytes:
    return orjson.dumps(otlp_json(ExportTraceServiceRequest.FromString(data)))


def indented(data: bytes) -> bytes:
    document = otlp_json(ExportTraceServiceRequest.FromString(data))
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)


def zstd(data: bytes) -> bytes:
    compressed: bytes = ZSTD.compress(data, asbytes=True)
    return compressed


def lines(parts: Iterable[bytes]) -> bytes:
    return b"".join(as_json(part) + b"\n" for part in parts)


def delimited(parts: Iterable[bytes]) -> bytes:
    return b"".join(varint(len(part)) + part for part in parts)


def sized(parts: Iterable[bytes]) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def tar(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


FORMATS: dict[str, Callable[[], bytes]] = {
    "one request": lambda: WHOLE,
    "varint lengths": lambda: delimited(REQUESTS),
    "big-endian lengths": lambda: sized(REQUESTS),
    "zstd request by request": lambda: sized(zstd(part) for part in REQUESTS),
    "zstd JSON by request": lambda: sized(zstd(as_json(part)) for part in REQUESTS),
    "JSON by request": lambda: sized(as_json(part) for part in REQUESTS),
    "one JSON document": lambda: as_json(WHOLE),
    "indented JSON": lambda: indented(WHOLE),
    "indented JSON after empty lines": lambda: b"\n\n\n\n" + indented(WHOLE),
    "JSON array": lambda: b"[" + b",".join(as_json(part) for part in REQUESTS) + b"]",
    "JSON with a byte order mark": lambda: b"\xef\xbb\xbf" + as_json(WHOLE),
    "JSON lines": lambda: lines(REQUESTS),
    "JSON lines, CRLF, gaps": lambda: lines(REQUESTS).replace(b"\n", b"\r\n\r\n"),
    "JSON lines without the last newline": lambda: lines(REQUESTS).rstrip(),
    "gzip": lambda: gzip.compress(WHOLE),
    "gzip of several members": lambda: b"".join(gzip.compress(part) for part in REQUESTS),
    "gzip of JSON lines": lambda: gzip.compress(lines(REQUESTS)),
    "zstd": lambda: zstd(WHOLE),
    "zstd of several frames": lambda: b"".join(zstd(lines([part])) for part in REQUESTS),
    "tar": lambda: tar({"b/1.pb": REQUESTS[0], "2.jsonl": lines(REQUESTS[1:])}, "w"),
    "tar.gz": lambda: tar(
        {
            "1.json": as_json(REQUESTS[0]),
            "x.gz": gzip.compress(REQUESTS[1]),
            "3": sized(REQUESTS[2:]),
        }
    ),
}


def write(folder: Path, data: bytes, name: str = "recording") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def read(*paths: Path | str, limits: Limits | None = None) -> list[Source]:
    given = [str(path) for path in paths]
    return list(open_sources(given) if limits is None else open_sources(given, limits=limits))


def only(path: Path, limits: Limits | None = None) -> Source:
    (source,) = read(path, limits=limits)
    return source


def failure(path: Path, limits: Limits | None = None) -> str:
    with pytest.raises(InputError) as caught:
        list(only(path, limits).chunks())
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message.removeprefix(str(path))


def rows(parts: Sequence[bytes]) -> pa.Table:
    return scan_reference(b"".join(parts))


@pytest.mark.parametrize("form", FORMATS)
def test_every_encoding_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    """The name of the file says nothing; its content says how it is to be read."""
    source = only(write(tmp_path, FORMATS[form]()))
    assert rows(list(source.chunks())).equals(scan_reference(WHOLE))
    assert source.skipped == []


@pytest.mark.parametrize("form", FORMATS)
def test_every_chunk_is_a_whole_request(form: str, tmp_path: Path) -> None:
    """However small chunks are asked to be, each can be scanned alone."""
    source = only(write(tmp_path, FORMATS[form]()), Limits(chunk_bytes=1))
    tables = [scan_reference(chunk) for chunk in source.chunks()]
    assert pa.concat_tables([table.combine_chunks() for table in tables]).num_rows == 45


def test_chunks_are_filled_to_their_size(tmp_path: Path) -> None:
    """Small requests are joined, so that a scan is worth its overhead."""
    source = only(write(tmp_path, lines(REQUESTS * 50)), Limits(chunk_bytes=100_000))
    sizes = [len(chunk) for chunk in source.chunks()]
    assert len(sizes) > 2
    assert all(size >= 100_000 for size in sizes[:-1])


def test_a_source_can_be_read_twice_and_is_known_by_its_content(tmp_path: Path) -> None:
    """The digest is of the bytes as stored, wherever the file is."""
    first, second = write(tmp_path, WHOLE), write(tmp_path, WHOLE, "elsewhere/copy.json")
    source = only(first)
    assert list(source.chunks()) == list(source.chunks())
    assert source.digest == only(second).digest
    assert source.size_bytes == len(WHOLE)
    assert source.format == "otlp_protobuf"


@pytest.mark.parametrize("lay", [delimited, sized, b"".join])
def test_logs_and_metrics_between_protobuf_traces_are_counted(
    lay: Callable[[Iterable[bytes]], bytes], tmp_path: Path
) -> None:
    """The Collector may write all signals to one file; only traces are taken."""
    logs = ExportLogsServiceRequest()
    record = logs.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=1)
    record.body.string_value = "hello"
    metrics = ExportMetricsServiceRequest()
    metrics.resource_metrics.add().scope_metrics.add().metrics.add(name="sixteen-letters!")
    parts = [REQUESTS[0], logs.SerializeToString(), metrics.SerializeToString(), REQUESTS[1]]
    source = only(write(tmp_path, lay(parts)))
    assert rows(list(source.chunks())).num_rows == 5
    assert [why for _, why in source.skipped] == ["logs, not traces", "metrics, not traces"]


@pytest.mark.parametrize(("field", "value"), [("span_id", b""), ("trace_id", b"\1\2")])
def test_a_span_with_a_broken_id_is_no_metric(field: str, value: bytes, tmp_path: Path) -> None:
    """The scanner gets it and says what is wrong, instead of its file being passed over."""
    broken = span("chat")
    setattr(broken, field, value)
    source = only(write(tmp_path, request([broken, span("chat")])))
    assert len(list(source.chunks())) == 1
    assert source.skipped == []


def test_lines_of_other_signals_are_counted(tmp_path: Path) -> None:
    """JSON lines of logs and metrics are skipped, and said to be."""
    other = b'{"resourceLogs":[]}\n{"resourceMetrics":[]}\n{"resourceLogs":[]}\n'
    path = write(tmp_path, other + lines(REQUESTS[:1]))
    source = only(path)
    assert rows(list(source.chunks())).num_rows == 3
    assert source.skipped == [
        (f"{path}: 2 records", "logs, not traces"),
        (f"{path}: 1 record", "metrics, not traces"),
    ]


def test_folders_are_read_in_order_without_hidden_files(tmp_path: Path) -> None:
    """A folder is its files, sorted, at any depth; what is no recording is skipped."""
    for name in ("b.pb", "a/2.jsonl", "a/1.json", ".hidden.pb", ".git/x.pb", "README.md"):
        write(tmp_path, b"# notes" if name == "README.md" else as_json(REQUESTS[0]), name)
    sources = read(tmp_path)
    assert [source.name.removeprefix(f"{tmp_path}/") for source in sources] == [
        "README.md",
        "b.pb",
        "a/1.json",
        "a/2.jsonl",
    ]
    assert [len(list(source.chunks())) for source in sources] == [0, 1, 1, 1]
    assert sources[0].skipped == [(str(tmp_path / "README.md"), "not a recording")]


def test_globs_and_paths_that_overlap_name_a_file_once(tmp_path: Path) -> None:
    """A file that two arguments name is imported once."""
    path = write(tmp_path, WHOLE, "x/1.pb")
    write(tmp_path, WHOLE + REQUESTS[0], "x/y/2.pb")
    found = read(f"{tmp_path}/**/*.pb", path, tmp_path)
    assert [source.name[-4:] for source in found] == ["1.pb", "2.pb"]


def test_standard_input_is_read_like_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`-` has a digest before it is read, as files do."""
    path = write(tmp_path, gzip.compress(WHOLE))
    with path.open("rb") as file:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(file))
        (source,) = read("-")
    assert source.digest == only(path).digest
    assert rows(list(source.chunks())).num_rows == 45


def test_a_named_pipe_is_read_when_it_is_named(tmp_path: Path) -> None:
    """Shells hand over pipes as paths; a pipe that merely lies in a folder is left alone."""
    reader, writer = os.pipe()
    os.write(writer, REQUESTS[0])
    os.close(writer)
    (source,) = read(f"/dev/fd/{reader}")
    os.close(reader)
    assert rows(list(source.chunks())).num_rows == 3
    os.mkfifo(tmp_path / "pipe")
    assert read(tmp_path) == []


def test_an_archive_skips_what_is_no_file(tmp_path: Path) -> None:
    """Links, devices and nested archives are named and passed over; nothing reaches the disk."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, kind in (("link", tarfile.SYMTYPE), ("null", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        files = {
            "../../up.pb": REQUESTS[0],
            "in.tgz": tar({"x": WHOLE}),
            ".hidden.pb": WHOLE,
            "LICENSE": b"MIT",
            "empty.json": b"",
        }
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    path = write(tmp_path, out.getvalue())
    source = only(path)
    assert rows(list(source.chunks())).num_rows == 3
    assert [(what.removeprefix(f"{path}: "), why) for what, why in source.skipped] == [
        ("link", "no regular file"),
        ("null", "no regular file"),
        ("in.tgz", "an archive inside an archive"),
        ("LICENSE", "not a recording"),
        ("empty.json", "the file is empty"),
    ]
    assert [entry.name for entry in tmp_path.iterdir()] == ["recording"]


def test_the_other_files_of_an_archive_are_one_line(tmp_path: Path) -> None:
    """An archive may hold hundreds of files that are no recordings; three are named."""
    files = {f"{number}.yaml": b"a: 1" for number in range(9)}
    path = write(tmp_path, tar({**files, "a.pb": WHOLE}))
    source = only(path)
    list(source.chunks())
    assert source.skipped == [(f"{path}: 0.yaml, 1.yaml, 2.yaml and 6 more", "not a recording")]


HUGE = 0x7FFF_FFFF
CLAIMS = {
    "one request": b"\x0a" + varint(HUGE) + REQUESTS[0],
    "varint length": varint(HUGE) + REQUESTS[0],
    "big-endian length": HUGE.to_bytes(4, "big") + REQUESTS[0],
}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd], ids=["plain", "gzip", "zstd"])
@pytest.mark.parametrize("form", CLAIMS)
def test_a_claimed_length_of_two_gigabytes_allocates_nothing(
    form: str, pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """A length is believed only as far as there are bytes and limits."""
    message = failure(write(tmp_path, pack(CLAIMS[form])))
    assert "2,147,483,647 bytes" in message
    assert "are left" in message or "above the limit" in message


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the file is empty"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3", "not a recording: a PDF document; expected OTLP"),
    "zip": (b"PK\x03\x04\x14\x00", "a zip archive"),
    "text": (b"hello\n", "it starts with b'hello"),
    "UTF-16": ("{}".encode("utf-16"), "text in UTF-16"),
    "zeros": (b"\0" * 4096, "not a recording"),
    "cut gzip": (gzip.compress(WHOLE)[:-9], "the gzip stream is truncated"),
    "gzip with a wrong checksum": (gzip.compress(WHOLE)[:-8] + b"\0" * 8, "corrupt"),
    "gzip with garbage after it": (gzip.compress(WHOLE) + b"garbage", "corrupt"),
    "gzip of nothing": (gzip.compress(b""), "the file is empty"),
    "cut zstd": (zstd(os.urandom(9) + WHOLE)[:-4], "cannot be read"),
    "cut request": (WHOLE[:-5], "only"),
    "cut after a length": (sized(REQUESTS)[: len(REQUESTS[0]) + 6], "within a length"),
    "cut delimited": (delimited(REQUESTS)[:-1], "bytes, but only"),
    "cut tar": (tar({"a.pb": WHOLE}, "w")[: 512 + len(WHOLE) // 2], "a.pb: the archive is damaged"),
    "cut JSON document": (as_json(WHOLE)[:-20], "line 1"),
    "cut indented JSON": (indented(WHOLE)[:-20], "it ends too early"),
    "JSON of no known shape": (b'{"a": 1}', "JSON of no known shape"),
    "JSON number": (b"[1, 2]", "JSON of no known shape"),
    "first line bad": (as_json(WHOLE)[:-9] + b"\n" + lines(REQUESTS), "line 1, column"),
    "wrong type": (b'{"resourceSpans":[{"scopeSpans":5}]}', "scopeSpans: expected an array"),
    "wrong type in a line": (
        lines(REQUESTS) + b'{"resourceSpans":[{"scopeSpans":5}]}\n',
        "line 4: resourceSpans: scopeSpans: expected an array, found 5; nothing of this file",
    ),
    "NaN in JSON": (b'{"resourceSpans": NaN}', "not valid JSON"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_in_one_line(case: str, tmp_path: Path) -> None:
    """File, place and what is wrong, for every way a file can be broken."""
    data, expected = BAD[case]
    assert expected in failure(write(tmp_path, data, "recording.json"))


def test_a_line_cut_in_half_fails_the_file_with_its_number(tmp_path: Path) -> None:
    """Files are taken over as a whole or not at all, and the error says so."""
    data = lines(REQUESTS)
    message = failure(write(tmp_path, data[:-40]))
    assert message == (
        f": line 3, column {len(lines(REQUESTS[2:])) - 39:,}: not valid JSON (it ends too early); "
        "nothing of this file is taken over; repair or remove it and import again"
    )


def test_a_bad_file_does_not_keep_others_from_being_read(tmp_path: Path) -> None:
    """Each source fails for itself."""
    write(tmp_path, b"%PDF-1.7", "1.json")
    write(tmp_path, gzip.compress(WHOLE)[:-9], "2.gz")
    write(tmp_path, WHOLE, "3.pb")
    sources = read(tmp_path / "absent.json", tmp_path / "*.none", tmp_path)
    outcomes = []
    for source in sources:
        try:
            outcomes.append(rows(list(source.chunks())).num_rows)
        except InputError as error:
            outcomes.append(str(error).removeprefix(str(tmp_path)))
    assert outcomes == [
        "/absent.json: no such file or folder",
        "/*.none: no file matches",
        outcomes[2],
        "/2.gz: the gzip stream is truncated",
        45,
    ]
    assert outcomes[2].startswith("/1.json: not a recording: a PDF document")


def test_a_broken_link_and_an_unreadable_file_are_named(tmp_path: Path) -> None:
    """What cannot be opened is an error of its own, found in a folder or not."""
    (tmp_path / "link.json").symlink_to(tmp_path / "nowhere")
    assert "cannot be" in failure(tmp_path / "link.json")
    (source,) = read(tmp_path)
    assert source.error is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    """Permission is asked when the source is opened."""
    path = write(tmp_path, WHOLE)
    path.chmod(0)
    assert "Permission denied" in failure(path)


def test_a_file_may_not_unpack_to_more_than_the_limit(tmp_path: Path) -> None:
    """A small file that unpacks to gigabytes is stopped at the limit."""
    path = write(tmp_path, gzip.compress(b'{"resourceSpans":[]}\n' * 200_000))
    assert "unpacks to more than the limit" in failure(path, Limits(total_bytes=1 << 21))


@pytest.mark.parametrize(
    "data",
    [b'{"x":' + b" " * 5000 + b"1}", b"{\n" + b" " * 5000 + b'"x":1}', sized([b"\x0a" * 5000])],
)
def test_a_record_may_not_be_longer_than_the_limit(data: bytes, tmp_path: Path) -> None:
    """Lines, documents and messages are held in memory, so each has a limit."""
    message = failure(write(tmp_path, gzip.compress(data), "a.json"), Limits(record_bytes=1000))
    assert "limit for one record" in message or "not a recording" in message


def test_a_tar_header_may_not_claim_a_path_of_gigabytes(tmp_path: Path) -> None:
    """Extended headers are held in memory: one that is no path is refused."""
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 32
    data = header.tobuf(tarfile.GNU_FORMAT) + b"a" * 4096
    assert "longer than any path" in failure(write(tmp_path, data))
