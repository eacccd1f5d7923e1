"""Switching on: one call makes or extends the tracer provider, and says where spans go."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics, trace
from opentelemetry.context import attach, get_current

from tracekit.errors import UsageError
from tracekit.inbox import ensure_key
from tracekit.instrumentation import destinations, options, propagation, workers
from tracekit.instrumentation.processor import OWN
from tracekit.instrumentation.providers import INSTALLED, destination_for, install, provider_for
from tracekit.instrumentation.runtime import (
    Derives,
    Redacts,
    Runtime,
    Settings,
    activate,
    active,
    counts,
    deactivate,
    failed,
    reset_counts,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from opentelemetry.sdk.trace.export import SpanExporter

log: Final = logging.getLogger("tracekit")


class Diagnostics(dict[str, int]):
    """What was lost, by reason, and what is switched on; printing it tells all.

    Attributes:
        active: Whether spans are made.
        destination: Where they go.
        sampling: What decides which traces are kept.
    """

    def __init__(self, lost: dict[str, int], destination: str, sampling: str) -> None:
        super().__init__(lost)
        self.active = active() is not None
        self.destination = destination
        self.sampling = sampling

    def __str__(self) -> str:
        lines = [
            f"tracekit is {'on' if self.active else 'off'}",
            f"  spans go to {self.destination}",
            f"  sampling by {self.sampling}",
            *(f"  {reason}: {number}" for reason, number in sorted(self.items())),
        ]
        return "\n".join(lines if self else [*lines, "  nothing was lost"])


def configure(  # noqa: PLR0913 - each is told by name
    *,
    service_name: str | None = None,
    lake: str | os.PathLike[str] | None = None,
    capture_content: bool | None = None,
    redact: Redacts | None = None,
    fingerprint_key: int | str | None = None,
    sample_ratio: float | None = None,
    exporter: SpanExporter | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    threads: bool | None = None,
    propagate: bool | None = None,
    derive: bool | None = None,
    inspect: bool | None = None,
    exit_timeout_s: float | None = None,
) -> None:
    """Switch tracekit on.

    Spans go where the application's tracer provider exports them; without one, where the OTEL_*
    variables say; without these, to a local lake that `tracekit report` reads. What is None is told
    by the environment: TRACEKIT_<NAME IN CAPITALS>. A second call replaces what the first one said.
    With TRACEKIT_DISABLED or OTEL_SDK_DISABLED set, nothing is switched on.

    Args:
        service_name: Name of this service; OTEL_SERVICE_NAME.
        lake: Folder of the local lake; `./.tracekit`. Given beside a provider that already exports,
            spans go to the lake as well.
        capture_content: Write messages, arguments and results on the spans; off.
        redact: Applied to content before it is written; a `tracekit.Redaction` by default.
        fingerprint_key: Key of the fingerprints of arguments and results: a 64-bit number or a
            text. Fingerprints made with one key compare. By default the key of the lake, or where
            spans go elsewhere one of this process alone.
        sample_ratio: Share of sessions to keep, each whole; all. A provider of the application
            decides by itself, alike where its sampler is a `tracekit.SessionSampler`.
        exporter: Where spans go, instead of all that is said above.
        tracer_provider: The application's provider; the global one.
        threads: Keep the context in threads and executors; on.
        propagate: Send session and task along as W3C baggage; on.
        derive: Write stops and costs on the spans. On, but for spans that go to the local lake
            alone: it derives all of it anew.
        inspect: Look at the final state of outputs in process; on.
        exit_timeout_s: Longest time the end of the process waits for export; 2.

    Raises:
        UsageError: If an argument has the wrong type.
    """
    told = {name: value for name, value in locals().items() if value is not None}
    _checked(told)
    value = {name: option.value(told.get(name), name=name) for name, option in options.ALL.items()}
    with INSTALLED.lock:
        if options.DISABLED.value() or options.SDK_DISABLED.value():
            deactivate()
            INSTALLED.destination = "nowhere: switched off by the environment"
            return
        provider = provider_for(tracer_provider, value, told)
        destination = destination_for(provider, exporter, told, value["lake"])
        install(provider, destination, value)
        _activate(provider, value, in_lake=destination.in_lake)
        _once()
    if value["threads"]:
        propagation.patch()
    else:
        propagation.unpatch()
    if not get_current() and (ambient := propagation.from_environment()):
        attach(ambient)


def flush(timeout_s: float = 10) -> bool:
    """Export what has ended; what the application's own provider exports it flushes itself.

    Args:
        timeout_s: Longest time to wait.

    Returns:
        Whether all that ended since the last flush was exported, and in time.
    """
    pipeline = INSTALLED.pipeline
    return pipeline is None or pipeline.force_flush(int(timeout_s * 1000))


def shutdown(timeout_s: float | None = None) -> None:
    """Switch tracekit off, after exporting what has ended. A second call does nothing.

    Args:
        timeout_s: Longest time to wait; what `configure` was told as `exit_timeout_s`.
    """
    with INSTALLED.lock:
        pipeline = INSTALLED.pipeline
        if active() is not None:
            deactivate()
            propagation.unpatch()
            INSTALLED.destination = "nowhere: shut down"
    if pipeline is not None:
        pipeline.stamp = None
        if pipeline.export is not None:
            pipeline.export.shutdown(timeout_s)


def diagnostics() -> Diagnostics:
    """Return what was lost in this process, and what is switched on; to be printed or read."""
    ours = INSTALLED.made is not None and INSTALLED.made is INSTALLED.provider
    decides = INSTALLED.sampler.get_description() if ours else "the application's tracer provider"
    return Diagnostics(counts(), INSTALLED.destination, decides)


def _checked(told: dict[str, Any]) -> None:
    exporter = told.get("exporter")
    if exporter is not None and (
        isinstance(exporter, type) or not callable(getattr(exporter, "export", None))
    ):
        raise UsageError(
            f"configure(exporter=...) takes a SpanExporter, not {exporter!r}: make one, as in "
            "OTLPSpanExporter()"
        )
    provider = told.get("tracer_provider")
    if provider is not None and not callable(getattr(provider, "add_span_processor", None)):
        raise UsageError(
            f"configure(tracer_provider=...) takes an SDK TracerProvider, not {provider!r}: import "
            "it from opentelemetry.sdk.trace"
        )


@cache
def deriver() -> Derives:
    """Return what computes stops and costs; it loads rules and prices once."""
    from tracekit.instrumentation.derive import Deriver  # noqa: PLC0415 - loads rules and prices

    return Deriver()


@cache
def _redaction() -> Redacts:
    """Return what is taken out of content where nothing else was asked for."""
    from tracekit.instrumentation.redaction import Redaction  # noqa: PLC0415 - reads the patterns

    return Redaction()


@cache
def _own_key() -> int:
    """Return the key of a process that was told none; its forked children have it too."""
    return secrets.randbits(64)


def _key(told: int | None, lake: Path | None) -> int:
    if told is not None:
        return told
    if lake is not None:
        with suppress(OSError):  # a folder that cannot be written: the exporter will say so
            return ensure_key(lake)
    return _own_key()


def _activate(provider: Any, value: dict[str, Any], *, in_lake: bool) -> None:
    settings = Settings(
        lake=value["lake"],
        fingerprint_key=_key(value["fingerprint_key"], value["lake"] if in_lake else None),
        capture_content=value["capture_content"],
        redact=value["redact"] or (_redaction() if value["capture_content"] else None),
        inspect=value["inspect"],
        propagate=value["propagate"],
    )
    derives = None
    is_wanted = value["derive"]
    if is_wanted is None:
        is_wanted = not (in_lake and provider is INSTALLED.made)
    if is_wanted:
        try:
            derives = deriver()
        except Exception:  # noqa: BLE001 - the host goes on without us
            failed("derive")
    activate(Runtime(provider.get_tracer(OWN), settings, deriver=derives))


def _once() -> None:
    """Register what a process needs once."""
    if INSTALLED.once:
        return
    INSTALLED.once = True
    destinations.quiet_sdk()
    atexit.register(shutdown)
    os.register_at_fork(after_in_child=_after_fork)
    metrics.get_meter(OWN).create_observable_counter(
        "tracekit.drop", [_observe], description="What tracekit lost, by reason"
    )
    workers.at_exit(shutdown, INSTALLED)


def _observe(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
    return [
        metrics.Observation(number, {"reason": reason.removeprefix("tracekit.drop.")})
        for reason, number in counts().items()
    ]


def _after_fork() -> None:
    INSTALLED.lock = threading.Lock()
    reset_counts()
