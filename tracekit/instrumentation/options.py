"""What `configure` can be told, in code or by the environment.

An argument of the wrong type is a mistake of the developer, who sees it at once: it raises. A wrong
value in the environment of a deployed application must not stop it: it is reported and ignored.
"""

from __future__ import annotations

import logging
import math
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tracekit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

log: Final = logging.getLogger("tracekit")

T = TypeVar("T")

_WORDS: Final = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
_KEY_BITS: Final = 64


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _WORDS[value.strip().lower()]
    raise TypeError


def _share(value: object) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError
    return number


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise TypeError
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError
    return number


def _milliseconds(value: object) -> float:
    if (number := _number(value)) == 0:
        raise ValueError
    return number / 1000


def _amount(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TypeError
    if (number := int(value)) < 1:
        raise ValueError
    return number


def _folder(value: object) -> Path:
    if not isinstance(value, (str, os.PathLike)) or not os.fspath(value):
        raise TypeError
    return Path(os.fspath(value))


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _key(value: object) -> int:
    """Return a 64-bit key: a number as it is, any other text by its hash."""
    if isinstance(value, str):
        try:
            return _key(int(value, 0))
        except ValueError:
            return int.from_bytes(sha256(value.encode()).digest()[:8], "big")
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError
    if not 0 <= value < 1 << _KEY_BITS:
        raise ValueError
    return value


def _function(value: object) -> Callable[[str], str]:
    if not callable(value):
        raise TypeError
    return value


@dataclass(frozen=True, slots=True)
class Option(Generic[T]):
    """One thing to be told.

    Attributes:
        variable: Name of the environment variable; None where code alone can tell.
        read: Turns what was told into a value, or raises.
        expected: What it takes, for people.
        default: Where nothing was told.
    """

    variable: str | None
    read: Callable[[object], T]
    expected: str
    default: T

    def value(self, given: object = None, *, name: str = "") -> T:
        """Return what was told: in code, else by the environment, else the default.

        Args:
            given: What the code says; None leaves it to the environment.
            name: Name of the argument.

        Raises:
            UsageError: If the code says something of the wrong type.
        """
        if given is not None:
            try:
                return self.read(given)
            except (TypeError, ValueError, KeyError):
                raise UsageError(
                    f"configure({name}=...) takes {self.expected}, not {given!r}"
                ) from None
        text = os.environ.get(self.variable, "").strip() if self.variable else ""
        if not text:
            return self.default
        try:
            return self.read(text)
        except (TypeError, ValueError, KeyError):
            log.warning(
                "tracekit: %s is %r, but takes %s; going on with %s",
                *(self.variable, text, self.expected, self.default),
            )
            return self.default


_SWITCH: Final = "True or False"

DISABLED: Final = Option("TRACEKIT_DISABLED", _flag, _SWITCH, default=False)
SDK_DISABLED: Final = Option("OTEL_SDK_DISABLED", _flag, _SWITCH, default=False)
SERVICE_NAME: Final[Option[str | None]] = Option(None, _text, "a name", default=None)
LAKE: Final = Option("TRACEKIT_LAKE", _folder, "the path of a folder", Path(".tracekit"))
CAPTURE_CONTENT: Final = Option("TRACEKIT_CAPTURE_CONTENT", _flag, _SWITCH, default=False)
REDACT: Final[Option[Callable[[str], str] | None]] = Option(
    None, _function, "a function of a text that returns what may be written", default=None
)
FINGERPRINT_KEY: Final[Option[int | None]] = Option(
    "TRACEKIT_FINGERPRINT_KEY", _key, "an unsigned 64-bit number or a text", None
)
SAMPLE_RATIO: Final = Option("TRACEKIT_SAMPLE_RATIO", _share, "a number from 0 to 1", 1.0)
SAMPLER_ARG: Final = Option("OTEL_TRACES_SAMPLER_ARG", _share, "a number from 0 to 1", 1.0)
THREADS: Final = Option("TRACEKIT_THREADS", _flag, _SWITCH, default=True)
PROPAGATE: Final = Option("TRACEKIT_PROPAGATE", _flag, _SWITCH, default=True)
DERIVE: Final[Option[bool | None]] = Option("TRACEKIT_DERIVE", _flag, _SWITCH, default=None)
INSPECT: Final = Option("TRACEKIT_INSPECT", _flag, _SWITCH, default=True)
EXIT_TIMEOUT: Final = Option("TRACEKIT_EXIT_TIMEOUT_S", _number, "a number of seconds", 2.0)
QUEUE: Final = Option("OTEL_BSP_MAX_QUEUE_SIZE", _amount, "a number above 0", 2048)
BATCH: Final = Option("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", _amount, "a number above 0", 512)
DELAY: Final = Option("OTEL_BSP_SCHEDULE_DELAY", _milliseconds, "milliseconds above 0", 5.0)

ALL: Final[dict[str, Option[Any]]] = {
    "service_name": SERVICE_NAME,
    "lake": LAKE,
    "capture_content": CAPTURE_CONTENT,
    "redact": REDACT,
    "fingerprint_key": FINGERPRINT_KEY,
    "sample_ratio": SAMPLE_RATIO,
    "threads": THREADS,
    "propagate": PROPAGATE,
    "derive": DERIVE,
    "inspect": INSPECT,
    "exit_timeout_s": EXIT_TIMEOUT,
}
"""Options by the name of their argument."""
