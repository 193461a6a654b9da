"""Caffe's automatic Split layers: a blob that is used more than once gets a copy for each use.

The copies have Caffe's names, for they are what a net's outputs and its saved weights show. What Caffe refuses when it
connects layers is refused here: a bottom that no layer above makes, and a top that two layers make.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from proto2torch.errors import NetError, Proto2TorchError, did_you_mean, raise_problems
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

Top = tuple[int, int]
"""A version of a blob: the index of the layer that makes it, and of the top there."""


def insert(net: NetDefinition, whole: NetDefinition | None = None) -> NetDefinition:
    """The net with a Split layer after each layer whose top is used more than once.

    A top's explicit loss weight is a use of its own: it takes the first copy, and the layer keeps no loss weight at
    all. `whole` is the net before `filters.select`, for a better message where a bottom's maker was left out.

    Raises:
        NetError: a bottom that no layer above makes, a top that two layers make; Problems, if there are several.
    """
    wiring = _connect(net.layers)
    groups = [_with_splits(net.layers, index, wiring) for index in range(len(net.layers))]
    problems = [_unknown(net, index, bottom, whole) for index, bottom in wiring.unknown]
    raise_problems([*problems, *_doubled(net.layers, groups, wiring)])
    return replace(net, layers=tuple(layer for group in groups for layer in group))


@dataclass
class _Wiring:
    """Which top each bottom reads."""

    sources: dict[tuple[int, int], Top] = field(default_factory=dict)
    """By (layer, bottom)."""
    uses: Counter[Top] = field(default_factory=Counter)
    """Bottoms that read a top, and one more where it has an explicit loss weight."""
    weights: dict[Top, float] = field(default_factory=dict)
    """Explicit loss weights other than 0."""
    copies: Counter[Top] = field(default_factory=Counter)
    """Copies of a split top that are spoken for."""
    unknown: list[tuple[int, int]] = field(default_factory=list)
    """The (layer, bottom) that read nothing."""


def _connect(layers: Sequence[LayerDefinition]) -> _Wiring:
    wiring = _Wiring()
    latest: dict[str, Top] = {}
    for index, layer in enumerate(layers):
        message = layer.message
        for bottom, name in enumerate(message.bottom):
            if name in latest:
                wiring.sources[index, bottom] = latest[name]
                wiring.uses[latest[name]] += 1
            else:
                wiring.unknown.append((index, bottom))
        latest.update((name, (index, top)) for top, name in enumerate(message.top))
        for name, weight in zip(message.top, message.loss_weight, strict=False):
            if weight:
                wiring.weights[latest[name]] = weight
                wiring.uses[latest[name]] += 1
    return wiring


def _with_splits(layers: Sequence[LayerDefinition], index: int, wiring: _Wiring) -> list[LayerDefinition]:
    """A layer that reads its own copies, and the Split layers of its tops."""
    layer = layers[index]
    copies = {}
    for bottom in range(len(layer.message.bottom)):
        source = wiring.sources.get((index, bottom))
        if source is not None and wiring.uses[source] > 1:
            copies[bottom] = _copy_name(layers, source, wiring.copies[source])
            wiring.copies[source] += 1
    shared = [(index, top) for top in range(len(layer.message.top)) if wiring.uses[index, top] > 1]
    weighted = any(top in wiring.weights for top in shared)
    if copies or weighted:
        layer = replace(layer, message=_rewired(layer.message, copies, weighted))
    return [layer, *(_split(layers, top, wiring) for top in shared)]


def _rewired(message: Any, copies: Mapping[int, str], weighted: bool) -> Any:
    """A copy of the message with other bottoms, and without its loss weights where a Split has them."""
    changed = schema.new("LayerParameter")
    changed.CopyFrom(message)
    for bottom, name in copies.items():
        changed.bottom[bottom] = name
    if weighted:
        changed.ClearField("loss_weight")
    return changed


def _split(layers: Sequence[LayerDefinition], top: Top, wiring: _Wiring) -> LayerDefinition:
    """The Split layer of a top; a loss weight goes to its first copy, which no layer reads."""
    blob, uses = layers[top[0]].message.top[top[1]], wiring.uses[top]
    split = schema.new("LayerParameter")
    split.name, split.type = _split_name(layers, top), "Split"
    split.bottom.append(blob)
    split.top.extend(_copy_name(layers, top, copy) for copy in range(uses))
    if top in wiring.weights:
        split.loss_weight.extend([wiring.weights[top]] + [0.0] * (uses - 1))
        wiring.copies[top] = 1
    return LayerDefinition(split, source=layers[top[0]].source)


def _split_name(layers: Sequence[LayerDefinition], top: Top) -> str:
    layer = layers[top[0]].message
    return f"{layer.top[top[1]]}_{layer.name}_{top[1]}_split"


def _copy_name(layers: Sequence[LayerDefinition], top: Top, copy: int) -> str:
    return f"{_split_name(layers, top)}_{copy}"


def _unknown(net: NetDefinition, index: int, bottom: int, whole: NetDefinition | None) -> NetError:
    """The error of a bottom that no layer above makes, with the likeliest reason."""
    layer = net.layers[index]
    name = layer.message.bottom[bottom]
    where = layer.where(f"bottom[{bottom}]")
    later = next((other for other in net.layers[index:] if name in other.message.top), None)
    if later is layer:
        return NetError(f"unknown bottom blob {name!r}: only this layer itself makes it", where=where)
    if later is not None:
        text = f"unknown bottom blob {name!r}: {_place(later)} makes it, but stands below; Caffe builds layers in order"
        return NetError(text, where=where, hint=f"move layer {later.name!r} above this one")
    left_out = next((other for other in whole.layers if name in other.message.top), None) if whole else None
    if left_out is not None:
        why = f"{_place(left_out)} makes it, and its include and exclude rules leave it out"
        return NetError(f"unknown bottom blob {name!r}: {why}", where=where)
    known = dict.fromkeys(top for other in net.layers[:index] for top in other.message.top)
    hint = did_you_mean(name, known) or "an input of the net takes an Input layer, or 'input' and its 'input_shape'"
    return NetError(f"unknown bottom blob {name!r}: no layer makes it", where=where, hint=hint)


def _doubled(
    layers: Sequence[LayerDefinition], groups: Sequence[Sequence[LayerDefinition]], wiring: _Wiring
) -> list[Proto2TorchError]:
    """The errors of tops that are there already. A top of the same index and name as a bottom works in place."""
    makers: dict[str, LayerDefinition] = {}
    problems: list[Proto2TorchError] = []
    for index, group in enumerate(groups):
        for layer in group:
            bottoms = layer.message.bottom
            for top, name in enumerate(layer.message.top):
                if name not in makers or (top < len(bottoms) and bottoms[top] == name):
                    makers[name] = layer
                elif layer is group[0] and list(layers[index].message.bottom[top : top + 1]) == [name]:
                    problems.append(_not_in_place(layers, (index, top), wiring))
                else:
                    problems.append(_twice(layers[index], top, name, makers[name], layer is group[0]))
    return problems


def _not_in_place(layers: Sequence[LayerDefinition], top: Top, wiring: _Wiring) -> NetError:
    """The error of a layer that would work in place, on a blob that something else uses before it is changed."""
    layer, source = layers[top[0]], wiring.sources[top]
    blob = layer.message.top[top[1]]
    readers = [layers[reader[0]] for reader, read in wiring.sources.items() if read == source and reader != top]
    if readers and readers[0] is not layer:
        why = f"{_place(readers[0])} reads it before"
        hint = f"give this layer's top another name, or move layer {readers[0].name!r} below it to read the result"
    elif readers:
        why, hint = "this layer reads it twice", "give this layer's top another name"
    else:
        why = f"{_place(layers[source[0]])} gives it a loss_weight"
        hint = "give this layer's top another name, or move the loss_weight to this layer"
    text = f"blob {blob!r} cannot be changed in place: {why}, so Caffe splits it and then finds {blob!r} made twice"
    return NetError(text, where=layer.where(f"top[{top[1]}]"), hint=hint)


def _twice(layer: LayerDefinition, top: int, name: str, maker: LayerDefinition, own: bool) -> NetError:
    """The error of a top that another layer makes too; not `own` where it is a copy for which Caffe picks the name."""
    text = f"top blob {name!r} is made twice: {_place(maker)} makes it already"
    if not own:
        return NetError(f"{text}, and Caffe gives this name to a copy of a top of this layer", where=layer.where("top"))
    hint = None
    if name in layer.message.bottom:
        hint = "a layer works in place where top and bottom of the same name have the same index"
    return NetError(text, where=layer.where(f"top[{top}]"), hint=hint)


def _place(layer: LayerDefinition) -> str:
    line = layer.where().line
    return f"layer {layer.name!r}" + (f" (line {line})" if line else "")
