from __future__ import annotations

import math

import pytest

from proto2torch.prototxt import values


@pytest.mark.parametrize(
    ("word", "value"),
    [("0", 0), ("12", 12), ("-12", -12), ("0x1F", 31), ("0Xa", 10), ("-0x10", -16), ("017", 15), ("00", 0), ("-0", 0)],
)
def test_integers(word: str, value: int) -> None:
    assert values.integer(word, -100, 100) == value


@pytest.mark.parametrize(
    "word",
    ["", "-", "--1", "+1", "1.0", "1e2", "08", "0x", "0xg", "1_0", "1f", "true", "101", "-101", "9" * 10000, "\u0661"],
)
def test_no_integers(word: str) -> None:
    with pytest.raises(ValueError):
        values.integer(word, -100, 100)


def test_an_unsigned_integer_has_no_sign() -> None:
    assert values.integer("0", 0, 1) == 0
    with pytest.raises(ValueError):
        values.integer("-0", 0, 1)


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("1", 1.0),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-3", 0.001),
        ("1.5f", 1.5),
        ("2F", 2.0),
        ("0.0", 0.0),
        ("0e1", 0.0),
        ("inf", math.inf),
        ("-Infinity", -math.inf),
        ("1e999", math.inf),
        ("18446744073709551616", 2.0**64),
    ],
)
def test_numbers(word: str, value: float) -> None:
    assert values.number(word) == value


def test_nan_is_a_number() -> None:
    assert math.isnan(values.number("nan"))
    assert math.isnan(values.number("-NaN"))


@pytest.mark.parametrize(
    "word",
    ["", ".", "-", "e5", "1e", "1e+", "0x10", "01", "02.5", "1.2.3", "1ff", "1_0", "inff", "infin", "+1"],
)
def test_no_numbers(word: str) -> None:
    with pytest.raises(ValueError):
        values.number(word)


@pytest.mark.parametrize("word", ["TRUE", "yes", "2", "-1", "1.0", ""])
def test_neither_true_nor_false(word: str) -> None:
    with pytest.raises(ValueError):
        values.truth(word)


def test_choices_by_name_or_by_a_number_that_exists() -> None:
    numbers = {"MAX": 0, "AVE": 5, "LOW": -2}
    assert [values.choice(w, numbers) for w in ("MAX", "AVE", "5", "0x5", "-2")] == [0, 5, 5, 5, -2]
    for word in ("max", "1", "-0x5", "5.0", ""):
        with pytest.raises(ValueError):
            values.choice(word, numbers)
