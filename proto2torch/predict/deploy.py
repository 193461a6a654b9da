"""The deploy net of a training net: no data layers, labels, losses or fillers; images in, scores out.

Data layers become Input layers, a softmax loss its Softmax (`prob`), a sigmoid loss its Sigmoid; what reads labels
goes. Of several such losses, those of the largest weight stay; the branches of the others (GoogLeNet's) go with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from proto2torch.errors import NetError
from proto2torch.ir.graph import Shape
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters, schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

InputShapes = Callable[[LayerDefinition], Sequence[Shape]]

_ACTIVATIONS = {
    "SoftmaxWithLoss": ("Softmax", "softmax_param"),
    "SigmoidCrossEntropyLoss": ("Sigmoid", "sigmoid_param"),
}
"""What makes probabilities of the scores that a loss reads, and the parameters that both share."""


def deploy(
    definition: NetDefinition, input_shapes: InputShapes, *, level: int = 0, stages: Sequence[str] = ()
) -> NetDefinition:
    """The deploy net of the TEST net of `definition`; one that has no data layers and losses only loses its fillers.

    `input_shapes` gives the shapes of a data layer's tops, batch first.

    Raises:
        NetError: nothing would be left.
    """
    net = filters.select(definition, "TEST", level, stages)
    weights = {id(layer): _weight(layer) for layer in net.layers if layer.type in _ACTIVATIONS}
    largest = max(weights.values(), default=0.0)
    auxiliary = {key for key, weight in weights.items() if weight < largest}
    labels = _labels(net)
    gone: set[str] = set(labels)
    layers: list[LayerDefinition] = []
    for layer in _without_branches(net.layers, auxiliary):
        if _is_data(layer):
            layers += _inputs(layer, labels, input_shapes)
        elif layer.type in _ACTIVATIONS:
            layers.append(_activation(layer, layers))
        elif _loss(layer) or any(bottom in gone for bottom in layer.message.bottom):
            gone.update(set(layer.message.top) - set(layer.message.bottom))
        else:
            layers.append(_bare(layer))
    if not any(layer.message.bottom for layer in layers):
        raise NetError("nothing would be left of it: every layer reads a label", where=definition.layers[0].where())
    return replace(net, layers=tuple(layers), state=None, force_backward=False, debug_info=False)


def message(net: NetDefinition) -> Any:
    """The NetParameter of a definition, for `prototxt.text.dump`."""
    written = schema.new("NetParameter")
    written.name = net.name
    for layer in net.layers:
        written.layer.add().CopyFrom(layer.message)
    return written


def _is_data(layer: LayerDefinition) -> bool:
    """Whether a layer reads records; a Python layer without bottoms does too."""
    cls = REGISTRY.get(layer.type)
    return not layer.message.bottom and (layer.type == "Python" or bool(cls and cls.data))


def _loss(layer: LayerDefinition) -> bool:
    cls = REGISTRY.get(layer.type)
    return bool(cls and cls.loss)


def _weight(layer: LayerDefinition) -> float:
    weights: Sequence[float] = layer.message.loss_weight
    return weights[0] if weights else 1.0


def _labels(net: NetDefinition) -> set[str]:
    """The tops of data layers that no layer reads, save as a label; of losses all but the first bottom count as one."""
    made = {top for layer in net.layers if _is_data(layer) for top in layer.message.top}
    read: set[str] = set()
    for layer in net.layers:
        cls = REGISTRY.get(layer.type)
        labels: Iterable[int] = range(1, 9) if _loss(layer) else cls(layer, "TEST").labels if cls else ()
        if layer.type not in ("Silence", "HDF5Output"):
            read.update(bottom for i, bottom in enumerate(layer.message.bottom) if i not in labels)
    return made - read


def _without_branches(layers: Sequence[LayerDefinition], roots: set[int]) -> list[LayerDefinition]:
    """The layers less those in `roots`, and less what then nothing reads any more but layers that read labels."""
    gone = set(roots)
    if not gone:
        return list(layers)
    readers = Counter(b for layer in layers for b in set(layer.message.bottom) - set(layer.message.top))
    left = readers.copy()
    for layer in reversed(layers):
        tops, bottoms = set(layer.message.top), set(layer.message.bottom)
        ends = bool(tops) and all(readers[top] and not left[top] for top in tops) and not tops & bottoms
        counts_only = layer.type == "Accuracy" and any(_reads_same(layer, layers, root) for root in roots)
        in_place = bool(tops & bottoms) and all(not left[top] for top in tops) and any(readers[t] for t in tops)
        if id(layer) in roots or ends or counts_only or in_place:
            gone.add(id(layer))
            left.subtract(bottoms - tops)
    return [layer for layer in layers if id(layer) not in gone]


def _reads_same(layer: LayerDefinition, layers: Sequence[LayerDefinition], root: int) -> bool:
    """Whether an Accuracy judges the scores of the loss `root`."""
    loss = next(other for other in layers if id(other) == root)
    return bool(layer.message.bottom[0] == loss.message.bottom[0])


def _inputs(layer: LayerDefinition, labels: set[str], input_shapes: InputShapes) -> list[LayerDefinition]:
    """An Input layer for those tops of a data layer that are no labels."""
    tops = list(layer.message.top)
    kept = [i for i, top in enumerate(tops) if top not in labels]
    if not kept:
        return []
    shapes = input_shapes(layer)
    new = schema.new("LayerParameter")
    new.name, new.type = tops[kept[0]], "Input"
    new.top.extend(tops[i] for i in kept)
    for i in kept:
        new.input_param.shape.add().dim.extend((1, *shapes[i][1:]))
    return [replace(layer, message=new)]


def _activation(layer: LayerDefinition, before: Sequence[LayerDefinition]) -> LayerDefinition:
    """The probabilities in place of their loss: `prob`, or a name of the loss's own where that is taken."""
    kind, param = _ACTIVATIONS[layer.type]
    taken = {top for other in before for top in other.message.top} | {other.name for other in before}
    new = schema.new("LayerParameter")
    new.name = "prob" if "prob" not in taken else f"{layer.name}_prob"
    new.type = kind
    new.bottom.append(layer.message.bottom[0])
    new.top.append(new.name)
    if layer.message.HasField(param):
        getattr(new, param).CopyFrom(getattr(layer.message, param))
    return replace(layer, message=new)


def _bare(layer: LayerDefinition) -> LayerDefinition:
    """A layer without what only training and filtering read; the names of shared blobs stay."""
    new = schema.new("LayerParameter")
    new.CopyFrom(layer.message)
    for field in ("include", "exclude", "loss_weight", "propagate_down", "phase"):
        new.ClearField(field)
    for spec in new.param:
        for field in ("lr_mult", "decay_mult"):
            spec.ClearField(field)
    if not any(spec.name for spec in new.param):
        new.ClearField("param")
    for field, value in new.ListFields():
        if field.name.endswith("_param") and not _repeated(field):
            for inner, _ in value.ListFields():
                if inner.name.endswith("filler") and layer.type != "DummyData":
                    value.ClearField(inner.name)
    return replace(layer, message=new)


def _repeated(field: Any) -> bool:
    """Whether a field is repeated, on every protobuf runtime."""
    repeated = getattr(field, "is_repeated", None)
    return bool(repeated) if repeated is not None else bool(field.label == field.LABEL_REPEATED)


def fixed_shapes(shapes: Mapping[str, Shape], otherwise: InputShapes) -> InputShapes:
    """Shapes given by the name of a top, `otherwise` for layers of other tops."""

    def of(layer: LayerDefinition) -> Sequence[Shape]:
        given = [shapes.get(top) for top in layer.message.top]
        if any(given):
            return [shape or (1,) for shape in given]
        return otherwise(layer)

    return of
