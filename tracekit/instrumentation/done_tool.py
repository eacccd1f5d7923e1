"""A tool by which a model says how its task ended.

Prose ("Done!") is no return code: a typed call is.
"""

from __future__ import annotations

from typing import Any, Final, Protocol, cast

import orjson

from tracekit.instrumentation.agents import DONE_STATUSES, DoneStatus, current_task
from tracekit.instrumentation.content import captured, redacted
from tracekit.instrumentation.runtime import STATE, failed
from tracekit.instrumentation.tools import ToolStep, tool

_DESCRIPTION: Final = """End the task and say how it ended.

Call this once, as the last thing you do; do not claim in prose that you are done.
"""

_STATUSES: Final[dict[DoneStatus, str]] = {
    "success": "all that was asked for is done and checked",
    "partial": "some of it is done",
    "blocked": "something outside your control stands in the way",
    "failed": "it was tried and did not work",
    "needs_input": "the user has to answer something first",
    "infeasible": "it cannot be done as asked",
}

_ARGUMENTS: Final = {
    "status": "How the task ended: " + "; ".join(f"{k}: {v}" for k, v in _STATUSES.items()) + ".",
    "reason": "Short reason code in snake_case, such as missing_permission.",
    "handle": "Where the result is: a URL, a path, a ticket, a commit.",
}

_LONGEST: Final = 256
"""Characters of a reason or a handle; a longer one is prose, which is content."""

_INVALID: Final = "InvalidToolInputError"
"""Error type of a call with wrong arguments; see tracekit/stops/values.yaml."""


class DoneTool(Protocol):
    """What `done_tool` returns: a function to hand to an agent framework, with its schemas."""

    __name__: str

    def __call__(
        self, status: DoneStatus, reason: str | None = None, handle: str | None = None
    ) -> str:
        """Sign off the current task, and return what to answer the model."""
        ...

    def handle(self, arguments: str | dict[str, Any]) -> str:
        """Sign off with arguments as a model wrote them, and return what to answer it."""
        ...

    def openai(self) -> dict[str, Any]:
        """Return the tool for OpenAI's chat completions."""
        ...

    def openai_responses(self) -> dict[str, Any]:
        """Return the tool for OpenAI's responses."""
        ...

    def anthropic(self) -> dict[str, Any]:
        """Return the tool for Anthropic's messages."""
        ...

    def google(self) -> dict[str, Any]:
        """Return the function declaration for Google's generate_content."""
        ...


def done_tool(name: str = "finish", *, description: str | None = None) -> DoneTool:
    """Make a tool by which a model ends its task with a status, a reason and a handle.

        finish = tracekit.done_tool()
        agent = Agent(tools=[function_tool(finish)])  # or: client tools=[finish.openai()]

    Statuses the model makes up are answered with a text it can act on, and counted.

    Args:
        name: Name of the tool.
        description: What the model is told about it, instead of the default.
    """
    told = description or _DESCRIPTION.strip()

    # A function, not an object: frameworks ask for its name, signature and type hints.
    def finish(status: DoneStatus, reason: str | None = None, handle: str | None = None) -> str:
        return _sign_off(name, {"status": status, "reason": reason, "handle": handle})

    def handled(arguments: str | dict[str, Any]) -> str:
        return _sign_off(name, arguments)

    finish.__name__ = finish.__qualname__ = name
    finish.__annotations__ = {
        "status": DoneStatus,
        "reason": str | None,
        "handle": str | None,
        "return": str,
    }
    finish.__doc__ = "\n".join(
        [told, "", "Args:", *(f"    {key}: {text}" for key, text in _ARGUMENTS.items())]
    )
    schema = _schema()
    titled = {"name": name, "description": told}
    schemas: dict[str, dict[str, Any]] = {
        "openai": {"type": "function", "function": {**titled, "parameters": schema}},
        "openai_responses": {
            "type": "function",
            **titled,
            "parameters": schema,
            "strict": False,
        },
        "anthropic": {**titled, "input_schema": schema},
        "google": {**titled, "parameters_json_schema": schema},
    }
    for dialect, made in schemas.items():
        setattr(finish, dialect, _returning(made))
    finish.handle = handled  # type: ignore[attr-defined]
    return cast("DoneTool", finish)


def _schema() -> dict[str, Any]:
    properties: dict[str, Any] = {
        key: {"type": "string", "description": text} for key, text in _ARGUMENTS.items()
    }
    properties["status"]["enum"] = list(DONE_STATUSES)
    return {
        "type": "object",
        "properties": properties,
        "required": ["status"],
        "additionalProperties": False,
    }


def _returning(schema: dict[str, Any]) -> Any:
    def copied() -> dict[str, Any]:
        return cast("dict[str, Any]", orjson.loads(orjson.dumps(schema)))

    return copied


def _sign_off(name: str, given: str | dict[str, Any]) -> str:
    arguments, wrong = _read(given)
    task = current_task()  # the tool's own span is a step of it
    with tool(name, side_effect="none", arguments=arguments) as step:
        if wrong is not None:
            step.failed(_INVALID)
            return _answered(step, wrong)
        status = arguments["status"]
        try:
            task.done(status, _written(arguments, "reason"), _written(arguments, "handle"))
        except Exception:  # noqa: BLE001 - the model gets an answer whatever happens to us
            failed("done_tool")
        return _answered(step, f"Recorded: {status}. The task is over; call no further tools.")


def _written(arguments: dict[str, Any], key: str) -> str | None:
    """Return an argument as the task is to have it: a code or a name, not prose."""
    runtime = STATE.runtime
    text: str | None = arguments.get(key)
    if runtime is None or text is None:
        return None
    if len(text) > _LONGEST or len(text.split()) > 1:
        return captured(text, runtime.settings)
    return text if runtime.settings.redact is None else redacted(text, runtime.settings.redact)


def _answered(step: ToolStep, answer: str) -> str:
    if STATE.runtime is not None:
        step.result(answer)
    return answer


def _read(given: str | dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the arguments, and what is wrong with them for the model to mend."""
    if isinstance(given, str):
        try:
            given = orjson.loads(given)
        except ValueError as error:
            return {}, f"The arguments are no JSON ({error}). Call again with a JSON object."
    if not isinstance(given, dict):
        return {}, "The arguments are no JSON object. Call again with an object that has a status."
    arguments = {key: value for key, value in given.items() if value is not None}
    expected = ", ".join(DONE_STATUSES)
    if arguments.get("status") not in DONE_STATUSES:
        said = repr(arguments.get("status"))[:80]
        return arguments, f"Not recorded: status {said} is none of {expected}. Call again."
    for key in ("reason", "handle"):
        if key in arguments and not isinstance(arguments[key], str):
            return arguments, f"Not recorded: {key} takes a text. Call again."
    return arguments, None
