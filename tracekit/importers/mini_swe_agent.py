"""mini-swe-agent trajectories: one JSON document per session, with every provider response.

The agent writes one shell command per answer, in a fenced block; the next message holds its return
code and output. So each command becomes an `execute_tool bash` span. The only times are those of
the responses, in whole seconds: a call lasts from the response before it to its own, and a command
gets no duration of its own. One nanosecond between steps keeps them in order.

Whether an instance was resolved is told by the test report beside the trajectory, see
`swebench_report`; both name the session by its instance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.recording import (
    SECOND_NS,
    SYNTHETIC_TIME,
    Recording,
    json_text,
    output_messages,
)

if TYPE_CHECKING:
    from tracekit.importers.context import Context

FORMAT: Final = "mini_swe_agent"

_COMMAND: Final = re.compile(r"```bash\s*\n(.*?)\n```", re.DOTALL)
_RETURN_CODE: Final = re.compile(r"<returncode>(-?\d+)</returncode>")
_TIMED_OUT: Final = re.compile(
    r"The last command <command>.*?</command> timed out and has been killed", re.DOTALL
)
_GATEWAYS: Final = {"OpenRouterModel": "openrouter", "PortkeyModel": "portkey"}
_LITELLM: Final = "litellm"
_PROVIDERS: Final = {
    "google": "gcp.vertex_ai",
    "google ai studio": "gcp.gemini",
    "amazon bedrock": "aws.bedrock",
    "azure": "azure.ai.openai",
    "xai": "x_ai",
    "mistral": "mistral_ai",
    "moonshot ai": "moonshot_ai",
}
"""What OpenRouter calls the providers, in OpenTelemetry's names; others are lower-cased."""
_PORTKEY_PROVIDERS: Final = {"google": "gcp.gemini", "vertex-ai": "gcp.vertex_ai"}

Message = Mapping[str, Any]


def session_id_of(instance: str) -> str:
    """Return the session id of an instance, as trajectories and test reports share it."""
    return f"swe-bench:{instance}"


def matches(document: Any) -> bool:
    """Whether a JSON document is a trajectory."""
    return (
        isinstance(document, dict)
        and str(document.get("trajectory_format", "")).startswith("mini-swe-agent")
        and isinstance(document.get("messages"), list)
    )


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield the session as one OTLP request; a trajectory without answers is skipped."""
    answers = [message for message in document["messages"] if _response(message)]
    if not answers:
        context.skip("", "no model call recorded")
        return
    yield _Session(document, _response(answers[0])).encode()


def _response(message: Message) -> Mapping[str, Any]:
    if message.get("role") != "assistant":
        return {}
    response = (message.get("extra") or {}).get("response") or {}
    return response if isinstance(response, dict) and response.get("choices") else {}


class _Session:
    def __init__(self, document: Mapping[str, Any], first: Mapping[str, Any]) -> None:
        info = document["info"]
        config = info.get("config") or {}
        instance = str(document.get("instance_id") or first["id"])
        kind = str(config.get("model_type", "")).rpartition(".")[2]
        self._messages: list[Message] = document["messages"]
        self._info = info
        self._model = (config.get("model") or {}).get("model_name")
        self._gateway = _GATEWAYS.get(kind, _LITELLM if "Litellm" in kind else None)
        self._at = _created(first)
        self._recording = Recording(
            FORMAT,
            f"{instance}\n{first['id']}",
            session_id_of(instance),
            {"service.name": "mini-swe-agent"},
        )

    def encode(self) -> bytes:
        start = self._at
        for index, message in enumerate(self._messages):
            response = _response(message)
            if response:
                failed = self._chat(index, message, response)
                if not failed:
                    self._command(index, message)
        self._root(start)
        return self._recording.encode()

    def _step(self, end: int) -> tuple[int, int]:
        """Return the times of the next step: from the last one's end to `end`, never backwards."""
        span = (self._at, max(end, self._at))
        self._at = span[1] + 1
        return span

    def _root(self, start: int) -> None:
        self._recording.add(
            "root",
            "invoke_agent mini-swe-agent",
            (start, self._at),
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": "mini-swe-agent",
                "gen_ai.agent.version": self._info.get("mini_version"),
                "tracekit.stop.framework_raw": self._info.get("exit_status"),
            },
            parent=None,
        )

    def _chat(self, index: int, message: Message, response: Mapping[str, Any]) -> bool:
        choice = response["choices"][0]
        usage = response.get("usage") or {}
        finish = choice.get("native_finish_reason") or choice.get("finish_reason")
        failure = choice.get("error") or {}
        text = message.get("content")
        commands = _COMMAND.findall(text or "")
        calls = [_call(index, commands[0])] if len(commands) == 1 and not failure else []
        cost = usage.get("cost", (message.get("extra") or {}).get("cost"))
        self._recording.add(
            f"message {index}",
            f"chat {response['model']}",
            self._step(_created(response)),
            {
                "gen_ai.operation.name": "chat",
                "gen_ai.provider.name": self._provider(response.get("provider")),
                "gen_ai.request.model": self._model,
                "gen_ai.response.model": response["model"],
                "gen_ai.response.id": response["id"],
                "gen_ai.response.finish_reasons": [finish] if finish else None,
                "gen_ai.output.messages": output_messages(text, calls, finish),
                **_usage(usage),
                "tracekit.service_tier.served": response.get("service_tier"),
                "tracekit.cost.reported_usd": cost,
                "tracekit.gateway": self._gateway,
                "http.response.status_code": failure.get("code"),
                "tracekit.stream.complete": False if failure else None,
            },
            client=True,
            error=str(failure.get("code", "_OTHER")) if failure else None,
        )
        return bool(failure)

    def _provider(self, name: str | None) -> str | None:
        if not name:
            return None
        known = _PORTKEY_PROVIDERS if self._gateway == "portkey" else _PROVIDERS
        return known.get(name.lower(), name.lower())

    def _command(self, index: int, message: Message) -> None:
        """Add the command of an answer, if the next message shows that it was run."""
        commands = _COMMAND.findall(message.get("content") or "")
        if len(commands) != 1 or index + 1 >= len(self._messages):
            return
        result = self._messages[index + 1].get("content") or ""
        code = _RETURN_CODE.match(result)
        error = "timeout" if _TIMED_OUT.match(result) else None
        if code and int(code[1]) != 0:
            error = "nonzero_exit"
        call = _call(index, commands[0])
        self._recording.add(
            f"tool {index}",
            "execute_tool bash",
            self._step(self._at),
            {
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": "bash",
                "gen_ai.tool.call.id": call["id"],
                "gen_ai.tool.type": "function",
                "gen_ai.tool.call.arguments": json_text(call["arguments"]),
                "gen_ai.tool.call.result": result,
                "process.exit.code": int(code[1]) if code else None,
                "tracekit.tool.status": {None: "success", "timeout": "timeout"}.get(error, "error"),
                SYNTHETIC_TIME: True,
            },
            error=error,
        )


def _call(index: int, command: str) -> dict[str, Any]:
    return {"id": f"command-{index}", "name": "bash", "arguments": {"command": command}}


def _created(response: Mapping[str, Any]) -> int:
    return int(response["created"]) * SECOND_NS


def _usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokens; the input of these APIs includes what the cache held."""
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens")
    return {
        "gen_ai.usage.input_tokens": usage.get("prompt_tokens"),
        "gen_ai.usage.output_tokens": usage.get("completion_tokens"),
        "gen_ai.usage.cache_read.input_tokens": cached,
        "gen_ai.usage.reasoning.output_tokens": reasoning,
    }
