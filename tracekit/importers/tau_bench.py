"""tau-bench results: a list of `{task_id, trial, reward, info, traj}`, one entry per session.

The messages are those of the OpenAI chat API. There are no tokens, times or stop reasons: times
are synthetic, one second a message from a fixed epoch, and marked so. The user is played by a model
whose messages are not the agent's. How a session ended follows from the harness, which knows three
ways: the user says `###STOP###`, the agent transfers to a human, or the steps run out.

The name of the file is that of the run, except in AgentRx, which holds sessions of several files
anew. Those are the same sessions with the same ids, of a run that is not named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.recording import (
    SYNTHETIC_EPOCH_NS,
    SYNTHETIC_TIME,
    Recording,
    Results,
    digest_hex,
    is_list_with,
    output_messages,
    synthetic_times,
    verdict,
)
from tracekit.importers.runs import agent_of, model_of, provider_of

if TYPE_CHECKING:
    from tracekit.importers.context import Context

FORMAT: Final = "tau_bench"

_FIELDS: Final = frozenset({"task_id", "reward", "traj"})
_ROLE: Final = "assistant"
"""Agent of a session whose run nobody names."""
_USER_STOP: Final = "###STOP###"
_TRANSFER: Final = "transfer_to_human_agents"
_ERROR: Final = "Error:"
"""How the environment starts the result of a tool call that failed."""

Message = Mapping[str, Any]


def matches(document: Any) -> bool:
    """Whether a JSON document is a tau-bench result file."""
    return is_list_with(document, _FIELDS)


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield one OTLP request per session that has messages."""
    for entry in document:
        if entry["traj"]:
            session = _Session(entry, context).recorded()
            context.beside.offer(str(entry["task_id"]), session.steps())
            yield session.encode()
        else:
            error = str((entry.get("info") or {}).get("error", "no error recorded"))
            reason = f"no messages: {error.splitlines()[0][:120]}"
            context.skip(f"task {entry['task_id']}, trial {entry.get('trial')}", reason)


def _identity(entry: Mapping[str, Any]) -> str:
    """Return what tells a session from all others.

    Ids of tool calls are drawn at random by the provider, so they identify a run however the file
    was edited since; a session without any is told by its text.
    """
    messages = entry["traj"]
    calls = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    told = calls or [message.get("content") for message in messages]
    return digest_hex([entry["task_id"], entry.get("trial"), told], 16)


def _is_copy(entry: Mapping[str, Any]) -> bool:
    """Whether AgentRx republished the session: it numbered the messages, and renamed the file."""
    return "index" in entry["traj"][0]


class _Session:
    def __init__(self, entry: Mapping[str, Any], context: Context) -> None:
        identity = _identity(entry)
        session_id = f"tau-bench:{entry['task_id']}:{entry.get('trial', 0)}:{identity}"
        self._entry = entry
        self._run = None if _is_copy(entry) else context.stem or "tau-bench"
        self._agent = agent_of(self._run) if self._run else _ROLE
        self._model = model_of(self._run) if self._run else None
        self._messages: list[Message] = entry["traj"]
        self._recording = Recording(FORMAT, identity, session_id, {"service.name": "tau-bench"})

    def recorded(self) -> Recording:
        """Return the session with all its spans."""
        self._root()
        results = Results(
            (message["tool_call_id"], (index, message))
            for index, message in enumerate(self._messages)
            if message.get("role") == "tool"
        )
        for index, message in enumerate(self._messages):
            match message.get("role"):
                case "assistant":
                    self._chat(index, message)
                    for call in message.get("tool_calls") or ():
                        if result := results.take(call["id"]):
                            self._tool(call, *result)
                case "subtask_creator":
                    self._plan(index)
        return self._recording

    def _root(self) -> None:
        end = synthetic_times(len(self._messages) - 1)[1]
        reward = float(self._entry["reward"])
        self._recording.add(
            "root",
            f"invoke_agent {self._agent}",
            (SYNTHETIC_EPOCH_NS, end),
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": self._agent,
                "gen_ai.workflow.name": self._run,
                "tracekit.stop.framework_raw": self._ending(),
                SYNTHETIC_TIME: True,
            },
            parent=None,
            events=[verdict("reward", reward, passed=reward >= 1, time_ns=end)],
        )

    def _ending(self) -> str:
        said = [message for message in self._messages if message.get("role") == "user"]
        if said and _USER_STOP in (said[-1].get("content") or ""):
            return "user_stop"
        last = self._messages[-1]
        return _TRANSFER if last.get("name") == _TRANSFER else "max_steps"

    def _chat(self, index: int, message: Message) -> None:
        calls = [{"id": call["id"], **call["function"]} for call in message.get("tool_calls") or ()]
        self._recording.add(
            f"message {index}",
            f"chat {self._model}" if self._model else "chat",
            synthetic_times(index),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": provider_of(self._model),
                "gen_ai.request.model": self._model,
                "gen_ai.output.messages": output_messages(message.get("content"), calls),
                SYNTHETIC_TIME: True,
            },
            client=True,
        )

    def _tool(self, call: Mapping[str, Any], index: int, result: Message) -> None:
        name = call["function"]["name"]
        content = result.get("content") or ""
        failed = content.startswith(_ERROR)
        self._recording.add(
            f"message {index}",
            f"execute_tool {name}",
            synthetic_times(index),
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.call.id": call["id"],
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.arguments": call["function"]["arguments"],
                "gen_ai.tool.call.result": content,
                "tracekit.tool.status": "error" if failed else "success",
                SYNTHETIC_TIME: True,
            },
            error="tool_error" if failed else None,
        )

    def _plan(self, index: int) -> None:
        """Add the notes of the planner that some agents run beside the conversation."""
        self._recording.add(
            f"message {index}",
            "plan",
            synthetic_times(index),
            {"gen_ai.operation.name": "plan", SYNTHETIC_TIME: True},
        )
