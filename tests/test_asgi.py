"""A web application and a notebook: many sessions in one process, and one process many times."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import openai
import uvicorn
from framework_build import MODEL, says
from host import run, unconfigured
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tracekit
from tracekit.testing.provider import ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

REQUESTS = 24
AT_ONCE = 8


def application(url: str) -> Callable[..., Awaitable[None]]:
    """Return an ASGI application: each request is a turn of the chat its path names."""
    together = asyncio.Barrier(AT_ONCE)

    @tracekit.tool
    def look_up(chat: str) -> str:
        return chat.upper()

    @tracekit.agent
    async def support(client: openai.AsyncOpenAI, chat: str) -> str:
        await together.wait()  # requests run side by side, whatever the machine
        answer = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": chat}]
        )
        found = await asyncio.get_running_loop().run_in_executor(None, look_up, chat)
        return f"{found} {answer.choices[0].message.content}"

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        del receive
        chat = scope["path"].strip("/")
        with tracekit.session(chat):
            async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
                body = (await support(client, chat)).encode()
        head = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return app


@contextmanager
def serving(app: Callable[..., Awaitable[None]]) -> Iterator[int]:
    """Serve an application with uvicorn, and yield its port."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", ws="none"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def get(port: int, path: str) -> str:
    """Return what the application answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def test_concurrent_requests_keep_their_sessions_apart() -> None:
    """Requests that run side by side have each their own session, down to tools in threads."""
    chats = [f"chat-{number}" for number in range(REQUESTS)]
    memory = InMemorySpanExporter()
    with ScriptedProvider(answer=lambda _: says("4 degrees")) as provider, unconfigured():
        tracekit.configure(exporter=memory)
        tracekit.instrument("openai")
        try:
            with (
                serving(application(f"{provider.url}/v1")) as port,
                ThreadPoolExecutor(AT_ONCE) as pool,
            ):
                answers = list(pool.map(lambda chat: get(port, f"/{chat}"), chats))
            assert tracekit.flush()
            assert not tracekit.diagnostics()
        finally:
            tracekit.uninstrument()
    assert answers == [f"{chat.upper()} 4 degrees" for chat in chats]
    spans = memory.get_finished_spans()
    for chat in chats:
        names = {span.name for span in spans if _session(span) == chat}
        assert names == {"invoke_agent support", f"chat {MODEL}", "execute_tool look_up"}
    assert len({(_session(span), span.context.trace_id) for span in spans}) == REQUESTS


def _session(span: ReadableSpan) -> object:
    return (span.attributes or {}).get("tracekit.session.id")


def test_a_notebook_is_configured_again_and_reports_in_the_same_process(tmp_path: Path) -> None:
    """Cells that configure, work, flush and report may be run again and again."""
    program = """
        import json
        import tracekit
        from click.testing import CliRunner
        from tracekit.cli import main

        def cell(session):
            tracekit.configure(service_name="notebook", lake="lake")
            with tracekit.session(session), tracekit.task("try") as task:
                task.done("success")
            assert tracekit.flush()
            done = CliRunner().invoke(main, ["sessions", "--lake", "lake", "--format", "json"])
            assert done.exit_code == 0, done.output
            return sorted(row["session_id"] for row in json.loads(done.stdout))

        print(json.dumps([cell("one"), cell("two"), cell("two")]))
        assert not tracekit.diagnostics(), tracekit.diagnostics()
    """
    assert json.loads(run(program, cwd=tmp_path)) == [["one"], ["one", "two"], ["one", "two"]]
