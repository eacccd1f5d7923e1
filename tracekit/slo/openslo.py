"""OpenSLO v1, the part that says the same: Service, SLI and SLO in, and out again.

A task SLI is a `ratioMetric` whose metric sources are of `type: tracekit`: `good` names the
predicate of good tasks, `total` the tasks and everything else of the indicator, all as text. What
OpenSLO has no field for stands in annotations `tracekit/...` as JSON.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import yaml
from pydantic import ValidationError

from tracekit.documents import Document, DocumentError, Problem, place, written
from tracekit.slo.durations import shorthand
from tracekit.slo.objectives import MONTH, Indicator, Objective, Objectives

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Path = tuple[str | int, ...]

API_VERSION: Final = "openslo/v1"
SOURCE: Final = "tracekit"
"""Type of the metric sources."""

_PREFIX: Final = "tracekit/"
_ANNOTATED: Final = ("alerts", "gate", "min_events", "min_coverage", "max_undetermined", "counters")
_SOURCE_OF: Final[Path] = ("spec", "ratioMetric")
_SPEC: Final = ("metricSource", "spec")
_FIRST: Final[Path] = ("spec", "objectives", 0)
_PATHS: Final[dict[str, Path]] = {
    "name": ("metadata", "name"),
    "service": ("spec", "service"),
    "description": ("spec", "description"),
    "time_window": ("spec", "timeWindow", 0, "duration"),
    "time_zone": ("spec", "timeWindow", 0, "calendar", "timeZone"),
    "budgeting_method": ("spec", "budgetingMethod"),
    "target": (*_FIRST, "target"),
    "time_slice_target": (*_FIRST, "timeSliceTarget"),
    "time_slice_window": (*_FIRST, "timeSliceWindow"),
    **{key: ("metadata", "annotations", _PREFIX + key) for key in _ANNOTATED},
}
"""Where in an SLO a field of an objective is from."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """Objectives and the documents they are from.

    Attributes:
        objectives: The objectives.
        places: For each: the document of its indicator, and the path of that in it.
    """

    objectives: Objectives
    places: tuple[tuple[Document, Path], ...]

    def at(self, number: int, key: str, text_line: int) -> tuple[int, str]:
        """Return line and place of a predicate of an objective."""
        document, path = self.places[number]
        side, name = ("good", "where") if key == "good" else ("total", key)
        whole = (*path, *_SOURCE_OF, side, *_SPEC, name)
        return document.line(whole, text_line=text_line), place(whole)


def is_openslo(text: str) -> bool:
    """Return whether a text says that it is OpenSLO, of any version."""
    return bool(re.search(r"^apiVersion:\s*[\"']?openslo/", text, re.MULTILINE))


def documents(name: str, text: str) -> Iterator[Document]:
    """Yield the documents of a stream, with lines as in the whole of it.

    Raises:
        DocumentError: One of them cannot be read.
    """
    lines = text.splitlines()
    marks = [n for n, line in enumerate(lines) if re.match(r"---(\s|$)", line)]
    for first, last in zip([0, *(mark + 1 for mark in marks)], [*marks, len(lines)], strict=True):
        part = lines[first:last]
        if any(line.strip() and not line.lstrip().startswith("#") for line in part):
            yield Document(name, "\n" * first + "\n".join(part) + "\n")


@cache
def _unsupported() -> dict[str, dict[str, Any]]:
    text = resources.files("tracekit.slo").joinpath("openslo.yaml").read_text(encoding="utf-8")
    known: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return known


def parse(name: str, text: str) -> Parsed:
    """Return the objectives of an OpenSLO stream.

    Raises:
        DocumentError: It is wrong, or says something that is not supported; naming what and where.
    """
    found = list(documents(name, text))
    if problems := [problem for document in found for problem in _refused(document)]:
        raise DocumentError(name, problems)
    indicators: dict[str, Document] = {}
    for document in found:
        if document.value["kind"] == "SLI":
            indicators[_name(document)] = document
    made = [_objective(d, indicators) for d in found if d.value["kind"] == "SLO"]
    try:
        objectives = Objectives(objectives=tuple(objective for objective, _ in made))
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DocumentError(name, [Problem(1, "", message)]) from error
    return Parsed(objectives, tuple(where for _, where in made))


def _name(document: Document) -> str:
    return str(_get(document.value, ("metadata", "name")))


def _get(value: Any, path: Path) -> Any:
    """Return the value at a path, or None."""
    for step in path:
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _error(document: Document, path: Path, message: str) -> DocumentError:
    return document.error(document.line(path), message, place(path))


def _refused(document: Document) -> Iterator[Problem]:
    """Yield what of a document is not supported."""
    version, kind = document.value.get("apiVersion"), str(document.value.get("kind"))
    if version != API_VERSION:
        message = f"{version} is not read: {API_VERSION} is"
        yield Problem(document.line(("apiVersion",)), "apiVersion", message)
        return
    if kind not in {"Service", "SLI", "SLO"}:
        why = _unsupported()["kinds"].get(kind, "known are Service, SLI and SLO")
        yield Problem(document.line(("kind",)), "kind", f"kind {kind} is not read: {why}")
        return
    fields = [(_path(text), why) for text, why in _unsupported()["fields"].get(kind, {}).items()]
    if kind == "SLO":
        inside = _unsupported()["fields"]["SLI"].items()
        fields += [(("spec", "indicator", *_path(text)), why) for text, why in inside]
    for path, why in fields:
        if _get(document.value, path) not in (None, [], {}, ""):
            yield Problem(document.line(path), place(path), why)


def _path(text: str) -> Path:
    steps = re.findall(r"[A-Za-z]+|\d+", text)
    return tuple(int(step) if step.isdigit() else step for step in steps)


def _objective(
    document: Document, indicators: Mapping[str, Document]
) -> tuple[Objective, tuple[Document, Path]]:
    where = _indicator_at(document, indicators)
    fields: dict[str, Any] = {
        key: value
        for key, path in _PATHS.items()
        if key not in _ANNOTATED and (value := _get(document.value, path)) is not None
    }
    fields |= _annotations(document) | _time_window(document)
    percent = _get(document.value, (*_FIRST, "targetPercent"))
    if percent is not None:
        fields["target"] = f"{percent}%"
    if isinstance(minutes := fields.get("time_slice_window"), int):
        fields["time_slice_window"] = minutes * 60
    fields["indicator"] = _indicator(*where)
    try:
        return Objective.model_validate(fields), where
    except ValidationError as error:
        problems = []
        for item in error.errors():
            path = _PATHS.get(str(item["loc"][0]), ()) if item["loc"] else ()
            message = item["msg"].removeprefix("Value error, ")
            problems.append(Problem(document.line(path), place(path), message))
        raise DocumentError(document.name, problems) from error


def _indicator_at(document: Document, indicators: Mapping[str, Document]) -> tuple[Document, Path]:
    if _get(document.value, ("spec", "indicator")) is not None:
        return document, ("spec", "indicator")
    path = ("spec", "indicatorRef")
    name = _get(document.value, path)
    if name is None:
        raise _error(document, ("spec",), "an SLO has an `indicator` or an `indicatorRef`")
    if name not in indicators:
        known = ", ".join(indicators) or "none"
        raise _error(document, path, f"no SLI {name!r} in this file; there are: {known}")
    return indicators[name], ()


def _indicator(document: Document, above: Path) -> dict[str, Any]:
    """Return the fields of an indicator from its metric sources."""
    sides: dict[str, dict[str, Any]] = {}
    for side in ("good", "total"):
        path = (*above, *_SOURCE_OF, side, "metricSource")
        source = _get(document.value, path)
        if not isinstance(source, dict):
            raise _error(document, path, f"a ratioMetric has a metric source `{side}`")
        if source.get("type") != SOURCE:
            message = f"metric sources of type {source.get('type')} are not read: tracekit counts "
            raise _error(document, (*path, "type"), message + "tasks of its lake, `type: tracekit`")
        sides[side] = dict(source.get("spec") or {})
        if sides[side].pop("view", None) != "tasks":
            raise _error(document, (*path, "spec"), "what is counted are tasks: `view: tasks`")
    total, path = sides["total"], (*above, *_SOURCE_OF, "total", *_SPEC)
    fields = {**total, "good": sides["good"].get("where")}
    if "sources" in total:
        fields["sources"] = _json(document, (*path, "sources"), total["sources"])
    try:
        Indicator.model_validate(fields)
    except ValidationError as error:
        item = error.errors()[0]
        inside = (*path, *item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        raise _error(document, inside, message) from error
    return fields


def _json(document: Document, path: Path, text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise _error(document, path, f"{text!r} is not JSON") from error


def _annotations(document: Document) -> dict[str, Any]:
    path: Path = ("metadata", "annotations")
    fields: dict[str, Any] = {}
    for name, value in (_get(document.value, path) or {}).items():
        key = str(name).removeprefix(_PREFIX)
        if key == name:
            continue  # somebody else's
        if key not in {*_ANNOTATED, "time_slice_window"}:
            raise _error(document, (*path, name), "no annotation of tracekit")
        fields[key] = _json(document, (*path, name), value)
    return fields


def _time_window(document: Document) -> dict[str, Any]:
    path: Path = ("spec", "timeWindow", 0)
    window = _get(document.value, path)
    if not isinstance(window, dict):
        raise _error(document, ("spec",), "an SLO has one `timeWindow`")
    calendar = window.get("calendar")
    if calendar is None:
        return {"time_window": window.get("duration")}
    if window.get("duration") != "1M" or window.get("isRolling"):
        raise _error(document, (*path, "duration"), "of calendar windows the month is read: 1M")
    start = calendar.get("startTime")
    moment = start if isinstance(start, datetime) else _moment(str(start))
    if moment is None or (moment.day, moment.hour, moment.minute, moment.second) != (1, 0, 0, 0):
        message = "calendar months that begin at another time than the first at 00:00 are not read"
        raise _error(document, (*path, "calendar", "startTime"), message)
    return {"time_window": MONTH, "time_zone": calendar.get("timeZone", "UTC")}


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def dump(objectives: Objectives) -> str:
    """Return objectives as an OpenSLO stream: services, then each SLI with its SLO."""
    services = dict.fromkeys(objective.service for objective in objectives.objectives)
    parts = [_document("Service", name, {}) for name in services]
    for objective in objectives.objectives:
        parts += [_sli(objective), _slo(objective)]
    return written(*parts)


def _document(kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": dict(spec),
    }


def _sli(objective: Objective) -> dict[str, Any]:
    said = objective.indicator.model_dump(exclude_defaults=True, exclude={"good", "sources"})
    if objective.indicator.sources:
        said["sources"] = json.dumps(objective.indicator.sources, ensure_ascii=False)
    good = {"view": "tasks", "where": objective.indicator.good}
    ratio = {
        "counter": False,
        "good": {"metricSource": {"type": SOURCE, "spec": good}},
        "total": {"metricSource": {"type": SOURCE, "spec": {"view": "tasks", **said}}},
    }
    return _document("SLI", objective.name, {"ratioMetric": ratio})


def _slo(objective: Objective) -> dict[str, Any]:
    said = objective.model_dump(mode="json", exclude_defaults=True)
    slices = objective.budgeting_method != "Occurrences"
    annotated = (*_ANNOTATED, *(() if slices else ("time_slice_window",)))
    annotations = {
        _PREFIX + key: json.dumps(said[key], ensure_ascii=False) for key in annotated if key in said
    }
    goal: dict[str, Any] = {"target": objective.target}
    if objective.time_slice_target is not None:
        goal["timeSliceTarget"] = objective.time_slice_target
    if slices:
        goal["timeSliceWindow"] = shorthand(objective.slice_s)
    window: dict[str, Any]
    if objective.time_window == MONTH:
        calendar = {"startTime": "2020-01-01 00:00:00", "timeZone": objective.time_zone}
        window = {"duration": "1M", "isRolling": False, "calendar": calendar}
    else:
        window = {"duration": shorthand(objective.time_window), "isRolling": True}
    spec = {
        **({"description": objective.description} if objective.description else {}),
        "service": objective.service,
        "indicatorRef": objective.name,
        "timeWindow": [window],
        "budgetingMethod": objective.budgeting_method,
        "objectives": [goal],
    }
    metadata = {"annotations": annotations} if annotations else {}
    return _document("SLO", objective.name, spec, **metadata)
