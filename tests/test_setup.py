"""What `configure` switches on, and where spans go then."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from host import run, unconfigured
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tracekit.errors import UsageError
from tracekit.inbox import ensure_key
from tracekit.instrumentation import options, runtime
from tracekit.instrumentation.scope import session
from tracekit.instrumentation.setup import configure, diagnostics, flush, shutdown
from tracekit.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with unconfigured():
        yield


def make_span(name: str = "x") -> None:
    with trace.get_tracer("foreign").start_as_current_span(name):
        pass


def exported(memory: InMemorySpanExporter) -> list[str]:
    assert flush()
    return [span.name for span in memory.get_finished_spans()]


def test_makes_a_provider() -> None:
    """Without a provider of the application, one is made, named and set globally."""
    memory = InMemorySpanExporter()
    configure(service_name="shop", exporter=memory)
    make_span()
    assert exported(memory) == ["x"]
    assert memory.get_finished_spans()[0].resource.attributes["service.name"] == "shop"
    assert runtime.active() is not None


def test_marks_spans_of_others() -> None:
    """Spans of other instrumentations say which session they belong to, what they say stays."""
    memory = InMemorySpanExporter()
    configure(exporter=memory)
    tracer = trace.get_tracer("foreign")
    with session("chat-42", user="u", tenant="t"):
        tracer.start_span("new").end()
        tracer.start_span("own", attributes={"tracekit.session.id": "theirs"}).end()
    tracer.start_span("outside").end()
    assert flush()
    found = {span.name: dict(span.attributes or {}) for span in memory.get_finished_spans()}
    marks = {"tracekit.session.id": "chat-42", "user.id": "u", "tracekit.tenant.id": "t"}
    assert found == {
        "new": marks,
        "own": {**marks, "tracekit.session.id": "theirs"},
        "outside": {},
    }


def test_second_call_replaces_the_first() -> None:
    """Configuring again changes where spans go and who sends them; nothing is exported twice."""
    first, second = InMemorySpanExporter(), InMemorySpanExporter()
    configure(service_name="one", exporter=first)
    make_span("before")
    configure(service_name="two", exporter=second, sample_ratio=1)
    make_span("after")
    assert (exported(first), exported(second)) == (["before"], ["after"])
    assert second.get_finished_spans()[0].resource.attributes["service.name"] == "two"
    configure(exporter=second, sample_ratio=0)
    make_span("unsampled")
    assert exported(second) == ["after"]


def test_same_exporter_again() -> None:
    """Configuring again with the same exporter, as a notebook does, keeps it open."""
    memory = InMemorySpanExporter()
    for name in ("first", "second"):
        configure(exporter=memory)
        make_span(name)
    assert exported(memory) == ["first", "second"]
    assert diagnostics() == {}


def test_rules_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where rules or prices cannot be loaded, spans are made without what follows from them."""

    def fail() -> None:
        raise OSError

    monkeypatch.setattr("tracekit.instrumentation.setup.deriver", fail)
    configure(exporter=InMemorySpanExporter())
    active = runtime.active()
    assert active is not None
    assert active.deriver is None
    assert diagnostics() == {"tracekit.drop.internal_error": 1}


@pytest.mark.parametrize("variable", ["TRACEKIT_DISABLED", "OTEL_SDK_DISABLED"])
def test_switched_off_by_the_environment(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator can switch tracekit off, also when it is configured again."""
    configure(exporter=InMemorySpanExporter())
    monkeypatch.setenv(variable, "true")
    configure(exporter=InMemorySpanExporter())
    assert runtime.active() is None
    assert "tracekit is off" in str(diagnostics())


ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"service_name": 5},
    {"lake": 5},
    {"capture_content": "perhaps"},
    {"redact": "secret"},
    {"fingerprint_key": -1},
    {"fingerprint_key": 1.5},
    {"sample_ratio": 2},
    {"sample_ratio": True},
    {"exporter": InMemorySpanExporter},
    {"exporter": "otlp"},
    {"tracer_provider": "global"},
    {"threads": 3},
    {"exit_timeout_s": -1},
)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=repr)
def test_wrong_arguments(arguments: dict[str, Any]) -> None:
    """An argument of the wrong type is refused with its name, before anything is switched on."""
    with pytest.raises(UsageError, match=next(iter(arguments))):
        configure(**arguments)
    assert runtime.active() is None


CHECKED = {
    name: option
    for name, option in (options.ALL | {"delay": options.DELAY, "queue": options.QUEUE}).items()
    if option.variable not in {None, "TRACEKIT_LAKE", "TRACEKIT_FINGERPRINT_KEY"}
}
"""Options whose variable does not take any text."""


@pytest.mark.parametrize("option", CHECKED.values(), ids=CHECKED)
def test_wrong_environment(
    option: options.Option[object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A wrong value in the environment is reported with its name, and the default is used."""
    assert option.variable is not None
    monkeypatch.setenv(option.variable, "perhaps")
    assert option.value() == option.default
    assert option.variable in caplog.text
    monkeypatch.setenv(option.variable, "  ")
    assert option.value() == option.default


def test_environment_says_what_code_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code goes before environment, environment before defaults."""
    monkeypatch.setenv("TRACEKIT_CAPTURE_CONTENT", "yes")
    monkeypatch.setenv("TRACEKIT_PROPAGATE", "off")
    monkeypatch.setenv("TRACEKIT_FINGERPRINT_KEY", "0x10")
    configure(exporter=InMemorySpanExporter(), propagate=True)
    active = runtime.active()
    assert active is not None
    settings = active.settings
    assert (settings.capture_content, settings.propagate) == (True, True)
    assert settings.fingerprint_key == 16


def test_fingerprint_keys() -> None:
    """A key is a number, or any text: the same text is the same key."""
    read = options.FINGERPRINT_KEY.value
    assert read("secret", name="x") == read("secret", name="x") != read("other", name="x")
    assert read(7, name="x") == read("7", name="x") == 7


def test_captured_content_is_redacted_unless_something_else_is_asked_for() -> None:
    """Capture without a word about redaction takes out what our patterns know."""
    configure(exporter=InMemorySpanExporter(), capture_content=True)
    settings = runtime.active()
    assert settings is not None
    assert settings.settings.redact is not None
    assert "hunter2" not in settings.settings.redact('{"password": "hunter2"}')


def derives() -> bool:
    active = runtime.active()
    return active is not None and active.deriver is not None


def test_what_the_lake_derives_anew_is_not_derived_in_process() -> None:
    """Spans for the local lake alone carry no stops and costs, unless that is asked for."""
    configure()
    assert not derives()
    configure(derive=True)
    assert derives()


def test_what_leaves_carries_stops_and_costs() -> None:
    """An exporter, or a provider of the application, gets them; unless they are not wanted."""
    configure(exporter=InMemorySpanExporter())
    assert derives()
    configure(derive=False)
    assert not derives()


def test_a_provider_of_the_application_gets_stops_and_costs() -> None:
    """It may send the spans anywhere beside the lake."""
    configure(tracer_provider=TracerProvider(), lake="lake")
    assert derives()


def test_the_lake_says_the_key(tmp_path: Path) -> None:
    """Processes that write to one lake make fingerprints that compare, also with the lake's own."""
    lake = tmp_path / "lake"
    ask = "import tracekit; tracekit.configure({}); from tracekit.instrumentation import runtime"
    tell = "print(runtime.active().settings.fingerprint_key)"
    here, there = (
        run(f"{ask.format('lake=' + repr(str(lake)))}; {tell}", cwd=tmp_path) for _ in range(2)
    )
    assert here == there == f"{ensure_key(lake)}\n"
    assert Lake.open(lake, create=True).info.fingerprint_key == ensure_key(lake)


def test_processes_that_export_elsewhere_have_keys_of_their_own(tmp_path: Path) -> None:
    """Without a lake and without a key nobody else can guess what was fingerprinted."""
    ask = "import tracekit; tracekit.configure(exporter=ConsoleSpanExporter())"
    tell = "print(runtime.active().settings.fingerprint_key)"
    head = "from opentelemetry.sdk.trace.export import ConsoleSpanExporter"
    from_ = "from tracekit.instrumentation import runtime"
    script = f"{head}; {from_}; {ask}; {tell}"
    assert len({run(script, cwd=tmp_path) for _ in range(2)}) == 2


@pytest.mark.parametrize(
    ("sampler", "argument", "described"),
    [
        ("always_off", "", "SessionSampler{0}"),
        ("parentbased_always_on", "", "SessionSampler{1}"),
        ("parentbased_traceidratio", "0.25", "SessionSampler{0.25}"),
        ("traceidratio", "lots", "SessionSampler{1}"),
        ("jaeger_remote", "", "SessionSampler{1}"),
    ],
)
def test_standard_sampler_variables(
    sampler: str, argument: str, described: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard sampler variables become the same share of sessions; ours goes before."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    configure(exporter=InMemorySpanExporter())
    assert diagnostics().sampling == described
    configure(exporter=InMemorySpanExporter(), sample_ratio=0.75)
    assert diagnostics().sampling == "SessionSampler{0.75}"


def test_threads_can_be_left_alone() -> None:
    """Threads are patched where that is wanted, and as they were after shutdown."""
    before = threading.Thread.start
    configure(exporter=InMemorySpanExporter())
    assert threading.Thread.start is not before
    configure(exporter=InMemorySpanExporter(), threads=False)
    assert threading.Thread.start is before
    configure(exporter=InMemorySpanExporter())
    shutdown()
    assert threading.Thread.start is before


def test_shutdown() -> None:
    """After shutdown nothing is made; spans of others that end then are counted; twice is fine."""
    memory = InMemorySpanExporter()
    configure(exporter=memory)
    make_span()
    shutdown()
    assert [span.name for span in memory.get_finished_spans()] == ["x"]
    shutdown()
    make_span("late")
    assert runtime.active() is None
    assert diagnostics() == {"tracekit.drop.after_shutdown": 1}
    assert "tracekit.drop.after_shutdown: 1" in str(diagnostics())
    assert flush()


def test_before_configure() -> None:
    """Flush, shutdown and diagnostics can be called with nothing set up."""
    assert flush()
    shutdown()
    assert diagnostics() == {}
    assert "tracekit is off" in str(diagnostics())


METER = """
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from tracekit.instrumentation.runtime import count
    from tracekit.instrumentation.setup import configure

    configure(derive=False)
    configure(derive=False)
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    count("queue_full", 3)
    (resource,) = reader.get_metrics_data().resource_metrics
    (metric,) = resource.scope_metrics[0].metrics
    (point,) = metric.data.data_points
    print(metric.name, dict(point.attributes), point.value)
"""


def test_counters_as_a_metric(tmp_path: Path) -> None:
    """What is lost is a metric too, where the application has a meter provider, early or late."""
    written = run(METER, cwd=tmp_path, OTEL_TRACES_EXPORTER="none")
    assert written == "tracekit.drop {'reason': 'queue_full'} 3\n"


LIGHT = """
    import sys
    from opentelemetry import trace
    from tracekit.instrumentation.setup import configure, flush
    configure()
    with trace.get_tracer("x").start_as_current_span("x"):
        pass
    assert flush()
    heavy = {"numpy", "pyarrow", "duckdb", "numba", "grpc", "requests"}
    print(sorted(heavy & set(sys.modules)))
"""


def test_is_light(tmp_path: Path) -> None:
    """A host never loads the parts of tracekit that read, nor exporters it does not use."""
    assert run(LIGHT, cwd=tmp_path) == "[]\n"


def test_example_of_a_program(tmp_path: Path) -> None:
    """A program that only configures and ends exits quietly, and its spans are there."""
    program = """
        from opentelemetry import trace
        from tracekit.instrumentation.setup import configure
        configure()
        trace.get_tracer("x").start_span("x").end()
    """
    assert run(program, cwd=tmp_path) == ""
    assert list(tmp_path.glob(".tracekit/inbox/*"))
