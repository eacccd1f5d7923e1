"""Settings from the environment: `TRACEKIT_COLLECT_` and the path of a setting in capitals.

`receivers.grpc.endpoint` is `TRACEKIT_COLLECT_RECEIVERS_GRPC_ENDPOINT`. A value is read as YAML, so
a list is written `[a, b]`. The environment wins over the file.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Final

import yaml

from tracekit.checking import did_you_mean, models_in
from tracekit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import BaseModel

PREFIX: Final = "TRACEKIT_COLLECT_"

Names = tuple[str, ...]


def leaves(model: type[BaseModel], path: Names = ()) -> Iterator[Names]:
    """Yield the paths of all settings that are not sections; a list is one setting."""
    for name, field in model.model_fields.items():
        below = models_in(field.annotation)
        if below and not _is_collection(field.annotation):
            yield from leaves(below[0], (*path, name))
        else:
            yield (*path, name)


def _is_collection(annotation: Any) -> bool:
    return getattr(annotation, "__origin__", None) in (list, dict)


def variable(path: Names) -> str:
    """Return the name of the variable of a setting."""
    return PREFIX + "_".join(path).upper()


@dataclasses.dataclass(frozen=True, slots=True)
class Overrides:
    """What the environment sets.

    Attributes:
        values: By the path of the setting.
    """

    values: Mapping[Names, Any]

    def over(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings of a file with these values in them."""
        merged = dict(settings)
        for path, value in self.values.items():
            section = merged
            for name in path[:-1]:
                inside = section.get(name)
                section[name] = dict(inside) if isinstance(inside, dict) else {}
                section = section[name]
            section[path[-1]] = value
        return merged

    def origin(self, path: tuple[Any, ...]) -> str | None:
        """Return the variable that set a value; None for one of the file."""
        for names in self.values:
            if path[: len(names)] == names:
                return variable(names)
        return None


def overrides(model: type[BaseModel], environ: Mapping[str, str]) -> Overrides:
    """Return what the environment sets of a model.

    Raises:
        InputError: A variable with the prefix names no setting, or its value is not YAML.
    """
    known = {variable(path): path for path in leaves(model)}
    values: dict[Names, Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        if name not in known:
            meant = did_you_mean(name, list(known))
            hint = meant if "did you mean" in meant else "; docs/collector.md lists them"
            raise InputError(f"{name}: no setting has this variable{hint}")
        try:
            values[known[name]] = yaml.safe_load(environ[name])
        except yaml.YAMLError as error:
            raise InputError(f"{name}: the value is not valid YAML: {error}") from error
    return Overrides(values)
