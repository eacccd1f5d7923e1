# mypy: ignore-errors
# ruff: noqa: PLC0415
"""The agent, written for a framework, and what instruments that framework."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from kits import provider
from opentelemetry import trace

if TYPE_CHECKING:
    from collections.abc import Callable

    Tool = Callable[[str], str]


def pydantic_ai(url: str, client: str, question: str, call: Tool) -> str:
    """pydantic-ai, which instruments itself."""
    from pydantic_ai import Agent, ModelRetry
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    if client == "openai":
        model = OpenAIChatModel(
            "gpt-4o-mini", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="none")
        )
    else:
        model = AnthropicModel(
            "claude-sonnet-4-5", provider=AnthropicProvider(base_url=url, api_key="none")
        )
    Agent.instrument_all()
    agent = Agent(model, name="assistant")

    @agent.tool_plain(name="weather")
    def asked(city: str) -> str:
        try:
            return call(city)
        except LookupError as error:
            raise ModelRetry(str(error)) from error

    return agent.run_sync(question).output


def langgraph(url: str, _: str, question: str, call: Tool) -> str:
    """A LangGraph of a model node and a tool node, as its guide builds one."""
    from langchain_core.tools import tool
    from langchain_openai import ChatOpenAI
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode, tools_condition

    asked = tool("weather")(call)
    model = ChatOpenAI(model="gpt-4o-mini", base_url=f"{url}/v1", api_key="none")
    bound = model.bind_tools([asked])
    graph = StateGraph(MessagesState)
    graph.add_node("model", lambda state: {"messages": [bound.invoke(state["messages"])]})
    graph.add_node("tools", ToolNode([asked], handle_tool_errors=True))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    run = graph.compile(name="assistant").invoke({"messages": [("user", question)]})
    return run["messages"][-1].content


def openai_agents(url: str, client: str, question: str, call: Tool) -> str:
    """The OpenAI Agents SDK, on either of OpenAI's APIs."""
    from agents import (
        Agent,
        OpenAIChatCompletionsModel,
        OpenAIResponsesModel,
        Runner,
        function_tool,
    )
    from openai import AsyncOpenAI

    kind = OpenAIResponsesModel if client == "responses" else OpenAIChatCompletionsModel
    model = kind(
        model="gpt-4o-mini", openai_client=AsyncOpenAI(base_url=f"{url}/v1", api_key="none")
    )
    agent = Agent(name="assistant", model=model, tools=[function_tool(call)])
    return Runner.run_sync(agent, question).final_output


def by_openinference() -> None:
    """OpenInference, for LangGraph and the OpenAI Agents SDK."""
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

    made = provider()
    LangChainInstrumentor().instrument(tracer_provider=made)
    OpenAIAgentsInstrumentor().instrument(tracer_provider=made)


def by_openllmetry() -> None:
    """OpenLLMetry, for LangGraph and the OpenAI Agents SDK."""
    from agents import set_trace_processors
    from opentelemetry.instrumentation.langchain import LangchainInstrumentor

    # The package by OpenTelemetry has the same name: which of the two is the one that
    # `__init__.py` belongs to depends on the order they were installed in. Their parts differ.
    from opentelemetry.instrumentation.openai_agents._hooks import OpenTelemetryTracingProcessor

    made = provider()
    LangchainInstrumentor().instrument(tracer_provider=made)
    tracer = trace.get_tracer("opentelemetry.instrumentation.openai_agents", "0.62.4")
    set_trace_processors([OpenTelemetryTracingProcessor(tracer)])


def by_otel() -> None:
    """OpenTelemetry's own, for LangGraph and the OpenAI Agents SDK."""
    from agents import set_trace_processors
    from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
    from opentelemetry.instrumentation.openai_agents.span_processor import GenAISemanticProcessor

    made = provider()
    LangChainInstrumentor().instrument(tracer_provider=made)
    tracer = trace.get_tracer("opentelemetry.instrumentation.openai_agents")
    set_trace_processors([GenAISemanticProcessor(tracer=tracer)])


def by_langsmith() -> None:
    """LangSmith's client, told to write spans and nothing else."""
    os.environ["LANGSMITH_TRACING"] = "true"
    os.environ["LANGSMITH_TRACING_MODE"] = "otel"
    os.environ["LANGSMITH_API_KEY"] = "none"
    os.environ["LANGSMITH_ENDPOINT"] = os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"]
    provider()


def by_itself() -> None:
    """Nobody but the framework."""
    provider()
