"""Hours of traffic through the whole engine, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from soaking import soak

if TYPE_CHECKING:
    from pathlib import Path


def test_hours_of_traffic_come_out_whole(tmp_path: Path) -> None:
    """Six hours with few sessions: kept ones leave whole, no anomaly is missed, shares hold."""
    result = soak(tmp_path, 1_500, tick=2 * 3600)
    assert result.faults == [], str(result)
    assert result.odd == 3
    assert max(result.segments.values()) < 6 * 60  # a segment is begun every minute


@pytest.mark.slow
def test_hours_of_heavy_traffic_leave_memory_and_disk_flat(tmp_path: Path) -> None:
    """With a hundred thousand sessions nothing grows in the second half; one in 10,000 is odd."""
    result = soak(tmp_path, 100_000)
    assert result.faults + result.growth == [], str(result)
    assert result.odd == 10
