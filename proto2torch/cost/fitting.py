"""A training that needs more memory than there is: by how much, and the batch_size and iter_size that fit."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from proto2torch.cost.memory import Memory, estimate
from proto2torch.cost.table import size
from proto2torch.errors import Where
from proto2torch.ir.graph import Net

USABLE = 0.9
"""The part of a device's memory that an estimate may fill: the driver, cuDNN's workspace and rounding take the rest."""

_FIELDS = ("data_param", "image_data_param", "window_data_param", "hdf5_data_param", "memory_data_param")
_COUNTS = ("BatchNorm",)
"""Types whose result depends on what is in a batch."""


@dataclass(frozen=True)
class Advice:
    """What to say of it, and where."""

    text: str
    hint: str
    where: Where


def advice(net: Net, rule: str, iter_size: int, available: int, device: str, *, failed: bool = False) -> Advice | None:
    """What to do where a step of `net` does not fit into the `available` bytes of `device`; None where it fits.

    With `failed` it has been found that it does not, whatever the estimate says.
    """
    memory = estimate(net, rule)
    usable = int(available * USABLE)
    if memory.total <= usable and not failed:
        return None
    of = f" with batch_size {memory.batch}" if memory.batch else ""
    text = f"a training step takes about {size(memory.total)}{of}, and {device} has {size(available)}"
    if memory.batch and failed:
        usable = min(usable, memory.at(memory.batch - 1))
    return Advice(text, _hint(net, memory, iter_size, usable), _place(net))


def _hint(net: Net, memory: Memory, iter_size: int, usable: int) -> str:
    pair = memory.fitting(usable, iter_size)
    if pair is not None:
        same = "sums the same gradient"
        if any(node.type in _COUNTS for node in net.nodes):
            same += ", but for BatchNorm, which sees the smaller batch"
        return f"batch_size: {pair[0]} here with iter_size: {pair[1]} in the solver fits, and {same}"
    largest = max(net.nodes, key=lambda node: sum(prod(p.blob.shape) for p in node.params))
    return (
        f"not even one item fits: {size(memory.fixed)} are parameters, gradients and history, the most of them of "
        f"layer {largest.name!r}; a lr_mult of 0 for layers that need not learn saves two thirds of theirs"
    )


def _place(net: Net) -> Where:
    """The batch_size of the first layer that has one, else the first layer."""
    for node in net.nodes:
        for name in _FIELDS:
            if node.definition.message.HasField(name) and getattr(node.definition.message, name).HasField("batch_size"):
                return node.definition.where(f"{name}.batch_size")
    return net.nodes[0].definition.where()
