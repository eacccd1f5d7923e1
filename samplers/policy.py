"""Policies: what an operator writes in YAML to say which sessions to keep.

    name: shop
    rules:
      - name: failures
        when: stop_outcome = 'failure'
        keep: all
    baseline: 0.05
    strata:
      - {by: [agent_name, stop_category], floor: 5, quota: 200, window: 1h}
    budgets: {bytes_per_day: 20GB}

A file is checked whole when it is read: keys, values, features and predicates. Every problem is
told with its line and, where a name is close to one that exists, with that name.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from samplers import policy_limits as limits
from samplers import policy_model as model
from samplers.policy_model import Judgement, Policy
from samplers.predicates import checker
from tracekit.documents import Document, DocumentError, Problem, place
from tracekit.errors import InputError, UsageError
from tracekit.predicates import PredicateError, unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pydantic import BaseModel

PRESETS: Final = ("keep-anomalies", "keep-all", "errors-only", "baseline-only")
"""Policies that come with the package; the first is the default."""


def load(source: str | Path) -> Policy:
    """Return a policy.

    Args:
        source: A preset's name, or the path of a file.

    Raises:
        UsageError: There is no such preset or file.
        DocumentError: The file is wrong; with every problem and its line.
    """
    if str(source) in PRESETS:
        return preset(str(source))
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        close = unknown(str(source), PRESETS) or f"; presets are {', '.join(PRESETS)}"
        raise UsageError(f"no policy file or preset {str(source)!r}{close}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: the policy file is not UTF-8 text") from error
    except OSError as error:
        raise InputError(f"{path}: cannot read the policy file: {error.strerror}") from error
    return parse(str(source), text)


@cache
def preset(name: str) -> Policy:
    """Return a policy that comes with the package."""
    file = resources.files("samplers").joinpath("presets", f"{name}.yaml")
    return parse(name, file.read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Policy:
    """Return a policy from the text of a file.

    Args:
        name: What the file is called in messages.
        text: Its content.

    Raises:
        DocumentError: As in `load`.
    """
    document = Document(name, text)
    named = _with_presets(document)
    try:
        policy = Policy.model_validate(named)
    except ValidationError as error:
        raise DocumentError(name, list(_problems(document, error))) from error
    if problems := list(_wrong_predicates(document)):
        raise DocumentError(name, problems)
    return policy


def _with_presets(document: Document) -> dict[str, Any]:
    """Return the content with presets among the shadow policies written out."""
    shadows = document.value.get("shadow")
    if not isinstance(shadows, list):
        return document.value
    resolved = []
    for number, shadow in enumerate(shadows):
        if not (isinstance(shadow, dict) and set(shadow) == {"preset"}):
            resolved.append(shadow)
            continue
        wanted = str(shadow["preset"])
        if wanted not in PRESETS:
            path = ("shadow", number, "preset")
            message = f"no preset {wanted!r}{unknown(wanted, PRESETS)}"
            raise document.error(document.line(path), message, place(path))
        resolved.append(preset(wanted).model_dump(include=set(Judgement.model_fields)))
    return {**document.value, "shadow": resolved}


def _problems(document: Document, error: ValidationError) -> Iterator[Problem]:
    for item in error.errors():
        path = item["loc"]
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            known = _keys_at(path[:-1])
            message = f"unknown key{unknown(str(path[-1]), known) or f'; keys are {_list(known)}'}"
        elif item["type"] == "missing":
            message = "the key is missing"
        yield Problem(document.line(path), place(path), message)


def _list(names: Sequence[str]) -> str:
    return ", ".join(names)


def _keys_at(path: Sequence[str | int]) -> list[str]:
    """Return the keys that a mapping of the file may have."""
    found: type[BaseModel] = Policy
    for step in path:
        found = _MODELS.get(str(step), found)
    return list(found.model_fields)


_MODELS: Final[dict[str, type[BaseModel]]] = {
    "rules": model.Rule,
    "drop": model.DropRule,
    "strata": model.Strata,
    "budgets": limits.Budgets,
    "per_tenant": limits.Budget,
    "tenants": limits.Budget,
    "degrade": limits.DegradeLevel,
    "steps": limits.Step,
    "strip": limits.Step,
    "truncate": limits.Truncate,
    "scrub": limits.Scrub,
    "sessions": limits.Sessions,
    "shadow": model.Judgement,
}
"""Model of the mapping, or of the mappings in the list, below a key."""


def _wrong_predicates(document: Document) -> Iterator[Problem]:
    predicates = checker()
    shadows = (
        (("shadow", number), shadow)
        for number, shadow in enumerate(document.value.get("shadow") or [])
        if set(shadow) != {"preset"}
    )
    judgements: list[tuple[tuple[str | int, ...], Any]] = [((), document.value), *shadows]
    for path, judgement in judgements:
        for key in ("rules", "drop"):
            for number, rule in enumerate(judgement.get(key) or []):
                at = (*path, key, number, "when")
                try:
                    predicates.check(rule["when"])
                except PredicateError as error:
                    line = document.line(at, text_line=error.line)
                    yield Problem(line, place(at), str(error))
