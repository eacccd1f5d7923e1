"""The detectors as data: read from `thresholds.yaml`, with their SQL, numbers filled in."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Final, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from tracekit.errors import TracekitError, UsageError

UNVALIDATED: Final = "X"
"""Source of thresholds that are our own."""


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Threshold(_Facts):
    """A number a rule uses.

    Attributes:
        default: The number.
        unit: What it counts.
        source: S, E or A: the literature; X: an unvalidated default of ours.
        meaning: What happens at it.
    """

    default: float | int
    unit: str
    source: Literal["S", "E", "A", "X"]
    meaning: str


class Detector(_Facts):
    """A detector.

    Attributes:
        finds: What it finds, in a few words.
        thresholds: Its numbers by name.
        left_out: Parts of the rule that it does without, and why.
    """

    finds: str
    thresholds: dict[str, Threshold]
    left_out: tuple[str, ...] = ()


class Specification(_Facts):
    """All detectors.

    Attributes:
        version: Changes with any rule or number.
        evidence_spans: How many spans the evidence of a hit names at most.
        baselines: Numbers that make a cohort baseline.
        detectors: The detectors by name, in order.
    """

    version: str
    evidence_spans: int
    baselines: dict[str, Threshold]
    detectors: dict[str, Detector]


@cache
def load() -> Specification:
    """Return the detectors shipped with this package.

    Raises:
        TracekitError: The file does not say what it must.
    """
    try:
        return Specification.model_validate(
            yaml.load(text("thresholds.yaml"), Loader=yaml.CSafeLoader)
        )
    except (yaml.YAMLError, ValidationError) as error:
        reason = str(error).replace("\n", "; ")
        raise TracekitError(f"detectors/thresholds.yaml: {reason}") from error


def detector(name: str) -> Detector:
    """Return a detector by its name.

    Raises:
        UsageError: There is none of that name.
    """
    known = load().detectors
    if name not in known:
        raise UsageError(f"no detector {name!r}; there are: {', '.join(known)}")
    return known[name]


@cache
def statement(name: str) -> str:
    """Return a detector's SELECT, its thresholds filled in.

    Raises:
        TracekitError: It has no SQL file, or names a threshold it does not declare.
    """
    return _filled(f"{name}.sql", detector(name).thresholds)


@cache
def shared(name: str) -> str:
    """Return the text of an SQL file that is no detector's, its numbers filled in."""
    return _filled(name, load().baselines)


def text(name: str) -> str:
    """Return the text of a file of this package."""
    return resources.files("tracekit.detectors").joinpath(name).read_text(encoding="utf-8")


def _filled(name: str, numbers: dict[str, Threshold]) -> str:
    try:
        return text(name).format(**{key: number.default for key, number in numbers.items()})
    except FileNotFoundError as error:
        raise TracekitError(f"detectors/{name} is missing; thresholds.yaml names it") from error
    except (KeyError, IndexError, ValueError) as error:
        raise TracekitError(
            f"detectors/{name}: {{{error.args[0]}}} is no threshold in thresholds.yaml"
        ) from error
