"""What a picture of a net shows, whatever draws it: boxes, arrows, and blocks of boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from proto2torch.ir.graph import Shape

TIMES = "\N{MULTIPLICATION SIGN}"

KINDS = {
    "data": "Input",
    "convolution": "Convolution Im2col",
    "dense": "InnerProduct Embed LSTM RNN LSTMUnit",
    "pooling": "Pooling SPP",
    "activation": "ReLU PReLU ELU Sigmoid TanH AbsVal BNLL Clip Exp Log Power Swish Threshold ReLU6 Softmax",
    "normalization": "BatchNorm LRN MVN Scale Bias Normalize BN",
    "dropout": "Dropout",
    "joint": "Concat Eltwise Slice Split Flatten Reshape Crop Tile BatchReindex Filter Permute Reduction ArgMax "
    "Axpy Interp Upsample ShuffleChannel",
    "loss": "Accuracy",
    "block": "",
    "other": "",
}
"""The kinds of boxes, and of which types they are; `kind_of` knows more by their names."""

_KIND = {name: kind for kind, types in KINDS.items() for name in types.split()}


def kind_of(type: str) -> str:
    """The kind of a layer type, which decides its colour."""
    if type in _KIND:
        return _KIND[type]
    for ending, kind in (("Data", "data"), ("Loss", "loss"), ("Pooling", "pooling"), ("onvolution", "convolution")):
        if type.endswith(ending):
            return kind
    return "other"


@dataclass(frozen=True)
class Layer:
    """One layer, and all that is said of it."""

    name: str
    type: str
    kind: str
    phases: tuple[str, ...]
    """The phases that have it."""
    summary: str = ""
    """What its fields say in a few words: `64 x 7x7, stride 2`."""
    line: int | None = None
    """Of the prototxt."""
    prototxt: str = ""
    torch: str = ""
    """The lines that the generated module has for it; empty where it is not known, or has none."""
    tops: tuple[tuple[str, Shape | None], ...] = ()
    parameters: int | None = None
    multiply_adds: int | None = None


@dataclass(frozen=True)
class Box:
    """A layer, with the layers behind it that work in place on what it makes."""

    layers: tuple[Layer, ...]
    block: int | None = None
    """The innermost block that it lies in."""


@dataclass(frozen=True)
class Arrow:
    """A blob on its way from the box that makes it to one that reads it."""

    source: int
    target: int
    blob: str
    shape: Shape | None
    phases: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """Boxes that are one thing: a residual block, an Inception module, a row of such blocks."""

    title: str
    about: str
    """The class that `export` makes of it, or how many blocks it holds."""
    parent: int | None = None


@dataclass(frozen=True)
class Diagram:
    """A net to be drawn."""

    name: str
    path: str | None
    phases: tuple[str, ...]
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]
    blocks: tuple[Block, ...] = ()
    notes: tuple[str, ...] = ()
    """What a person should know of the picture: what was assumed, what is missing."""

    def within(self, block: int | None) -> Iterator[int]:
        """The blocks that a block lies in, itself first."""
        while block is not None:
            yield block
            block = self.blocks[block].parent


def shown(shape: Shape | None) -> str:
    """A shape on an arrow: `10x3x227x227`; nothing for what has no axes, or where it is not known."""
    return TIMES.join(map(str, shape)) if shape else ""


def folded(diagram: Diagram) -> Diagram:
    """The diagram with each outermost block as one box."""
    boxes: list[Box] = []
    place: dict[int, int] = {}
    made: dict[int, int] = {}
    for index, box in enumerate(diagram.boxes):
        outermost = list(diagram.within(box.block))[-1:]
        if not outermost:
            place[index] = len(boxes)
            boxes.append(box)
            continue
        if outermost[0] not in made:
            block = diagram.blocks[outermost[0]]
            made[outermost[0]] = len(boxes)
            boxes.append(Box((Layer(block.title, block.about, "block", box.layers[0].phases),)))
        place[index] = made[outermost[0]]
    arrows = [replace(a, source=place[a.source], target=place[a.target]) for a in diagram.arrows]
    outer = tuple(dict.fromkeys(a for a in arrows if a.source != a.target))
    return replace(diagram, boxes=tuple(boxes), arrows=outer, blocks=())
