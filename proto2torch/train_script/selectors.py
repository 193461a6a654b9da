"""What differs from parameter to parameter as few `if`s: by the last part of the name, and exceptions by the whole."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from proto2torch.layers.base import literal

_MANY = 4  # names that a shared word stands for
_LONG = 60  # a name from which on a comparison does not fit on a line


@dataclass(frozen=True)
class Case:
    """Parameters of one value."""

    condition: str
    """The condition on `name`; empty for all that are left."""
    value: str


def cases(values: Mapping[str, str]) -> list[Case]:
    """The conditions, in order, that give every key of a state_dict its value; the last has none."""
    by_leaf: dict[str, list[str]] = {}
    for key, value in values.items():
        by_leaf.setdefault(_leaf(key), []).append(value)
    common = {leaf: Counter(found).most_common(1)[0][0] for leaf, found in by_leaf.items()}
    exceptions: dict[str, list[str]] = {}
    for key, value in values.items():
        if value != common[_leaf(key)]:
            exceptions.setdefault(value, []).append(key)
    rest = common.get("weight") or next(iter(common.values()))
    leaves: dict[str, list[str]] = {}
    for leaf, value in common.items():
        if value != rest:
            leaves.setdefault(value, []).append(leaf)
    found = [Case(_exactly(keys, values), value) for value, keys in exceptions.items()]
    found += [Case(_ends(ends), value) for value, ends in leaves.items()]
    return [*found, Case("", rest)]


def _exactly(keys: Sequence[str], known: Collection[str]) -> str:
    """A condition that holds for `keys` and no other of the `known` names: by a word that they share, if one does."""
    if len(keys) < _MANY:
        return _one_of(keys)
    words = [word for word in re.findall(r"[A-Za-z]{2,}", keys[0]) if all(word in key for key in keys)]
    (leaf, *others) = {_leaf(key) for key in keys}
    for word in words:
        having = [name for name in known if word in name]
        if len(having) == len(keys):
            return f"{literal(word)} in name"
        if not others and sum(_leaf(name) == leaf for name in having) == len(keys):
            return f"{literal(word)} in name and name.endswith({literal('.' + leaf)})"
    return _one_of(keys)


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _one_of(keys: Sequence[str]) -> str:
    if len(keys) > 1:
        return f"name in {literal(tuple(keys))}"
    return f"name == {literal(keys[0])}" if len(keys[0]) < _LONG else f"name in ({literal(keys[0])},)"


def _ends(leaves: Sequence[str]) -> str:
    return f"name.endswith({literal(tuple(f'.{leaf}' for leaf in leaves))})"
