"""Recordings of tau-bench and tau2-bench: every session, the agent's side only."""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from importing import by_session, operations, passes, source_of, spans, total

from tracekit.errors import InputError
from tracekit.importers.runs import agent_of, model_of

if TYPE_CHECKING:
    from pathlib import Path

AIRLINE = "tau-bench-airline-gpt4o/originals.tar.gz"
RETAIL = "tau-bench-retail-agentverify/originals.tar.gz"

TAU2_RUNS = {  # sessions with reward 1, tool errors flagged by the harness
    "2026-02-20T23_09_22.383745_retail_llm_agent_gemini-3-flash-preview"
    "_user_simulator_gemini-3-flash-preview": (66, 14),
    "2026-02-21T00_37_20.185158_retail_llm_agent_gpt-4.1-mini_user_simulator_gpt-4.1-mini": (
        79,
        70,
    ),
    "2026-02-21T14_34_07.403605_retail_llm_agent_gpt-4.1-mini_user_simulator_gpt-4.1-mini": (
        67,
        87,
    ),
    "Retail_Base_Gpt-4.1-mini_2026-02-22T13_32_37_": (66, 72),
    "Retail_Policy_v1_Gpt-4.1-mini_2026-02-22T14_30_22_": (63, 89),
    "Retail_Policy_v2_Gpt-4.1-mini_2026-02-23T13_37_24_": (73, 62),
    "Retail__Mermaid_harness_v1__2026-02-25T13_34_45": (68, 59),
    "gemini-3-flash__mermaid_harness_v1__all": (88, 19),
    "gemini-3-flash__mermaid_harness_v1__user_agent_gemini_3_flash__all": (91, 24),
}


def tau_session(**changes: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a":1}'}}
    entry: dict[str, Any] = {
        "task_id": 3,
        "trial": 1,
        "reward": 1.0,
        "info": {"user_cost": 9.0},
        "traj": [
            {"role": "system", "content": "policy"},
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "Error: none"},
            {"role": "assistant", "content": "Sorry."},
            {"role": "user", "content": "bye ###STOP###"},
        ],
    }
    return entry | changes


def tau2_session(**changes: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 100, "completion_tokens": 7, "cache_read_tokens": 60}
    call = {"id": "c1", "name": "find", "arguments": {"a": 1}, "requestor": "assistant"}

    def message(second: int, role: str, **fields: Any) -> dict[str, Any]:
        time = f"2026-02-22T13:32:{second:02}.500000"
        return {"role": role, "content": "text", "timestamp": time, **fields}

    return {
        "task_id": "0",
        "task": {},
        "run_info": {
            "simulation_id": "7212bb45",
            "timestamp": "2026-02-22T13:32:59.000000",
            "duration_sec": 30.0,
            "termination_reason": "user_stop",
            "agent_cost": None,
            "user_cost": 5.0,
        },
        "reward_info": {"reward": 0.0},
        "messages": [
            message(1, "assistant", usage=None, cost=0.0),
            message(2, "user", usage=usage, cost=5.0, tool_calls=[call | {"id": "u1"}]),
            message(3, "tool", id="u1", requestor="user", error=True),
            message(
                5,
                "assistant",
                usage=usage,
                cost=0.25,
                tool_calls=[call],
                raw_data={"finish_reason": "tool_calls"},
            ),
            message(6, "tool", id="c1", requestor="assistant", error=True),
        ],
    } | changes


def saved(folder: Path, document: Any, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(document))
    return path


def test_a_tau_bench_session_is_one_root_with_calls_and_tools(tmp_path: Path) -> None:
    """Assistant messages are chats, tool calls are joined by id, users are no spans."""
    path = saved(tmp_path, [tau_session()], "gpt-4o-airline.json")
    root, first, tool, last = spans(path)
    assert [span.name for span in (root, first, tool, last)] == [
        "invoke_agent gpt-4o-airline",
        "chat gpt-4o",
        "execute_tool find",
        "chat gpt-4o",
    ]
    assert {span.parent for span in (first, tool, last)} == {root.span_id}
    assert root.attributes["tracekit.stop.framework_raw"] == "user_stop"
    assert passes([root]) == 1
    assert tool.failed
    assert tool.attributes["gen_ai.tool.call.arguments"] == '{"a":1}'
    messages = orjson.loads(first.attributes["gen_ai.output.messages"])
    assert [part["type"] for part in messages[0]["parts"]] == ["tool_call"]
    assert source_of(path).format == "json"


def test_times_that_were_not_recorded_are_marked_and_in_order(tmp_path: Path) -> None:
    """Synthetic times start at a fixed moment and grow with the messages."""
    found = spans(saved(tmp_path, [tau_session()], "a.json"))
    assert all(span.attributes["tracekit.time.synthetic"] for span in found)
    steps = found[1:]
    assert [span.start_ns for span in steps] == sorted({span.start_ns for span in steps})
    assert found[0].start_ns == 1_704_067_200 * 10**9
    assert found[0].end_ns >= max(span.end_ns for span in steps)


def test_a_session_has_the_same_ids_wherever_its_file_is(tmp_path: Path) -> None:
    """Ids follow from what the session is, not from a path, an order or another session."""
    other = tau_session(task_id=4)
    one = by_session(spans(saved(tmp_path, [tau_session(), other], "a/run.json")))
    two = by_session(spans(saved(tmp_path, [other, tau_session()], "b/other.json")))
    assert one.keys() == two.keys()
    assert len(one) == 2
    for session, found in one.items():
        assert {span.span_id for span in found} == {span.span_id for span in two[session]}


def test_runs_of_one_task_are_different_sessions(tmp_path: Path) -> None:
    """The same task and trial in another run is another session: its tool calls differ."""
    again = orjson.loads(orjson.dumps([tau_session()]).replace(b'"c1"', b'"c2"'))
    found = spans(saved(tmp_path, [tau_session(), *again], "a.json"))
    assert len(by_session(found)) == 2
    assert len({span.span_id for span in found}) == len(found)


def test_sessions_without_messages_are_skipped_with_their_error(tmp_path: Path) -> None:
    """A run that crashed before the first message left nothing to import."""
    crashed = tau_session(traj=[], info={"error": "Connection aborted.\nTraceback"})
    source = source_of(saved(tmp_path, [crashed, tau_session()], "a.json"))
    list(source.chunks())
    assert source.skipped == [
        (f"{source.name}: task 3, trial 1", "no messages: Connection aborted.")
    ]


def test_a_tool_call_that_was_never_answered_is_no_execution(tmp_path: Path) -> None:
    """The chat asks for it; that it ran, nothing shows."""
    entry = tau_session()
    entry["traj"] = entry["traj"][:3]
    found = spans(saved(tmp_path, [entry], "a.json"))
    assert operations(found, "execute_tool") == []
    assert found[0].attributes["tracekit.stop.framework_raw"] == "max_steps"


def test_a_call_id_that_comes_twice_is_two_executions(tmp_path: Path) -> None:
    """Models repeat ids at times; each call takes the next result of its id."""
    entry = tau_session()
    steps = entry["traj"]
    entry["traj"] = [*steps[:4], steps[2], {**steps[3], "content": "found"}, *steps[4:]]
    tools = operations(spans(saved(tmp_path, [entry], "a.json")), "execute_tool")
    assert [span.failed for span in tools] == [True, False]
    assert tools[0].span_id != tools[1].span_id


def test_a_tau2_session_leaves_the_simulated_user_out(tmp_path: Path) -> None:
    """Neither its tokens nor its cost nor its tools are the agent's; the greeting is no call."""
    path = saved(tmp_path, tau2_session(), "retail_llm_agent_gpt-4.1-mini/task_0.json")
    root, chat, tool = spans(path)
    assert chat.attributes == {
        "tracekit.session.id": "tau2-bench:7212bb45",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt-4.1-mini",
        "gen_ai.response.finish_reasons": ["tool_calls"],
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 7,
        "gen_ai.usage.cache_read.input_tokens": 60,
        "gen_ai.output.messages": chat.attributes["gen_ai.output.messages"],
        "tracekit.cost.reported_usd": 0.25,
        "tracekit.gateway": "litellm",
    }
    assert chat.end_ns - chat.start_ns == 2 * 10**9  # from the message before it to its own
    assert (tool.start_ns, tool.end_ns) == (chat.end_ns, chat.end_ns + 10**9)
    assert tool.failed
    assert tool.attributes["gen_ai.tool.call.id"] == "c1"
    assert root.end_ns - root.start_ns == 30 * 10**9
    assert passes([root]) == 0


def test_a_tau2_session_that_never_started_is_a_root_alone(tmp_path: Path) -> None:
    """An agent error before the first message is a session too, and a failed one."""
    info = tau2_session()["run_info"] | {"termination_reason": "agent_error", "duration_sec": 0.0}
    (root,) = spans(saved(tmp_path, tau2_session(run_info=info, messages=[]), "r/task_1.json"))
    assert root.failed
    assert root.attributes["tracekit.stop.framework_raw"] == "agent_error"


def test_a_document_that_is_not_as_expected_fails_by_name(tmp_path: Path) -> None:
    """A recording with a hole in it gives an error for users, not a traceback."""
    broken = tau2_session()
    del broken["messages"][3]["timestamp"]
    with pytest.raises(InputError, match=r"task_2.json: looks like tau2_bench, but is not as"):
        spans(saved(tmp_path, broken, "r/task_2.json"))


@pytest.mark.parametrize(
    ("run", "agent", "model"),
    [
        ("gpt-4o-airline", "gpt-4o-airline", "gpt-4o"),
        ("tool-calling-l0-4o", "tool-calling-l0-4o", None),
        (
            "tool-calling-claude-3-5-sonnet-20241022-0.0_range_0-10_user-gpt-4o-llm_0101000000",
            "tool-calling-claude-3-5-sonnet-20241022-0.0_range_0-10_user-gpt-4o-llm",
            "claude-3-5-sonnet-20241022",
        ),
        (
            "[Retail][Base][Gpt-4.1-mini][2026-02-22T13_32_37]",
            "Retail_Base_Gpt-4.1-mini",
            "gpt-4.1-mini",
        ),
        ("_Retail__Mermaid_harness_v1__2026-02-25T13_34_45_", "Retail__Mermaid_harness_v1", None),
        ("x_user_simulator_gpt-4o", "x_user_simulator_gpt-4o", None),
    ],
)
def test_the_name_of_a_run_tells_agent_and_model(run: str, agent: str, model: str | None) -> None:
    """Times are no part of an agent's name, and the simulator's model is not the agent's."""
    assert (agent_of(run), model_of(run)) == (agent, model)


def test_all_airline_sessions_are_imported(shared_data: Path) -> None:
    """200 sessions, 84 of them successful, with the tool errors that the data set counts."""
    found = spans(shared_data / AIRLINE)
    tools = operations(found, "execute_tool")
    assert len(by_session(found)) == 200
    assert passes(found) == 84
    assert len(operations(found, "chat")) == 2454
    assert (len(tools), sum(span.failed for span in tools)) == (1164, 73)


def test_all_retail_sessions_are_imported_and_empty_ones_skipped(shared_data: Path) -> None:
    """323 sessions in three runs, 226 successful; seven crashed ones have no messages."""
    source = source_of(shared_data / RETAIL)
    found = spans(shared_data / RETAIL)
    list(source.chunks())
    roots = operations(found, "invoke_agent")
    won: dict[str, int] = {}
    for root in roots:
        run = root.attributes["gen_ai.workflow.name"]
        won[run[:35]] = won.get(run[:35], 0) + passes([root])
    assert len(by_session(found)) == len(roots) == 323
    assert sorted(won.values()) == [70, 70, 86]
    assert sum("no messages" in why for _, why in source.skipped) == 7


@pytest.mark.parametrize("run", TAU2_RUNS)
def test_all_tau2_sessions_of_a_run_are_imported(run: str, shared_data: Path) -> None:
    """114 sessions a run; rewards, tool errors and the agent's recorded cost agree."""
    archive = shared_data / "tau2-retail" / f"{run}.tar.gz"
    found = spans(archive)
    tools = operations(found, "execute_tool")
    assert len(by_session(found)) == 114
    assert len({span.span_id for span in found}) == len(found)
    assert (passes(found), sum(span.failed for span in tools)) == TAU2_RUNS[run]
    documents = tau2_documents(archive)
    costs = by_session(operations(found, "chat"))
    for document in documents:
        info = document["run_info"]
        if info["agent_cost"] is not None:
            session = costs[f"tau2-bench:{info['simulation_id']}"]
            assert total(session, "tracekit.cost.reported_usd") == pytest.approx(info["agent_cost"])
    assert total(found, "gen_ai.usage.input_tokens") == sum(
        message["usage"]["prompt_tokens"]
        for document in documents
        for message in document["messages"]
        if message["role"] == "assistant" and message["usage"]
    )


def tau2_documents(archive: Path) -> list[Any]:
    """Return the sessions of a run as they are in its archive."""
    with tarfile.open(archive) as tar:
        files = [tar.extractfile(member) for member in tar if "/task_" in member.name]
        return [orjson.loads(file.read()) for file in files if file]
