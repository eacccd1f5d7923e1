"""The stop codes as typed data, read from `taxonomy.yaml`."""

from __future__ import annotations

from functools import cache
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

Level = Literal["declared", "E0", "E1", "E2", "E3"]
"""What a classification rests on; see the head of `taxonomy.yaml`."""


def data(name: str) -> Any:
    """Return the parsed content of one YAML file of this package."""
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=yaml.CSafeLoader)


class Code(BaseModel):
    """One stop code.

    Attributes:
        code: Dotted name, `category.reason`.
        outcome: What the code says about the task.
        fault: P provider, A application or agent, U user or caller, X policy, - nobody.
        level: Least evidence a rule for the code may rest on.
        definition: One sentence.
        question: The on-call question the code answers.
        parent: Core code a refinement folds into; None for a core code.
        otel: Value in OpenTelemetry semantic-conventions PR #238, where there is one.
        see: Codes of other taxonomies for the same thing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: str
    outcome: Literal["success", "failure", "undetermined"]
    fault: Literal["P", "A", "U", "X", "-"]
    level: Level
    definition: str
    question: str
    parent: str | None = None
    otel: Literal["completed", "max_iterations", "guardrail"] | None = None
    see: tuple[str, ...] = ()

    @property
    def category(self) -> str:
        """Part of the code before the dot."""
        return self.code.partition(".")[0]


class Taxonomy(BaseModel):
    """All stop codes, in the order of the file, with the version of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: str
    categories: dict[str, str]
    codes: dict[str, Code]

    @model_validator(mode="after")
    def _consistent(self) -> Taxonomy:
        for code in self.codes.values():
            if code.category not in self.categories:
                raise ValueError(f"{code.code}: no category {code.category}")
            parent = code.parent and self.codes.get(code.parent)
            if code.parent and (not parent or parent.parent):
                raise ValueError(f"{code.code}: parent {code.parent} is not a core code")
        return self

    def folded(self, code: str) -> str:
        """Return the core code of a code: its parent for a refinement, else itself."""
        return self.codes[code].parent or code


@cache
def load() -> Taxonomy:
    """Return the taxonomy shipped with this package."""
    document = data("taxonomy.yaml")
    codes = {name: Code(code=name, **fields) for name, fields in document["codes"].items()}
    return Taxonomy(version=document["version"], categories=document["categories"], codes=codes)
