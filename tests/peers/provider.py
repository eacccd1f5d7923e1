"""A model provider on the loopback that knows one conversation, in the APIs of two providers.

The conversation: a tool call, a refusal for too many requests, another tool call, the answer. What
comes next is told by how many tool results a request holds, so any client may ask. The same server
takes OTLP and keeps it. Standard library only: it runs in any environment.
"""

from __future__ import annotations

import gzip
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPENAI_MODEL = "gpt-4o-mini-2024-07-18"
ANTHROPIC_MODEL = "claude-sonnet-4-5-20250929"
ANSWER = "It is 4 degrees in Oslo; there is no station in Atlantis."

CITIES = ("Oslo", "Atlantis")
"""What the model asks about, turn by turn; nobody knows the weather of the second."""

USAGE = ((1400, 1024, 22), (1460, 1280, 24), (1520, 1408, 18))
"""Per turn: all input tokens, those of them read from a cache, output tokens."""

REFUSED_TURN = 1
"""The turn whose first request is refused with status 429."""


def _openai(turn: int) -> dict[str, Any]:
    total, cached, output = USAGE[turn]
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if turn < len(CITIES):
        arguments = json.dumps({"city": CITIES[turn]})
        function = {"name": "weather", "arguments": arguments}
        message["tool_calls"] = [{"id": f"call_{turn}", "type": "function", "function": function}]
    else:
        message["content"] = ANSWER
    reason = "tool_calls" if turn < len(CITIES) else "stop"
    return {
        "id": f"chatcmpl-{turn}",
        "object": "chat.completion",
        "created": 1790000000,
        "model": OPENAI_MODEL,
        "service_tier": "default",
        "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
        "usage": {
            "prompt_tokens": total,
            "completion_tokens": output,
            "total_tokens": total + output,
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
    }


def _responses(turn: int) -> dict[str, Any]:
    total, cached, output = USAGE[turn]
    item: dict[str, Any]
    if turn < len(CITIES):
        item = {
            "type": "function_call",
            "id": f"fc_{turn}",
            "call_id": f"call_{turn}",
            "name": "weather",
            "arguments": json.dumps({"city": CITIES[turn]}),
            "status": "completed",
        }
    else:
        content = [{"type": "output_text", "text": ANSWER, "annotations": []}]
        item = {
            "type": "message",
            "id": "msg_2",
            "role": "assistant",
            "status": "completed",
            "content": content,
        }
    return {
        "id": f"resp_{turn}",
        "object": "response",
        "created_at": 1790000000,
        "status": "completed",
        "model": OPENAI_MODEL,
        "service_tier": "default",
        "output": [item],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": {
            "input_tokens": total,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens": output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": total + output,
        },
    }


def _anthropic(turn: int) -> dict[str, Any]:
    total, cached, output = USAGE[turn]
    content: list[dict[str, Any]]
    if turn < len(CITIES):
        given = {"city": CITIES[turn]}
        content = [{"type": "tool_use", "id": f"toolu_{turn}", "name": "weather", "input": given}]
    else:
        content = [{"type": "text", "text": ANSWER}]
    return {
        "id": f"msg_{turn}",
        "type": "message",
        "role": "assistant",
        "model": ANTHROPIC_MODEL,
        "content": content,
        "stop_reason": "tool_use" if turn < len(CITIES) else "end_turn",
        "stop_sequence": None,
        # Here the input is told without what was read from the cache.
        "usage": {
            "input_tokens": total - cached,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": 0,
            "output_tokens": output,
            "service_tier": "standard",
        },
    }


def _openai_stream(answer: dict[str, Any]) -> Iterator[str]:
    """Yield a chat completion as events, its text word by word."""
    choice, usage = answer["choices"][0], answer.pop("usage")
    message, reason = choice.pop("message"), choice.pop("finish_reason")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if message["content"]:
        deltas += [{"content": f"{word} "} for word in message["content"].split()]
    else:
        deltas.append({"tool_calls": [{"index": 0, **message["tool_calls"][0]}]})
    chunk = answer | {"object": "chat.completion.chunk"}
    for delta in deltas:
        yield _event(chunk | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
    yield _event(chunk | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    yield _event(chunk | {"choices": [], "usage": usage})
    yield "data: [DONE]\n\n"


def _anthropic_stream(answer: dict[str, Any]) -> Iterator[str]:
    """Yield a message as events, its text word by word."""
    (block,), end = answer["content"], {"stop_reason": answer["stop_reason"], "stop_sequence": None}
    usage = answer["usage"]
    if block["type"] == "text":
        start, texts = block | {"text": ""}, [f"{word} " for word in block["text"].split()]
        deltas = [{"type": "text_delta", "text": text} for text in texts]
    else:
        start = block | {"input": {}}
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    opened = answer | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 1}}
    yield _named({"type": "message_start", "message": opened})
    yield _named({"type": "content_block_start", "index": 0, "content_block": start})
    for delta in deltas:
        yield _named({"type": "content_block_delta", "index": 0, "delta": delta})
    yield _named({"type": "content_block_stop", "index": 0})
    output = {"output_tokens": usage["output_tokens"]}
    yield _named({"type": "message_delta", "delta": end, "usage": output})
    yield _named({"type": "message_stop"})


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data)}\n\n"


def _named(data: dict[str, Any]) -> str:
    return f"event: {data['type']}\n{_event(data)}"


STREAMS = {"openai": _openai_stream, "anthropic": _anthropic_stream}
REFUSALS: dict[str, dict[str, Any]] = {
    "openai": {
        "error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}
    },
    "anthropic": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}},
}
APIS: dict[str, tuple[str, Callable[[int], dict[str, Any]]]] = {
    "/v1/chat/completions": ("openai", _openai),
    "/v1/responses": ("openai", _responses),
    "/v1/messages": ("anthropic", _anthropic),
}


def _turn(request: dict[str, Any]) -> int:
    """Return how many tool results the request holds, in the words of any of the APIs."""
    found = 0
    for item in request.get("messages") or request.get("input") or []:
        if not isinstance(item, dict):
            continue
        content = item.get("content")
        blocks = content if isinstance(content, list) else []
        found += item.get("role") == "tool" or item.get("type") == "function_call_output"
        found += sum(block.get("type") == "tool_result" for block in blocks)
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers model calls and takes traces."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # head and body in one packet: else the client's delayed acknowledgement counts
    server: Provider

    def do_POST(self) -> None:
        """Answer."""
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path == "/v1/traces":
            self.server.traces.append(body)
            self._send(200, b"", "application/x-protobuf")
            return
        if self.path not in APIS:  # metrics and logs, and what else libraries report
            self._send(200, b"{}", "application/json")
            return
        api, answer = APIS[self.path]
        request = json.loads(body)
        turn = _turn(request)
        if turn == REFUSED_TURN and not self.server.refused:
            self.server.refused = True
            self._json(429, REFUSALS[api], ("retry-after-ms", "1"))
        elif request.get("stream"):
            events = STREAMS[api](answer(turn))
            self._send(200, "".join(events).encode(), "text/event-stream")
        else:
            self._json(200, answer(turn))

    def do_GET(self) -> None:
        """Answer that nothing is here."""
        self._send(404, b"{}", "application/json")

    def _json(self, status: int, body: dict[str, Any], *headers: tuple[str, str]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json", *headers)

    def _send(self, status: int, body: bytes, kind: str, *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in (*headers, ("x-request-id", "req_1"), ("request-id", "req_1")):
            self.send_header(name, value)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named so in the base
        """Say nothing."""


class Provider(ThreadingHTTPServer):
    """The server, while it is used as a context.

    Attributes:
        traces: OTLP requests as they came.
        refused: Whether the one refusal has been given.
        url: Where it listens.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.traces: list[bytes] = []
        self.refused = False
        self.url = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


if __name__ == "__main__":
    with Provider() as provider:
        print(provider.url, flush=True)  # noqa: T201 - whoever started it reads where it listens
        threading.Event().wait()
