"""Caffe's random stream, bit for bit: one Mersenne Twister, and Boost's ways from its words to numbers.

With the `random_seed` of a solver, the initial weights that the fillers draw from this stream are Caffe's own. Where a
product and a sum meet (`uniform`, a gaussian with a mean) Caffe's bits depend on its build: the result here is rounded
once, as by builds with fused multiply-add; others may differ in the last bit.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from proto2torch.weights import ziggurat

Array = np.ndarray[Any, Any]

_BLOCK = 1 << 18  # words worked on at once: they fit the processor's cache
_LARGEST = 2**32 - 1


class Stream:
    """A stream of 32-bit words (MT19937) and the distributions that Caffe draws from it.

    `seed` is taken modulo 2³², as Caffe does; None seeds from the system's own randomness.
    """

    def __init__(self, seed: int | None) -> None:
        start = int.from_bytes(os.urandom(4), "little") if seed is None else seed & _LARGEST
        engine: Any = np.random.RandomState(start).get_state(legacy=False)
        self._engine = np.random.MT19937()
        self._engine.state = engine
        self._ahead = np.empty(0, np.uint32)  # words made and not yet used

    def words(self, n: int) -> Array:
        """The next n words, uint32."""
        taken = self._look(n)[:n]
        self._ahead = self._ahead[n:]
        return taken

    def word(self) -> int:
        """The next word."""
        return int(self.words(1)[0])

    def peek(self) -> int:
        """The next word, which stays the next."""
        return int(self._look(1)[0])

    def uniform(self, low: float, high: float, n: int) -> Array:
        """n float32 numbers of U[low, high]: low + u/2³²·(high' - low), high' the next float32 after high.

        One word each; a word whose number rounds to high' is drawn again.
        """
        largest = np.finfo(np.float32).max
        least, above, two = np.float32(low), np.nextafter(np.float32(high), largest), np.float32(2)
        if above / two - least / two > largest / two:  # a range wider than float32: Boost draws from half of it
            return self._uniform(least / two, above / two, n) * two
        return self._uniform(least, above, n)

    def gaussian(self, mean: float, std: float, n: int) -> Array:
        """n float32 numbers of N(mean, std): z·std + mean, z by the ziggurat of `proto2torch.weights.ziggurat`."""
        numbers = np.empty(n, np.float32)
        done, spare = 0, 64
        while done < n:
            left = n - done
            block = self._look(min(_BLOCK, left + left // 64) + spare)
            z, used = ziggurat.normals(block, left)
            spare = 64 if used else spare * 2  # a number of the tail can take any number of words
            self._ahead = self._ahead[used:]
            numbers[done : done + len(z)] = _multiply_add(z, np.float32(std), np.float32(mean))
            done += len(z)
        return numbers

    def bernoulli(self, p: float, n: int) -> Array:
        """n booleans, true with probability p (float32): u <= p·2³². One word each; none at all where p is 0."""
        if np.float32(p) == 0:
            return np.zeros(n, bool)
        drawn = np.empty(n, bool)
        bound = np.float32(p) * np.float32(_LARGEST)
        for start in range(0, n, _BLOCK):
            part = drawn[start : start + _BLOCK]
            np.less_equal(self.words(len(part)).astype(np.float32), bound, out=part)
        return drawn

    def shuffle(self, n: int) -> Array:
        """A permutation of n things, int64: what Caffe's shuffle leaves at place k stood at `permutation[k]`.

        For i from n-1 down to 1, i changes places with one j of U{0, …, i}.
        """
        order = list(range(n))
        tops = np.arange(n - 1, 0, -1, dtype=np.uint64)
        done = 0
        while done < len(tops):
            i = tops[done : done + _BLOCK // 8]
            bucket = _LARGEST // (i + 1) + (_LARGEST % (i + 1) == i)
            j = self._look(len(i))[: len(i)] // bucket
            misses = np.flatnonzero(j > i)  # drawn again: the words shift by one from there
            fitting = int(misses[0]) if len(misses) else len(i)
            self._ahead = self._ahead[fitting + (len(misses) > 0) :]
            for a, b in zip(i[:fitting].tolist(), j[:fitting].tolist(), strict=True):
                order[a], order[b] = order[b], order[a]
            done += fitting
        return np.array(order, np.int64)

    def state(self) -> dict[str, Any]:
        """All that decides what comes next, for `load_state`: `key` (624 uint32), `position`, `ahead` (uint32)."""
        engine = self._engine.state["state"]
        return {"key": engine["key"].copy(), "position": int(engine["pos"]), "ahead": self._ahead.copy()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where `state` was taken."""
        self._set_engine(np.asarray(state["key"], np.uint32), int(state["position"]))
        self._ahead = np.array(state["ahead"], np.uint32)

    def _set_engine(self, key: Array, position: int) -> None:
        self._engine.state = {"bit_generator": "MT19937", "state": {"key": key, "pos": position}}

    def _look(self, n: int) -> Array:
        """At least n of the next words, without using them."""
        missing = n - len(self._ahead)
        if missing > 0:
            fresh = self._engine.random_raw(missing).astype(np.uint32)
            self._ahead = np.concatenate([self._ahead, fresh]) if len(self._ahead) else fresh
        return self._ahead

    def _uniform(self, low: np.float32, above: np.float32, n: int) -> Array:
        numbers = np.empty(n, np.float32)
        done = 0
        while done < n:
            u = self.words(min(_BLOCK, n - done)).astype(np.float32) * np.float32(2.0**-32)
            drawn = _multiply_add(u, above - low, low)
            drawn = drawn[drawn < above]
            numbers[done : done + len(drawn)] = drawn
            done += len(drawn)
        return numbers


def _multiply_add(x: Array, factor: np.float32, term: np.float32) -> Array:
    """x·factor + term in float32, rounded once.

    The product is exact in float64. Where the sum is not, it is rounded to odd there: the last bit then tells that
    something was cut off, so that rounding to float32 cannot see a tie that is none.
    """
    if term == 0:
        return x * factor
    product = x.astype(np.float64) * np.float64(factor)
    total = product + np.float64(term)
    shifted = total - product
    cut = (product - (total - shifted)) + (np.float64(term) - shifted)
    even = (total.view(np.int64) & 1) == 0
    inexact = np.flatnonzero((cut != 0) & even)
    total[inexact] = np.nextafter(total[inexact], np.where(cut[inexact] > 0, np.inf, -np.inf))
    return total.astype(np.float32)
