"""The table of settings in the documentation, made from the models.

python -m samplers.collector.settings.document docs/collector.md
"""

from __future__ import annotations

import re
import sys
import types
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ByteSize
from pydantic_core import PydanticUndefined

from samplers.collector.config import CollectorSettings
from samplers.collector.settings.environment import variable
from tracekit.checking import models_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

BEGIN: Final = "<!-- settings: made by samplers.collector.settings.document -->"
END: Final = "<!-- end of settings -->"

_HEAD: Final = ("| setting | type | default | meaning |", "|---|---|---|---|")
_SIZES: Final = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10))
_TIMES: Final = (("h", 3600), ("m", 60), ("s", 1))


def tables(model: type[BaseModel] = CollectorSettings) -> str:
    """Return the tables of all settings as Markdown, one per section."""
    return "\n".join(_section(model, "", set())).strip() + "\n"


def _section(model: type[BaseModel], path: str, shown: set[type[BaseModel]]) -> Iterator[str]:
    """Yield a section and those within; what all items of a list share is shown once."""
    if "[" in path and model in shown:
        return
    shown.add(model)
    below = list(_sections_in(model))
    rows = [
        _row(name, field)
        for name, field in model.model_fields.items()
        if not models_in(field.annotation) or _is_list(field) or field.default is None
    ]
    if path and rows:
        yield f"### `{path}`\n"
        yield (model.__doc__ or "").strip()
        if "[" not in path:
            yield f"In the environment: `{variable((*path.split('.'), '...'))}`."
        yield ""
    if rows:
        yield from (*_HEAD, *rows, "")
    for item, name in below:
        outer = "exporters[]" if path.startswith("exporters[") else path
        yield from _section(item, f"{outer}.{name}" if path else name, shown)


def _sections_in(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str]]:
    for name, field in model.model_fields.items():
        models = models_in(field.annotation)
        if not _is_list(field):
            yield from ((item, name) for item in models)
        elif len(models) > 1:  # told apart by their type
            for item in models:
                tag: Any = item.model_fields["type"].annotation
                yield item, f"{name}[{typing.get_args(tag)[0]}]"


def _is_list(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) is list


def _row(name: str, field: FieldInfo) -> str:
    meaning = " ".join((field.description or "").split()).replace("|", "\\|")
    if not meaning and name == "type":
        meaning = "Which exporter this is."
    return f"| `{name}` | {_type(field)} | {_default(field)} | {meaning} |"


def _type(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        annotation = next(part for part in typing.get_args(annotation) if part is not type(None))
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in typing.get_args(annotation))
    if origin in (list, dict):
        return "list" if origin is list else "mapping"
    if models_in(annotation):
        return "section"
    if annotation is ByteSize:
        return "size"
    if annotation is float:
        return "share" if any(hasattr(item, "le") for item in field.metadata) else "duration"
    names = {str: "text", int: "count", bool: "true or false", Path: "path"}
    return names.get(annotation, "text")


def _default(field: FieldInfo) -> str:
    value = [] if field.default_factory is list else field.default
    value = {} if field.default_factory is dict else value
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, ByteSize):
        return f"`{_with_unit(value, _SIZES)}`"
    if isinstance(value, float) and _type(field) == "duration":
        return f"`{_with_unit(value, _TIMES)}`" if value >= 1 else f"`{value * 1e3:g}ms`"
    return f"`{value}`"


def _with_unit(value: float, units: tuple[tuple[str, int], ...]) -> str:
    for unit, size in units:
        if value >= size and value % size == 0:
            return f"{value // size:g}{unit}"
    return f"{value:g}"


def updated(text: str) -> str:
    """Return a page with its settings made anew."""
    made = f"{BEGIN}\n\n{tables()}\n{END}"
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: made, text, flags=re.DOTALL)


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
