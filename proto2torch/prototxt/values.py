"""The literals of protobuf's text format, turned into the values of fields.

Every converter takes the word as it stands in the text and gives the value, or raises ValueError. What is accepted is
what protobuf's own parser accepts: `0x1F` and `017` are integers, `1.`, `.5e3` and `1f` are numbers, `t` is true.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

Converter = Callable[[str], Any]

_INTEGER = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?[fF]?|inf|infinity|nan)")
_ZERO_PADDED = re.compile(r"-?0[0-9]")  # octal to protobuf, which takes no octal where a float is wanted
_MOST_DIGITS = 64  # no integer type needs more; int() is slow on what is very long

_TRUTH = {"true": True, "True": True, "t": True, "false": False, "False": False, "f": False}


def integer(word: str, lowest: int, highest: int) -> int:
    """A decimal, `0x` or octal integer of the range."""
    if len(word) > _MOST_DIGITS or not _INTEGER.fullmatch(word) or (lowest == 0 and word[0] == "-"):
        raise ValueError(word)
    digits = word.lstrip("-")
    value = int(digits, 16 if digits[:2] in ("0x", "0X") else 8 if digits[0] == "0" else 10)
    value = -value if word[0] == "-" else value
    if not lowest <= value <= highest:
        raise ValueError(word)
    return value


def number(word: str) -> float:
    """A number: an integer in decimal, a decimal fraction with or without exponent and `f`, inf or nan."""
    word = word.lower()
    if not _DECIMAL.fullmatch(word) or _ZERO_PADDED.match(word):
        raise ValueError(word)
    return float(word if word.endswith("inf") else word.rstrip("f"))


def truth(word: str) -> bool:
    """true, True, t, 1, and false, False, f, 0."""
    return _TRUTH[word] if word in _TRUTH else bool(integer(word, 0, 1))


def choice(word: str, numbers: dict[str, int]) -> int:
    """An enum's value by its name, or by a number that the enum has."""
    if word in numbers:
        return numbers[word]
    value = integer(word, -(2**31), 2**31 - 1)
    if value not in numbers.values():
        raise ValueError(word)
    return value


def refuse(word: str) -> Any:
    """What a field makes of a word when it takes none: a string's, a message's."""
    raise ValueError(word)


def remembered(convert: Converter) -> Converter:
    """The same converter; a net says the same few words over and over, so the last thousand are looked up."""
    return lru_cache(1024)(convert)
