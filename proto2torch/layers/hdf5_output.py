"""HDF5Output: a sink that writes its bottoms into a file."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer


class HDF5Output(Layer, type="HDF5Output", param="hdf5_output_param"):
    """Writes bottom 0 as dataset `data` and bottom 1 as `label`, one batch a file. The writing is not built yet."""

    bottoms = (2, 2)
    tops_allowed = (0, 0)
    differentiable = False

    def check(self) -> None:
        if not self.p.file_name:
            raise self.error("needs file_name, the file to write", "file_name")

    def shapes(self, *x: Shape) -> list[Shape]:
        if x[0][:1] != x[1][:1]:
            raise self.error(f"both bottoms must have as many items. Received: {x[0]} and {x[1]}", "bottom[1]")
        return []

    def code(self, node: Node) -> Code:
        raise self.refuse("writing HDF5 files is not supported", "type")
