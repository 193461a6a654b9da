"""Automatic splits: a blob version that several read goes through a Split layer, and its loss weight with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .reference import Refused

Version = tuple[int, int]
"""(layer, top): each top makes a new version of its name."""


def insert_splits(layers: Sequence[Any]) -> list[Any]:
    """Copies of the layers, with Split layers after those whose tops are used more than once."""
    reads, uses = _uses(layers)
    taken: dict[Version, int] = {}
    result = []
    for at, original in enumerate(layers):
        layer = type(original)()
        layer.CopyFrom(original)
        for i, version in enumerate(reads[at]):
            if uses[version] > 1:
                k = taken.get(version, int(_weight(layers, version) != 0))
                taken[version] = k + 1
                layer.bottom[i] = _top(layers, version, k)
        result.append(layer)
        splits = [_split(layers, (at, i), uses[at, i]) for i in range(len(layer.top)) if uses[at, i] > 1]
        if any(_weight(layers, (at, i)) for i in range(len(layer.top)) if uses[at, i] > 1):
            del layer.loss_weight[:]
        result += splits
    return result


def _uses(layers: Sequence[Any]) -> tuple[list[list[Version]], dict[Version, int]]:
    """The version each bottom reads, and how often each version is used."""
    last: dict[str, Version] = {}
    reads: list[list[Version]] = []
    uses: dict[Version, int] = {}
    for at, layer in enumerate(layers):
        missing = [name for name in layer.bottom if name not in last]
        if missing:
            raise Refused(f"unknown bottom {missing[0]}")
        reads.append([last[name] for name in layer.bottom])
        for version in reads[-1]:
            uses[version] += 1
        for i, name in enumerate(layer.top):
            last[name] = (at, i)
            uses[at, i] = int(_weight(layers, (at, i)) != 0)
    return reads, uses


def _weight(layers: Sequence[Any], version: Version) -> float:
    """The loss weight given for a version; one that a loss has by itself is not known yet."""
    given = layers[version[0]].loss_weight
    return float(given[version[1]]) if version[1] < len(given) else 0.0


def _top(layers: Sequence[Any], version: Version, k: int) -> str:
    layer = layers[version[0]]
    return f"{layer.top[version[1]]}_{layer.name}_{version[1]}_split_{k}"


def _split(layers: Sequence[Any], version: Version, uses: int) -> Any:
    layer = layers[version[0]]
    name = layer.top[version[1]]
    split = type(layer)(name=f"{name}_{layer.name}_{version[1]}_split", type="Split", bottom=[name])
    split.top.extend(_top(layers, version, k) for k in range(uses))
    weight = _weight(layers, version)
    if weight:
        split.loss_weight.extend([weight] + [0.0] * (uses - 1))
    return split
