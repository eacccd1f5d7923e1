"""SWE-bench test reports: whether an instance was resolved, as verified outcomes.

A report says nothing about the run it judges except the instance, and the per-instance form not
even that: there the folder names it, `logs/<instance>/report.json`. So the outcome goes to the
session id that the instance's trajectory has, and may be imported before, after or with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tracekit.importers.mini_swe_agent import session_id_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tracekit.importers.context import Context

FORMAT: Final = "swebench_report"

SOURCE: Final = "swe-bench resolved"
_FIELDS: Final = frozenset({"resolved", "patch_exists"})


def matches(document: Any) -> bool:
    """Whether a JSON document is a report, of one instance or by instance."""
    if not isinstance(document, dict) or not document:
        return False
    return _is_report(document) or all(_is_report(report) for report in document.values())


def _is_report(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() >= _FIELDS


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield no spans; note one outcome per instance."""
    reports: Mapping[str, Any] = {context.folder: document} if _is_report(document) else document
    for instance, report in reports.items():
        resolved = bool(report["resolved"])
        context.judge(session_id_of(instance), SOURCE, solved=resolved, score=float(resolved))
    yield from ()
