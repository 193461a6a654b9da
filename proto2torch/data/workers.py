"""Threads that decode images side by side; the decoders let go of Python's lock. One pool serves the whole process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_MOST = 16
_WORTH = 1 << 20  # bytes to write for which a thread pays
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def run(function: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """`function` of every item, in order; the first error in that order is raised."""
    count = workers()
    if count == 1 or len(items) < 2:
        return [function(item) for item in items]
    return list(_shared(count).map(function, items))


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
