"""The first pages of `tracekit ui` over a ledger of ten million attempts, against the plain view.

Every model call is an attempt: the made-up ledger has as many sessions as make ten million of them
(their own rows are not written; the list asks for none).
A page is asked for as a browser does, over HTTP, the opening of the lake included; the rival is the
query that `tracekit sessions` runs for the same rows.
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import urllib.request
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import ledger
import measure

from tracekit.lake import Lake
from tracekit.pages.ui.server import Server
from tracekit.reports.query import Selection
from tracekit.reports.sessions import Order, sessions

if TYPE_CHECKING:
    from collections.abc import Callable

SESSIONS = 655_000
ROUNDS = 5
PAGES = {
    "first page": ("/", Selection(), Order(limit=50)),
    "failures": ("/?outcome=failure", Selection("outcome = 'failure'"), Order(limit=50)),
    "one stop, by cost": (
        "/?stop=tool.error_unrecovered&sort=cost_usd",
        Selection("stop_reason = 'tool.error_unrecovered'"),
        Order("cost_usd", limit=50),
    ),
    "page 100": ("/?page=100", None, None),
}
"""Address, and the same for the view; there is no rival where the list cannot skip pages."""


def attempts(lake: Lake) -> int:
    """Return how many attempts the ledger stands for."""
    (row,) = lake.query("SELECT sum(llm_calls)::BIGINT AS n FROM sessions").to_pylist()
    return int(row["n"])


def fetched(server: Server, path: str) -> str:
    """Return a page as a browser with the cookie gets it."""
    cookie = server.guard.cookie().partition(";")[0]
    url = f"http://127.0.0.1:{server.guard.port}{path}"
    asked = urllib.request.Request(url, headers={"Cookie": cookie})
    with urllib.request.urlopen(asked) as answer:  # noqa: S310 - as above
        return str(answer.read().decode())


def run() -> list[measure.Result]:
    """Ask for each page both ways, in turns."""
    results: list[measure.Result] = []
    with tempfile.TemporaryDirectory() as folder:
        ledger.write(Path(folder) / "lake", SESSIONS)
        lake = Lake.open(Path(folder) / "lake")
        calls = f"{attempts(lake) / 1e6:.1f} M attempts"
        with Server(lake, 0) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for name, (path, selection, order) in PAGES.items():
                assert fetched(server, path).count('href="/session/') == 50
                rivals: dict[str, Callable[[], object]] = {
                    f"ui, {name}, {calls}": partial(fetched, server, path)
                }
                if selection is not None:
                    view = partial(sessions, selection=selection, order=order)
                    rivals[f"plain view, {name}"] = partial(lake.read, view)
                results += _lines(measure.interleave(rivals, ROUNDS))
            server.shutdown()
    return results


def _lines(seconds: dict[str, list[float]]) -> list[measure.Result]:
    mine, *rival = seconds
    ratio = f"{measure.ratio_of(seconds[rival[0]], seconds[mine]):.1f}x {rival[0]}" if rival else ""
    lines = [measure.Result(mine, statistics.median(seconds[mine]), "", ratio, "under 2 s")]
    return lines + [measure.Result(name, statistics.median(seconds[name]), "") for name in rival]


if __name__ == "__main__":
    measure.show(run())
