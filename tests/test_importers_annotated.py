"""Annotated recordings: Magentic-One logs, Who&When, and AgentRx, which annotates other files."""

from __future__ import annotations

import io
import tarfile
from typing import TYPE_CHECKING, Any

import orjson
import pytest
from importing import Seen, by_session, operations, source_of, spans

from tracekit.errors import InputError
from tracekit.importers.detect import open_sources
from tracekit.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

AGENTRX = "agentrx/originals.tar.gz"
WHO_AND_WHEN = "who-and-when/originals.tar.gz"
RETAIL = "tau-bench-retail-agentverify/originals.tar.gz"

WARNING = (
    "\n/lib/agents/orchestrator.py:216: UserWarning: Resolved model mismatch: "
    "gpt-4o-2024-08-06 != gpt-4o-2024-05-13. Model mapping may be incorrect."
)
FAILED = "Error processing publish message\nTraceback (most recent call last):\n  File ...\n"
FILTERED = (
    f"\n{FAILED}"
    "openai.BadRequestError: Error code: 400 - {'error': {'inner_error': {'code': 'Policy'}, "
    "'code': 'content_filter', 'message': \"It's filtered\", 'type': None}}\n"
    "FINAL ANSWER: 7\nSCENARIO.PY COMPLETE !#!#"
)


def said(role: str, content: str) -> dict[str, str]:
    return {"role": f"Orchestrator ({role})" if role.islower() else role, "content": content}


def ledger(*, satisfied: bool) -> dict[str, str]:
    text = orjson.dumps({"is_request_satisfied": {"reason": "", "answer": satisfied}}).decode()
    return said("thought", f"Updated Ledger:\n{text}{WARNING}")


def log(*ending: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"role": "human", "content": "How many?"},
        said("thought", "Initial plan:\n\nAsk WebSurfer."),
        ledger(satisfied=False),
        said("Orchestrator (-> WebSurfer)", "Search."),
        said("thought", "Next speaker WebSurfer"),
        said("WebSurfer", "I clicked it."),
        *ending,
    ]


def who_and_when(history: list[dict[str, str]], **changes: Any) -> dict[str, Any]:
    return {
        "history": history,
        "question_ID": "q1",
        "is_correct": False,
        "mistake_agent": "WebSurfer",
        "mistake_step": "5",
        "mistake_reason": "a secret reason",
    } | changes


def chat(*messages: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "role": "user", "content": content} for name, content in messages]


def tau(**changes: Any) -> dict[str, Any]:
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": "{}"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "policy"},
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "found"},
        {"role": "user", "content": "bye ###STOP###"},
    ]
    return {"task_id": 3, "trial": 0, "reward": 0.0, "info": {}, "traj": messages} | changes


def republished(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a session as AgentRx has it: with numbered messages."""
    numbered = [message | {"index": at + 1} for at, message in enumerate(entry["traj"])]
    return entry | {"traj": numbered}


def failure(number: int, step: int, category: str, agent: str) -> dict[str, Any]:
    return {
        "failure_id": number,
        "step_number": step,
        "failure_category": category,
        "failed_agent": agent,
        "step_reason": "a secret reason",
    }


def annotated(name: Any, *failures: dict[str, Any], root: Any = 1) -> dict[str, Any]:
    return {
        "trajectory_id": name,
        "failures": list(failures),
        "root_cause": {"failure_id": root, "reason_for_root_cause": "a secret reason"},
    }


def saved(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(document))
    return path


def archive(path: Path, files: Mapping[str, Any]) -> Path:
    """Write an archive with the files in this order."""
    with tarfile.open(path, "w:gz") as tar:
        for name, document in files.items():
            content = orjson.dumps(document)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def findings(found: list[Seen]) -> list[Seen]:
    return [span for span in found if span.name.startswith("annotation ")]


def filled(folder: Path, *paths: Path) -> Lake:
    lake = Lake.open(folder, create=True)
    summary = lake.ingest(open_sources([str(path) for path in paths]))
    assert summary.failed == ()
    return lake


def rows(lake: Lake, sql: str) -> list[tuple[Any, ...]]:
    return lake.read(lambda con: con.execute(sql).fetchall())


def test_a_log_is_one_root_with_calls_turns_and_commands(tmp_path: Path) -> None:
    """What a model wrote is a chat, a turn is an agent's run; remarks and users are no spans."""
    document = log(
        said("ComputerTerminal", "The script ran, then exited with Unix exit code: 2\nno"),
        said("ComputerTerminal", "No code block detected in the messages."),
        said("Assistant", "Seven."),
        said("termination condition", "Max rounds (30) reached.\nFINAL ANSWER: 7"),
    )
    root, *steps = spans(saved(tmp_path / "q1.json", document))
    assert [(span.name, span.attributes["gen_ai.agent.name"]) for span in steps] == [
        ("chat", "Orchestrator"),
        ("chat", "Orchestrator"),
        ("delegate to WebSurfer", "Orchestrator"),
        ("invoke_agent WebSurfer", "WebSurfer"),
        ("execute_tool ComputerTerminal", "ComputerTerminal"),
        ("chat", "Assistant"),
    ]
    assert [span.attributes["tracekit.step.index"] for span in steps] == [1, 2, 3, 5, 6, 8]
    assert {span.parent for span in steps} == {root.span_id}
    assert [span.failed for span in steps] == [False] * 4 + [True, False]
    assert root.attributes["tracekit.stop.framework_raw"] == "Max rounds (30) reached."
    assert all(span.attributes["tracekit.time.synthetic"] for span in (root, *steps))
    starts = [span.start_ns for span in steps]
    assert starts == sorted(set(starts))
    assert root.end_ns >= max(span.end_ns for span in steps)


def test_a_log_names_the_model_that_answered_the_orchestrator_only(tmp_path: Path) -> None:
    """The warning in the log speaks of the orchestrator's calls; others have no model."""
    document = log(said("Assistant", "Seven."))
    chats = operations(spans(saved(tmp_path / "q1.json", document)), "chat")
    models = [span.attributes.get("gen_ai.response.model") for span in chats]
    assert models == ["gpt-4o-2024-05-13", "gpt-4o-2024-05-13", None]
    assert not any("gen_ai.usage.input_tokens" in span.attributes for span in chats)


def test_a_log_ends_as_the_orchestrator_or_the_failed_call_says(tmp_path: Path) -> None:
    """A limit, a claim of success, a call that was refused; a log that is cut says nothing."""
    end = "termination condition"
    endings = [
        [
            ledger(satisfied=True),
            said("thought", "Request satisfied."),
            said(end, "No agent selected.\nFINAL ANSWER: 7"),
        ],
        [
            said("thought", "Replan counter exceeded... Terminating."),
            said(end, "No agent selected."),
        ],
        [said(end, "Max time (1500s) reached.")],
        [said("WebSurfer", f"I typed it.{FILTERED}")],
        [said("WebSurfer", f"{FAILED}openai.APIConnectionError: Connection error.")],
        [],
    ]
    for number, ending in enumerate(endings):
        saved(tmp_path / f"logs/{number}.json", log(*ending))
    lake = filled(tmp_path / "lake", tmp_path / "logs")
    found = rows(lake, "SELECT stop_reason, stop_framework_raw, outcome_declared FROM tasks")
    assert sorted(found) == [
        ("completed.declared", "Request satisfied.", "success"),
        ("limit.retries", "Replan counter exceeded... Terminating.", None),
        ("limit.time", "Max time (1500s) reached.", None),
        ("policy.content_filtered", None, None),
        ("provider.server_error", None, None),
        ("unknown.no_evidence", None, None),
    ]


def test_a_refused_call_is_a_step_with_the_providers_code(tmp_path: Path) -> None:
    """The call is in no message, only its traceback is; what the script does then is no step."""
    *_, refused = spans(saved(tmp_path / "a.json", log(said("WebSurfer", f"Typed.{FILTERED}"))))
    assert refused.failed
    assert refused.attributes["error.type"] == "content_filter"
    assert refused.attributes["http.response.status_code"] == 400
    assert refused.attributes["gen_ai.agent.name"] == "Orchestrator"


@pytest.mark.parametrize(
    "body",
    [
        "Error code: 500 - {'error': {'code': None}}",
        "Error code: 500 - {'error': [}",
        "Error code: 500 - {" + "'a': {" * 1500 + "}",
        "Error code: 500 - {'error': 'x'}",
        "gone",
    ],
)
def test_an_error_without_a_readable_code_keeps_its_class(body: str, tmp_path: Path) -> None:
    """Whatever the log has after the class name, the class name is the error."""
    document = log(said("WebSurfer", f"{FAILED}openai.InternalServerError: {body}"))
    *_, failed = spans(saved(tmp_path / "a.json", document))
    assert failed.attributes["error.type"] == "InternalServerError"


def test_a_run_that_crashed_has_the_error_on_its_root(tmp_path: Path) -> None:
    """The script exits with a code; the last exception before that is the error."""
    text = "requests.exceptions.ChunkedEncodingError: broken\nSCENARIO.PY EXITED WITH CODE: 1 !#!#"
    root, *_ = spans(saved(tmp_path / "a.json", log(said("WebSurfer", text))))
    assert root.attributes["error.type"] == "ChunkedEncodingError"


def test_a_chat_is_experts_and_the_commands_of_its_terminal(tmp_path: Path) -> None:
    """The terminal runs the code of the message before it; a message without code runs nothing."""
    document = who_and_when(
        chat(
            ("Excel_Expert", "```python\nprint(1)\n```"),
            ("Computer_terminal", "exitcode: 0 (execution succeeded)\nCode output: 1"),
            ("Check_Expert", "Fine?"),
            ("Computer_terminal", "There is no code from the last 1 message for me to execute."),
            ("Check_Expert", "```sh\nsleep 9\n```"),
            ("Computer_terminal", "exitcode: 124 (execution failed)\nCode output: Timeout"),
            ("Check_Expert", "All is well. TERMINATE"),
        ),
        mistake_agent="Check_Expert",
        mistake_step="2",
    )
    root, *steps = spans(saved(tmp_path / "1.json", document))
    tools = operations(steps, "execute_tool")
    assert [span.attributes["tracekit.step.index"] for span in tools] == [1, 5]
    assert [span.attributes["tracekit.tool.status"] for span in tools] == ["success", "timeout"]
    assert tools[0].attributes["gen_ai.tool.call.arguments"] == '["print(1)\\n"]'
    assert len(operations(steps, "chat")) == 4
    assert root.attributes["tracekit.stop.framework_raw"] == "TERMINATE"


def test_a_chat_that_ran_out_of_its_ten_messages_says_so(tmp_path: Path) -> None:
    """Ten messages without the stop word are the limit; fewer without it end for no known cause."""
    for length, ending in ((10, "max_round"), (9, None)):
        history = chat(*[("Check_Expert", f"Step {at}.") for at in range(length)])
        root, *_ = spans(saved(tmp_path / f"{length}.json", who_and_when(history)))
        assert root.attributes.get("tracekit.stop.framework_raw") == ending


def test_a_mistake_is_a_finding_at_its_step_and_the_task_failed(tmp_path: Path) -> None:
    """Who, where and what can be queried; the reason, which is content, stays out."""
    document = who_and_when(log(), mistake_type="wrong_reasoning")
    lake = filled(tmp_path / "lake", saved(tmp_path / "1.json", document))
    finding = (
        "SELECT a.eval_name, a.eval_label, a.agent_name, a.step_index, s.name FROM spans AS a "
        "JOIN spans AS s ON a.parent_span_id = s.span_id WHERE a.eval_name IS NOT NULL"
    )
    assert rows(lake, finding) == [
        ("who_and_when.mistake", "wrong_reasoning", "WebSurfer", 5, "invoke_agent WebSurfer")
    ]
    assert rows(lake, "SELECT outcome, outcome_source, agent_name FROM tasks") == [
        ("failure", "verified", "magentic-one")
    ]
    assert rows(lake, "SELECT outcome, source FROM outcomes") == [("failure", "who_and_when")]
    assert rows(lake, "SELECT count(*) FROM spans WHERE spans::VARCHAR LIKE '%secret%'") == [(0,)]


@pytest.mark.parametrize("first", ["annotations", "sessions"])
def test_annotations_meet_their_sessions_in_one_archive(first: str, tmp_path: Path) -> None:
    """In either order; steps count from 1, and a message without a span counts for the root."""
    parts = {
        "annotations": {
            "truth.json": [
                annotated(
                    3,
                    failure(1, 3, "Invalid Invocation", "Assistant"),
                    failure(2, 5, "Underspecified User Intent", "User"),
                    root="2",
                )
            ]
        },
        "sessions": {"all.json": [republished(tau())], "failed.json": [republished(tau())]},
    }
    (second,) = parts.keys() - {first}
    path = archive(tmp_path / "a.tgz", parts[first] | parts[second])
    found = spans(path)
    names = {span.span_id: span.name for span in found}
    told = [
        (
            span.attributes["gen_ai.evaluation.name"],
            span.attributes["gen_ai.evaluation.score.label"],
            span.attributes["gen_ai.agent.name"],
            span.attributes["tracekit.step.index"],
            names[span.parent],
        )
        for span in findings(found)
    ]
    user = "Underspecified User Intent"
    assert told == [
        ("agentrx.failure", "Invalid Invocation", "Assistant", 2, "chat"),
        ("agentrx.root_cause", user, "User", 4, "invoke_agent assistant"),
    ]
    assert len({span.trace_id for span in found}) == 1
    (outcome,) = source_of(path).outcomes()
    assert (outcome["outcome"], outcome["source"]) == ("failure", "agentrx")


def test_annotations_repeated_in_a_second_file_are_there_once(tmp_path: Path) -> None:
    """A part of the annotations published again has the same ids, and adds no verdict."""
    truth = [annotated("q1", failure(1, 6, "System Failure", "WebSurfer"))]
    files = {"one.json": truth, "two.json": truth, "logs/q1.json": log()}
    path = archive(tmp_path / "a.tgz", files)
    assert len({span.span_id for span in findings(spans(path))}) == 1
    assert len(source_of(path).outcomes()) == 1


def test_annotations_without_their_sessions_are_skipped_with_what_to_do(tmp_path: Path) -> None:
    """A name that fits none or several sessions is no guess; nothing is failed for it."""
    truth = [annotated(3, failure(1, 3, "Invalid Invocation", "Assistant"))]
    source = source_of(saved(tmp_path / "truth.json", truth))
    assert list(source.chunks()) == []
    ((what, why),) = source.skipped
    assert what == f"{source.name}: annotations of 3"
    assert "have to come in one archive" in why
    two = {"truth.json": truth, "all.json": [tau(), tau(trial=1)], "none.json": [annotated(4)]}
    ambiguous = source_of(archive(tmp_path / "a.tgz", two))
    assert findings(spans(tmp_path / "a.tgz")) == []
    list(ambiguous.chunks())
    assert [why for _, why in ambiguous.skipped] == [
        "no failure in it",
        "2 sessions have that name",
    ]
    assert ambiguous.outcomes() == []


@pytest.mark.parametrize(
    "document",
    [
        who_and_when(log(), mistake_step="-1"),
        who_and_when(log(), mistake_step="late"),
        who_and_when([]),
        who_and_when([{"role": "x"}]),
        [annotated("q1", failure(1, 0, "System Failure", "WebSurfer"))],
        [annotated("q1", failure(1, 1 << 60, "System Failure", "WebSurfer"))],
    ],
)
def test_an_annotation_that_makes_no_sense_fails_by_name(document: Any, tmp_path: Path) -> None:
    """A step before the first or past any session, or no messages: an error for users."""
    with pytest.raises(InputError, match=r"odd\.json: looks like \w+, but is not as expected"):
        spans(saved(tmp_path / "odd.json", document))


def test_an_unannotated_log_has_no_verdict(tmp_path: Path) -> None:
    """That nobody annotated it says neither success nor failure."""
    truth = [annotated("q1", failure(1, 6, "System Failure", "WebSurfer"))]
    other = log(said("Assistant", "Eight."))
    path = archive(tmp_path / "a.tgz", {"t.json": truth, "q1.json": log(), "q2.json": other})
    assert len(by_session(spans(path))) == 2
    assert len(source_of(path).outcomes()) == 1


@pytest.mark.parametrize("reverse", [False, True])
def test_sessions_that_two_sets_hold_are_there_once(tmp_path: Path, *, reverse: bool) -> None:
    """Spans, run and verdicts are those of one session, whichever set is imported first."""
    truth = [
        annotated("q1", failure(1, 6, "System Failure", "WebSurfer")),
        annotated(3, failure(1, 3, "Invalid Invocation", "Assistant")),
    ]
    files = {"truth.json": truth, "q1.json": log(), "all.json": [republished(tau())]}
    paths = [
        archive(tmp_path / "agentrx.tgz", files),
        saved(tmp_path / "1.json", who_and_when(log())),
        saved(tmp_path / "tool-calling.json", [tau()]),
    ]
    lake = Lake.open(tmp_path / "lake", create=True)
    for some in (paths[1:], paths[:1]) if reverse else (paths[:1], paths[1:]):
        lake.ingest(open_sources([str(path) for path in some]))
    sessions = "SELECT agent_name, workflow_name, spans, outcome FROM sessions ORDER BY 1"
    assert rows(lake, sessions) == [
        ("magentic-one", None, 1 + 4 + 2, "failure"),
        ("tool-calling", "tool-calling", 1 + 2 + 1, "failure"),
    ]
    sources = rows(lake, "SELECT source, count(*) FROM outcomes GROUP BY 1 ORDER BY 1")
    assert sources == [("agentrx", 2), ("reward", 1), ("who_and_when", 1)]


def test_chats_on_two_questions_are_two_sessions_even_if_they_read_the_same(
    tmp_path: Path,
) -> None:
    """A chat is told by its question too; a log, which names none, by its text alone."""
    talk = chat(("Check_Expert", "TERMINATE"))
    for number in (1, 2):
        saved(tmp_path / f"{number}.json", who_and_when(talk, question_ID=f"q{number}"))
    assert len(by_session(spans(tmp_path))) == 2


def test_all_sessions_of_agentrx_are_imported(shared_data: Path) -> None:
    """102 of tau-bench and 58 of Magentic-One; 29 and 44 of them annotated, each with a cause."""
    found = spans(shared_data / AGENTRX)
    sessions = by_session(found)
    notes = by_session(findings(found))
    causes = [
        span.attributes["tracekit.session.id"].partition(":")[0]
        for span in {span.span_id: span for span in findings(found)}.values()
        if span.attributes["gen_ai.evaluation.name"] == "agentrx.root_cause"
    ]
    assert sum(key.startswith("tau-bench:") for key in sessions) == 102
    assert sum(key.startswith("magentic-one:") for key in sessions) == 58
    assert notes.keys() <= sessions.keys()
    assert (causes.count("tau-bench"), causes.count("magentic-one")) == (29, 44)


def test_copies_of_sessions_elsewhere_have_the_same_ids(shared_data: Path) -> None:
    """AgentRx took its sessions from the retail runs and, as Who&When did, from one set of logs."""
    copies = by_session(spans(shared_data / AGENTRX))
    retail = by_session(spans(shared_data / RETAIL))
    failed = by_session(spans(shared_data / WHO_AND_WHEN))
    tau_copies = {key for key in copies if key.startswith("tau-bench:")}
    logs = {key for key in failed if key.startswith("magentic-one:")}
    assert tau_copies <= retail.keys()
    assert copies.keys() - tau_copies == logs


def test_all_sessions_of_who_and_when_are_imported(shared_data: Path) -> None:
    """184 sessions, all failed, each with one mistake; 172 lie at a step of the agent they name."""
    found = spans(shared_data / WHO_AND_WHEN)
    source = source_of(shared_data / WHO_AND_WHEN)
    assert len(by_session(found)) == len(findings(found)) == 184
    assert {row["outcome"] for row in source.outcomes()} == {"failure"}
    agents = {span.span_id: span.attributes.get("gen_ai.agent.name") for span in found}
    own = [span.attributes["gen_ai.agent.name"] == agents[span.parent] for span in findings(found)]
    assert sum(own) == 172  # 6 more at remarks of that agent, which are no steps
