"""What a repeated block and its parts are called: the common part of the layers' names, and what tells them apart.

`inception_3a/1x1`, `inception_3b/1x1`: the class is Inception, an instance inception_3a, the layer in it conv_1x1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

_TOKEN = re.compile(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]")
_SHORT = {"Convolution": "conv", "InnerProduct": "fc", "BatchNorm": "bn", "Pooling": "pool", "Deconvolution": "deconv"}
_GENERIC = frozenset(("res", "conv", "layer", "stage", "block", "unit", "bn", "fc", "relu"))


def short(kind: str) -> str:
    """A layer type as an attribute: `conv`."""
    return _SHORT.get(kind, kind.lower())


def _common(lists: Sequence[Sequence[str]]) -> list[str]:
    """What all begin with."""
    shared = takewhile(lambda column: len(set(column)) == 1, zip(*lists, strict=False))
    return [column[0] for column in shared]


@dataclass(frozen=True)
class Split:
    """Names of one layer in every instance, as what they begin with, what tells them apart, and what they end in."""

    prefix: str
    middles: tuple[str, ...]
    suffix: str


def split(names: Sequence[str]) -> Split:
    """Take names apart: `res2a_branch1`, `res3a_branch1` into res, 2a and 3a, _branch1."""
    parts = [_TOKEN.findall(name) for name in names]
    before = _common(parts)
    if before and before[-1].isdecimal() and all("".join(p[len(before) :])[:1].isalpha() for p in parts):
        before = before[:-1]  # 2a and 2b differ as a whole
    rest = [p[len(before) :] for p in parts]
    behind = _common([p[::-1] for p in rest])[::-1]
    while behind and behind[0].isalnum() and len(set(names)) > 1:
        behind = behind[1:]
    middles = tuple("".join(p[: len(p) - len(behind)]) for p in rest)
    return Split("".join(before), middles, "".join(behind))


def stems(names: Sequence[str]) -> list[str]:
    """What each instance is called, from the names of one of its layers: inception_3a."""
    found = split(names)
    return [(found.prefix + middle).strip("_/-. ") for middle in found.middles]


def local(names: Sequence[str], stem: str, kind: str) -> str:
    """What a layer or blob of the block is called within it; `stem` is the prefix that the block is called after."""
    found = split(names)
    if len(set(names)) == 1:
        return found.prefix
    prefix, suffix = found.prefix.strip("_/-. "), found.suffix.strip("_/-. ")
    if suffix and prefix == stem:
        prefix = ""
    word = "_".join(w for w in (prefix, suffix) if w) or short(kind)
    return f"{short(kind)}_{word}" if word[0].isdigit() else word


def prefix_of(names: Sequence[str]) -> str:
    """The common beginning that a block's class is called after; empty where there is none."""
    return split(names).prefix.strip("_/-. ")


def class_title(prefix: str) -> str:
    """A class's title: `inception` as it is, `res` as res block."""
    word = letters(prefix)
    return word if word and word.lower() not in _GENERIC else f"{word} block".strip()


def shared(names: Sequence[str]) -> str:
    """What a row of blocks or a chain of values is called: res3a, res3b1 give res3. Empty where nothing is common."""
    tokens = _common([_TOKEN.findall(name) for name in names])
    whole = any(len(_TOKEN.findall(name)) == len(tokens) for name in names)
    if not whole and re.search(r"(^|[^A-Za-z0-9])[0-9]+[A-Za-z]+$", "".join(tokens)):
        tokens = tokens[:-2]  # 3x3 and 3x1 have no 3x in common
    return "".join(tokens).strip("_/-. ")


def letters(name: str) -> str:
    """A name without the numbers at its end."""
    return re.sub(r"[0-9]+$", "", name).strip("_/-. ")


def rows(instances: Sequence[Sequence[str]], others: Sequence[str]) -> list[str]:
    """What rows of blocks are called: res3, or where that is no name for one row alone, res1_to_3."""
    plain = [shared(names) for names in instances]
    named = []
    for names, title in zip(instances, plain, strict=True):
        if not title or plain.count(title) > 1 or any(shared([title, other]) == title for other in others):
            last = names[-1][len(title) :].strip("_/-. ") or names[-1]
            title = f"{names[0]}_to_{last}"
        named.append(title)
    return named


def projection(title: str) -> str:
    """The title of the residual block that projects its shortcut."""
    return f"{title.removesuffix(' block')} projection{' block' * title.endswith(' block')}"
