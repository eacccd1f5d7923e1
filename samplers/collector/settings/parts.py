"""Settings as the parts of the sampler take them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from samplers import settings as journal_settings
from samplers.sessions import Limits

if TYPE_CHECKING:
    from samplers.collector.settings.storage import JournalSettings, SessionSettings

_DURATIONS = frozenset(
    {"root_delay", "keyed_root_delay", "done_delay", "idle", "max_age", "interim", "remembered"}
)


def journal(settings: JournalSettings) -> journal_settings.JournalSettings:
    """Return the settings of a journal."""
    return journal_settings.JournalSettings(
        segment_bytes=settings.segment,
        segment_seconds=settings.segment_age,
        quota_bytes=settings.quota,
        reserve_bytes=settings.reserve,
        keep_back_seconds=settings.keep_back,
        fsync=settings.fsync,
        fsync_seconds=settings.fsync_interval,
        commit_window_seconds=settings.commit_window,
        lanes=settings.lanes,
        retry_seconds=settings.retry,
        open_segments=settings.open_segments,
    )


def limits(settings: SessionSettings) -> Limits:
    """Return when sessions are complete, in nanoseconds."""
    values = {field.name: getattr(settings, field.name) for field in dataclasses.fields(Limits)}
    return Limits(
        **{
            name: round(value * 1e9) if name in _DURATIONS else int(value)
            for name, value in values.items()
        }
    )
