"""Who&When: failed sessions of two multi-agent systems, with who made the mistake, and when.

One JSON document per session: the messages in `history`, the question, and what human annotators
say: the agent, the index of the message from 0, and the reason. The hand-crafted half are logs of
Magentic-One, see there. The algorithm-generated half are chats that CaptainAgent built: experts,
which are models, and a terminal, which runs the code blocks of the message before it. Neither
tokens nor models nor times are recorded; times are synthetic, one second a message, and marked so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tracekit.importers import magentic_one
from tracekit.importers.annotations import annotate
from tracekit.importers.context import Annotation
from tracekit.importers.recording import digest_hex
from tracekit.importers.transcript import Transcript

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tracekit.importers.context import Context

FORMAT: Final = "who_and_when"

MISTAKE: Final = "who_and_when.mistake"
AGENT: Final = "captain-agent"

Message = dict[str, str]

_FIELDS: Final = frozenset({"history", "mistake_agent", "mistake_step"})
_SOURCE: Final = "who_and_when"
_TERMINAL: Final = "Computer_terminal"
_CODE: Final = re.compile(r"```\w*\s*\n(.*?)```", re.DOTALL)
_EXIT_CODE: Final = re.compile(r"exitcode: (-?\d+) \(")
_STOP: Final = "TERMINATE"
_MAX_ROUND: Final = 10
"""Messages of a chat that CaptainAgent builds: `group_chat_config.max_round` of its defaults. No
recorded chat is longer, and each that ends without the stop word is as long."""


def matches(document: Any) -> bool:
    """Whether a JSON document is an annotated session."""
    return (
        isinstance(document, dict)
        and document.keys() >= _FIELDS
        and isinstance(document["history"], list)
    )


def sessions(document: Any, context: Context) -> Iterator[bytes]:
    """Yield the session as one OTLP request."""
    messages = document["history"]
    if magentic_one.matches(messages):
        session = magentic_one.record(messages)
    else:
        session = _chat(document.get("question_ID"), messages)
    steps = session.steps()
    found = Annotation(
        MISTAKE,
        document.get("mistake_type"),
        document["mistake_agent"],
        int(document["mistake_step"]),
    )
    annotate(session, steps, found)
    # One half calls the field is_correct, the other is_corrected.
    solved = bool(document.get("is_correct") or document.get("is_corrected"))
    context.judge(steps.session_id, _SOURCE, solved=solved)
    yield session.encode()


def _chat(question: Any, messages: Sequence[Message]) -> Transcript:
    """Return the session of a chat of experts and a terminal.

    The question tells it from others, too: chats on two questions came out the same, twice.
    """
    told = [[one["name"], one["content"]] for one in messages]
    session = Transcript("captain_agent", AGENT, digest_hex([question, told], 16))
    session.root(len(messages) - 1, _ending(messages))
    before = ""
    for index, message in enumerate(messages):
        name, content = message["name"], message["content"]
        if name != _TERMINAL:
            session.chat(index, name, content)
        elif code := _EXIT_CODE.match(content):  # else there was nothing to run
            session.command(index, name, content, int(code[1]), _CODE.findall(before))
        before = content
    return session


def _ending(messages: Sequence[Message]) -> str | None:
    if messages[-1]["content"].rstrip().endswith(_STOP):
        return _STOP
    return "max_round" if len(messages) >= _MAX_ROUND else None
