"""The pages in a real browser: what it says, what it asks for, and whether things fit."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from browser import Browser, executable
from pages_build import HOSTILE, hostile_lake

from tracekit.pages.notebooks import can_run, notebooks
from tracekit.pages.report import report
from tracekit.pages.ui.notebooks import served as notebooks_served
from tracekit.pages.ui.server import Server
from tracekit.reports.query import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from browser import Page

    from tracekit.lake import Lake

pytestmark = pytest.mark.skipif(
    executable() is None, reason="no Chromium here: install it, or name one by TRACEKIT_CHROMIUM"
)
WIDTHS = pytest.mark.parametrize("width", [1280, 390])
MADE = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser.launch() as browser:
        yield browser


@contextmanager
def serving(lake: Lake) -> Iterator[Server]:
    with Server(lake, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(simulated: Lake) -> Iterator[Server]:
    with serving(simulated) as server:
        yield server


@pytest.fixture(scope="module")
def address(simulated: Lake, tmp_path_factory: pytest.TempPathFactory) -> str:
    return written(simulated, tmp_path_factory.mktemp("report") / "report.html")


def written(lake: Lake, path: Path) -> str:
    """Write a report of a lake, and return its address."""
    text = lake.read(lambda con: report(con, Selection(), lake="demo", made=MADE))
    path.write_text(text, encoding="utf-8")
    return path.as_uri()


def sound(page: Page, own: str) -> None:
    """Hold that a page is quiet, asks nobody else, and is no wider than the window."""
    assert page.console == []
    assert page.foreign(own) == []
    assert page.overflow() <= 0


@WIDTHS
def test_the_report_opens_from_a_file(browser: Browser, address: str, width: int) -> None:
    """It opens without a server, asks for nothing but itself, fits, and draws its patterns."""
    with browser.page(width) as page:
        page.open(address)
        sound(page, address)
        assert page.requests == [address]
        assert "Did the tasks succeed?" in page.text()
        assert page.value("getComputedStyle(document.querySelector('.look-failure')).fill").count(
            "#failure"
        )
        bars = "[...document.querySelectorAll('td.plot rect')].map(r => r.getBoundingClientRect())"
        assert page.value(f"{bars}.every(r => r.left >= -1 && r.right <= innerWidth + 1)")
        cut = "[...document.querySelectorAll('svg text')].map(t => t.getBoundingClientRect())"
        assert page.value(f"{cut}.every(r => r.left >= -1 && r.right <= innerWidth + 1)")


@WIDTHS
def test_labels_of_an_axis_do_not_overlap(browser: Browser, address: str, width: int) -> None:
    """Between two labels of one axis there is room, on a telephone too."""
    gaps = """[...document.querySelectorAll('svg.axis')].flatMap(axis => {
        const boxes = [...axis.querySelectorAll('text')].map(t => t.getBoundingClientRect());
        return boxes.slice(1).map((box, n) => box.left - boxes[n].right)})"""
    with browser.page(width) as page:
        page.open(address)
        assert min(page.value(gaps)) > 0


@WIDTHS
def test_the_pages_fit_and_are_quiet(browser: Browser, server: Server, width: int) -> None:
    """The list, a session, the notebooks and a mistake: no error, nobody asked, nothing cut off."""
    own = f"http://127.0.0.1:{server.guard.port}/"
    with browser.page(width) as page:
        page.open(server.address)
        sound(page, own)
        assert "token" not in page.value("location.href")
        page.submit("document.querySelector('.listing a').click()")
        sound(page, own)
        assert "s since the start" in page.text()
        page.open(f"{own}notebooks")
        sound(page, own)


def test_the_filter_works(browser: Browser, server: Server) -> None:
    """Choosing an outcome and pressing the button lists sessions with that outcome only."""
    with browser.page() as page:
        page.open(server.address)
        page.value("document.querySelector('[name=outcome]').value = 'failure'")
        page.submit("document.querySelector('form button').click()")
        outcomes = page.value(
            "[...document.querySelectorAll('td[data-label=outcome]')].map(cell => cell.innerText)"
        )
        assert set(outcomes) == {"failure"}
        assert page.value("document.querySelector('[name=outcome]').value") == "failure"
        page.value("document.querySelector('[name=where]').value = \"agent_name = 'nobody'\"")
        page.submit("document.querySelector('form button').click()")
        assert "nothing to show" in page.text()


def test_the_token_is_required(browser: Browser, server: Server) -> None:
    """Without the printed address there is no page, and a session's page is no way around it."""
    own = f"http://127.0.0.1:{server.guard.port}"
    with browser.page() as page:
        for path in ("/", "/session/sim-001-support", "/?token=guessed"):
            page.open(own + path)
            assert "Token missing" in page.text()
            assert page.value("document.querySelectorAll('table').length") == 0


def test_markup_in_names_does_not_run(browser: Browser, tmp_path: Path) -> None:
    """A session with a script for a name is listed and shown under that name, and runs nothing."""
    lake = hostile_lake(tmp_path)
    address = written(lake, tmp_path / "report.html")
    with serving(lake) as server, browser.page() as page:
        own = f"http://127.0.0.1:{server.guard.port}/"
        page.open(server.address)
        assert HOSTILE in page.text()
        sound(page, own)
        page.submit("document.querySelector('.listing a').click()")
        assert page.value("document.title") == f"{HOSTILE} \N{EN DASH} tracekit"
        sound(page, own)
        page.open(address)
        assert page.value("document.title") == "tracekit report"
        assert HOSTILE in page.text()


@pytest.mark.slow
@pytest.mark.skipif(not can_run(), reason="the notebooks need marimo: the extra `notebooks`")
def test_notebooks_are_served_behind_the_token(
    browser: Browser, simulated: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the page of the notebooks each opens as an application, asks nobody else, and fits."""
    monkeypatch.setenv("TRACEKIT_LAKE", "")
    with serving(simulated) as server, notebooks_served(server, simulated.path):
        chosen = [(notebook, address) for notebook, address in server.notebooks][:1]
        assert len(server.notebooks) == len(notebooks())
        for notebook, address in chosen:
            with browser.page() as page:
                page.open(address)
                assert "refused" in page.text()
            with browser.page(390) as page:
                page.open(server.address)
                page.open(f"http://127.0.0.1:{server.guard.port}/notebooks")
                page.submit(f"document.querySelector('a[href=\"{address}\"]').click()")
                page.until("document.querySelectorAll('figure.chart').length >= 2")
                assert notebook.title in page.text()
                own = f"//127.0.0.1:{address.split(':')[2].split('/')[0]}/"
                asked = page.foreign(
                    f"http:{own}", f"ws:{own}", f"http://127.0.0.1:{server.guard.port}/"
                )
                assert asked == []
                assert page.overflow() <= 0
