"""The random stream against Boost's own numbers (tests/golden/data/weights/README.md)."""

from __future__ import annotations

import json
import zlib
from typing import Any

import numpy as np
import pytest

from proto2torch.weights.random import Stream, _multiply_add

from .golden import WEIGHTS

CASES = json.loads((WEIGHTS / "boost.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['distribution']}{c['parameters']}-{c['seed']}-{c['n']}")
def test_every_number_and_the_place_in_the_stream_are_boosts(case: dict[str, Any]) -> None:
    stream = Stream(case["seed"])
    drawn = getattr(stream, case["distribution"])(*case["parameters"], case["n"])
    values = drawn.astype("<i4" if case["distribution"] == "shuffle" else "<f4")
    assert float(values[-1]) == case["last"]
    assert zlib.crc32(values.tobytes()) == case["crc32"]
    assert stream.word() == case["next_word"]


def test_the_words_are_those_of_numpys_legacy_generator() -> None:
    expected = np.random.RandomState(1701).randint(0, 2**32, 3000, dtype=np.uint32)
    stream = Stream(1701)
    assert np.array_equal(np.concatenate([stream.words(1), stream.words(1999), stream.words(1000)]), expected)


def test_a_seed_counts_modulo_2_to_the_32() -> None:
    assert np.array_equal(Stream(2**32 + 5).words(10), Stream(5).words(10))


def test_unseeded_streams_differ() -> None:
    assert not np.array_equal(Stream(None).words(8), Stream(None).words(8))


@pytest.mark.parametrize("sizes", [[1] * 2000, [7] * 300, [100_000, 3, 250_000]])
def test_numbers_do_not_depend_on_how_many_are_drawn_at_once(sizes: list[int]) -> None:
    whole, parts = Stream(3), Stream(3)
    together = whole.gaussian(0, 1, sum(sizes))
    assert np.array_equal(together, np.concatenate([parts.gaussian(0, 1, n) for n in sizes]))
    assert whole.word() == parts.word()


def test_a_state_goes_on_where_it_was_taken() -> None:
    stream = Stream(9)
    stream.gaussian(0, 1, 1001)
    state = stream.state()
    expected = stream.gaussian(0, 1, 50_000)
    stream.words(7)
    stream.load_state(state)
    assert np.array_equal(stream.gaussian(0, 1, 50_000), expected)
    other = Stream(1)
    other.load_state(state)
    assert np.array_equal(other.gaussian(0, 1, 50_000), expected)


def test_gaussians_have_the_moments_and_tails_of_the_normal_distribution() -> None:
    z = Stream(123).gaussian(0, 1, 4_000_000).astype(np.float64)
    assert abs(z.mean()) < 4 / np.sqrt(4e6)
    assert abs(z.var() - 1) < 4 * np.sqrt(2 / 4e6)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / 4e6)
    for bound, share in ((1, 0.3173105), (2, 0.0455003), (3.4426, 5.7609e-4), (4, 6.3342e-5)):
        found = np.count_nonzero(np.abs(z) > bound)
        assert abs(found - share * 4e6) < 5 * np.sqrt(share * 4e6)


def test_no_word_but_for_p_of_zero() -> None:
    stream = Stream(4)
    assert not stream.bernoulli(0, 100).any()
    assert stream.word() == Stream(4).word()


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_is_shuffled_without_a_word(n: int) -> None:
    stream = Stream(4)
    assert stream.shuffle(n).tolist() == list(range(n))
    assert stream.word() == Stream(4).word()


def test_multiply_add_rounds_once() -> None:
    """Sums that lie a hair beside a tie of two float32: float64 cannot hold the hair and would round it away."""
    one, up = np.float32(1), np.nextafter(np.float32(1), np.float32(2))
    above = _multiply_add(np.array([13325], np.float32), np.float32(80581 * 2.0**-54), one)  # 1 + 2^-24 + 2^-54
    assert above.tolist() == [float(up)]
    below = _multiply_add(np.array([1 + 2.0**-15], np.float32), np.float32(2.0**-24 * (1 - 2.0**-15)), up)
    assert below.tolist() == [float(up)]  # 1 + 2^-23 + 2^-24 - 2^-54
    tie = _multiply_add(np.array([2.0**-24], np.float32), one, np.array([1], np.float32)[0])
    assert tie.tolist() == [1.0]
