"""AgentRx annotations: a list of `{trajectory_id, failures, root_cause}`, one entry per session.

The sessions are in other files of the same archive: tau-bench results, named by their task, and
logs of Magentic-One, named by their file. Steps are numbered by message, from 1. Each failure has
a category and the agent that failed; one of them is the root cause of the failed task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.context import Annotation
from tracekit.importers.recording import is_list_with

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tracekit.importers.context import Context

FORMAT: Final = "agentrx"

FAILURE: Final = "agentrx.failure"
ROOT_CAUSE: Final = "agentrx.root_cause"
_FIELDS: Final = frozenset({"trajectory_id", "failures"})
_FIRST_STEP: Final = 1


def matches(document: Any) -> bool:
    """Whether a JSON document is a list of annotated sessions."""
    return is_list_with(document, _FIELDS)


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield no spans; note what was found, to be joined to the sessions of the archive."""
    for entry in document:
        if found := _failures(entry):
            name = str(entry["trajectory_id"])
            context.beside.annotations.append((context.name, name, found))
        else:
            context.skip(f"annotations of {entry['trajectory_id']}", "no failure in it")
    yield from ()


def _failures(entry: Mapping[str, Any]) -> list[Annotation]:
    # The id of the root cause is a number here and text there.
    root = str((entry.get("root_cause") or {}).get("failure_id"))
    return [
        Annotation(
            ROOT_CAUSE if str(failure["failure_id"]) == root else FAILURE,
            failure.get("failure_category"),
            failure.get("failed_agent"),
            int(failure["step_number"]) - _FIRST_STEP,
        )
        for failure in entry["failures"]
    ]
