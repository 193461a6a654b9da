"""What is done to a pixel between an image file and a net: size, crop, channel order, mean, scale.

There are two ways, each with its own rounding. A data layer's `transform_param` works on OpenCV's bytes, blue before
red: out = (pixel - mean) * scale, the mean taken at the pixel's place in the whole image. Caffe's Python Transformer
works on floats in [0, 1], red before blue: resize, swap channels, raw_scale, mean, input_scale.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from proto2torch.data import decode
from proto2torch.data.decode import COLOUR, GREY, Pixels
from proto2torch.data.resize import resize
from proto2torch.data.transform import read_mean
from proto2torch.errors import DataError, Where, why
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights import blobproto

Array = NDArray[Any]
Extent = tuple[int, int]
"""Height and width."""


@dataclass(frozen=True, eq=False)
class Preprocessor:
    """Images to what a net takes.

    prepare = p2t.Preprocessor((3, 227, 227), size=(256, 256), mean=(104, 117, 123))
    net(data=prepare("cat.jpg")[None])
    """

    shape: Shape
    """What the net takes of an image: (channels, height, width); 3 channels or 1."""
    size: Extent | None = None
    """What an image is resized to before its middle is cut out; None where it stays as it is."""
    mean: Any = None
    """Subtracted: a value a channel, or an array (C, H, W) of the whole image or of its crop."""
    scale: float = 1.0
    """Multiplies what is left after the mean."""
    raw_scale: float | None = None
    """With it, pixels are brought to [0, 1], resized as floats and multiplied by it, as Caffe's Transformer does."""
    rgb: bool = False
    """Red before blue."""

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or self.shape[0] not in (1, 3):
            raise DataError(
                f"an image has the shape (channels, height, width), 3 or 1 channels. Received: {self.shape}"
            )
        if self.mean is not None:
            object.__setattr__(self, "mean", self._checked_mean(np.asarray(self.mean, np.float32)))
        if self.size is not None and any(s < c for s, c in zip(self.size, self.shape[1:], strict=True)):
            raise DataError(
                f"the size must not be less than the net's {_by(self.shape[1:])}. Received: {_by(self.size)}"
            )

    @classmethod
    def of_layer(
        cls, layer: LayerDefinition, shape: Shape, size: Extent | None = None, mean: Any = None
    ) -> Preprocessor:
        """What a data layer does in TEST; `shape` is what it gives of an image, `size` what its images have.

        Of an ImageData layer the size is its own; a mean file has that of the whole image. `mean` takes the place of
        the layer's own.

        Raises:
            DataError: its mean cannot be read or does not fit.
        """
        p, images = layer.message.transform_param, layer.message.image_data_param
        mean = read_mean(layer) if mean is None else mean
        if layer.type == "ImageData" and images.new_height:
            size = (images.new_height, images.new_width)
        made = cls(shape, size, mean, p.scale)
        if size is None and made.mean is not None and made.mean.shape[1:] != (1, 1):
            return made.with_(size=made.mean.shape[1:])
        return made

    @classmethod
    def of_transformer(
        cls,
        shape: Shape,
        *,
        mean: Any = None,
        raw_scale: float | None = None,
        input_scale: float | None = None,
        channel_swap: Sequence[int] | None = None,
        image_dims: Extent | None = None,
    ) -> Preprocessor:
        """In the terms of Caffe's Transformer and Classifier: `channel_swap` (2, 1, 0) gives blue before red.

        A mean of another height and width is resized to the net's own, as set_mean does.
        """
        swap = tuple(channel_swap) if channel_swap is not None else None
        if swap not in (None, (0,), (0, 1, 2), (2, 1, 0)):
            raise DataError(f"channel_swap must be (2, 1, 0) or (0, 1, 2). Received: {swap}")
        if mean is not None and np.ndim(mean) >= 2:
            mean = np.broadcast_to(mean, (shape[0], *np.shape(mean)[-2:])) if np.ndim(mean) == 2 else np.asarray(mean)
            if mean.shape[1:] != shape[1:]:
                mean = _resize_float(mean.astype(np.float32), (shape[1], shape[2]))
        scale = 1.0 if input_scale is None else input_scale
        return cls(shape, image_dims, mean, scale, 1.0 if raw_scale is None else raw_scale, swap != (2, 1, 0))

    def __call__(self, image: Any, oversample: bool = False) -> NDArray[np.float32]:
        """(C, H, W) float32 of an image; with `oversample` (10, C, H, W): corners and middle, then the five mirrored.

        Args:
            image: a file's path, or the pixels as uint8 (C, H, W), blue before red.

        Raises:
            DataError: it cannot be read, or it is smaller than what the net takes.
        """
        if isinstance(image, (str, os.PathLike)):
            image = read_image(image, GREY if self.shape[0] == 1 else COLOUR)
        pixels = self._resized(np.asarray(image))
        height, width = self.shape[1:]
        if pixels.shape[0] != self.shape[0] or pixels.shape[1] < height or pixels.shape[2] < width:
            hint = "give the size that images are resized to" if self.size is None else None
            message = f"an image must have {self.shape[0]} channels and {height} x {width} pixels at least."
            raise DataError(f"{message} Received: {pixels.shape}", hint=hint)
        places = self.places(pixels.shape[1:]) if oversample else self.places(pixels.shape[1:])[4:5]
        crops = [self._values(pixels, top, left) for top, left in places]
        if not oversample:
            return crops[0]
        return np.stack([*crops, *(crop[:, :, ::-1] for crop in crops)])

    def places(self, extent: Sequence[int]) -> list[tuple[int, int]]:
        """Top and left of the crops of an image: the four corners and the middle."""
        down, right = extent[0] - self.shape[1], extent[1] - self.shape[2]
        return [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]

    def lines(self) -> list[str]:
        """What is done, a line each, in order."""
        channels, height, width = self.shape
        floats = self.raw_scale is not None
        lines = ["decode to 8 bits a channel, " + ("grey" if channels == 1 else "RGB" if self.rgb else "BGR")]
        if floats:
            lines.append("divide by 255")
        if self.size is not None:
            lines.append(f"resize to {_by(self.size)}, bilinear, " + ("as scikit-image" if floats else "as OpenCV"))
        if self.size != (height, width):
            lines.append(f"cut out the middle {height} x {width}")
        if floats and self.raw_scale != 1:
            lines.append(f"multiply by {self.raw_scale:g}")
        if self.mean is not None:
            lines.append(f"subtract {_describe(self.mean)}")
        if self.scale != 1:
            lines.append(f"multiply by {self.scale:g}")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON; of a mean image its channels' means."""
        mean = None if self.mean is None else [float(value) for value in self.mean.mean((1, 2))]
        image = None if self.mean is None or self.mean.shape[1:] == (1, 1) else list(self.mean.shape[1:])
        return {
            "channels": self.shape[0],
            "order": "grey" if self.shape[0] == 1 else "RGB" if self.rgb else "BGR",
            "resize": list(self.size) if self.size is not None else None,
            "interpolation": "bilinear, as OpenCV" if self.raw_scale is None else "bilinear, as scikit-image",
            "crop": list(self.shape[1:]),
            "raw_scale": self.raw_scale,
            "mean": mean,
            "mean_image": image,
            "scale": self.scale,
        }

    def with_(self, **changes: Any) -> Preprocessor:
        """The same with other fields."""
        return replace(self, **changes)

    def _resized(self, pixels: Array) -> Array:
        if pixels.ndim != 3:
            raise DataError(f"expected pixels of shape (C, H, W). Received: {pixels.shape}")
        if self.rgb:
            pixels = pixels[::-1]
        if self.raw_scale is None:
            if pixels.dtype != np.uint8:
                raise DataError(f"expected pixels of 8 bits, uint8. Received: {pixels.dtype}")
            return resize(pixels, *self.size) if self.size is not None else pixels
        pixels = (pixels / 255.0).astype(np.float32) if pixels.dtype == np.uint8 else pixels.astype(np.float32)
        return _resize_float(pixels, self.size) if self.size is not None else pixels

    def _values(self, pixels: Array, top: int, left: int) -> NDArray[np.float32]:
        """One crop of the resized pixels, less the mean, scaled."""
        place = (slice(None), slice(top, top + self.shape[1]), slice(left, left + self.shape[2]))
        values: NDArray[np.float32] = pixels[place].astype(np.float32)
        if self.raw_scale is not None and self.raw_scale != 1:
            values *= np.float32(self.raw_scale)
        if self.mean is not None:
            fits = self.mean.shape[1:] in ((1, 1), self.shape[1:])
            if not fits and self.mean.shape[1:] != pixels.shape[1:]:
                hint = f"resize images to {_by(self.mean.shape[1:])}, or use the mean of each channel"
                message = f"the mean must be that of the whole image, {_by(pixels.shape[1:])}, or of its crop."
                raise DataError(f"{message} Received: {_by(self.mean.shape[1:])}", hint=hint)
            values -= self.mean if fits else self.mean[place]
        if self.scale != 1:
            values *= np.float32(self.scale)
        return values

    def _checked_mean(self, mean: NDArray[np.float32]) -> NDArray[np.float32]:
        if mean.ndim == 4 and mean.shape[0] == 1:
            mean = mean[0]
        if mean.ndim <= 1:
            mean = mean.reshape(-1, 1, 1)
        if mean.ndim != 3 or mean.shape[0] not in (1, self.shape[0]):
            raise DataError(f"a mean has {self.shape[0]} channels, or 1 value. Received: shape {mean.shape}")
        return mean


def read_image(path: str | os.PathLike[str], how: str = COLOUR) -> Pixels:
    """The pixels of a file as `decode` gives them: (3, H, W), blue first, with COLOUR.

    Raises:
        DataError: it cannot be read.
    """
    file = os.fspath(path)
    return decode.read(file, how, Where(file=file))


def load_mean(text: str) -> NDArray[np.float32]:
    """A mean as a user names it: a .binaryproto or .npy file, or numbers by commas.

    Raises:
        DataError: it is none of these.
    """
    parts = text.split(",")
    try:
        return np.array([float(part) for part in parts], np.float32).reshape(-1, 1, 1)
    except ValueError:
        pass
    if not text.endswith(".npy"):
        return blobproto.read(text)
    try:
        array = np.load(text, allow_pickle=False)
    except (OSError, ValueError) as error:
        reason = why(error)
        raise DataError(f"cannot read the mean: {reason.lower()}", where=Where(file=text)) from error
    return np.asarray(array, np.float32)


def channel_mean(mean: Any) -> NDArray[np.float32]:
    """The mean of each channel of a mean image, (C, 1, 1), as Caffe's classification example takes it."""
    array = np.asarray(mean, np.float32)
    array = array[0] if array.ndim == 4 and array.shape[0] == 1 else array
    return array.mean((1, 2), dtype=np.float64, keepdims=True).astype(np.float32) if array.ndim == 3 else array


def _resize_float(image: NDArray[np.float32], size: Extent) -> NDArray[np.float32]:
    """Floats (C, H, W) resized as Caffe's io.resize_image: bilinear between [0, 1], with 0 beyond the edges."""
    if image.shape[1:] == tuple(size):
        return image
    low, high = image.min(), image.max()
    if low == high:
        return np.full((len(image), *size), low, np.float32)
    unit = np.pad((image - low) / (high - low), ((0, 0), (1, 1), (1, 1)))
    for axis, extent in ((1, size[0]), (2, size[1])):
        count = image.shape[axis]
        at = (np.arange(extent) + 0.5) * (count / extent) + 0.5  # in the padded image
        first = np.floor(at).astype(int).clip(0, count)
        part = (at - first).reshape((-1, 1) if axis == 1 else (1, -1))
        unit = np.take(unit, first, axis) * (1 - part) + np.take(unit, first + 1, axis) * part
    return np.asarray(unit * (high - low) + low, np.float32)


def _describe(mean: Array) -> str:
    values = ", ".join(f"{value:.6g}" for value in mean.mean((1, 2)))
    if mean.shape[1:] == (1, 1):
        return f"the mean {values}" + (" of each channel" if len(mean) > 1 else "")
    return f"the mean image of {_by(mean.shape[1:])} at the pixel's place (channels {values})"


def _by(extent: Sequence[int]) -> str:
    return " x ".join(map(str, extent))
