"""`tracekit ui`: who is answered, and what is on the pages."""

from __future__ import annotations

import http.client
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import pytest
from pages_build import HOSTILE, hostile_lake

from tracekit.pages.ui.guard import HEADERS
from tracekit.pages.ui.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tracekit.lake import Lake


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str


class Client:
    """A client of one server."""

    def __init__(self, server: Server) -> None:
        self.port = server.guard.port
        self.token = server.guard.token
        self.cookie = server.guard.cookie().partition(";")[0]

    def raw(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask as anybody could."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        text = response.read().decode().replace("<wbr>", "")
        connection.close()
        return Answer(response.status, dict(response.getheaders()), text)

    def get(self, path: str = "/", **words: str) -> Answer:
        """Ask as a browser that opened the printed address."""
        return self.raw(f"{path}?{urlencode(words)}" if words else path, Cookie=self.cookie)


@contextmanager
def served(lake: Lake) -> Iterator[Client]:
    with Server(lake, 0) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield Client(server)
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def client(simulated: Lake) -> Iterator[Client]:
    with served(simulated) as client:
        yield client


def test_the_printed_address_opens_the_pages(client: Client) -> None:
    """The token sets a cookie that scripts and other sites cannot use, and leaves the address."""
    first = client.raw(f"/?token={client.token}&sort=cost_usd")
    assert (first.status, first.headers["Location"]) == (303, "/?sort=cost_usd")
    assert "HttpOnly; SameSite=Strict" in first.headers["Set-Cookie"]
    cookie = first.headers["Set-Cookie"].partition(";")[0]
    assert client.raw("/", Cookie=cookie).status == 200


@pytest.mark.parametrize("path", ["/", "/session/sim-001", "/notebooks", "/style.css", "/nothing"])
def test_nothing_is_answered_without_the_token(client: Client, path: str) -> None:
    """Every address asks for the token, also those that do not exist."""
    for headers in ({}, {"Cookie": f"tracekit-{client.port}=wrong"}, {"Cookie": "a=b; \x01=;;"}):
        assert client.raw(path, **headers).status == 401
    assert client.raw(f"{path}?token=wrong").status == 401
    assert client.raw(f"{path}?token=%C3%A9").status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "tracekit.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1.example:80"},
        {"Origin": "https://example.com"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_are_refused_even_with_the_token(
    client: Client, headers: dict[str, str]
) -> None:
    """A foreign host name, origin or page is refused before the token is looked at."""
    refused = client.raw("/", Cookie=client.cookie, **headers)
    assert (refused.status, "Refused" in refused.text) == (403, True)


def test_every_answer_confines_itself(client: Client) -> None:
    """Pages, refusals and mistakes carry the same headers, which allow no script."""
    for answer in (client.get(), client.raw("/"), client.get("/nothing"), client.get(where="x y")):
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    assert "script" not in HEADERS["Content-Security-Policy"]


def test_only_reading_is_allowed(client: Client) -> None:
    """Other methods than GET and HEAD are not known; HEAD has no body."""
    assert client.raw("/", "POST", Cookie=client.cookie).status == 501
    assert client.raw("/", "HEAD", Cookie=client.cookie).text == ""


def test_the_list_filters_sorts_and_pages(client: Client) -> None:
    """The form's fields narrow the list down; the second page goes on where the first ended."""
    whole, second = client.get(), client.get(page="2")
    assert "60 sessions" in whole.text
    assert whole.text.count('href="/session/') == 50
    assert second.text.count('href="/session/') == 10
    assert "page 2" in second.text
    failed = client.get(outcome="failure", stop="tool.")
    assert 0 < failed.text.count("tool.error") <= 60
    assert ">completed." not in failed.text.partition("</form>")[2]
    some = client.get(where="session_id = 'sim-001-support' OR llm_calls = -1")
    assert some.text.count('href="/session/') <= 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"where": "kost > 1"}, "no column &#39;kost&#39;"),
        ({"least": "much"}, "cost from: &#39;much&#39; is no number"),
        ({"most": "nan"}, "out of range"),
        ({"sort": "secret"}, "cannot sort by &#39;secret&#39;"),
        ({"page": "x"}, "page: &#39;x&#39; is no number"),
        ({"detector": "none"}, "none"),
        ({"outcome": "' OR 1=1"}, "no outcome"),
        ({"where": "1=1) OR (1=1"}, 'class="mistake"'),
        ({"where": "session_id IN (SELECT content FROM read_text('/etc/passwd'))"}, "mistake"),
    ],
)
def test_mistakes_in_the_form_are_told_on_the_page(
    client: Client, words: dict[str, str], said: str
) -> None:
    """A wrong field is answered with the form, what was typed in it, and one line about it."""
    answer = client.get(**words)
    assert (answer.status, said in answer.text) == (400, True), answer.text
    assert "root:" not in answer.text


def test_quotes_in_a_filter_are_text(client: Client) -> None:
    """A stop code with a quote finds nothing, and breaks nothing."""
    answer = client.get(stop="x' OR '1'='1")
    assert (answer.status, "0 sessions" in answer.text) == (200, True)


def test_a_session_has_its_page(client: Client) -> None:
    """The page holds the head, the steps, the detectors, and says that there are no messages."""
    listed = client.get().text
    address = listed.partition('href="/session/')[2].partition('"')[0]
    found = client.get(f"/session/{address}")
    assert found.status == 200
    for words in (address, "s since the start", "stop_mismatch", "A lake holds no messages"):
        assert words in found.text
    assert client.get("/session/nobody").status == 404


def test_names_from_the_data_stay_text(tmp_path: Path) -> None:
    """A session, an agent and a tool with markup for names are shown as text, and linked right."""
    with served(hostile_lake(tmp_path)) as client:
        pages = [client.get(), client.get(f"/session/{quote(HOSTILE, safe='')}")]
        pages.append(client.get(where=HOSTILE))
        assert [page.status for page in pages] == [200, 200, 400]
        assert [page.text.count("<script") for page in pages] == [0, 0, 0]
        assert "evidence" in pages[1].text or "not evaluable" in pages[1].text
