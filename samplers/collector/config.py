"""`collector.yaml`: what the collector is told.

    settings = load(Path("collector.yaml"))

Every setting has a default, so an empty file is a collector: it listens on this machine, keeps
anomalies, and exports to nobody until `exporters` or `lake` say where to. The environment wins over
the file (`settings/environment.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from samplers.collector.settings import environment
from samplers.collector.settings.base import Settings
from samplers.collector.settings.exporters import AnyExporter  # noqa: TC001  as above
from samplers.collector.settings.receivers import Receivers
from samplers.collector.settings.storage import (
    HealthSettings,
    JournalSettings,
    LakeSettings,
    PolicySettings,
    SessionSettings,
)
from tracekit.checking import check
from tracekit.documents import Document
from tracekit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class CollectorSettings(Settings):
    """The whole file."""

    data: Path = Field(
        default=Path("tracekit-collector"),
        description="Folder of the journal, the decisions and the exporters' queues. It must "
        "survive restarts; one collector at a time uses it.",
    )
    receivers: Receivers = Field(default_factory=Receivers, description="Where spans come in.")
    journal: JournalSettings = Field(default_factory=JournalSettings, description="Durability.")
    sessions: SessionSettings = Field(
        default_factory=SessionSettings, description="When a session is over."
    )
    policy: PolicySettings = Field(default_factory=PolicySettings, description="What to keep.")
    exporters: list[AnyExporter] = Field(
        default_factory=list,
        description="Where kept spans go; every target has a queue of its own, so that one that "
        "is down holds up no other.",
    )
    lake: LakeSettings = Field(default_factory=LakeSettings, description="The ledger.")
    health: HealthSettings = Field(default_factory=HealthSettings, description="Health, metrics.")

    @model_validator(mode="after")
    def _names_differ(self) -> CollectorSettings:
        names = [exporter.name or exporter.type for exporter in self.exporters]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"two exporters are called {twice[0]}: give each a `name` of its own, which is "
                "also the name of its queue"
            )
        return self

    @property
    def journal_folder(self) -> Path:
        """Where the journal is."""
        return self.data / "journal"

    @property
    def queues_folder(self) -> Path:
        """Where the exporters' queues are."""
        return self.data / "queues"


def load(path: Path | None, environ: Mapping[str, str] = os.environ) -> CollectorSettings:
    """Return the settings of a file and of the environment.

    Args:
        path: The file; None for the defaults and the environment alone.
        environ: The environment.

    Raises:
        InputError: Something in them is wrong; a line for each thing, which says where.
    """
    document = Document("defaults", "{}") if path is None else _read(path)
    changes = environment.overrides(CollectorSettings, environ)
    return check(CollectorSettings, changes.over(document.value), document, changes.origin)


def _read(path: Path) -> Document:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text ({error.reason})") from error
    return Document(str(path), text if _says_something(text) else "{}")


def _says_something(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())
