"""What annotators found at the steps of recorded sessions, as spans below those steps.

An annotation is an event span with an evaluation's name and, as its label, the category of the
finding: it says something of a step, so it is no verdict on the task. `step_index` is the index
of the message, from 0, whatever the annotators count from; `agent_name` the agent they hold
responsible, as they write it. Their reasons are text about content, and stay out.

Annotations that lie in a file of their own name the session by what its file or task is called.
They are joined within one archive, in any order; nothing is looked up in other files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tracekit.importers.recording import (
    SYNTHETIC_TIME,
    Recording,
    digest_hex,
    synthetic_times,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracekit.importers.context import Annotation, Context, Steps

_NOWHERE: Final = (
    "no session of that name beside it: annotations and sessions have to come in one archive, "
    "`tar -c FOLDER | tracekit import -`"
)


def annotate(recording: Recording, steps: Steps, found: Annotation) -> None:
    """Add an annotation to a session.

    Args:
        recording: Where it is added: the session itself, or spans that are added to it.
        steps: What the session is known to have. The annotation of a message that has no span,
            such as one of the user, is put below the root.
        found: The annotation.
    """
    key = f"message {found.step}"
    _, at = synthetic_times(found.step)
    told = [found.name, found.category, found.agent, found.step]
    recording.add(
        f"annotation {digest_hex(told)}",
        f"annotation {found.category or found.name}",
        (at, at),
        {
            "tracekit.operation": "event",
            "gen_ai.agent.name": found.agent,
            "gen_ai.evaluation.name": found.name,
            "gen_ai.evaluation.score.label": found.category,
            "tracekit.step.index": found.step,
            SYNTHETIC_TIME: True,
        },
        parent=key if key in steps.keys else "root",
    )


def joined(context: Context) -> Iterator[bytes]:
    """Yield the annotations of an archive as OTLP requests, each joined to its session.

    Args:
        context: That of the archive, read to its end. An annotated session is noted as failed
            there, and annotations of sessions that are not in the archive as skipped.
    """
    judged: set[tuple[str, str]] = set()
    for where, name, found in context.beside.annotations:
        sessions = list(context.beside.sessions.get(name, {}).values())
        if len(sessions) != 1:
            several = f"{len(sessions)} sessions have that name"
            context.skipped.append(
                (f"{where}: annotations of {name}", several if sessions else _NOWHERE)
            )
            continue
        (steps,) = sessions
        recording = Recording(steps.fmt, steps.identity, steps.session_id)
        for one in found:
            annotate(recording, steps, one)
        yield recording.encode()
        source = found[0].name.partition(".")[0]
        if (steps.session_id, source) not in judged:
            judged.add((steps.session_id, source))
            context.judge(steps.session_id, source, solved=False)
