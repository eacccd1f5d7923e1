# mypy: ignore-errors
# ruff: noqa: PLC0415, ANN001
"""The agent, written against a provider's client: a loop of model calls and tool calls."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kits import Kit

QUESTION = "What is the weather in Oslo and in Atlantis?"
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
STEPS = 5


def weather(city: str) -> str:
    """Return the weather in a city."""
    if city != "Oslo":
        raise LookupError(f"no station in {city}")
    return "4 degrees"


def openai(url: str, kit: Kit, module: str = "openai") -> str:
    """Run the agent on the OpenAI client.

    Args:
        url: The provider.
        kit: How it is traced.
        module: Where the client comes from.
    """
    client = __import__(module, fromlist=["OpenAI"]).OpenAI(base_url=f"{url}/v1", api_key="none")
    function = {"name": "weather", "description": "Weather", "parameters": SCHEMA}
    tools = [{"type": "function", "function": function}]
    call = kit.tool(weather)

    @kit.agent
    def assistant(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        for _ in range(STEPS):
            answer = client.chat.completions.create(
                model="gpt-4o-mini", messages=messages, tools=tools, max_tokens=500
            )
            message = answer.choices[0].message
            if not message.tool_calls:
                return message.content
            messages.append(message.model_dump(exclude_none=True))
            for asked in message.tool_calls:
                result = _tried(call, json.loads(asked.function.arguments))
                messages.append({"role": "tool", "tool_call_id": asked.id, "content": result})
        raise RuntimeError("no answer")

    return assistant(QUESTION)


def anthropic(url: str, kit: Kit) -> str:
    """Run the agent on the Anthropic client."""
    from anthropic import Anthropic

    client = Anthropic(base_url=url, api_key="none")
    tools = [{"name": "weather", "description": "Weather", "input_schema": SCHEMA}]
    call = kit.tool(weather)

    @kit.agent
    def assistant(question: str) -> str:
        messages = [{"role": "user", "content": question}]
        for _ in range(STEPS):
            answer = client.messages.create(
                model="claude-sonnet-4-5", messages=messages, tools=tools, max_tokens=500
            )
            if answer.stop_reason != "tool_use":
                return answer.content[0].text
            messages.append({"role": "assistant", "content": answer.content})
            results = [
                {"type": "tool_result", "tool_use_id": b.id, "content": _tried(call, b.input)}
                for b in answer.content
                if b.type == "tool_use"
            ]
            messages.append({"role": "user", "content": results})
        raise RuntimeError("no answer")

    return assistant(QUESTION)


def _tried(call, arguments: dict[str, str]) -> str:
    try:
        return call(**arguments)
    except LookupError as error:
        return f"error: {error}"
