"""A feed: what a data layer gives a net, batch after batch, without an end."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import torch

from proto2torch.data.prefetch import Prefetcher
from proto2torch.errors import DataError, Where
from proto2torch.ir.graph import Shape

_CPU = torch.device("cpu")
Batch = tuple[torch.Tensor, ...]
Seed = int | dict[str, int]
"""A seed for all that a source draws, or one for each kind of its draws (as `weights.seeds.Seeds` names them)."""


def one(seed: Seed) -> int:
    """The seed of a source that has one kind of draws."""
    return seed if isinstance(seed, int) else seed["transform"]


def tensor(values: Any, name: str, where: Where | None = None) -> torch.Tensor:
    """What Python gives for `name`, as a float32 tensor on the CPU.

    Raises:
        DataError: it is no array of numbers.
    """
    try:
        return torch.as_tensor(values).detach().to("cpu", torch.float32)
    except (TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        message = f"{name} must be an array of numbers. Received: {type(values).__name__} ({reason})"
        raise DataError(message, where=where) from error


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


class DeviceSource(Source, Protocol):
    """A source that can leave a part of the work to the device that the batches are for."""

    def gather(self, first: int, device: torch.device) -> Any:
        """What `batch` gives, as far as the host makes it for `device`."""

    def finish(self, gathered: Any, device: torch.device) -> Batch:
        """What `batch` gives, on `device`; the host waits for nothing."""


class Feed:
    """The batches of one data layer in order, over and over; up to `prefetch` of them are made ahead by a thread.

    A feed that is dropped closes itself.
    """

    def __init__(self, source: Source, prefetch: int = 0) -> None:
        self._source = source
        self._prefetch = prefetch
        self._position = 0  # the number of the next record that `next` gives
        self._device = _CPU
        self._open = True
        self._thread = _Thread()
        self._finalizer = weakref.finalize(self, _close, self._thread, source)

    @property
    def shapes(self) -> list[Shape]:
        """The shape of each top, batch first, as the first record has it."""
        return list(self._source.shapes)

    def next(self, device: torch.device = _CPU) -> Batch:
        """The next batch: float32 tensors in the order of the tops.

        For another device than the CPU, images come as bytes to it and are transformed there, where the source can do
        so; other tensors stay on the CPU.

        Raises:
            DataError: a record cannot be read or does not fit the others of its batch. The feed stays where it is.
        """
        if not self._open:
            raise DataError("the feed is closed")
        if device != self._device:
            self._thread.stop()
            self._device = device
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

    def name(self, place: int) -> str | None:
        """What stands at `place` of the last batch, as messages name it; None where the source has no names."""
        self._thread.stop()  # it reads from the same source
        source: Any = self._source
        number = self._position - source.batch_size + place
        return str(source.name(number)) if hasattr(source, "name") else None

    def close(self) -> None:
        """End the thread and close the files; a second call does nothing."""
        self._open = False
        self._finalizer()

    def _make(self) -> Batch:
        source: Any = self._source
        there = self._device.type != "cpu" and hasattr(source, "gather")
        make = partial(source.gather, device=self._device) if there else source.batch
        if self._prefetch:
            item = self._thread.running(make, self._position, source.batch_size, self._prefetch).next()
        else:
            item = make(self._position)
        batch: Batch = source.finish(item, self._device) if there else item
        return batch


class _Thread:
    """A feed's prefetcher while there is one; apart from the feed, so that the feed can be dropped."""

    def __init__(self) -> None:
        self._prefetcher: Prefetcher[Any] | None = None
        self._pid = 0

    def running(self, make: Callable[[int], Any], first: int, step: int, depth: int) -> Prefetcher[Any]:
        """The prefetcher, started where there is none yet; threads do not survive a fork."""
        if self._prefetcher is None or self._pid != os.getpid():
            self._pid = os.getpid()
            self._prefetcher = Prefetcher(make, first, step, depth)
        return self._prefetcher

    def stop(self) -> None:
        if self._prefetcher is not None and self._pid == os.getpid():
            self._prefetcher.close()
        self._prefetcher = None


def _close(thread: _Thread, source: Source) -> None:
    thread.stop()
    source.close()
