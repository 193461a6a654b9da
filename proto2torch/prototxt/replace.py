"""Layers trained anew for other classes: renamed, so that no weights are loaded into them, and learning faster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from proto2torch.errors import NetError, Where, did_you_mean
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition

FASTER = 10
"""What the learning rates of a new layer are multiplied by, against those of layers that have learned already."""
_PARAMS = {
    "InnerProduct": "inner_product_param",
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "Embed": "embed_param",
}


@dataclass(frozen=True)
class New:
    """What becomes of a layer: its name, and how many outputs it has (None: as many as it had)."""

    name: str
    outputs: int | None = None


def parse(text: str) -> tuple[str, New]:
    """`fc8=fc8_flowers:102` or `fc8=fc8_anew` as the layer's name and what becomes of it.

    Raises:
        ValueError: it is neither.
    """
    old, equals, new = text.partition("=")
    name, colon, outputs = new.rpartition(":")
    if not colon:
        name, outputs = new, ""
    count = int(outputs) if outputs.isascii() and outputs.isdigit() else None
    if not equals or not old or not name or old == name or (colon and not count):
        raise ValueError(f"expected LAYER=NEW or LAYER=NEW:OUTPUTS, such as fc8=fc8_flowers:102. Received: {text!r}")
    return old, New(name, count)


def apply(net: NetDefinition, new: Mapping[str, New]) -> NetDefinition:
    """The net with layers replaced, by their names; their blobs keep the names that other layers know.

    Raises:
        NetError: there is no such layer, its type has no num_output, or a new name is taken.
    """
    names = [layer.name for layer in net.layers]
    for old, wanted in new.items():
        if old not in names:
            raise NetError(
                f"there is no layer {old!r} to replace", where=Where(net.path), hint=did_you_mean(old, names)
            )
        if wanted.name in names:
            place = next(layer for layer in net.layers if layer.name == wanted.name).where("name")
            raise NetError(f"a layer of the name {wanted.name!r} is there already", where=place)
    return replace(net, layers=tuple(_renewed(layer, new.get(layer.name)) for layer in net.layers))


def _renewed(layer: LayerDefinition, new: New | None) -> LayerDefinition:
    if new is None:
        return layer
    if layer.type not in _PARAMS:
        known = ", ".join(_PARAMS)
        raise NetError(f"only layers with outputs can be replaced: {known}", where=layer.where("type"))
    message = schema.new("LayerParameter")
    message.CopyFrom(layer.message)
    message.name = new.name
    del message.blobs[:]
    param = getattr(message, _PARAMS[layer.type])
    if new.outputs is not None:
        param.num_output = new.outputs
    while len(message.param) < 1 + param.bias_term:
        message.param.add()
    for spec in message.param:
        spec.lr_mult *= FASTER
        spec.ClearField("name")
    return replace(layer, message=message)
