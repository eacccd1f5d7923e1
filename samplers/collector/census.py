"""Sessions counted as they are decided, by stratum: what kept sessions have to add up to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tracekit.stats.tally import ALARMS, Tally

if TYPE_CHECKING:
    from collections.abc import Callable

    from samplers.collector.metrics import Labels, Registry
    from samplers.decision import DecisionRecord

MOST: Final = 100
"""Strata with counters of their own; what comes beyond shares one, so that metrics stay few. The
ledger has all of them: `tracekit policy audit --by stratum`."""

OTHERS: Final = "(other)"


class Census:
    """Counts since the start. Changed by one thread; others may read.

    Attributes:
        total: All sessions.
        strata: Sessions by stratum; of a policy without strata all are in `-`.
    """

    def __init__(self) -> None:
        self.total = Tally()
        self.strata: dict[str, Tally] = {}

    def count(self, record: DecisionRecord) -> None:
        """Count a session that was decided now."""
        if record.probability is None:
            return
        name = record.stratum or "-"
        if name not in self.strata and len(self.strata) >= MOST:
            name = OTHERS
        for tally in (self.total, self.strata.setdefault(name, Tally())):
            tally.count(record.probability, kept=record.keep)

    @property
    def alarms(self) -> int:
        """Strata whose weights contradict the census, or of which nothing is kept."""
        return sum(tally.finding in ALARMS for tally in list(self.strata.values()))

    def describe(self, registry: Registry) -> None:
        """Declare its metrics."""
        labels = ("stratum",)
        counter, gauge = registry.counter, registry.gauge
        for family, value in (
            (
                counter("tracekit_census_sessions_total", "Sessions decided, by stratum.", labels),
                lambda tally: tally.sessions,
            ),
            (
                counter("tracekit_census_kept_total", "Of these, kept.", labels),
                lambda tally: tally.kept,
            ),
            (
                gauge("tracekit_census_weight", "Weights of the kept ones added up.", labels),
                lambda tally: tally.weight,
            ),
            (
                gauge("tracekit_census_sigma", "Standard deviation of that sum.", labels),
                lambda tally: tally.sigma,
            ),
            (
                gauge(
                    "tracekit_census_z",
                    "Its distance from the sessions that could be kept, in standard deviations.",
                    labels,
                ),
                lambda tally: tally.z or 0.0,
            ),
        ):
            family.ask_all(self._values(value))
        gauge(
            "tracekit_census_alarms",
            "Strata whose kept sessions do not speak for all: |z| above 3, or none kept.",
        ).ask(lambda: float(self.alarms))

    def _values(self, value: Callable[[Tally], float]) -> Callable[[], dict[Labels, float]]:
        return lambda: {(name,): float(value(tally)) for name, tally in [*self.strata.items()]}
