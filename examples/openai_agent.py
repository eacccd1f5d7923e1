"""A support agent on OpenAI's client: two tools, a task, and its typed end."""

from __future__ import annotations

import json
from typing import Any

import openai
from stand_in import ORDER, QUESTION, closing_words, find_order, openai_replies, provider, refund

import tracekit

MODEL = "gpt-4o-mini"

TOOLS: dict[str, Any] = {
    "find_order": tracekit.tool(side_effect="read")(find_order),
    "refund": tracekit.tool(side_effect="write", idempotency_key="order")(refund),
}


@tracekit.agent
def support(client: openai.OpenAI, question: str) -> str:
    """Answer a customer: ask the model, run the tools it asks for, until it is done."""
    messages: list[Any] = [{"role": "user", "content": question}]
    tools: list[Any] = [
        {"type": "function", "function": {"name": name, "parameters": ORDER}} for name in TOOLS
    ]
    while True:
        completion = client.chat.completions.create(model=MODEL, messages=messages, tools=tools)
        answer = completion.choices[0].message
        if not answer.tool_calls:
            return answer.content or ""
        messages.append(answer.model_dump(exclude_none=True))
        for call in answer.tool_calls:
            assert call.type == "function"
            result = TOOLS[call.function.name](**json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def main() -> None:
    """Serve one customer."""
    tracekit.configure(service_name="examples")
    tracekit.instrument("openai")
    with provider("OPENAI_API_KEY", *openai_replies(MODEL)) as options, tracekit.session() as chat:
        with openai.OpenAI(**options) as client, tracekit.task("refund") as task:
            print(support(client, QUESTION))
            task.done("success", handle="refund/1042")
        closing_words(chat.id)


if __name__ == "__main__":
    main()
