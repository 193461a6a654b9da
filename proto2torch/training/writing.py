"""A thread that writes a snapshot while the training goes on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

Work = Callable[[], None]


class Writer:
    """Does one piece of work at a time in a thread; what follows it, and its error, come back to who asks."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._running: tuple[Future[None], Work] | None = None

    def start(self, work: Work, then: Work) -> None:
        """Begin `work` in the thread, once the last has been settled; `then` is called where that is settled."""
        self.settle()
        self._pool = self._pool or ThreadPoolExecutor(1, "snapshot")
        self._running = self._pool.submit(work), then

    def settle(self, wait: bool = True) -> bool:
        """Take in what has been done; with `wait`, after its end. Whether there was anything.

        Raises:
            Exception: what the work raised.
        """
        if self._running is None or not (wait or self._running[0].done()):
            return False
        (future, then), self._running = self._running, None
        future.result()
        then()
        return True

    def close(self) -> None:
        """Wait for the thread, and end it; an error of its work is left alone."""
        if self._pool is not None:
            self._pool.shutdown()
        self._pool = self._running = None
