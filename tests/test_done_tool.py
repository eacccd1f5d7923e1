"""The tool by which a model signs off: for frameworks, for clients, and with wrong arguments."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest
from models_build import row
from traced import Recording, attributes, recorded

import tracekit
from tracekit.instrumentation.agents import DONE_STATUSES, DoneStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.instrumentation.done_tool import DoneTool


@pytest.fixture
def spans() -> Iterator[Recording]:
    with recorded() as recording:
        yield recording


@pytest.fixture
def finish() -> DoneTool:
    return tracekit.done_tool()


def ask() -> None:
    """Call a model that answers with a tool call."""
    with tracekit.llm("gpt-4o", provider="openai") as call:
        call.usage(input_tokens=10, output_tokens=1)
        call.stop("tool_calls")


def test_sign_off(spans: Recording, finish: DoneTool) -> None:
    """Calling it declares how the task ended, which the lake takes over."""
    with tracekit.task("refund", task_id="t"):
        ask()
        answer = finish("success", "refunded", "ticket/7")

    assert "success" in answer
    found = attributes(spans.one("task refund"))
    assert found["tracekit.task.status"] == "success"
    assert found["tracekit.task.reason"] == "refunded"
    assert found["tracekit.task.handle"] == "ticket/7"
    assert spans.parent(spans.one("execute_tool finish")) == "task refund"
    assert row(spans.ledger(), "tasks", "outcome_declared") == "success"
    assert spans.stops() == [("completed.declared", "completed.declared")]


@pytest.mark.parametrize("status", DONE_STATUSES)
def test_live_stop_is_that_of_the_lake(spans: Recording, finish: DoneTool, status: str) -> None:
    """Whatever the model says, the stop derived in process is the one the lake derives."""
    with tracekit.task("refund"):
        ask()
        finish.handle({"status": status})

    ((live, recorded_stop),) = spans.stops()
    assert live == recorded_stop


def test_answered_mistakes(spans: Recording, finish: DoneTool) -> None:
    """What the model gets wrong it is told, in words it can act on; each mistake is counted."""
    wrong: list[Any] = [
        {"status": "splendid"},
        {},
        {"status": "success", "reason": 7},
        "not json",
        "[1]",
        7,
    ]
    with tracekit.task("refund"):
        ask()
        answers = [finish.handle(arguments) for arguments in wrong]

    assert all("all again" in answer for answer in answers)
    assert "success, partial, blocked" in answers[0]
    assert spans.values("execute_tool finish", "error.type") == ["InvalidToolInputError"] * 6
    assert "tracekit.task.status" not in attributes(spans.one("task refund"))
    counted = spans.ledger().execute("SELECT invalid_tool_calls FROM evidence").fetchall()
    assert counted == [(6,)]


def test_arguments_as_the_model_wrote_them(spans: Recording, finish: DoneTool) -> None:
    """JSON text is read as it comes from a provider; nulls are no arguments."""
    with tracekit.task("refund"):
        finish.handle(json.dumps({"status": "blocked", "reason": None, "extra": 1}))

    assert spans.values("task refund", "tracekit.task.status") == ["blocked"]


@pytest.mark.parametrize("captures", [True, False])
def test_prose_is_content(captures: bool) -> None:
    """A reason in prose is what the model wrote: it is written only where content is captured."""
    settings: dict[str, Any] = {"capture_content": captures, "redact": tracekit.Redaction()}
    with recorded(**settings) as spans, tracekit.task("refund"):
        tracekit.done_tool()("blocked", "Bob has no rights", "mailto:bob@example.com")

    found = attributes(spans.one("task refund"))
    assert found.get("tracekit.task.reason") == ("Bob has no rights" if captures else None)
    assert found["tracekit.task.handle"] == "mailto:[redacted:email]"


def test_outside_of_a_task(finish: DoneTool) -> None:
    """Without a task, and switched off, the model is answered all the same."""
    assert finish("success").startswith("Recorded")
    with recorded() as recording:
        assert finish("failed").startswith("Recorded")
        assert recording.names() == ["execute_tool finish"]


def test_introspection() -> None:
    """It is a function with a name, a docstring, a signature and type hints."""
    finish: Any = tracekit.done_tool()

    assert inspect.isfunction(finish)
    assert finish.__name__ == "finish"
    assert list(inspect.signature(finish).parameters) == ["status", "reason", "handle"]
    assert get_type_hints(finish)["status"] == DoneStatus
    assert "handle: Where the result is" in (inspect.getdoc(finish) or "")


def test_own_name_and_description() -> None:
    """Name and description can be the application's."""
    submit = tracekit.done_tool("submit", description="Hand in.")

    assert submit.openai()["function"]["name"] == "submit"
    assert submit.anthropic()["description"] == "Hand in."


def test_schemas(finish: DoneTool) -> None:
    """Each provider gets the schema in the shape it takes."""
    schema = finish.anthropic()["input_schema"]
    assert schema["properties"]["status"]["enum"] == list(DONE_STATUSES)
    assert schema["required"] == ["status"]
    assert finish.openai()["type"] == finish.openai_responses()["type"] == "function"
    assert finish.openai()["function"]["parameters"] == schema
    assert finish.openai_responses()["parameters"] == schema
    assert finish.google()["parameters_json_schema"] == schema


def test_schemas_of_the_clients(finish: DoneTool) -> None:
    """The clients' own types take them."""
    types = pytest.importorskip("google.genai.types")
    declaration = types.FunctionDeclaration(**finish.google())
    assert declaration.name == "finish"


def test_schemas_are_copies(finish: DoneTool) -> None:
    """Who changes a schema changes nobody else's."""
    finish.openai()["function"]["parameters"].clear()

    assert finish.openai()["function"]["parameters"]["required"] == ["status"]


def test_openai_agents(spans: Recording, finish: DoneTool) -> None:
    """OpenAI's agents framework reads it and calls it."""
    agents = pytest.importorskip("agents")
    from agents.tool_context import ToolContext  # noqa: PLC0415 - beside the import that may skip

    made = agents.function_tool(finish)
    assert made.params_json_schema["properties"]["status"]["enum"] == list(DONE_STATUSES)
    arguments = json.dumps({"status": "success", "reason": None, "handle": None})
    with tracekit.task("refund"):
        context = ToolContext(
            context=None, tool_name="finish", tool_call_id="c", tool_arguments=arguments
        )
        answer = asyncio.run(made.on_invoke_tool(context, arguments))

    assert answer.startswith("Recorded")
    assert spans.values("task refund", "tracekit.task.status") == ["success"]


def test_langchain(spans: Recording, finish: DoneTool) -> None:
    """LangChain, and with it LangGraph, reads it and calls it."""
    tools = pytest.importorskip("langchain_core.tools")
    made = tools.tool(finish)
    assert "status" in made.args
    with tracekit.task("refund"):
        assert made.invoke({"status": "partial"}).startswith("Recorded")

    assert spans.values("task refund", "tracekit.task.status") == ["partial"]


def test_pydantic_ai(finish: DoneTool) -> None:
    """Pydantic AI reads it, with what is said about each argument."""
    pydantic_ai = pytest.importorskip("pydantic_ai")
    made = pydantic_ai.Tool(finish)
    properties = made.function_schema.json_schema["properties"]
    assert properties["status"]["enum"] == list(DONE_STATUSES)
    assert "snake_case" in properties["reason"]["description"]
