"""`tracekit policy`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tracekit.cli import audit, options
from tracekit.cli.output import emit
from tracekit.otlp.tracestate import NEVER, encode_randomness, encode_threshold
from tracekit.reports.figures import MISSING
from tracekit.reports.table import ColumnSpec, Kind, Row, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from samplers.explain import Explanation
    from samplers.policy_limits import Budget, Step
    from samplers.policy_model import Judgement, Policy

DEFAULT = "keep-anomalies"

_SHOWN = (
    ColumnSpec("policy", hidden=True),
    ColumnSpec("part"),
    ColumnSpec("name"),
    ColumnSpec("probability", Kind.SHARE),
    ColumnSpec("th"),
    ColumnSpec("detail", Kind.PROSE),
)
_EXPLAINED = (
    ColumnSpec("part"),
    ColumnSpec("name"),
    ColumnSpec("matches", Kind.BOOL),
    ColumnSpec("probability", Kind.SHARE),
    ColumnSpec("th", rank=2),
    ColumnSpec("reached", Kind.BOOL, title="R >= T", rank=1),
    ColumnSpec("detail", Kind.PROSE),
)


@click.group("policy")
def command() -> None:
    """Which sessions to keep: check a policy, show it, explain what it does, audit what it did.

    A policy is a YAML file, or one of the presets keep-anomalies, keep-all, errors-only and
    baseline-only.
    """


@command.command("check")
@click.argument("source", metavar="FILE|PRESET")
def check(source: str) -> None:
    """Read a policy, and tell everything that is wrong with it, with its lines.

    \b
    tracekit policy check policy.yaml
    """
    from samplers.policy import load  # noqa: PLC0415
    from tracekit.documents import DocumentError  # noqa: PLC0415 - only what is called is loaded

    try:
        policy = load(source)
    except DocumentError as error:
        for line in error.lines()[:-1]:
            click.echo(f"Error: {line}", err=True)
        raise type(error)(error.name, error.problems[-1:]) from error
    rules = len(policy.rules) + len(policy.drop)
    click.echo(f"{source}: policy {policy.name} is fine: {rules} rules, baseline {policy.baseline}")
    for note in _notes(policy):
        click.echo(f"Note: {note}")


@command.command("show")
@click.argument("source", metavar="[FILE|PRESET]", default=DEFAULT)
@options.format_option
def show(source: str, output_format: str) -> None:
    """Print a policy as it is understood: presets written out, units in base units.

    \b
    tracekit policy show errors-only
    """
    from samplers.policy import load  # noqa: PLC0415

    policy = load(source)
    rows = (*_rows(policy), *(row for shadow in policy.shadow for row in _shadow_rows(shadow)))
    title = f"Policy {policy.name}" + (f": {policy.description}" if policy.description else "")
    rows += tuple(_own_rows(policy))
    emit(Table(title, _SHOWN, rows, notes=tuple(_notes(policy))), output_format)


@command.command("explain")
@click.argument("session_id", metavar="SESSION")
@click.option(
    "--policy", "source", metavar="FILE|PRESET", default=DEFAULT, show_default=True, help="Policy."
)
@options.question
def explain(question: options.Question, session_id: str, source: str) -> None:
    """Whether a policy keeps a session of the lake, and why.

    SESSION is a session's id or its beginning; `tracekit sessions` lists them.

    \b
    tracekit policy explain chat-42 --policy policy.yaml
    """
    from samplers.explain import explain as explained  # noqa: PLC0415
    from samplers.policy import load  # noqa: PLC0415

    policy = load(source)
    found = question.ask(lambda con: explained(con, session_id, policy))
    rows = (*_recorded_rows(found.recorded), *_decision_rows(found), *_claim_rows(found))
    if question.output_format != "table":
        rows += tuple(
            _row("ledger", name, detail=_text(value)) for name, value in found.recorded.items()
        )
        rows += tuple(
            _row("feature", name, detail=_text(value)) for name, value in found.features.items()
        )
    title = f"Session {found.decision.session_id}: {_verdict(found, policy.name)}"
    notes = tuple(_explain_notes(found))
    emit(Table(title, _EXPLAINED, rows, notes=notes), question.output_format)


command.add_command(audit.command)


def _verdict(found: Explanation, policy: str) -> str:
    now = "kept" if found.decision.keep else "not kept"
    recorded = found.recorded
    if recorded["policy"] is None:
        return f"{now} by {policy}"
    then = "kept" if recorded["kept"] else "dropped"
    hand = " by hand" if recorded["overruled_ns"] is not None else ""
    return f"{then}{hand} under {recorded['policy']}; {now} by {policy} as it is now"


def _row(part: str, name: str, **values: str | float | bool | None) -> Row:
    empty = dict.fromkeys(column.name for column in (*_SHOWN, *_EXPLAINED))
    return {**empty, "part": part, "name": name, **values}


def _text(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value)


def _th(rejection: int) -> str:
    return MISSING if rejection == NEVER else encode_threshold(rejection)


def _rows(policy: Judgement) -> Iterator[Row]:
    name, terms = policy.name, policy.terms()
    from samplers.threshold import threshold  # noqa: PLC0415

    def row(part: str, title: str, share: float, detail: str = "") -> Row:
        th = _th(threshold(share, policy.precision))
        return _row(part, title, policy=name, probability=share, th=th, detail=detail)

    for drop in policy.drop:
        yield row("drop", drop.name, 0.0, drop.when.strip())
    for rule in policy.rules:
        yield row("rule", rule.name, rule.share, rule.when.strip())
    yield row("baseline", "baseline", policy.baseline, "every other session")
    for entry in terms.strata:
        quota = "" if entry.quota is None else f", quota {entry.quota:g}"
        window = f" per {entry.window_ns / 1e9:g} s"
        detail = f"floor {entry.floor:g}{quota}{window}"
        yield _row("strata", entry.name, policy=name, detail=detail)
    yield from _budget_rows(policy)


def _shadow_rows(shadow: Judgement) -> Iterator[Row]:
    yield _row("shadow", shadow.name, policy=shadow.name, detail=shadow.description)
    yield from _rows(shadow)


def _budget_rows(policy: Judgement) -> Iterator[Row]:
    budgets: dict[str, Budget] = {
        "overall": policy.budgets,
        "each tenant": policy.budgets.per_tenant,
        **{f"tenant {name}": budget for name, budget in policy.budgets.tenants.items()},
    }
    for scope, budget in budgets.items():
        for unit, limit in budget.limits():
            per = "UTC day" if limit.daily else "s"
            detail = f"{limit.amount:,.0f} {unit} per {per}"
            yield _row("budget", scope, policy=policy.name, detail=detail)


def _own_rows(policy: Policy) -> Iterator[Row]:
    if policy.strip:
        detail = f"always: {_steps(policy.strip)}"
        yield _row("strip", "strip", policy=policy.name, detail=detail)
    for level in policy.degrade:
        detail = f"from pressure {level.above:g}: {_steps(level.steps)}"
        yield _row("degrade", level.name, policy=policy.name, detail=detail)
    for name, value in policy.sessions.model_dump(exclude_none=True).items():
        unit = {"max_bytes": "bytes"}.get(name, "spans" if name.endswith("spans") else "s")
        yield _row("sessions", name, policy=policy.name, detail=f"{value:,.10g} {unit}")


def _steps(steps: Iterable[Step]) -> str:
    return "; ".join(
        kind if isinstance(value, bool) else f"{kind} {_values(value)}"
        for step in steps
        for kind, value in step.model_dump(exclude_none=True).items()
    )


def _values(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_values(item)}" for name, item in value.items() if item)
    return ", ".join(value) if isinstance(value, (list, tuple)) else str(value)


def _notes(policy: Policy) -> Iterator[str]:
    if not policy.baseline and not any(entry.floor for entry in policy.strata):
        yield (
            "the baseline is 0: nothing that is kept speaks for the sessions no rule matches; "
            "rates and totals come from the ledger alone."
        )
    elif not policy.baseline:
        yield "the baseline is 0: only floors keep sessions that no rule matches."
    if policy.drop:
        yield "what a drop rule matches is in no estimate from kept sessions."


def _decision_rows(found: Explanation) -> Iterator[Row]:
    decision = found.decision
    weight = None if decision.weight is None else f"{decision.weight:g}"
    yield _row("decision", "keep", matches=decision.keep, detail=", ".join(decision.reasons))
    randomness = encode_randomness(decision.randomness)
    yield _row("decision", "R", th=randomness, detail=f"{randomness}, from 0 to ffffffffffffff")
    yield _row(
        "decision",
        "T",
        probability=decision.probability,
        th=_th(decision.threshold),
        reached=decision.keep,
        detail=f"{decision.rule}; weight {weight or MISSING}; th {_th(decision.threshold)}",
    )
    if decision.erase:
        yield _row("decision", "th", detail="erased: it no longer tells the probability")


def _recorded_rows(recorded: Mapping[str, Any]) -> Iterator[Row]:
    """Say what was decided when the session was over, in the form of what would be now."""
    kept, weight, policy = recorded["kept"], recorded["weight"], recorded["policy"]
    yield _row("recorded", "keep", matches=kept, detail=recorded["reasons"])
    if policy is None:
        yield _row("recorded", "weight", detail=_text(weight))
        return
    randomness, rejection = recorded["randomness"], recorded["threshold"]
    text = MISSING if randomness is None else encode_randomness(randomness)
    yield _row("recorded", "R", th=text, detail=f"{text}, from 0 to ffffffffffffff")
    yield _row(
        "recorded",
        "T",
        probability=recorded["probability"],
        th=_th(rejection),
        reached=None if randomness is None else randomness >= rejection,
        detail=f"{recorded['rule']}; weight {MISSING if weight is None else f'{weight:g}'}",
    )
    yield _row("recorded", "policy", detail=policy)
    yield _row("recorded", "stratum", detail=recorded["stratum"] or MISSING)
    yield _row("recorded", "trigger", detail=f"{recorded['trigger']} at {_at(recorded)}")
    size = "" if recorded["bytes"] is None else f", {recorded['bytes']:,} bytes"
    yield _row("recorded", "size", detail=f"{recorded['decided_spans']:,} spans{size}")
    if recorded["overruled_ns"] is not None:
        yield _row("recorded", "by hand", matches=True, detail=f"at {_at(recorded, 'overruled')}")


def _at(recorded: Mapping[str, Any], what: str = "decided") -> str:
    moment = datetime.fromtimestamp(recorded[f"{what}_ns"] // 1_000_000_000, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _claim_rows(found: Explanation) -> Iterator[Row]:
    for claim in found.claims:
        yield _row(
            claim.part,
            claim.name,
            matches=claim.matches,
            probability=claim.probability,
            th=_th(claim.threshold),
            reached=claim.reached,
            detail=claim.when,
        )


def _explain_notes(found: Explanation) -> Iterator[str]:
    decision = found.decision
    why = ", ".join(decision.reasons) or "nothing else matches"
    yield f"T is that of {decision.rule}. {'Kept for' if decision.keep else 'In vain'}: {why}."
    if found.left_out:
        parts = " and ".join(found.left_out)
        yield f"Left out: {parts}; they follow from the sessions before, which a lake lacks."
    if not found.spans_known:
        yield "Its spans were not kept: what they said of sampling before is not known any more."
    if found.recorded["trigger"] is None:
        yield "bytes and trigger are known to a collector only; here they are null."
