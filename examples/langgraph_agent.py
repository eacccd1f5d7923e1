"""A support agent in LangGraph. Nothing in the graph knows of tracekit: two lines do it all."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from stand_in import QUESTION, closing_words, find_order, openai_replies, provider, refund

import tracekit

MODEL = "gpt-4o-mini"


def support(options: dict[str, Any]) -> Any:
    """Return a graph: a model node, a tool node, and a memory of each conversation."""
    tools = [tool(find_order), tool(refund)]
    model = ChatOpenAI(model=MODEL, **options).bind_tools(tools)

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("model", answer)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile(name="support", checkpointer=InMemorySaver())


def main() -> None:
    """Serve one customer. The thread of the conversation is the session."""
    tracekit.configure(service_name="examples")
    tracekit.instrument("langgraph", "openai")
    thread = uuid4().hex
    with provider("OPENAI_API_KEY", *openai_replies(MODEL)) as options:
        state = support(options).invoke(
            {"messages": [("user", QUESTION)]}, {"configurable": {"thread_id": thread}}
        )
        print(state["messages"][-1].content)
        closing_words(thread)


if __name__ == "__main__":
    main()
