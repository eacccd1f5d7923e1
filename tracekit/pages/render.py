"""Charts and pages as text: templates filled in, everything from the data escaped."""

from __future__ import annotations

import base64
import re
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tracekit.pages.charts import Section
from tracekit.reports.figures import figure
from tracekit.reports.table import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tracekit.pages.charts import Chart, Listing

_FEWEST_BETWEEN = 4
"""Dates below a chart: so many intervals at most, for a telephone."""
_EDGE = 6
"""Percent of the width from which a label hangs to one side of its tick."""
_FORMATS = {"hour": "%d %b %H:00", "day": "%d %b", "week": "%d %b", "month": "%b %Y"}


def page(template: str, **values: Any) -> str:
    """Return a page: a template of this package, filled in.

    Args:
        template: Its file name.
        values: What it names.
    """
    return _environment().get_template(template).render(values)


def draw(what: Chart | Listing | Section) -> Markup:
    """Return a chart, a listing or a section as HTML."""
    template, name = ("section.html", "section") if isinstance(what, Section) else ("", "chart")
    text = page(template or what.template, **{name: what})  # type: ignore[union-attr]
    return Markup(text)  # noqa: S704 - the template escaped what it was given


@cache
def style() -> str:
    """Return the style sheet of all pages."""
    return _sheet("page") + chart_style()


@cache
def chart_style() -> str:
    """Return the part of it that charts need, which touches nothing else on a page."""
    return _sheet("charts")


def _sheet(name: str) -> str:
    return resources.files("tracekit.pages").joinpath(f"templates/{name}.css").read_text("utf-8")


@cache
def style_hash() -> str:
    """Return the style sheet's hash, as a Content-Security-Policy names it."""
    digest = sha256(style().encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def fragment(figures: Sequence[Chart | Listing | Section]) -> str:
    """Return charts with what they need to be shown inside somebody else's page."""
    drawn = Markup().join(draw(one) for one in figures)
    return page("fragment.html", drawn=drawn, style=Markup(chart_style()))  # noqa: S704 - our own file


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("tracekit.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "draw": draw,
        "anchor": anchor,
        "breakable": breakable,
        "labels": labels,
        "period": period_label,
        "plain": lambda value: figure(value, Kind.NUMBER),
    }
    return environment


def breakable(text: str) -> Markup:
    """Return a text that may break behind the marks names are put together with."""
    parts = re.split(r"(?<=[._/-])", text)
    return Markup("<wbr>").join(parts)


def anchor(place: float) -> str:
    """Return how a label stands to its tick: centred, but within the chart at its edges."""
    return "start" if place < _EDGE else "end" if place > 100 - _EDGE else "middle"


def labels(periods: Sequence[str], period: str) -> list[tuple[float, str]]:
    """Return places in percent and texts of a few of the periods, the first and the last included.

    Args:
        periods: Starts of the periods.
        period: What a period is: hour, day, week, month.
    """
    if not periods:
        return []
    count = len(periods)
    between = max(1, min(_FEWEST_BETWEEN, count - 1))
    chosen = dict.fromkeys(round(number * (count - 1) / between) for number in range(between + 1))
    return [
        (round((number + 0.5) * 100 / count, 2), period_label(periods[number], period))
        for number in chosen
    ]


def period_label(start: str, period: str) -> str:
    """Return the start of a period as people write it."""
    return datetime.fromisoformat(start).strftime(_FORMATS[period])
