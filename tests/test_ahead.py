"""Work begun ahead comes back in order, in as many threads as were asked for."""

from __future__ import annotations

import threading

import pytest

from samplers.collector.ahead import Ahead


def test_items_come_back_in_order_though_the_second_is_done_first() -> None:
    """Two threads: the first item is done once the second one is."""
    second = threading.Event()

    def work(item: str) -> str:
        if item == "first":
            assert second.wait(60)
        else:
            second.set()
        return item.upper()

    ahead = Ahead(work, threads=2)
    ahead.put("first")
    ahead.put("second")
    assert [ahead.take(), ahead.take()] == [("first", "FIRST"), ("second", "SECOND")]
    ahead.close()


def test_one_more_than_there_are_threads_may_wait() -> None:
    """So that no thread is idle while what it made is taken."""
    ahead = Ahead(str, threads=3)
    put = 0
    while ahead.has_room:
        ahead.put(put)
        put += 1
    assert put == len(ahead) == 4
    ahead.close()


def test_one_thread_is_the_one_that_takes() -> None:
    """Nothing is begun before it is taken, and no thread is made."""
    seen: list[threading.Thread] = []

    def work(item: int) -> int:
        seen.append(threading.current_thread())
        return item

    ahead = Ahead(work, threads=1)
    ahead.put(1)
    assert not ahead.has_room
    assert not seen
    assert ahead.take() == (1, 1)
    assert seen == [threading.current_thread()]
    ahead.close()


@pytest.mark.parametrize("threads", [1, 2])
def test_a_fault_is_raised_where_its_item_is_taken(threads: int) -> None:
    """The items behind it come back whole, to be worked on again."""
    ahead: Ahead[int, int] = Ahead(lambda item: 1 // item, threads)
    items = list(range(threads))
    for item in items:
        ahead.put(item)
    with pytest.raises(ZeroDivisionError):
        ahead.take()
    assert ahead.clear() == items[1:]
    assert not ahead
    ahead.close()
