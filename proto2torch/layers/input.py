"""Input and the data layers: where blobs come from. Their tops are the arguments of the generated module."""

from __future__ import annotations

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer


class Input(Layer, type="Input", param="input_param"):
    """Blobs that the caller gives: no shape, one for every top, or one each."""

    bottoms = (0, 0)
    tops_allowed = (1, None)
    reads = frozenset(("shape",))

    def shapes(self, *x: Shape) -> list[Shape]:
        given = [tuple(s.dim) for s in self.p.shape]
        if len(given) not in (1, self.tops):
            raise self.error(
                f"needs one shape, or one for each of its {self.tops} tops. Received: {len(given)}",
                "shape",
                None if given else "input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } }",
            )
        return given * self.tops if len(given) == 1 else given

    def code(self, node: Node) -> Code:
        return Code(None)


class DataLayer(Layer):
    """A layer that reads records. What lies in its tops is the business of proto2torch.data."""

    bottoms = (0, 0)
    data = True

    def code(self, node: Node) -> Code:
        return Code(None)


class Data(DataLayer, type="Data", param="data_param"):
    """Images and labels from a database of Datums."""

    tops_allowed = (1, 2)


class HDF5Data(DataLayer, type="HDF5Data", param="hdf5_data_param"):
    """Datasets of HDF5 files; each top is the dataset of its name."""

    tops_allowed = (1, None)
