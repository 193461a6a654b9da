"""Batches made ahead of time by a thread in the background, in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Prefetcher(Generic[T]):
    """Keeps up to `depth` items of `make(first)`, `make(first + step)`, … ready.

    What `make` raises ends the thread and is raised by the `next()` whose item it was. The thread holds no reference
    to its prefetcher's owner, and `close()` ends it.
    """

    def __init__(self, make: Callable[[int], T], first: int, step: int, depth: int) -> None:
        self._ready: deque[T | _Failure] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._depth = depth
        self._thread = threading.Thread(
            target=self._work, args=(make, first, step), name="proto2torch-prefetch", daemon=True
        )
        self._thread.start()

    def next(self) -> T:
        """The next item, waiting for it where it is not ready."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready)
            item = self._ready[0]
            if isinstance(item, _Failure):
                raise item.error
            self._ready.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """End the thread and wait for it; items that are ready are dropped."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._ready.clear()

    def _work(self, make: Callable[[int], T], position: int, step: int) -> None:
        while self._has_room():
            try:
                item: T | _Failure = make(position)
            except BaseException as error:
                item = _Failure(error)
            with self._changed:
                self._ready.append(item)
                self._changed.notify_all()
            if isinstance(item, _Failure):
                return
            position += step

    def _has_room(self) -> bool:
        """Wait until an item is wanted; False where the thread is to end."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or len(self._ready) < self._depth)
            return not self._stopping


class _Failure:
    """An exception on its way to the consumer."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
