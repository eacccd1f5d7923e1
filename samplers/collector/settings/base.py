"""Types that settings are made of: durations, sizes, addresses, secrets."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path  # noqa: TC003  pydantic reads the annotation
from typing import Annotated, Any, Final

from pydantic import AfterValidator as After
from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, model_validator

from tracekit.errors import UsageError

_UNITS: Final = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(ms|s|m|h|d)")
_ADDRESS: Final = re.compile(
    r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:/\s]+)):(?P<port>[0-9]+)"
)
_PORTS: Final = 1 << 16


class Settings(BaseModel):
    """A section: nothing unknown is taken, nothing is changed once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _seconds(value: Any) -> Any:
    if isinstance(value, str):
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            raise ValueError(f"expected a duration such as 100ms, 10s, 5m, 6h, not {value!r}")
        return float(found[1]) * _UNITS[found[2]]
    return value


Duration = Annotated[float, BeforeValidator(_seconds), Field(ge=0)]
"""Seconds; written with a unit, or as a bare number of seconds."""

Size = Annotated[ByteSize, Field(ge=1)]
"""Bytes; written with a unit such as KiB, MiB, GiB, or as a bare number of bytes."""

Count = Annotated[int, Field(ge=1)]


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of an address such as `127.0.0.1:4317` or `[::1]:4317`.

    Raises:
        ValueError: It is none.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found["port"]) >= _PORTS:
        raise ValueError(f"expected host:port, such as 127.0.0.1:4317, not {address!r}")
    return found["six"] or found["name"], int(found["port"])


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(value: str) -> str:
    split_address(value)
    return value


Address = Annotated[str, After(_address)]
"""`host:port`; port 0 takes any that is free."""


class Secret(Settings):
    """A secret, by where it is kept: a settings file is read by too many to hold it."""

    env: str | None = Field(
        default=None, description="Name of the environment variable that holds it."
    )
    file: Path | None = Field(
        default=None, description="File that holds it; white space at its ends is ignored."
    )

    @model_validator(mode="after")
    def _one_place(self) -> Secret:
        if (self.env is None) == (self.file is None):
            raise ValueError("give either env or file")
        return self

    def read(self) -> str:
        """Return the secret.

        Raises:
            UsageError: It is not there.
        """
        if self.env is not None:
            value = os.environ.get(self.env, "").strip()
            if not value:
                raise UsageError(f"the environment variable {self.env} holds no secret: set it")
            return value
        assert self.file is not None  # noqa: S101  checked by the validator
        try:
            value = self.file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"secret {self.file}: cannot be read ({error.strerror})") from error
        if not value:
            raise UsageError(f"secret {self.file}: the file is empty")
        return value
