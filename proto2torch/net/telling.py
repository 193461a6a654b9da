"""What a weight file tells of a net: which variant of its type a layer is, by how many blobs it has there."""

from __future__ import annotations

from dataclasses import replace

from proto2torch.layers import REGISTRY
from proto2torch.layers.variants import Variants
from proto2torch.prototxt.document import NetDefinition
from proto2torch.weights.stored import StoredWeights


def told_by_weights(net: NetDefinition, stored: StoredWeights) -> NetDefinition:
    """The net with the fork of each layer whose own fields leave its variant open, where its weights decide it."""
    unclear = [(layer.name, kind) for layer in net.layers if (kind := _open_type(layer.type, layer.message, net.fork))]
    told = {}
    for name, kind in unclear:
        blobs = stored.layers[name].blobs if name in stored.layers else ()
        fitting = [v for v in kind.variants if v.stored_blobs == len(blobs)]
        if len(fitting) == 1:
            told[name] = fitting[0].forks[0]
    return replace(net, told={**net.told, **told}) if told else net


def _open_type(name: str, message: object, fork: str) -> type[Variants] | None:
    kind = REGISTRY.get(name)
    if kind is None or not issubclass(kind, Variants):
        return None
    return kind if kind.is_open(message, fork) else None
