"""Logs of Magentic-One, a team of agents under an orchestrator: a list of `{role, content}`.

The orchestrator's plans and ledgers are model calls, and so are the answers of the assistant; a
turn of another agent is an agent's run, of whose own calls only what it reported is known; the
terminal is a tool. There are no tokens, no tool calls and no times: times are synthetic, one
second a message, and marked so. What the log interleaves says more in three places: the warning
that names the model which answered the orchestrator, the traceback of a call that failed, and the
exit code of the run. The answer that the benchmark's script asks a model for once the team has
stopped is not the team's, and no span.

A log names neither its run nor its task, so a session is told by its text alone: AgentRx and
Who&When hold the same ones.
"""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.recording import digest_hex
from tracekit.importers.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tracekit.importers.context import Context

FORMAT: Final = "magentic_one"

AGENT: Final = "magentic-one"

Message = dict[str, str]

_USER: Final = "human"
_LEAD: Final = "Orchestrator"
_THOUGHT: Final = "Orchestrator (thought)"
_END: Final = "Orchestrator (termination condition)"
_MODEL_OUTPUT: Final = ("Initial plan:", "New plan:", "Updated Ledger:")
"""How the thoughts start that a model wrote; the others are remarks of the program."""
_LEDGER: Final = "Updated Ledger:"
_TO: Final = re.compile(r"Orchestrator \(-> (.+)\)")
_MODEL: Final = re.compile(
    r"orchestrator\.py:\d+: UserWarning: Resolved model mismatch: \S+ != (\S+)\. "
)
_NO_AGENT: Final = "No agent selected."
"""Says only that the team stopped; the thought before it says why."""
_ENDINGS: Final = ("Request satisfied.", "Replan counter exceeded... Terminating.")
_EXIT_CODE: Final = re.compile(r"exit code(?: was)?: (-?\d+)")
_FAILED: Final = "Error processing publish message"
_CALL_ERROR: Final = re.compile(r"^openai\.(\w+): (.*)$", re.MULTILINE)
_STATUS: Final = re.compile(r"Error code: (\d{3}) - (\{.*\})$")
_LONGEST_BODY: Final = 10_000
_ANY_ERROR: Final = re.compile(r"^(?:\w+\.)*(\w+(?:Error|Exception)): ", re.MULTILINE)
_EXITED: Final = re.compile(r"^SCENARIO\.PY EXITED WITH CODE: [1-9]", re.MULTILINE)


def matches(document: Any) -> bool:
    """Whether a JSON document is a log of Magentic-One."""
    return (
        isinstance(document, list)
        and all(_is_message(entry) for entry in document)
        and any(entry["role"].startswith(f"{_LEAD} (") for entry in document)
    )


def _is_message(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("role"), str)
        and isinstance(entry.get("content"), str)
    )


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield the session as one OTLP request."""
    session = record(document)
    context.beside.offer(context.stem, session.steps())
    yield session.encode()


def record(messages: Sequence[Message]) -> Transcript:
    """Return the session of a log."""
    identity = digest_hex([[one["role"], one["content"]] for one in messages], 16)
    session = Transcript(FORMAT, AGENT, identity)
    model = next((found[1] for one in messages if (found := _MODEL.search(one["content"]))), None)
    last = messages[-1]["content"]
    failure = _failure(last)
    session.root(len(messages) - (failure is None), _ending(messages), _crash(last))
    for index, message in enumerate(messages):
        _add_step(session, index, message, model)
    if failure is not None:
        failed, error = failure
        attributes = {"gen_ai.operation.name": "chat", "gen_ai.response.model": model, **failed}
        session.step(len(messages), "chat", _LEAD, attributes, error)
    return session


def _add_step(session: Transcript, index: int, message: Message, model: str | None) -> None:
    role, content = message["role"], message["content"]
    if role == _THOUGHT:
        if content.startswith(_MODEL_OUTPUT):
            done = "success" if _is_satisfied(content) else None
            said = {"gen_ai.response.model": model, "tracekit.done.status": done}
            session.chat(index, _LEAD, content, said)
    elif to := _TO.fullmatch(role):
        session.step(index, f"delegate to {to[1]}", _LEAD, {"tracekit.operation": "step"})
    elif role == "Assistant":
        session.chat(index, role, content)
    elif role == "ComputerTerminal":
        if code := _EXIT_CODE.search(content):  # else it found nothing to run
            session.command(index, role, content, int(code[1]))
    elif role not in (_USER, _END):
        session.step(index, f"invoke_agent {role}", role, {"gen_ai.operation.name": "invoke_agent"})


def _ending(messages: Sequence[Message]) -> str | None:
    """Return why the team stopped, as the orchestrator said it; None where it did not."""
    if messages[-1]["role"] != _END:
        return None
    said = [message["content"].partition("\n")[0] for message in messages[-2:]]
    return said[0] if said[-1] == _NO_AGENT and said[0] in _ENDINGS else said[-1]


def _is_satisfied(thought: str) -> bool:
    """Whether it is a ledger that says the request is satisfied; log lines may follow its JSON."""
    if not thought.startswith(_LEDGER):
        return False
    try:
        document, _ = json.JSONDecoder().raw_decode(thought.removeprefix(_LEDGER).lstrip())
        return document["is_request_satisfied"]["answer"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _failure(log: str) -> tuple[dict[str, Any], str] | None:
    """Return attributes and error of the model call that ended the run; None where none did.

    The orchestrator's client raises; its runtime writes the traceback to the log and goes idle.
    """
    raised = _CALL_ERROR.findall(log.partition(_FAILED)[2])
    if not raised:
        return None
    kind, text = raised[-1]
    if not (answered := _STATUS.fullmatch(text)):
        return {}, kind
    return {"http.response.status_code": int(answered[1])}, _code(answered[2]) or kind


def _code(body: str) -> str | None:
    """Return the provider's error code in an error body, which is logged as a Python literal."""
    if len(body) > _LONGEST_BODY:
        return None
    try:
        code = ast.literal_eval(body)["error"]["code"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        return None
    return code if isinstance(code, str) else None


def _crash(log: str) -> str | None:
    """Return the error that the script around the team died of; None where it did not."""
    if not _EXITED.search(log):
        return None
    return next(reversed(_ANY_ERROR.findall(log)), "_OTHER")
