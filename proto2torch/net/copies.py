"""A net as a value: what pickle and copy.deepcopy carry of it, and the net that is made of that again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from proto2torch.errors import UsageError
from proto2torch.net.blobs import Blobs
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition, Source


class Kept(NamedTuple):
    """A net without its code and its open files: both are made anew from the definition."""

    layers: bytes
    """A NetParameter with the layers after filtering."""
    frame: NetDefinition
    """What the definition says beside its layers (see `without_layers`)."""
    phase: str
    device: torch.device
    dtype: torch.dtype
    training: bool
    given: Mapping[str, Any]
    """What the user feeds data layers with."""
    feeds: Mapping[str, dict[str, Any]]
    """How far each feed has come."""
    blobs: tuple[Tensor, ...]
    learns: tuple[bool, ...]
    memories: Mapping[str, Tensor]
    """What layers remember between forwards (see `remembered`)."""


def message(definition: NetDefinition) -> bytes:
    """The layers of a definition as a binary NetParameter; the places of its fields in the text stay behind.

    Raises UsageError for a net with Python layers, whose objects only their own code could copy.
    """
    python = next((layer for layer in definition.layers if layer.type == "Python"), None)
    if python is not None:
        raise UsageError(f"a net with Python layers cannot be copied or pickled. Received: layer {python.name!r}")
    net = schema.new("NetParameter")
    net.layer.extend(layer.message for layer in definition.layers)
    return bytes(net.SerializeToString())


def without_layers(definition: NetDefinition) -> NetDefinition:
    """What a definition says beside its layers: the fork that it is written for too, but not the text of its file."""
    source = Source("", definition.path) if definition.path else None
    return replace(definition, layers=(), state=None, source=source)


def definition(kept: Kept) -> NetDefinition:
    """The definition of the net that was kept."""
    net = schema.message_class("NetParameter").FromString(kept.layers)
    return replace(kept.frame, layers=tuple(LayerDefinition(layer, source=kept.frame.source) for layer in net.layer))


def remembered(blobs: Blobs) -> dict[str, Tensor]:
    """What layers remember between forwards (a recurrent layer's state), by node and buffer."""
    return {
        f"{node}.{name}": buffer.detach().cpu().clone()
        for node, module in blobs.stateful.items()
        for name, buffer in module.named_buffers()
    }


def remember(blobs: Blobs, kept: Mapping[str, Tensor]) -> None:
    """Give the layers their memories back; what is not in `kept` stays as it is."""
    for node, module in blobs.stateful.items():
        for name, buffer in list(module.named_buffers()):
            value = kept.get(f"{node}.{name}")
            if value is not None:
                holder, _, leaf = name.rpartition(".")
                module.get_submodule(holder)._buffers[leaf] = value.to(buffer.device, buffer.dtype)
