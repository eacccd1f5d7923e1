"""mini-swe-agent trajectories and SWE-bench reports: calls, commands, and who resolved what."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from importing import by_session, operations, source_of, spans, total
from test_otlp_files import tar, write

if TYPE_CHECKING:
    from pathlib import Path

REPORT = {"patch_is_None": False, "patch_exists": True, "resolved": True, "tests_status": {}}


def answer(created: int, text: str, **choice: Any) -> dict[str, Any]:
    response = {
        "id": f"gen-{created}",
        "provider": "Google",
        "model": "google/gemini-3-pro-preview",
        "created": created,
        "choices": [{"finish_reason": "stop", "native_finish_reason": "STOP", **choice}],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "cost": 0.5,
            "prompt_tokens_details": {"cached_tokens": 40},
            "completion_tokens_details": {"reasoning_tokens": 5},
        },
    }
    return {"role": "assistant", "content": text, "extra": {"response": response}}


def trajectory(*messages: dict[str, Any], model_type: str = "x.OpenRouterModel") -> bytes:
    config = {"model_type": model_type, "model": {"model_name": "google/gemini-3-pro-preview"}}
    document = {
        "info": {"exit_status": "Submitted", "mini_version": "1.15.0", "config": config},
        "messages": [{"role": "system", "content": "s"}, *messages],
        "trajectory_format": "mini-swe-agent-1",
        "instance_id": "django__django-1",
    }
    return orjson.dumps(document)


def user(content: str) -> dict[str, str]:
    return {"role": "user", "content": content}


def test_a_command_is_a_tool_call_with_its_return_code(tmp_path: Path) -> None:
    """Answer, command and result become a chat and an execution that name the same call."""
    path = write(
        tmp_path,
        trajectory(
            answer(1000, "Look.\n```bash\nls\n```"),
            user("<returncode>2</returncode>\n<output></output>"),
            answer(1007, "```bash\nsubmit\n```"),
            user("diff --git a/x b/x"),
        ),
    )
    first, listing, second, submission, root = spans(path)
    call = orjson.loads(first.attributes["gen_ai.output.messages"])[0]["parts"][1]
    assert call["id"] == listing.attributes["gen_ai.tool.call.id"]
    assert call["arguments"] == {"command": "ls"}
    assert (listing.failed, submission.failed) == (True, False)
    assert listing.attributes["process.exit.code"] == 2
    assert listing.attributes["error.type"] == "nonzero_exit"
    starts = [span.start_ns for span in (first, listing, second, submission)]
    assert starts == sorted(set(starts))
    assert second.end_ns == 1007 * 10**9
    assert root.start_ns == 1000 * 10**9
    assert root.end_ns >= submission.end_ns
    assert root.attributes["tracekit.stop.framework_raw"] == "Submitted"


def test_the_native_finish_reason_wins_and_the_gateway_is_named(tmp_path: Path) -> None:
    """What the provider said is kept as it was said; tokens and cost are as billed."""
    chat, _ = spans(write(tmp_path, trajectory(answer(1000, "done"))))
    expected = {
        "gen_ai.response.finish_reasons": ["STOP"],
        "gen_ai.provider.name": "gcp.vertex_ai",
        "tracekit.gateway": "openrouter",
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.output_tokens": 20,
        "gen_ai.usage.reasoning.output_tokens": 5,
        "tracekit.cost.reported_usd": 0.5,
    }
    assert (
        expected.items()
        <= {key: value for key, value in chat.attributes.items() if key in expected}.items()
    )


def test_a_response_without_native_reason_or_cost_takes_what_there_is(tmp_path: Path) -> None:
    """Behind Portkey the only reason is the provider's own, and the agent wrote the cost."""
    message = answer(1000, "x", finish_reason="STOP", native_finish_reason=None)
    message["extra"]["cost"] = 0.125
    del message["extra"]["response"]["usage"]["cost"]
    message["extra"]["response"]["provider"] = "google"
    chat, _ = spans(write(tmp_path, trajectory(message, model_type="x.PortkeyModel")))
    assert chat.attributes["gen_ai.response.finish_reasons"] == ["STOP"]
    assert chat.attributes["tracekit.cost.reported_usd"] == 0.125
    assert chat.attributes["gen_ai.provider.name"] == "gcp.gemini"
    assert chat.attributes["tracekit.gateway"] == "portkey"


def test_an_error_inside_a_stream_is_a_failed_call_whatever_its_finish_reason(
    tmp_path: Path,
) -> None:
    """OpenRouter reports an upstream error in a choice that says `stop`."""
    failed = answer(1000, "THOUGHT: `", error={"code": 502, "message": "JSON error injected"})
    chat, _ = spans(write(tmp_path, trajectory(failed, user("Please always provide"))))
    assert chat.failed
    assert chat.attributes["error.type"] == "502"
    assert chat.attributes["http.response.status_code"] == 502
    assert chat.attributes["tracekit.stream.complete"] is False


@pytest.mark.parametrize("text", ["no command", "```bash\na\n```\n```bash\nb\n```"])
def test_an_answer_without_exactly_one_command_runs_nothing(text: str, tmp_path: Path) -> None:
    """The harness refuses such an answer, so there is no execution."""
    path = write(tmp_path, trajectory(answer(1000, text), user("Please always provide EXACTLY")))
    assert operations(spans(path), "execute_tool") == []


def test_a_command_that_timed_out_says_so(tmp_path: Path) -> None:
    """A killed command is a failed tool call of status timeout."""
    text = "The last command <command>sleep 99</command> timed out and has been killed."
    found = spans(write(tmp_path, trajectory(answer(1, "```bash\nsleep 99\n```"), user(text))))
    (tool,) = operations(found, "execute_tool")
    assert (tool.failed, tool.attributes["tracekit.tool.status"]) == (True, "timeout")


def test_a_report_is_an_outcome_of_the_session_of_its_instance(tmp_path: Path) -> None:
    """Trajectories and reports need not be imported together to meet."""
    found = spans(write(tmp_path, trajectory(answer(1000, "done"))))
    (session,) = by_session(found)
    report = write(tmp_path, orjson.dumps(REPORT), "logs/django__django-1/report.json")
    assert source_of(report).outcomes() == [
        {
            "session_id": session,
            "task_id": None,
            "outcome": "success",
            "evidence": "verified",
            "source": "swe-bench resolved",
            "score": 1.0,
            "decided_ns": None,
        }
    ]


def test_reports_by_instance_and_in_archives_are_read_too(tmp_path: Path) -> None:
    """The official form names its instances; in an archive the member's folder does."""
    by_instance = orjson.dumps({"a__a-1": REPORT, "b__b-2": REPORT | {"resolved": False}})
    data = tar({"all.json": by_instance, "logs/c__c-3/report.json": orjson.dumps(REPORT)})
    source = source_of(write(tmp_path, data))
    assert list(source.chunks()) == []
    assert [(row["session_id"], row["outcome"]) for row in source.outcomes()] == [
        ("swe-bench:a__a-1", "success"),
        ("swe-bench:b__b-2", "failure"),
        ("swe-bench:c__c-3", "success"),
    ]


def test_all_trajectories_meet_their_labels(shared_data: Path) -> None:
    """229 sessions, 171 resolved, and the cost that the agent added up itself."""
    folder = shared_data / "swebench-mini-agent"
    found = spans(folder / "trajs-A.tar.gz")
    outcomes = source_of(folder / "labels-A.tar.gz").outcomes()
    assert by_session(found).keys() == {row["session_id"] for row in outcomes}
    assert Counter(row["outcome"] for row in outcomes) == {"success": 171, "failure": 58}
    assert len({span.span_id for span in found}) == len(found)
    assert total(found, "tracekit.cost.reported_usd") == pytest.approx(99.40334, abs=1e-5)
    chats = operations(found, "chat")
    reasons = Counter(span.attributes["gen_ai.response.finish_reasons"][0] for span in chats)
    assert reasons == {"STOP": 8984, "MAX_TOKENS": 1}
    assert sum(span.failed for span in chats) == 1
