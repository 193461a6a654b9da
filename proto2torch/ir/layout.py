"""How the planes of a net lie in memory: decided here once a net, when it is laid out."""

from __future__ import annotations

from collections.abc import Iterable

from proto2torch.ir.graph import Net, Node, Value

CHANNELS_LAST, CONTIGUOUS = "channels_last", "contiguous"
FORMATS = (CHANNELS_LAST, CONTIGUOUS)
"""The names of torch.channels_last, where the channels of a place lie side by side, and of its opposite."""


def memory_format(nodes: Iterable[Node], wished: str = "") -> str:
    """What is wished for, or the faster of FORMATS for a net of these layers.

    Convolutions of planes are channels_last's: oneDNN's and the tensor cores' kernels want it so, pooling is several
    times faster, and what lies between takes its inputs' layout. Not so where batches are normalised by their own
    statistics: on the CPU torch sums those ten times less exactly in channels_last, and trainings leave Caffe's. And
    never where a dilated convolution reads nothing but padding: in channels_last that ends the process.
    """
    nodes = list(nodes)
    if any(map(_convolves_padding, nodes)):
        return CONTIGUOUS
    last = any(map(_convolves_planes, nodes)) and not any(map(_normalises_batches, nodes))
    return wished or (CHANNELS_LAST if last else CONTIGUOUS)


def restrided(net: Net) -> list[Value]:
    """The inputs that a net lays out anew before its first layer."""
    if net.memory_format != CHANNELS_LAST:
        return []
    return [value for value in net.inputs if len(value.shape) == 4 and value.shape[2:] != (1, 1)]


def _convolves_planes(node: Node) -> bool:
    return node.type in ("Convolution", "Deconvolution") and len(node.inputs[0].shape) == 4


def _convolves_padding(node: Node) -> bool:
    slides = _convolves_planes(node) and node.type == "Convolution"
    return slides and any(node.op.kernel(value.shape).misses(value.shape) for value in node.inputs)


def _normalises_batches(node: Node) -> bool:
    stored = getattr(node.op, "uses_global", False)
    return node.type in ("BatchNorm", "BN") and node.op.net_phase == "TRAIN" and not stored
