"""HDF5Output: a sink that writes its bottoms into a file."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer


class HDF5Output(Layer, type="HDF5Output", param="hdf5_output_param"):
    """Writes bottom 0 as dataset `data` and bottom 1 as `label`, one batch: a second forward is an error.

    The net writes the file, in its first forward; in exported source what this layer alone reads is an output instead.
    """

    differs = "The net writes the file; exported source gives bottom 0 as an output."

    bottoms = (2, 2)
    tops_allowed = (0, 0)
    differentiable = False

    def check(self) -> None:
        if not self.p.file_name:
            raise self.error("needs file_name, the file to write", "file_name")

    def shapes(self, *x: Shape) -> list[Shape]:
        for i, shape in enumerate(x):
            if len(shape) > 4:
                raise self.error(f"takes bottoms of at most 4 axes. Received: {shape}", f"bottom[{i}]")
        if four(x[0])[0] != four(x[1])[0]:
            raise self.error(f"both bottoms must have as many items. Received: {x[0]} and {x[1]}", "bottom[1]")
        return []

    def code(self, node: Node) -> Code:
        return Code(None)


def four(shape: Shape) -> Shape:
    """The four axes of Caffe's older blobs: num, channels, height, width, those that are missing 1."""
    return (*shape, *(1,) * (4 - len(shape)))
