"""How much memory the collector takes for batches, by what it may take."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from samplers.collector import service
from samplers.collector.memory import allowed

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def container(root: Path, files: dict[str, str]) -> Path:
    """Return the root of a file system with some files."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("files", "bytes_"),
    [
        ({}, MACHINE),
        ({"sys/fs/cgroup/memory.max": "max\n"}, MACHINE),
        ({"sys/fs/cgroup/memory.max": "268435456\n"}, 268_435_456),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "268435456\n"}, 268_435_456),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        (
            {
                "proc/self/cgroup": "0::/system.slice/tracekit.service\n",
                "sys/fs/cgroup/system.slice/tracekit.service/memory.max": "536870912\n",
            },
            536_870_912,
        ),
    ],
)
def test_a_limit_of_the_container_is_what_is_allowed(
    tmp_path: Path, files: dict[str, str], bytes_: int
) -> None:
    """Control groups of both versions, of a container and of a service; none: all there is."""
    assert allowed(container(tmp_path, files)) == bytes_


@pytest.mark.parametrize(
    ("cores", "asked", "memory", "expected"),
    [
        (2, None, 24 * GIB, (2, 150_000)),
        (16, None, 64 * GIB, (4, 150_000)),
        (2, None, 3 * GIB, (1, 150_000)),
        (8, None, GIB, (1, 107_374)),
        (8, None, GIB // 2, (1, 53_687)),
        (1, 3, 4 * GIB, (3, 107_374)),
    ],
)
def test_batches_fit_into_half_of_the_memory(
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    asked: int | None,
    memory: int,
    expected: tuple[int, int],
) -> None:
    """One per core and two gibibytes; where that is not enough for 150,000 spans, fewer spans."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert service._batches(asked, memory) == expected  # noqa: SLF001 - what is looked at
