"""The tracer provider: made, or found, and given our one processor."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from tracekit.instrumentation import destinations, options
from tracekit.instrumentation.destinations import Destination, exports
from tracekit.instrumentation.export import BoundedProcessor, Limits, NoExporter
from tracekit.instrumentation.processor import ContextProcessor, Pipeline
from tracekit.instrumentation.sampler import SessionSampler

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from opentelemetry.sdk.trace.export import SpanExporter

log: Final = logging.getLogger("tracekit")


class _Installed:
    """What was put into this process; a second `configure` changes it instead of adding to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pipeline: Pipeline | None = None
        self.provider: Any = None
        self.made: TracerProvider | None = None
        self.sampler = SessionSampler()
        self.destination = "nowhere: not configured"
        self.once = False


INSTALLED: Final = _Installed()
"""Of this process."""


def provider_for(own: Any, value: dict[str, Any], told: dict[str, Any]) -> Any:
    """Return the application's provider, or make one and set it globally.

    Args:
        own: Provider to use; None for the global one.
        value: The options.
        told: Those of them the code gave.
    """
    provider = trace.get_tracer_provider() if own is None else own
    if isinstance(provider, trace.ProxyTracerProvider):
        INSTALLED.sampler.set_ratio(_ratio(value["sample_ratio"], told))
        INSTALLED.made = provider = TracerProvider(
            sampler=INSTALLED.sampler,
            resource=_resource(value["service_name"]),
            shutdown_on_exit=False,
        )
        trace.set_tracer_provider(provider)
    elif INSTALLED.made is not None and provider is INSTALLED.made:
        INSTALLED.sampler.set_ratio(_ratio(value["sample_ratio"], told))
        provider._update_resource(_resource(value["service_name"]))  # noqa: SLF001 - no public way
    elif left := {"sample_ratio", "service_name"} & told.keys():
        log.warning(
            "tracekit: the application's tracer provider decides; %s is not used",
            " and ".join(sorted(left)),
        )
    return provider


def _resource(service_name: str | None) -> Resource:
    return Resource.create({"service.name": service_name} if service_name else {})


_SAMPLERS: Final = {
    name: share
    for plain, share in (("always_on", 1.0), ("always_off", 0.0), ("traceidratio", None))
    for name in (plain, f"parentbased_{plain}")
}


def _ratio(ratio: float, told: dict[str, Any]) -> float:
    """Return the share of sessions to keep: OTEL_TRACES_SAMPLER speaks where tracekit's does not.

    Its `traceidratio` becomes the same share of sessions.
    """
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if not name or "sample_ratio" in told or os.environ.get("TRACEKIT_SAMPLE_RATIO"):
        return ratio
    if name not in _SAMPLERS:
        log.warning(
            "tracekit: no sampler %r: OTEL_TRACES_SAMPLER is not used; make a tracer provider "
            "with it and pass it to configure(tracer_provider=...)",
            name,
        )
        return ratio
    share = _SAMPLERS[name]
    return options.SAMPLER_ARG.value() if share is None else share


def _processors(provider: Any) -> Sequence[SpanProcessor] | None:
    """Return the processors of a provider, or None where it does not show them.

    The SDK has no public way.
    """
    inner = getattr(provider, "_active_span_processor", None)
    found: Sequence[SpanProcessor] | None = getattr(inner, "_span_processors", None)
    return found


def destination_for(
    provider: Any, exporter: SpanExporter | None, told: dict[str, Any], lake: Path
) -> Destination:
    """Return where spans go.

    Args:
        provider: The provider that makes them.
        exporter: What the code gave, or None.
        told: The options the code gave.
        lake: Folder of the local lake.
    """
    if exporter is not None:
        return destinations.given(exporter)
    processors = _processors(provider)
    if provider is INSTALLED.made or (processors is not None and not exports(processors)):
        return destinations.from_environment(lake)
    if "lake" in told:
        return destinations.to_lake(lake)
    return Destination("where the application's tracer provider exports", None)


def install(provider: Any, destination: Destination, value: dict[str, Any]) -> None:
    """Give a provider our one processor, or change what it does.

    Args:
        provider: The provider.
        destination: Where spans go.
        value: The options.
    """
    pipeline = _pipeline(provider)
    before, old = INSTALLED.pipeline, None
    if before is not None:
        old, before.export, before.stamp = before.export, None, None
    pipeline.stamp = ContextProcessor()
    pipeline.export = new = _export(destination, value)
    INSTALLED.provider, INSTALLED.pipeline = provider, pipeline
    if old is not None:
        again = new is not None and new.exporter is old.exporter
        old.shutdown(value["exit_timeout_s"], close=not again)


def _pipeline(provider: Any) -> Pipeline:
    """Return our processor of a provider, which gets one where it has none yet."""
    for processor in _processors(provider) or ():
        if isinstance(processor, Pipeline):
            return processor
    if provider is INSTALLED.provider and INSTALLED.pipeline is not None:
        return INSTALLED.pipeline
    pipeline = Pipeline()
    if hasattr(provider, "add_span_processor"):
        provider.add_span_processor(pipeline)
    else:
        log.warning(
            "tracekit: %s takes no span processors: spans go where it sends them, and those "
            "of other instrumentations are not marked",
            type(provider).__name__,
        )
    return pipeline


def _export(destination: Destination, value: dict[str, Any]) -> BoundedProcessor | None:
    INSTALLED.destination = destination.name
    if destination.make is None:
        return None
    queue = options.QUEUE.value()
    limits = Limits(
        queue,
        min(options.BATCH.value(), queue),
        options.DELAY.value(),
        value["exit_timeout_s"],
    )
    try:
        exporter = destination.make()
    except Exception as error:  # noqa: BLE001 - a wrong variable must not stop the application
        log.warning("tracekit: cannot export to %s: %s", destination.name, error)
        INSTALLED.destination = f"nowhere: cannot export to {destination.name}"
        return BoundedProcessor(NoExporter(), limits)
    return BoundedProcessor(exporter, limits, None if destination.once else destination.make)
