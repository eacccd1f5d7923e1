"""collector.yaml: typed, documented, and with errors that say where."""

from __future__ import annotations

import contextlib
import http.client
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from collector_build import PATIENCE

from samplers.collector.config import CollectorSettings, load
from samplers.collector.health import HealthServer
from samplers.collector.metrics import Registry
from samplers.collector.settings import parts
from samplers.collector.settings.base import Secret, is_loopback, split_address
from samplers.collector.settings.document import tables, updated
from samplers.collector.settings.environment import leaves, variable
from samplers.collector.settings.exporters import OtlpGrpcExporter
from samplers.collector.settings.storage import HealthSettings
from samplers.sessions import Limits
from samplers.settings import JournalSettings
from tracekit.checking import models_in
from tracekit.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

PAGE = Path(__file__).resolve().parent.parent / "docs" / "collector.md"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "collector.yaml"


def written(file: Path, text: str) -> Path:
    file.write_text(text, encoding="utf-8")
    return file


def complaint(path: Path | None, **environ: str) -> str:
    """Return what loading says that fails."""
    with pytest.raises(InputError) as caught:
        load(path, environ)
    return str(caught.value)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}\n"])
def test_empty_file_is_a_collector(file: Path, text: str) -> None:
    """Without a word, the receivers listen on this machine, and nothing is exported."""
    settings = load(written(file, text), {})
    assert settings == CollectorSettings() == load(None, {})
    addresses = (settings.receivers.grpc.endpoint, settings.receivers.http.endpoint)
    assert addresses == ("127.0.0.1:4317", "127.0.0.1:4318")
    assert settings.exporters == []


def test_values_are_read_with_their_units(file: Path) -> None:
    """Sizes and durations are written with units, lists and sections as YAML."""
    text = """
receivers:
  grpc: {endpoint: "[::1]:0", max_message: 2MiB, tokens: [{env: TOKEN}]}
journal: {fsync: always, commit_window: 2.5 ms, quota: 1GiB}
sessions: {idle: 10m, max_age: 1d, root_delay: 3}
exporters:
  - {type: otlp_grpc, name: main, endpoint: "backend:4317"}
  - {type: file, path: out.pb}
"""
    settings = load(written(file, text), {})
    assert settings.receivers.grpc.max_message == 2 << 20
    assert settings.journal.commit_window == pytest.approx(0.0025)
    assert settings.journal.quota == 1 << 30
    assert (settings.sessions.idle, settings.sessions.max_age) == (600, 86400)
    assert settings.sessions.root_delay == 3
    assert isinstance(settings.exporters[0], OtlpGrpcExporter)
    assert [exporter.type for exporter in settings.exporters] == ["otlp_grpc", "file"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("receivers:\n  grcp: {}\n", ":2: receivers.grcp: unknown setting; did you mean grpc?"),
        ("a: 1\n", ":1: a: unknown setting; known are data, "),
        (
            "exporters:\n  - type: otlp_http\n    ulr: x\n    url: http://x\n",
            ":3: exporters[1].otlp_http.ulr: unknown setting; did you mean url?",
        ),
        ("exporters:\n  - type: otlp\n", ":2: exporters[1]: 'otlp' is none of 'otlp_grpc', "),
        ("exporters:\n  - type: file\n", ":2: exporters[1].file.path: this setting is required"),
        ("sessions:\n\n  idle: soon\n", ":3: sessions.idle: expected a duration such as 100ms"),
        ("sessions: {idle: -1}\n", ":1: sessions.idle: Input should be greater than or equal"),
        ("journal: {quota: 5 potatoes}\n", ":1: journal.quota: could not interpret byte unit"),
        ("journal: {fsync: maybe}\n", ":1: journal.fsync: Input should be 'interval', 'always'"),
        ("receivers: {http: {endpoint: here}}\n", "expected host:port, such as 127.0.0.1:4317"),
        ("receivers: {http: {endpoint: 'a:99999'}}\n", "expected host:port"),
        ("receivers:\n  http:\n    tokens: [{}]\n", ":3: receivers.http.tokens[1]: give either"),
        ("journal: {quota: 100MiB}\n", ":1: journal: quota must be at least 6 segments"),
        ("policy: {preset: keep-all, file: x.yaml}\n", ":1: policy: give either preset or file"),
        ("exporters: [{type: stdout}, {type: stdout}]\n", "two exporters are called stdout"),
        ("exporters: [{type: stdout, name: ../x}]\n", "a name has letters, digits"),
        ("exporters: [{type: stdout, queue: {quota: 1KB}}]\n", "at least twice segment"),
        ("receivers: {grpc: {enabled: false}, http: {enabled: false}}\n", "no receiver is enabled"),
        ("data: x\nlake: {}\ndata: y\n", ":3: data: the key is already on line 1"),
        ("data: [\n", ": no YAML: "),
        ("- data\n", "a mapping of keys to values"),
    ],
)
def test_mistakes_are_named_with_their_line(file: Path, text: str, words: str) -> None:
    """What is wrong is said with file, line, setting, and what was probably meant."""
    message = complaint(written(file, text))
    assert message.startswith(str(file))
    assert words in message


def test_unreadable_files_are_named(tmp_path: Path, file: Path) -> None:
    """A file that is not there or is no text is an error that names it."""
    assert "cannot be read" in complaint(tmp_path / "none.yaml")
    file.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in complaint(file)


@pytest.mark.parametrize("kind", ["grpc", "http"])
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "10.1.2.3", "collector.internal"])  # noqa: S104
def test_open_doors_are_refused(file: Path, kind: str, host: str) -> None:
    """A receiver does not listen beyond this machine without TLS, tokens or being told so."""
    text = f"receivers: {{{kind}: {{endpoint: '{host}:4000', OPEN}}}}\n"
    message = complaint(written(file, text.replace(", OPEN", "")))
    assert "can be reached from other machines: set tls or tokens" in message
    for allowed in ("insecure: true", "tokens: [{env: X}]", "tls: {certificate: c, key: k}"):
        load(written(file, text.replace("OPEN", allowed)), {})


def test_health_stays_on_this_machine(file: Path) -> None:
    """The health endpoint has no tokens, so it needs to be told to listen further."""
    text = "health: {endpoint: '0.0.0.0:1', insecure: false}\n"
    assert "can be reached from other machines" in complaint(written(file, text))
    load(written(file, text.replace("false", "true")), {})


def test_loopback_is_recognised() -> None:
    """Addresses of this machine are told from all others, brackets and ports apart."""
    assert split_address("[::1]:4317") == ("::1", 4317)
    hosts = ("127.0.0.1", "127.9.9.9", "::1", "localhost")
    assert all(is_loopback(host) for host in hosts)
    assert not any(is_loopback(host) for host in ("::", "0.0.0.0", "192.168.0.1", "localhost.evil"))  # noqa: S104


def test_environment_wins_over_the_file(file: Path) -> None:
    """A variable sets any setting, in sections that the file does not have as well."""
    written(file, "receivers:\n  grpc:\n    workers: 2\n    max_message: 1MiB\n")
    environ = {
        "TRACEKIT_COLLECT_RECEIVERS_GRPC_WORKERS": "3",
        "TRACEKIT_COLLECT_RECEIVERS_HTTP_TLS_CERTIFICATE": "c.pem",
        "TRACEKIT_COLLECT_RECEIVERS_HTTP_TLS_KEY": "k.pem",
        "TRACEKIT_COLLECT_SESSIONS_IDLE": "7s",
        "TRACEKIT_COLLECT_EXPORTERS": "[{type: stdout}]",
        "OTHER": "x",
    }
    settings = load(file, environ)
    assert (settings.receivers.grpc.workers, settings.receivers.grpc.max_message) == (3, 1 << 20)
    assert settings.receivers.http.tls is not None
    assert settings.receivers.http.tls.key == Path("k.pem")
    assert settings.sessions.idle == 7
    assert settings.exporters[0].type == "stdout"


def test_mistakes_in_the_environment_name_the_variable() -> None:
    """A variable that means nothing, or a value that does not fit, is named."""
    unknown = complaint(None, TRACEKIT_COLLECT_SESSIONS_IDEL="7s")
    assert unknown == (
        "TRACEKIT_COLLECT_SESSIONS_IDEL: no setting has this variable; did you mean "
        "TRACEKIT_COLLECT_SESSIONS_IDLE?"
    ) or unknown.startswith("TRACEKIT_COLLECT_SESSIONS_IDEL: no setting has this variable; did you")
    wrong = complaint(None, TRACEKIT_COLLECT_SESSIONS_IDLE="soon")
    assert wrong.startswith("TRACEKIT_COLLECT_SESSIONS_IDLE: expected a duration")
    assert "not valid YAML" in complaint(None, TRACEKIT_COLLECT_EXPORTERS="[")


def test_every_setting_has_a_variable_of_its_own() -> None:
    """No two settings share the name of a variable."""
    names = [variable(path) for path in leaves(CollectorSettings)]
    assert len(names) == len(set(names)) > 50


def every_model(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for below in models_in(field.annotation):
            yield from every_model(below)


def test_every_setting_says_what_it_means() -> None:
    """Each setting has a description, which ends as a sentence does."""
    silent = [
        f"{model.__name__}.{name}"
        for model in every_model(CollectorSettings)
        for name, field in model.model_fields.items()
        if name != "type" and not (field.description or "").endswith(".")
    ]
    assert silent == []


def test_documented_settings_are_current() -> None:
    """The tables of docs/collector.md are those of the settings; the module makes them anew."""
    page = PAGE.read_text(encoding="utf-8")
    assert tables() in page
    assert updated(page) == page


def test_parts_have_the_same_defaults() -> None:
    """What the file does not set is what the journal and the sessions do by themselves."""
    settings = CollectorSettings()
    assert parts.journal(settings.journal) == JournalSettings()
    assert parts.limits(settings.sessions) == Limits()


def test_secrets_are_read_from_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret comes from a variable or a file, and an empty one is an error."""
    (tmp_path / "token").write_text(" sesame\n")
    (tmp_path / "empty").write_text("\n")
    monkeypatch.setenv("TEST_TOKEN", "open")
    assert Secret(file=tmp_path / "token").read() == "sesame"
    assert Secret(env="TEST_TOKEN").read() == "open"
    with pytest.raises(UsageError, match="the file is empty"):
        Secret(file=tmp_path / "empty").read()


def test_health_is_told() -> None:
    """/live and /ready say ok or what is wrong, /metrics what was counted, all else is an error."""
    registry = Registry()
    registry.counter("tracekit_things_total", "Things.", ("kind",)).of('odd "one"\n').add(2)
    registry.gauge("tracekit_share", "A share.").ask(lambda: 0.5)
    wrong: list[str | None] = [None, "the journal is full"]
    server = HealthServer(
        HealthSettings(endpoint="127.0.0.1:0"), registry, lambda: None, lambda: wrong.pop(0)
    )
    server.start()

    def get(path: str, method: str = "GET") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read().decode()

    assert get("/live") == (200, "ok\n")
    assert get("/ready") == (200, "ok\n")
    assert get("/ready") == (503, "the journal is full\n")
    assert get("/")[0] == 404
    assert get("/live", "DELETE")[0] == 405
    assert get("/metrics") == (
        200,
        (
            "# HELP tracekit_share A share.\n# TYPE tracekit_share gauge\ntracekit_share 0.5\n"
            "# HELP tracekit_things_total Things.\n# TYPE tracekit_things_total counter\n"
            'tracekit_things_total{kind="odd \\"one\\"\\n"} 2\n'
        ),
    )
    server.stop()


def test_metrics_are_declared_once() -> None:
    """A name means one thing: other labels or another kind under it are a mistake."""
    registry = Registry()
    registry.counter("a_total", "A.", ("x",))
    registry.counter("a_total", "A.", ("x",))
    for attempt in (
        lambda: registry.counter("a_total", "A.", ("y",)),
        lambda: registry.gauge("a_total", "A.", ("x",)),
        lambda: registry.counter("a", "A."),
        lambda: registry.gauge("A b", "A."),
        lambda: registry.counter("a_total", "A.", ("x",)).of("1", "2"),
    ):
        with pytest.raises(ValueError, match=r"a|A b"):
            attempt()
