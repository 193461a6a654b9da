"""What a weight file tells of a net: which variant of its type a layer is, by how many blobs it has there."""

from __future__ import annotations

from dataclasses import replace

from proto2torch import weights
from proto2torch.layers import REGISTRY
from proto2torch.layers.variants import Variants
from proto2torch.prototxt.document import NetDefinition


def told_by_weights(net: NetDefinition, path: str) -> NetDefinition:
    """The net with the fork of each layer whose own fields leave its variant open, where its weights decide it.

    Raises WeightsError where there is such a layer and the file cannot be read.
    """
    unclear = [(layer.name, kind) for layer in net.layers if (kind := _open_type(layer.type, layer.message, net.fork))]
    if not unclear:
        return net
    stored = weights.read(path)
    told = {}
    for name, kind in unclear:
        fitting = [v for v in kind.variants if v.stored_blobs == len(stored.get(name, ()))]
        if len(fitting) == 1:
            told[name] = fitting[0].forks[0]
    return replace(net, told={**net.told, **told})


def _open_type(name: str, message: object, fork: str) -> type[Variants] | None:
    kind = REGISTRY.get(name)
    if kind is None or not issubclass(kind, Variants):
        return None
    return kind if kind.is_open(message, fork) else None
