"""Input and the data layers: where blobs come from. Their tops are the arguments of the generated module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, TypeVar

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer

_T = TypeVar("_T")
_DIMS = ("num", "channels", "height", "width")


class Input(Layer, type="Input", param="input_param"):
    """Blobs that the caller gives: no shape, one for every top, or one each."""

    bottoms = (0, 0)
    tops_allowed = (1, None)

    def shapes(self, *x: Shape) -> list[Shape]:
        given = [tuple(s.dim) for s in self.p.shape]
        if len(given) not in (1, self.tops):
            raise self.error(
                f"needs one shape, or one for each of its {self.tops} tops. Received: {len(given)}",
                "shape",
                None if given else "input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } }",
            )
        for i, shape in enumerate(given):
            if any(extent < 0 for extent in shape):
                raise self.error(f"an extent cannot be negative. Received: {shape}", f"shape[{i}].dim")
        return given * self.tops if len(given) == 1 else given

    def code(self, node: Node) -> Code:
        return Code(None)


class DataLayer(Layer):
    """A layer that reads records. What lies in its tops, and their shape, is the business of proto2torch.data."""

    messages: ClassVar[tuple[str, ...]] = ("transform_param",)
    bottoms = (0, 0)
    data = True

    def code(self, node: Node) -> Code:
        return Code(None)


class Data(DataLayer, type="Data", param="data_param"):
    """Images and labels from a database of Datums."""

    differs = "mirror is drawn in both phases, as Caffe does. Fields of data_param that Caffe ignores are ignored."

    tops_allowed = (1, 2)


class ImageData(DataLayer, type="ImageData", param="image_data_param"):
    """Images and labels of the files that a text file lists."""

    differs = "Decoded and resized as OpenCV does, to the pixel."

    tops_allowed = (2, 2)

    def check(self) -> None:
        if bool(self.p.new_height) != bool(self.p.new_width):
            raise self.error("new_height and new_width go together: give both or neither", "new_height")


class WindowData(DataLayer, type="WindowData", param="window_data_param"):
    """Windows of images, and the classes of what they show: (N, 3, crop, crop) and (N)."""

    differs = "Scales by window_data_param.scale, not by transform_param.scale, as Caffe does."

    tops_allowed = (2, 2)

    def check(self) -> None:
        if not self.definition.message.transform_param.crop_size:
            raise self.error("needs the extent of its windows, transform_param.crop_size", "transform_param.crop_size")

    def shapes(self, *x: Shape) -> list[Shape]:
        items, crop = self.p.batch_size, self.definition.message.transform_param.crop_size
        return [(items, 3, crop, crop), (items,)]


class MemoryData(DataLayer, type="MemoryData", param="memory_data_param"):
    """Arrays that the caller sets: (N, C, H, W) and labels (N)."""

    differs = "Arrays come through `net.feeds`; labels keep the shape (N)."

    tops_allowed = (2, 2)

    def check(self) -> None:
        for field in ("batch_size", "channels", "height", "width"):
            if not getattr(self.p, field):
                raise self.error(f"needs {field} greater than zero", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        return [(self.p.batch_size, self.p.channels, self.p.height, self.p.width), (self.p.batch_size,)]


class HDF5Data(DataLayer, type="HDF5Data", param="hdf5_data_param"):
    """Datasets of HDF5 files; each top is the dataset of its name."""

    differs = "shuffle does not follow Caffe's seed, in Caffe neither: it uses libc's rand."

    messages = ()
    tops_allowed = (1, None)


class DummyData(DataLayer, type="DummyData", param="dummy_data_param"):
    """Tops that fillers write: none for zeros, one for all, or one each; a constant top once, others each forward.

    The shapes: one for all or one each, as `shape`, or as the older num, channels, height and width.
    """

    differs = "Constant tops are filled once, others before every forward, from Caffe's own random stream."

    messages = ()
    tops_allowed = (1, None)

    def check(self) -> None:
        self._one_each("data_filler", (0, 1))
        if self._older() and self.p.shape:
            raise self.error("give either shape or num, channels, height and width, not both", "shape")
        for field in _DIMS if self._older() else ("shape",):
            self._one_each(field, (1,))

    def _older(self) -> bool:
        return any(len(getattr(self.p, field)) for field in _DIMS)

    def _one_each(self, field: str, others: tuple[int, ...]) -> None:
        count = len(getattr(self.p, field))
        if count not in (*others, self.tops):
            wanted = " or ".join(str(n) for n in sorted({*others, self.tops}))
            raise self.error(f"{field} must be given {wanted} times. Received: {count}", field)

    def shapes(self, *x: Shape) -> list[Shape]:
        if not self._older():
            return self._each([tuple(shape.dim) for shape in self.p.shape])
        dims = [self._each(list(getattr(self.p, field))) for field in _DIMS]
        return [tuple(extents) for extents in zip(*dims, strict=True)]

    def _each(self, given: Sequence[_T]) -> list[_T]:
        """One for each top."""
        return list(given) * self.tops if len(given) == 1 else list(given)
