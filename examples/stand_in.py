"""What the examples have in common: the shop they work for, and a provider for who has no key.

Without an API key a scripted server on this machine answers instead: it looks up the order, pays
it back, and says so, whatever was asked.
"""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tracekit
from tracekit.testing.provider import Reply, ScriptedProvider, json_reply

if TYPE_CHECKING:
    from collections.abc import Iterator

QUESTION = "Order 1042 arrived broken. I want my money back."
ORDERS = {"1042": {"item": "lamp", "paid_usd": 40.0}}
ORDER = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
"""JSON schema of the tools' arguments."""


def find_order(order: str) -> str:
    """Find an order by its number."""
    return json.dumps(ORDERS[order])


def refund(order: str) -> str:
    """Pay the price of an order back."""
    return f"paid back {ORDERS[order]['paid_usd']} USD"


@contextmanager
def provider(key: str, *replies: Reply) -> Iterator[dict[str, Any]]:
    """Yield what a client is made with: nothing where there is a key, else the stand-in's address.

    Args:
        key: Name of the environment variable the key is in.
        replies: What the stand-in answers, in order.
    """
    if os.environ.get(key):
        yield {}
        return
    with ScriptedProvider(*replies) as stand_in:
        print(f"{key} is not set: a stand-in on {stand_in.url} answers")
        path = "/v1" if key.startswith("OPENAI") else ""
        yield {"base_url": stand_in.url + path, "api_key": "none"}


def closing_words(session_id: str) -> None:
    """Send what was seen, and say where to look."""
    tracekit.flush()
    print(f"Look: tracekit report, tracekit sessions, tracekit session {session_id}")


def openai_replies(model: str) -> list[Reply]:
    """Return answers in the form of OpenAI's chat completions."""
    asked: list[dict[str, Any]] = []
    for name in ("find_order", "refund"):
        function = {"name": name, "arguments": json.dumps({"order": "1042"})}
        calls = [{"id": f"call_{name}", "type": "function", "function": function}]
        asked.append({"content": None, "tool_calls": calls})
    asked.append({"content": "I am sorry about the lamp. You get your 40 USD back."})
    return [
        json_reply(
            {
                "id": f"chatcmpl-{number}",
                "object": "chat.completion",
                "created": 1_790_000_000,
                "model": model,
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", **message},
                        "finish_reason": "tool_calls" if message["content"] is None else "stop",
                    }
                ],
                "usage": {"prompt_tokens": 120, "completion_tokens": 18, "total_tokens": 138},
            }
        )
        for number, message in enumerate(asked)
    ]


def anthropic_replies(model: str) -> list[Reply]:
    """Return answers in the form of Anthropic's messages."""
    uses = [
        {"type": "tool_use", "id": f"toolu_{name}", "name": name, "input": {"order": "1042"}}
        for name in ("find_order", "refund")
    ]
    text = {"type": "text", "text": "I am sorry about the lamp. You get your 40 USD back."}
    return [
        json_reply(
            {
                "id": f"msg_{number}",
                "type": "message",
                "role": "assistant",
                "model": model,
                "content": [block],
                "stop_reason": "end_turn" if block is text else "tool_use",
                "stop_sequence": None,
                "usage": {"input_tokens": 120, "output_tokens": 18},
            }
        )
        for number, block in enumerate([*uses, text])
    ]
