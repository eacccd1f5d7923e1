"""A support agent on Anthropic's client: two tools, a task, and its typed end."""

from __future__ import annotations

from typing import Any

import anthropic
from stand_in import ORDER, QUESTION, anthropic_replies, closing_words, find_order, provider, refund

import tracekit

MODEL = "claude-haiku-4-5"

TOOLS: dict[str, Any] = {
    "find_order": tracekit.tool(side_effect="read")(find_order),
    "refund": tracekit.tool(side_effect="write", idempotency_key="order")(refund),
}


@tracekit.agent
def support(client: anthropic.Anthropic, question: str) -> str:
    """Answer a customer: ask the model, run the tools it asks for, until it is done."""
    messages: list[Any] = [{"role": "user", "content": question}]
    tools: list[Any] = [{"name": name, "input_schema": ORDER} for name in TOOLS]
    while True:
        answer = client.messages.create(model=MODEL, max_tokens=500, messages=messages, tools=tools)
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in answer.content if block.type == "text")
        results = [
            {
                "type": "tool_result",
                "tool_use_id": call.id,
                "content": TOOLS[call.name](**call.input),
            }
            for call in calls
        ]
        messages.append({"role": "assistant", "content": answer.model_dump()["content"]})
        messages.append({"role": "user", "content": results})


def main() -> None:
    """Serve one customer."""
    tracekit.configure(service_name="examples")
    tracekit.instrument("anthropic")
    replies = anthropic_replies(MODEL)
    with provider("ANTHROPIC_API_KEY", *replies) as options, tracekit.session() as chat:
        with anthropic.Anthropic(**options) as client, tracekit.task("refund") as task:
            print(support(client, QUESTION))
            task.done("success", handle="refund/1042")
        closing_words(chat.id)


if __name__ == "__main__":
    main()
