from __future__ import annotations

import threading
import time

import pytest

from proto2torch.data.prefetch import Prefetcher


def threads() -> int:
    return sum(t.name == "proto2torch-prefetch" for t in threading.enumerate())


def test_order_and_step() -> None:
    prefetcher = Prefetcher(lambda position: position * 2, first=3, step=5, depth=2)
    assert [prefetcher.next() for _ in range(4)] == [6, 16, 26, 36]
    prefetcher.close()
    assert threads() == 0


def test_no_more_than_depth_ahead() -> None:
    made: list[int] = []
    prefetcher = Prefetcher(made.append, first=0, step=1, depth=3)
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2]
    prefetcher.next()
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert made == [0, 1, 2, 3]
    prefetcher.close()


def test_an_error_is_raised_in_its_turn_and_again() -> None:
    def make(position: int) -> int:
        if position == 2:
            raise KeyError("two")
        return position

    prefetcher = Prefetcher(make, first=0, step=1, depth=4)
    assert [prefetcher.next(), prefetcher.next()] == [0, 1]
    for _ in range(2):
        with pytest.raises(KeyError, match="two"):
            prefetcher.next()
    prefetcher.close()
    assert threads() == 0


def test_closing_waits_for_the_item_in_the_making() -> None:
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def make(position: int) -> int:
        begun.set()
        go_on.wait(5)
        done.set()
        return position

    prefetcher = Prefetcher(make, first=0, step=1, depth=1)
    begun.wait(5)
    threading.Timer(0.02, go_on.set).start()
    prefetcher.close()
    assert done.is_set()
    assert threads() == 0
