"""`tracekit report --html`: one file, readable, with nothing from elsewhere."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from lake_build import new_lake
from pages_build import HOSTILE, hostile_lake

from tracekit.cli import main
from tracekit.pages.report import report
from tracekit.reports.query import Selection

if TYPE_CHECKING:
    from pathlib import Path

    from tracekit.lake import Lake

MADE = datetime(2026, 2, 1, tzinfo=UTC)
VOID = {"meta", "link", "input", "wbr", "br", "img"}


class Reader(HTMLParser):
    """Collects what a page is made of, and what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and that it is open."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that is closed at once."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Note that an element is closed, or that another one was to be closed first."""
        if self.open and self.open[-1] == tag:
            self.open.pop()
        else:
            self.wrong.append(f"</{tag}> in {self.open[-3:]}")


def page(lake: Lake) -> str:
    return lake.read(lambda con: report(con, Selection(), lake="demo", made=MADE))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def text(simulated: Lake) -> str:
    return page(simulated)


def test_the_file_names_nothing_outside_itself(text: str) -> None:
    """No address, no script, no frame: only places in the page itself are named."""
    reader = read(text)
    assert not {tag for tag, _ in reader.tags} & {"script", "img", "iframe", "link", "object"}
    named = [
        value
        for _, attributes in reader.tags
        for name, value in attributes.items()
        if name in {"href", "src", "srcset", "xlink:href", "action"}
    ]
    assert [value for value in named if not str(value).startswith("#")] == []
    assert re.findall(r"url\((?!#)|@import|https?:", text) == []


def test_the_page_is_well_formed(text: str) -> None:
    """Every element that is opened is closed, in order, and no id is there twice."""
    reader = read(text)
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert (reader.wrong, reader.open) == ([], [])
    assert len(set(ids)) == len(ids)


def test_every_chart_says_what_to_see_and_has_its_unit(text: str) -> None:
    """A chart has a title, a sentence, and a unit or a measure on its axis."""
    charts = re.findall(r'<figure class="chart">(.*?)</figure>', text, re.DOTALL)
    assert len(charts) >= 9
    for chart in charts:
        caption = re.search(r"<figcaption><strong>(.+?)</strong> <span>(.+?)</span>", chart)
        assert caption, chart[:300]
        if 'class="bars"' in chart or 'class="strips"' in chart or 'class="dots"' in chart:
            assert re.search(r'class="axis-title">[^<]+<', chart), caption[1]


def test_the_headline_stands_with_its_interval(text: str) -> None:
    """Success is not printed without its interval and what is undetermined."""
    words = re.sub(r"<[^>]+>", "", text)
    assert re.search(r"Of \d+ decided tasks \d+\.\d % succeeded \(95 % interval \d", words)
    assert re.search(r"Were the \d+ undetermined tasks known, success would lie between", words)


def test_names_from_the_data_stay_text(tmp_path: Path) -> None:
    """Names that are markup are shown as they are, and make no element."""
    text = page(hostile_lake(tmp_path))
    reader = read(text)
    assert "script" not in {tag for tag, _ in reader.tags}
    assert (reader.wrong, reader.open) == ([], [])
    assert HOSTILE not in text


def test_an_empty_selection_is_said(tmp_path: Path) -> None:
    """A lake without sessions makes a page that says so, and no empty chart without a word."""
    text = page(new_lake(tmp_path / "lake"))
    assert "No tasks are selected." in text
    assert read(text).wrong == []


def test_the_command_writes_the_file(simulated: Lake, tmp_path: Path) -> None:
    """`--html` writes the page, and says where; other ways to print are refused with it."""
    run = CliRunner()
    lake = ["--lake", str(simulated.path)]
    path = tmp_path / "report.html"
    done = run.invoke(main, ["report", "--html", str(path), *lake])
    assert (done.exit_code, str(path) in done.output) == (0, True)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    both = run.invoke(main, ["report", "--html", str(path), "--by", "model", *lake])
    assert (both.exit_code, "leave out --by" in both.output) == (2, True)
    lost = run.invoke(main, ["report", "--html", str(tmp_path / "no" / "folder.html"), *lake])
    assert (lost.exit_code, "cannot write" in lost.output) == (1, True)
