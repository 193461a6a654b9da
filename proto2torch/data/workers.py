"""Threads that decode images side by side; the decoders let go of Python's lock. One pool serves the whole process."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice, pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 16
_AHEAD = 16  # items in work, for each thread
_WORTH = 1 << 20  # bytes to write for which a thread pays
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def run(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of every item, in order; the first error in that order is raised.

    The calling thread works too: a thread that only waits is one more to be woken.
    """
    count = workers()
    helpers = min(count, len(items)) - 1
    if helpers < 1:
        return [function(item) for item in items]
    found: dict[int, R] = {}
    errors: dict[int, BaseException] = {}
    waiting = deque(range(len(items)))

    def work() -> None:
        with suppress(IndexError):
            while True:
                number = waiting.popleft()
                try:
                    found[number] = function(items[number])
                except BaseException as error:
                    errors[number] = error
                    waiting.clear()  # what comes before it is in work

    futures = [_shared(count).submit(work) for _ in range(helpers)]
    work()
    for future in futures:
        if not future.cancel():
            future.result()
    if errors:
        raise errors[min(errors)]
    return [found[number] for number in range(len(items))]


def ahead(function: Callable[[T], R], items: Sequence[T], jobs: int = 0) -> Iterator[tuple[T, R]]:
    """Each item with `function` of it, in order, by `jobs` threads of its own, a bounded number of items ahead."""
    jobs = jobs or workers()
    with ThreadPoolExecutor(jobs, thread_name_prefix="proto2torch-convert") as pool:
        rest = iter(items)
        waiting: list[tuple[T, Future[R]]] = []
        try:
            while True:
                for item in islice(rest, jobs * _AHEAD - len(waiting)):
                    waiting.append((item, pool.submit(function, item)))
                if not waiting:
                    return
                item, future = waiting.pop(0)
                yield item, future.result()
        finally:
            for _, future in waiting:
                future.cancel()


def split(count: int, size: int) -> list[slice]:
    """The parts of `count` items that threads take, one each; all in one where `size` bytes are too few for more."""
    parts = min(count, workers(), max(1, size // _WORTH))
    ends = [count * n // parts for n in range(parts + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def workers() -> int:
    """How many threads work at once: one for each core that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, _MOST)


def _shared(count: int) -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(count, thread_name_prefix="proto2torch-decode")
        return _pool


def _after_fork() -> None:
    """A child has none of the threads."""
    global _lock, _pool
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
