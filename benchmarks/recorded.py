"""What the recordings themselves say about their sessions, read from the archives without tracekit.

The other side of every comparison in `show_recorded.py`: labels, ends, tokens, recorded costs.
"""

from __future__ import annotations

import json
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RESOLVED = 1.0
"""The reward of a solved task."""


@dataclass
class Recorded:
    """Sums over the sessions of one archive.

    Attributes:
        sessions: Sessions that hold at least one message.
        successes: Those whose recorded reward, or test report, says solved.
        ends: Count by recorded terminal state.
        agent_tokens: Input and output tokens of the agent's model calls, reasoning included.
        user_tokens: Input and output tokens of the simulated user.
        agent_cost: Recorded cost of the agent, USD.
        user_cost: Recorded cost of the simulated user, USD.
        costs: Recorded cost per session, where one is recorded, USD.
    """

    sessions: int = 0
    successes: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    agent_tokens: int = 0
    user_tokens: int = 0
    agent_cost: float = 0.0
    user_cost: float = 0.0
    costs: dict[str, float] = field(default_factory=dict)


def documents(archive: Path) -> Iterator[tuple[str, Any]]:
    """Yield name and content of every JSON file of an archive."""
    with tarfile.open(archive) as members:
        for member in members:
            if member.name.endswith(".json") and (file := members.extractfile(member)):
                yield member.name, json.load(file)


def tau2_bench(archive: Path) -> Recorded:
    """Read one run of tau2-bench."""
    found = Recorded()
    for _, document in documents(archive):
        if "run_info" not in document:
            continue
        found.sessions += 1
        found.successes += document["reward_info"]["reward"] == RESOLVED
        found.ends[document["run_info"]["termination_reason"]] += 1
        for message in document["messages"]:
            usage = message.get("usage") or {}
            tokens = usage.get("prompt_tokens", 0) + usage.get("completion_tokens", 0)
            cost = message.get("cost") or 0.0
            if message["role"] == "assistant":
                found.agent_tokens += tokens
                found.agent_cost += cost
            else:
                found.user_tokens += tokens
                found.user_cost += cost
    return found


def tau_bench(archive: Path) -> Recorded:
    """Read an archive of tau-bench results; attempts that were never made are left out."""
    found = Recorded()
    for _, document in documents(archive):
        made = [session for session in document if session["traj"]]
        found.sessions += len(made)
        found.successes += sum(session["reward"] == RESOLVED for session in made)
    return found


def agentrx(archive: Path) -> Recorded:
    """Read the AgentRx archive: its rewards; a log of Magentic-One is no success, annotated or not.

    A part of the tau-bench sessions is in a second file as well.
    """
    found = Recorded()
    rewards: dict[tuple[int, int], float] = {}
    for name, document in documents(archive):
        if "/tau_retail/" in name:
            rewards |= {(one["task_id"], one["trial"]): one["reward"] for one in document}
        elif "/magentic_dataset/" in name and isinstance(document, list):
            found.sessions += 1
    found.sessions += len(rewards)
    found.successes = sum(reward == RESOLVED for reward in rewards.values())
    return found


def who_and_when(archive: Path) -> Recorded:
    """Read the Who&When archive."""
    found = Recorded()
    for _, document in documents(archive):
        found.sessions += 1
        found.successes += bool(document.get("is_correct") or document.get("is_corrected"))
    return found


def mini_swe_agent(trajectories: Path, labels: Path) -> Recorded:
    """Read trajectories of mini-swe-agent, and the test reports of their patches."""
    found = Recorded()
    for _, document in documents(trajectories):
        info = document["info"]
        found.sessions += 1
        found.ends[info["exit_status"]] += 1
        found.costs[document["instance_id"]] = info["model_stats"]["instance_cost"]
        for message in document["messages"]:
            extra = message.get("extra", {})
            usage = extra.get("response", {}).get("usage") or {}
            found.agent_tokens += _all_tokens(usage)
            found.agent_cost += usage.get("cost", extra.get("cost")) or 0.0
    for _, report in documents(labels):
        found.successes += bool(report["resolved"])
    return found


def _all_tokens(usage: dict[str, Any]) -> int:
    """Return input and output tokens; a gateway may leave reasoning out of the output it counts."""
    output = usage.get("completion_tokens", 0)
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    left_out = reasoning if reasoning > output else 0
    tokens: int = usage.get("prompt_tokens", 0) + output + left_out
    return tokens
