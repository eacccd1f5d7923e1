"""The steps of a session as a tree beside a time axis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from tracekit.cli.terminal import shortened
from tracekit.reports.facts import failed, step_cost, step_end, step_label, step_tokens
from tracekit.reports.figures import duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tracekit.reports.table import Row

_DEEPEST = 10
"""Levels of indentation that are drawn; deeper steps say that levels are missing."""
_BAR_NARROWEST, _BAR_WIDEST = 10, 48
_STOP_NARROWEST = 16
_WIDE = 90
"""Characters from which there is room for the tokens."""
_GAP = "  "
_LEVELS = {"│": "│ ", "├": "├ ", "└": "└ ", " ": "  "}
_COLOURS = {"llm": "cyan", "embeddings": "cyan", "rerank": "cyan", "tool": "blue"}


def waterfall(steps: Sequence[Row], width: int) -> Iterator[Text]:
    """Yield a header and one line per step.

    Args:
        steps: Rows of `reports.session.Session.steps`.
        width: Characters per line.
    """
    texts = [_text(row, with_tokens=width >= _WIDE) for row in steps]
    head = ("step", "took", "tokens" if width >= _WIDE else "", "USD", "stop")
    fixed = [max(map(cell_len, column)) for column in zip(head, *texts, strict=True)]
    step_width, bar_width = _widths(fixed, width)
    stop_width = width - step_width - bar_width - sum(fixed[1:4]) - 5 * len(_GAP)
    ends = [_number(row["at_s"]) + _number(row["duration_s"]) for row in steps]
    whole = max(ends, default=0.0) or 1.0
    widths = (step_width, bar_width, *fixed[1:4], stop_width)
    yield Text(_join((head[0], "", *head[1:]), widths).rstrip(), style="bold")
    yield Text("─" * min(width, sum(widths) + 5 * len(_GAP)), style="dim")
    for row, (step, took, used, cost, stop) in zip(steps, texts, strict=True):
        bar = _bar(row, whole, bar_width)
        cells = (step, bar, took, used, cost, stop)
        yield _styled(row, cells, widths)


def _widths(fixed: Sequence[int], width: int) -> tuple[int, int]:
    """Return the widths of the tree and of the bar: the tree first, within two fifths."""
    free = width - sum(fixed[1:4]) - 5 * len(_GAP) - max(_STOP_NARROWEST, min(fixed[4], 30))
    step = min(fixed[0], max(width * 2 // 5, free - _BAR_WIDEST))
    step = max(12, min(step, free - _BAR_NARROWEST))
    return step, max(_BAR_NARROWEST, min(_BAR_WIDEST, free - step))


def _text(row: Row, *, with_tokens: bool) -> tuple[str, str, str, str, str]:
    branch = str(row["branch"])
    cut = "… " if len(branch) > _DEEPEST else ""
    indent = cut + "".join(_LEVELS[level] for level in branch[-_DEEPEST:])
    used = step_tokens(row) if with_tokens else ""
    took = duration(row["duration_s"])
    return (indent + step_label(row), took, used, step_cost(row), step_end(row))


def _bar(row: Row, whole: float, width: int) -> str:
    start = min(width - 1, int(_number(row["at_s"]) / whole * width))
    if row["duration_s"] is None:
        return " " * start + "┄" * (width - start)
    length = max(1, round(_number(row["duration_s"]) / whole * width))
    return " " * start + "━" * min(length, width - start)


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    right = {2, 3, 4}
    padded = []
    for number, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        cut = shortened(cell, width)
        blank = " " * (width - cell_len(cut))
        padded.append(blank + cut if number in right else cut + blank)
    return _GAP.join(padded)


def _styled(row: Row, cells: Sequence[str], widths: Sequence[int]) -> Text:
    line = Text(_join(cells, widths).rstrip())
    start = widths[0] + len(_GAP)
    colour = "red" if failed(row) else _COLOURS.get(str(row["operation"]), "dim")
    line.stylize(colour, start, start + widths[1])
    stop = sum(widths[:5]) + 5 * len(_GAP)
    if failed(row):
        line.stylize("red", stop)
    elif row["waste_reason"]:
        line.stylize("yellow", stop)
    return line
