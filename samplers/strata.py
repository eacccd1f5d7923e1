"""Floors and quotas: probabilities that are announced before anybody looks at R.

A strata set divides sessions by the values of some features. Time is cut into windows. For each
stratum the set tracks how many sessions came, each counted 1/p where an earlier stage kept it with
probability p, and forms two estimates of how many will come in the next window: the smaller and the
larger of the last window and a mean that halves with each window.

With n the estimate, or the sessions already seen in this window and the one at hand where these are
more, a session is kept with at least floor/n (n the smaller estimate) and its share of the baseline
is at most quota/n (n the larger one). So a stratum nobody has seen is kept whole until its floor is
filled, and then fades as floor/n: a burst of n sessions costs floor * (1 + ln(n / floor)).

What is exact. A session's probability follows from the sessions before it, its place among them and
its content, never from its own R; the R of others is independent of its own. Given all that, it is
kept with exactly the probability that is written beside it, also in the first window, in a burst,
and after a restart with another state. Totals weighted by 1/p are therefore unbiased. What is not
exact is the number kept: it is the floor or quota in expectation, as far as the estimate of n
held.

What is not estimable. Sessions that no policy gives a probability above 0 are never kept, so
nothing kept speaks for them: drop rules, and a baseline of 0. A bottom-k sample of the window at
hand would fill quotas exactly, but its threshold is known only when the window is over, and that is
later than a session may wait. A session that is judged twice must be counted once, at its final
decision: otherwise its own R would have a part in its threshold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

MOST_STRATA: Final = 10_000
"""Strata of a set; what comes beyond shares one stratum, so that no column can exhaust memory."""

OTHER: Final = "(other)"
"""Name of the stratum that the excess shares."""

_FADED: Final = 0.25
"""A stratum is forgotten when its mean has fallen below this."""


@dataclass(frozen=True, slots=True)
class StrataSet:
    """One division into strata.

    Attributes:
        name: Its name, unique in the policy.
        floor: Sessions to keep of each stratum per window, at least; 0 for none.
        quota: Sessions the baseline keeps of each stratum per window, at most; None for any number.
        window_ns: Length of a window.
    """

    name: str
    floor: float
    quota: float | None
    window_ns: int


@dataclass(slots=True)
class Stratum:
    """What is known of one stratum.

    Attributes:
        seen: Sessions in this window, those of earlier stages' samples counted by their weight.
        low: Smaller estimate of the sessions per window; 0 while nothing is known.
        high: Larger estimate.
        mean: Mean that halves with each window.
    """

    seen: float = 0.0
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0


@dataclass(slots=True)
class StrataState:
    """The strata of one set.

    Attributes:
        window: Number of the current window since 1970; -1 before the first session.
        window_ns: Length of the windows; another one, after a reload, begins anew.
        strata: Strata by name.
    """

    window: int = -1
    window_ns: int = 0
    strata: dict[str, Stratum] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Share:
    """What a strata set announces for one session.

    Attributes:
        floor: Least probability.
        quota: Largest probability of the baseline.
    """

    floor: float
    quota: float


def advance(state: StrataState, rules: StrataSet, now_ns: int) -> None:
    """Close the windows that are over.

    A clock that went back by a window closes none. One that went back further was wrong before:
    counting begins anew, lest the window at hand last until the wrong time comes.
    """
    window = now_ns // rules.window_ns
    if state.window_ns != rules.window_ns or window < state.window - 1:
        state.window, state.window_ns = window, rules.window_ns
        state.strata.clear()
    if window <= state.window:
        return
    passed = window - state.window
    for name, stratum in list(state.strata.items()):
        _close(stratum, passed)
        if stratum.mean < _FADED:
            del state.strata[name]
    state.window = window


def _close(stratum: Stratum, windows: int) -> None:
    new = stratum.mean == 0
    stratum.mean = stratum.seen if new else (stratum.mean + stratum.seen) / 2
    last = stratum.seen
    if windows > 1:
        last = 0.0
        stratum.mean *= 0.5 ** min(windows - 1, 64)
    stratum.low, stratum.high = min(last, stratum.mean), max(last, stratum.mean)
    stratum.seen = 0.0


def announced(state: StrataState, rules: StrataSet, key: str, count: float) -> Share:
    """Return the probabilities of a session, before its R is looked at.

    Args:
        state: State after `advance`.
        rules: The set.
        key: Stratum of the session.
        count: For how many the session stands after the stages before.
    """
    stratum = state.strata.get(key) or state.strata.get(_place(state, key)) or _EMPTY
    here = stratum.seen + count
    quota = 1.0 if rules.quota is None else min(1.0, rules.quota / max(stratum.high, here))
    return Share(min(1.0, rules.floor / max(stratum.low, here)), quota)


_EMPTY: Final = Stratum()


def count(state: StrataState, key: str, number: float) -> None:
    """Count a session, once: at its final decision, kept or not."""
    stratum = state.strata.setdefault(_place(state, key), Stratum())
    stratum.seen += number


def _place(state: StrataState, key: str) -> str:
    full = len(state.strata) >= MOST_STRATA and key not in state.strata
    return OTHER if full else key
