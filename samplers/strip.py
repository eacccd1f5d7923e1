"""What a policy takes out of kept sessions: its steps, on the bytes of a request.

    strip = Strip(policy.strip)
    strip(request)                       # the same object where nothing had to change

Attributes of spans, of their events and links, and of resources and scopes are reached, and with
`scrub` and `skeleton` the message of a status; names, ids and times are not. What no step speaks
of, fields unknown to this version of OTLP included, leaves byte for byte; an attribute that is
changed is written anew, its own unknown fields kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from samplers.strip_edits import (
    AttributeEdits,
    Patterns,
    edit_of,
    nothing,
    skeleton_of,
    text_edit_of,
    through,
)
from tracekit.otlp.rewrite import rewritten

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from samplers.policy_limits import Step
    from samplers.policy_model import Judgement
    from tracekit.otlp.rewrite import Edit


class Strip:
    """Steps of a policy, in order.

    Args:
        steps: The steps.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._heads = _literals(steps)
        self._removed = Patterns(name for step in steps for name in step.remove_events or ())
        inside = [edit for step in steps if (edit := edit_of(step) or skeleton_of(step))]
        around = [edit for step in steps if (edit := edit_of(step))]
        own, others = AttributeEdits(inside), AttributeEdits(around)
        self._event_edits: Mapping[int, Edit] = {3: own}
        span = _within(_span(steps, own, self._event))
        scope = _within({1: _within({3: others}), 2: span})
        self._request = {1: _within({1: _within({1: others}), 2: scope})}

    def __call__(self, request: bytes) -> bytes:
        """Return a request without what the steps take out.

        Args:
            request: Bytes of a valid `ExportTraceServiceRequest`.
        """
        if self._heads is not None and not any(head in request for head in self._heads):
            return request
        return rewritten(request, self._request)

    def _event(self, data: bytes) -> bytes | None:
        if self._removed.any and _name_of_event(data) in self._removed:
            return None
        return rewritten(data, self._event_edits)


def _span(steps: Sequence[Step], attributes: Edit, event: Edit) -> dict[int, Edit]:
    """Return the edits of a span's fields: attributes, events, links, status."""
    edits: dict[int, Edit] = {9: attributes, 11: event, 13: _within({4: attributes})}
    if any(step.skeleton for step in steps):
        edits[15] = _within({2: nothing})
    elif scrubs := [text_edit_of(step) for step in steps if step.scrub is not None]:
        edits[15] = _within({2: partial(through, scrubs)})
    return edits


def _within(edits: Mapping[int, Edit]) -> Edit:
    """Return the edit of a message by those of its fields."""
    return lambda data: rewritten(data, edits)


def _literals(steps: Sequence[Step]) -> tuple[bytes, ...] | None:
    """Return texts of which one is in every request that a step changes; None for no such."""
    if any(step.skeleton or step.scrub is not None for step in steps):
        return None
    names = [name for step in steps for name in (*step.keys, *(step.remove_events or ()))]
    heads = tuple(name.removesuffix("*").encode() for name in names)
    return heads if all(heads) else None


@dataclass(frozen=True, slots=True)
class Leaving:
    """How kept sessions leave.

    Attributes:
        level: Name of the level of the degrade ladder; empty for none.
        strip: Takes out what is not to leave; None leaves all.
        is_first_stage: Whether the operator vouches that nothing was sampled before.
    """

    level: str = ""
    strip: Strip | None = None
    is_first_stage: bool = False


class Ladder:
    """What leaves at each level of a policy: without `strip` always, and the levels up to its own.

    Args:
        policy: The live policy; a shadow policy has no ladder.

    Attributes:
        whole: How sessions go to where nothing is taken out.
    """

    def __init__(self, policy: Judgement) -> None:
        is_first = bool(getattr(policy, "input_unsampled", False))
        steps = list(getattr(policy, "strip", ()))
        self.whole = Leaving(is_first_stage=is_first)
        self._levels = [Leaving("", Strip(steps) if steps else None, is_first)]
        for level in getattr(policy, "degrade", ()):
            steps += level.steps
            self._levels.append(Leaving(level.name, Strip(steps), is_first))

    def at(self, level: int) -> Leaving:
        """Return how sessions leave at a level; beyond the last one, as at the last."""
        return self._levels[min(level, len(self._levels) - 1)]


def _name_of_event(data: bytes) -> bytes:
    """Return the last name of an event, which is the one that counts."""
    found = [b""]

    def note(payload: bytes) -> bytes:
        found[0] = payload
        return payload

    rewritten(data, {2: note})
    return found[0]
