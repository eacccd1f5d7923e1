"""What the APIs of the providers look like, read from `apis/*.yaml`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml

from tracekit.instrumentation.clients.paths import Paths, compiled

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKENS: Final = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "reasoning")
"""Classes of tokens; `LlmCall.usage` takes each as `<class>_tokens`."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a response has what; a field that is empty is not there.

    Attributes:
        id: Id of the response.
        model: Model that answered.
        tier: Service tier that served it.
        stop: Groups of stop values, one after the other.
        error: Code of an error.
        cost: What the provider charges, USD, in the usage.
        output: What the model said.
        usage_at: What holds the usage.
        usage: Class of tokens -> paths below that, which add up.
    """

    id: Paths = ()
    model: Paths = ()
    tier: Paths = ()
    stop: tuple[Paths, ...] = ()
    error: Paths = ()
    cost: Paths = ()
    output: Paths = ()
    usage_at: Paths = ()
    usage: Mapping[str, tuple[Paths, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """What is different in the events of a stream.

    Attributes:
        answer: Where an event has what.
        events: Names of the events to read; all where there are none.
        stops: Names of the events that have the stop value; all where there are none.
        ends: Names or texts after which nothing is missing.
        opens: Names of events that come before any content.
        gather: How the output is put together.
    """

    answer: Answer
    events: frozenset[str] = frozenset()
    stops: frozenset[str] = frozenset()
    ends: frozenset[str] = frozenset()
    opens: frozenset[str] = frozenset()
    gather: str | None = None


@dataclass(frozen=True, slots=True)
class Api:
    """One API.

    Attributes:
        path: Pattern of the URL path.
        operation: What it is by the GenAI conventions.
        provider: Who offers it where the host does not tell.
        model: Pattern of the URL path whose first group is the model.
        request: model, max_tokens, tier or input -> where the request has it.
        answer: Where the response has what.
        stream: What is different in a stream.
    """

    path: re.Pattern[str]
    operation: str
    provider: str
    model: re.Pattern[str] | None
    request: Mapping[str, Paths]
    answer: Answer
    stream: Stream


@dataclass(frozen=True, slots=True)
class Hosts:
    """Who answers at a host.

    Attributes:
        providers: (field, pattern, provider): field is `host` or `path`.
        gateways: (pattern of the host, gateway).
        headers: (header of a response, gateway).
        request_id: Headers with the provider's id of a request.
        cost: Headers with what a gateway charges, USD.
    """

    providers: tuple[tuple[str, re.Pattern[str], str], ...]
    gateways: tuple[tuple[re.Pattern[str], str], ...]
    headers: tuple[tuple[str, str], ...]
    request_id: tuple[str, ...]
    cost: tuple[str, ...]


def _document(name: str) -> dict[str, Any]:
    text = (resources.files(__package__) / "apis" / name).read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.load(text, Loader=yaml.CSafeLoader)
    return document


def _answer(document: dict[str, Any]) -> Answer:
    usage = dict(document.get("usage", {}))
    single = ("id", "model", "tier", "error", "output")
    return Answer(
        **{name: compiled(document[name]) for name in single if name in document},
        stop=tuple(compiled(text) for text in document.get("stop", ())),
        usage_at=compiled(usage.pop("at")) if usage else (),
        cost=compiled(usage.pop("cost")) if "cost" in usage else (),
        usage={name: tuple(map(compiled, texts)) for name, texts in usage.items()},
    )


def _api(document: dict[str, Any], provider: str) -> Api:
    stream = document.get("stream", {})
    names = {name: frozenset(stream.get(name, ())) for name in ("events", "stops", "ends", "opens")}
    answer = _answer(document["answer"])
    return Api(
        path=re.compile(document["path"]),
        operation=document["operation"],
        provider=provider,
        model=re.compile(document["model"]) if "model" in document else None,
        request={name: compiled(text) for name, text in document.get("request", {}).items()},
        answer=answer,
        stream=Stream(
            answer=_answer(stream["answer"]) if "answer" in stream else answer,
            gather=stream.get("gather"),
            **names,
        ),
    )


@cache
def apis(sdk: str) -> tuple[Api, ...]:
    """Return the APIs an SDK speaks: openai, anthropic or google."""
    document = _document(f"{sdk}.yaml")
    return tuple(_api(row, document["provider"]) for row in document["apis"])


@cache
def hosts() -> Hosts:
    """Return who answers where."""
    document = _document("hosts.yaml")
    fields = [(f, row[f], row["provider"]) for row in document["providers"] for f in row]
    gateways = document["gateways"]
    return Hosts(
        providers=tuple((f, re.compile(p), who) for f, p, who in fields if f != "provider"),
        gateways=tuple((re.compile(r["host"]), r["gateway"]) for r in gateways if "host" in r),
        headers=tuple((r["header"], r["gateway"]) for r in gateways if "header" in r),
        request_id=tuple(document["request_id"]),
        cost=tuple(document["cost"]),
    )


@lru_cache(maxsize=256)
def find(sdk: str, path: str) -> Api | None:
    """Return the API at a URL path, or None where a request there is no model call."""
    return next((api for api in apis(sdk) if api.path.fullmatch(path)), None)


@lru_cache(maxsize=256)
def provider_at(host: str, path: str) -> str | None:
    """Return who answers at a host, where that is known."""
    where = {"host": host, "path": path}
    found = (who for field_, pattern, who in hosts().providers if pattern.fullmatch(where[field_]))
    return next(found, None)


@lru_cache(maxsize=256)
def gateway_at(host: str) -> str | None:
    """Return the gateway a host is, or None."""
    return next((name for pattern, name in hosts().gateways if pattern.fullmatch(host)), None)
