"""A feed: what a data layer gives a net, batch after batch, without an end."""

from __future__ import annotations

import os
import weakref
from typing import Any, Protocol

import torch

from proto2torch.data.prefetch import Prefetcher
from proto2torch.errors import DataError
from proto2torch.ir.graph import Shape

Batch = tuple[torch.Tensor, ...]
Seed = int | dict[str, int]
"""A seed for all that a source draws, or one for each kind of its draws (as `weights.seeds.Seeds` names them)."""


def one(seed: Seed) -> int:
    """The seed of a source that has one kind of draws."""
    return seed if isinstance(seed, int) else seed["transform"]


class Source(Protocol):
    """What a data layer reads: an endless sequence of records, any part of which it can give again."""

    shapes: list[Shape]
    """The shape of each top, batch first."""
    batch_size: int

    @property
    def seed(self) -> Seed:
        """What its random choices follow from, with a record's number."""

    def batch(self, first: int) -> Batch:
        """Records `first` to `first + batch_size - 1` as float32 CPU tensors, one a top."""

    def reseed(self, seed: Seed) -> None:
        """Let the random choices follow from another seed."""

    def close(self) -> None:
        """Give back what is open; a second call does nothing."""


class Feed:
    """The batches of one data layer in order, over and over; up to `prefetch` of them are made ahead by a thread.

    A feed that is dropped closes itself.
    """

    def __init__(self, source: Source, prefetch: int = 0) -> None:
        self._source = source
        self._prefetch = prefetch
        self._position = 0  # the number of the next record that `next` gives
        self._open = True
        self._thread = _Thread()
        self._finalizer = weakref.finalize(self, _close, self._thread, source)

    @property
    def shapes(self) -> list[Shape]:
        """The shape of each top, batch first, as the first record has it."""
        return list(self._source.shapes)

    def next(self) -> Batch:
        """The next batch: float32 CPU tensors in the order of the tops.

        Raises:
            DataError: a record cannot be read or does not fit the others of its batch. The feed stays where it is.
        """
        if not self._open:
            raise DataError("the feed is closed")
        try:
            batch = self._make()
        except BaseException:
            self._thread.stop()
            raise
        self._position += self._source.batch_size
        return batch

    def reseed(self, seed: Seed) -> None:
        """Let the random choices from the next batch on follow from another seed."""
        self.load_state({"position": self._position, "seed": seed})

    def state(self) -> dict[str, Any]:
        """How far `next` has come; batches made ahead do not count."""
        return {"position": self._position, "seed": self._source.seed}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the same random choices."""
        self._thread.stop()
        self._position = int(state["position"])
        seed = state["seed"]
        self._source.reseed(seed if isinstance(seed, dict) else int(seed))

    def close(self) -> None:
        """End the thread and close the files; a second call does nothing."""
        self._open = False
        self._finalizer()

    def _make(self) -> Batch:
        if not self._prefetch:
            return self._source.batch(self._position)
        return self._thread.running(self._source, self._position, self._prefetch).next()


class _Thread:
    """A feed's prefetcher while there is one; apart from the feed, so that the feed can be dropped."""

    def __init__(self) -> None:
        self._prefetcher: Prefetcher[Batch] | None = None
        self._pid = 0

    def running(self, source: Source, first: int, depth: int) -> Prefetcher[Batch]:
        """The prefetcher, started where there is none yet; threads do not survive a fork."""
        if self._prefetcher is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._prefetcher = Prefetcher(source.batch, first, source.batch_size, depth)
        return self._prefetcher

    def stop(self) -> None:
        if self._prefetcher is not None and self._pid == os.getpid():
            self._prefetcher.close()
        self._prefetcher = None


def _close(thread: _Thread, source: Source) -> None:
    thread.stop()
    source.close()
