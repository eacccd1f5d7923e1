"""The evidence gathered in a running process is that of the recorded spans."""

from __future__ import annotations

from random import Random
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay import replayed, root_of
from stop_cases import Case, cases, classified, encode

from tracekit.costs.live import Price
from tracekit.instrumentation import names
from tracekit.instrumentation.derive import Deriver, unbilled_failures
from tracekit.instrumentation.evidence import LIMIT, FrameFacts, LlmFacts, ToolFacts, Unit
from tracekit.stops import live

if TYPE_CHECKING:
    from collections.abc import Sequence

CASES = [case for case in cases() if root_of(case.spans) is not None]

FINISHES = ["stop", "tool_calls", "tool_calls", "length", "content_filter", "error", "who_knows"]
ERRORS = ["RateLimitError", "TimeoutError", "openai.APIError", "CancelledError", "ValueError", "x"]
SECONDS = 12


def rows(sessions: Sequence[tuple[str, list[dict[str, Any]]]]) -> dict[str, dict[str, Any]]:
    """Return what the lake's models say about sessions: evidence by session."""
    data = b"".join(encode(spans, name, n) for n, (name, spans) in enumerate(sessions))
    found = classified(data).sql("SELECT * EXCLUDE (task_id) FROM evidence").to_arrow_table()
    return {row.pop("session_id"): row for row in found.to_pylist()}


@pytest.fixture(scope="module")
def recorded() -> dict[str, dict[str, Any]]:
    return rows([(case.name, case.spans) for case in CASES])


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_recording_gives_the_same_evidence_in_process(
    case: Case, recorded: dict[str, dict[str, Any]]
) -> None:
    """Every column of every stop case that has a root is the same, and so is the stop."""
    root = root_of(case.spans)
    assert root is not None
    found = replayed(case.spans, root)
    assert found == recorded[case.name]
    assert live.judge(found).reason == case.expect["code"]


def failing(random: Random) -> dict[str, Any]:
    """Return the attributes of an error, mostly none."""
    if random.random() < 0.6:
        return {}
    if random.random() < 0.2:
        return {"status": "ok"}
    words = {
        "status": random.choice(["error", "error", "unset"]),
        "error.type": random.choice(ERRORS),
        "http.response.status_code": random.choice([200, 429, 503, 404]),
    }
    return {name: value for name, value in words.items() if random.random() < 0.6}


def step(random: Random) -> dict[str, Any]:
    start = random.randrange(1, SECONDS - 1)
    at = [start, random.randrange(start, SECONDS)]
    kind = random.choice(
        ["chat"] * 5 + ["tool"] * 7 + ["handoff", "approval", "guardrail", "step", "evaluation"]
    )
    made: dict[str, Any] = {"is": kind, "at": at, "parent": "agent", **failing(random)}
    if kind == "chat":
        # Some end together; of those that also start together nobody knows which is the inner one.
        moved = start + random.random() / 1000
        made |= chat(random) | {"at": [moved, max(moved, at[1])]}
    elif kind == "tool":
        # Of calls that start and end together the fingerprints say which goes first: none do here.
        moved = random.random() / 1000
        made |= tool(random) | {"at": [second + moved for second in at]}
        if "error.type" in made or "http.response.status_code" in made:
            made.pop("tracekit.tool.status", None)
    elif kind == "handoff":
        moved = start + random.random() / 1000
        made |= {"at": [moved, moved], "tracekit.handoff.to": random.choice("ab")}
    elif kind == "approval":
        words = ["requested", "approved", "denied", "expired"]
        made["tracekit.approval.status"] = random.choice(words)
    elif kind == "evaluation":
        made["verdict"] = random.choice(["pass", "fail", "unclear"])
    if kind in {"tool", "step"} and random.random() < 0.1:
        made["tracekit.done.status"] = random.choice(["ok", "failed", "infeasible", "whatever"])
    return made


def chat(random: Random) -> dict[str, Any]:
    optional = {
        "finish": random.choice(FINISHES),
        "gen_ai.provider.name": random.choice(["openai", "anthropic", "cohere"]),
        "gen_ai.usage.output_tokens": random.choice([0, 20, 100]),
        "gen_ai.request.max_tokens": 100,
        "gen_ai.response.time_to_first_chunk": 0.5,
        "tracekit.stream.complete": random.choice([True, False]),
        "tracekit.gateway": random.choice(["litellm", "portkey"]),
        "gen_ai.output.messages": random.choice(
            [
                "All done, the refund has been processed.",
                "Here: ```json\n{",
                '[{"role":"assistant","parts":[{"type":"tool_call","id":"1","name":"x"}]}]',
            ]
        ),
    }
    shares = [0.8, 1, 1, 0.2, 0.2, 0.2, 0.2, 0.3]
    return {
        name: value
        for (name, value), share in zip(optional.items(), shares, strict=True)
        if random.random() < share
    }


def tool(random: Random) -> dict[str, Any]:
    optional = {
        "gen_ai.tool.call.arguments": random.choice(['{"q":1}', '{"q":1}', '{"q":2}']),
        "gen_ai.tool.call.result": random.choice(["ok", "ok", "none"]),
        "tracekit.side_effect": random.choice(["read", "write", "external", "idempotent"]),
        "tracekit.tool.status": random.choice(["ok", "error", "denied", "odd"]),
    }
    shares = [0.9, 0.9, 0.3, 0.2]
    kept = zip(optional.items(), shares, strict=True)
    found = {name: value for (name, value), share in kept if random.random() < share}
    return {"gen_ai.tool.name": random.choice(["search", "read"]), **found}


def session(random: Random) -> list[dict[str, Any]]:
    """Return an agent with steps of any kind inside it, side by side or one after the other."""
    agent: dict[str, Any] = {"is": "agent", "at": [0, SECONDS], **failing(random)}
    optional = {
        "tracekit.stop.framework_raw": random.choice(["success", "max_turns", "nobody_knows"]),
        "tracekit.stop.declared": random.choice(["limit.cost", "completed.declared", "no.code"]),
        "tracekit.task.status": random.choice(["ok", "failed", "infeasible", "needs_input", "?"]),
        "tracekit.done.status": random.choice(["ok", "failed"]),
        "verdict": random.choice(["pass", "fail"]),
    }
    agent |= {name: value for name, value in optional.items() if random.random() < 0.15}
    agent.pop("http.response.status_code", None)
    return [agent, *(step(random) for _ in range(random.randrange(14)))]


@settings(deadline=None, max_examples=5)
@given(seed=st.integers(0, 1 << 30))
def test_any_session_gives_the_same_evidence_in_process(seed: int) -> None:
    """Whatever happens side by side, fails, repeats or is said, process and lake agree."""
    random = Random(seed)
    sessions = [(f"s{n}", session(random)) for n in range(120)]
    recorded = rows(sessions)
    found = {name: replayed(spans, spans[0]) for name, spans in sessions}
    different = {
        name: {
            c: (value, recorded[name][c]) for c, value in row.items() if value != recorded[name][c]
        }
        for name, row in found.items()
        if row != recorded[name]
    }
    assert different == {}


def answer(at: int, **facts: Any) -> LlmFacts:
    """Return a model call of ten nanoseconds that ended well."""
    known = {"raw": "stop", "provider": "openai", "start_ns": at, "end_ns": at + 10, **facts}
    return LlmFacts(**known)


def searched(at: int, query: int = 1, **facts: Any) -> ToolFacts:
    """Return a tool call of five nanoseconds."""
    known = {"name": "search", "arguments_hash": query, "start_ns": at, "end_ns": at + 5, **facts}
    return ToolFacts(**known)


def test_a_long_task_keeps_little_and_forgets_nothing_that_counts() -> None:
    """Calls beyond the limit are folded: counts, streaks and the end are as if all were kept."""
    unit = Unit()
    unit.tool(searched(1, side_effect="write"))
    for n in range(1, 30_000):
        unit.llm(answer(100 * n, raw="tool_calls"), Price(0.5, "computed"))
        unit.tool(searched(100 * n + 50, query=n % 2, failed=n % 1000 == 0))
        assert unit.kept <= LIMIT
    found = unit.close()
    expected = {
        "llm_calls": 29_999,
        "tool_calls": 30_000,
        "tool_errors": 29,
        "cycle_streak": 14_999,
        "repeat_streak": 1,
        "effects_done": 1,
        "calls_after_effect": 29_999,
        "llm_code": "tool_call",
        "pending": 0,
        "answered": False,
    }
    assert {name: found[name] for name in expected} == expected
    assert unit.cost_usd == 29_999 / 2
    assert live.judge(found).reason == "loop.ping_pong"


def test_steps_may_report_from_several_threads() -> None:
    """Nothing that is reported side by side is lost, also while calls are folded."""
    unit = Unit()

    def report(offset: int) -> None:
        for n in range(5_000):
            unit.tool(searched(10 * n + offset))
            unit.llm(answer(10 * n + offset), Price(1.0, "computed"))

    threads = [Thread(target=report, args=(offset,)) for offset in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = unit.close()
    assert (found["llm_calls"], found["tool_calls"], unit.cost_usd) == (20_000, 20_000, 20_000)
    assert found["repeat_streak"] == 20_000


def test_steps_without_times_happened_one_after_the_other() -> None:
    """A model call that follows a tool answers it, and what follows a request executes it."""
    unit = Unit()
    unit.llm(LlmFacts(raw="tool_calls", provider="openai"))
    unit.tool(ToolFacts(name="search"))
    asked = unit.close()
    assert (asked["pending"], asked["answered"]) == (0, False)
    unit.llm(LlmFacts(raw="stop", provider="openai"))
    answered = unit.close()
    assert (answered["llm_code"], answered["answered"]) == ("clean", True)


def test_an_inner_agent_that_fails_last_fails_the_run_unless_it_went_well() -> None:
    """What failed inside a run that says it went well was dealt with."""
    unit = Unit()
    unit.llm(answer(10))
    unit.frame(FrameFacts(agent=True, failed=True, error_type="ValueError", start_ns=5, end_ns=40))
    found = unit.close(end_ns=50)
    assert (found["root_failed"], found["root_code"]) == (True, "runtime.exception")
    assert unit.close(end_ns=50, ok=True)["root_failed"] is False
    unit.llm(answer(60))
    assert unit.close(end_ns=80)["root_failed"] is False


def test_a_compaction_nothing_followed_is_the_end() -> None:
    """A compaction counts until the next model call ends."""
    unit = Unit()
    unit.llm(answer(10, raw=None))
    unit.compacted(30)
    assert unit.close()["compacted"] is True
    unit.llm(answer(40))
    assert unit.close()["compacted"] is False


def test_a_call_gets_its_class_and_its_cost() -> None:
    """What other backends would have to work out stands on the span."""
    facts = answer(10, request_model="gpt-4o", input_tokens=1000, output_tokens=100)
    attributes, price = Deriver().llm(facts)
    assert attributes == {
        names.STOP_CLASS: "clean",
        names.COST_USD: 0.0035,
        names.COST_SOURCE: "computed",
        names.COST_PRICE_VERSION: price.price_version,
    }
    cut, _ = Deriver().llm(facts._replace(raw="length", request_model="no-such-model"))
    assert cut == {
        names.STOP_CLASS: "truncated.output_limit",
        names.COST_MISSING_REASON: "unknown_model",
    }


def test_a_call_refused_before_the_model_ran_cost_nothing() -> None:
    """A rate limit is not billed; a time-out may have been."""
    failed = answer(10, raw=None, failed=True, request_model="gpt-4o")
    limited, price = Deriver().llm(failed._replace(http_status=429))
    assert limited == {names.COST_USD: 0.0, names.COST_SOURCE: "unbilled"}
    assert price.usd == 0
    timed_out, _ = Deriver().llm(failed._replace(error_type="openai.APITimeoutError"))
    assert timed_out == {names.COST_MISSING_REASON: "no_usage"}
    assert "provider.rate_limited" in unbilled_failures()


def test_a_task_gets_its_stop_and_its_costs() -> None:
    """The stop, what it rests on, what contributed, and what is known of the costs."""
    deriver, unit = Deriver(), Unit()
    for facts in (
        answer(10, request_model="gpt-4o", input_tokens=1000, output_tokens=100),
        answer(30, request_model="no-such-model", input_tokens=1000, output_tokens=100),
        answer(50, raw=None, failed=True, http_status=429, request_model="gpt-4o"),
        answer(70, raw="length", request_model="gpt-4o", input_tokens=1000, output_tokens=100),
    ):
        unit.llm(facts, deriver.llm(facts)[1])
    attributes = deriver.unit(unit, unit.close())
    assert attributes == {
        names.STOP_REASON: "truncated.output_limit",
        names.STOP_CATEGORY: "truncated",
        names.STOP_OUTCOME: "failure",
        names.STOP_FAULT: "A",
        names.STOP_RULE: "truncated.output_limit",
        names.STOP_RULE_VERSION: "1",
        names.STOP_CONFIDENCE: "E0",
        names.STOP_CONTRIBUTING: "provider.rate_limited",
        names.COST_USD: 0.007,
        names.COST_MISSING_REASON: "unknown_model",
    }


def test_a_task_without_model_calls_has_no_cost() -> None:
    """No call, no money, and nothing missing either."""
    attributes = Deriver().unit(Unit(), Unit().close())
    assert names.COST_USD not in attributes
    assert names.COST_MISSING_REASON not in attributes
