"""Labels of pixels: what nets say that give scores, or a label, for each place of an image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data.decode import Pixels
from proto2torch.errors import NetError
from proto2torch.predict.images import ImageNet
from proto2torch.predict.preprocess import Preprocessor, read_image


@dataclass(frozen=True)
class Segmented:
    """An image (3, H, W), blue first, and the label of each of its pixels, (H, W)."""

    image: str
    pixels: Pixels
    labels: NDArray[np.int64]

    def shares(self) -> dict[int, float]:
        """The share of the pixels that has each label, the largest first."""
        labels, counts = np.unique(self.labels, return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {int(labels[i]): float(counts[i] / self.labels.size) for i in order}


def segment(
    found: ImageNet, paths: Sequence[str], *, blob: str | None = None, own_size: bool = False
) -> Iterator[Segmented]:
    """The labels of each image's pixels: those of the highest score, or those that the net gives.

    With `own_size` the net is laid out for each image as it is, as fully convolutional nets are used; else images are
    resized to what the net takes, and its labels to the image, each pixel the nearest.

    Raises:
        NetError: no output, or several, have an extent; DataError: an image cannot be read.
    """
    name = blob or _only_planes(found)
    for path in paths:
        pixels = read_image(path)
        prepare = _as_it_is(found.prepare, pixels) if own_size else found.prepare
        labels = _labels(found, name, prepare(pixels))
        yield Segmented(path, pixels, _placed(labels, prepare, (pixels.shape[1], pixels.shape[2])))


def _as_it_is(prepare: Preprocessor, pixels: Pixels) -> Preprocessor:
    return prepare.with_(shape=(prepare.shape[0], *pixels.shape[1:]), size=None)


@torch.inference_mode()
def _labels(found: ImageNet, name: str, image: NDArray[np.float32]) -> NDArray[np.int64]:
    out = found.net.features(name, **{found.input: torch.from_numpy(image)[None]})[name]
    if out.dim() != 4 or out.shape[0] != 1:
        raise NetError(f"expected {name!r} to be (1, channels, height, width). Received: {tuple(out.shape)}")
    labels = out[0].argmax(0) if out.shape[1] > 1 else out[0, 0].round()
    return np.asarray(labels.cpu(), np.int64)


def _placed(labels: NDArray[np.int64], prepare: Preprocessor, extent: tuple[int, int]) -> NDArray[np.int64]:
    """The labels at each pixel of the image; those of a pixel that the net did not see are those at the crop's edge."""
    height, width = prepare.size or extent
    top, left = prepare.places((height, width))[4]
    rows = _nearest(extent[0], height, top, prepare.shape[1], labels.shape[0])
    columns = _nearest(extent[1], width, left, prepare.shape[2], labels.shape[1])
    return np.asarray(labels[rows][:, columns])


def _nearest(pixels: int, resized: int, start: int, seen: int, labels: int) -> NDArray[np.int64]:
    """Which of `labels` places each of `pixels` lies in, of an axis resized, cropped and seen."""
    at = (np.arange(pixels) + 0.5) * (resized / pixels) - start
    return np.asarray(np.floor(at * (labels / seen)).clip(0, labels - 1), np.int64)


def _only_planes(found: ImageNet) -> str:
    planes = [v.blob for v in found.net.graph.outputs if len(v.shape) == 4 and max(v.shape[2:]) > 1]
    if len(planes) != 1:
        outputs = ", ".join(f"{v.blob} {v.shape}" for v in found.net.graph.outputs)
        hint = "give one with --blob" if len(planes) > 1 else None
        raise NetError(f"expected one output of (N, channels, height, width). Received: {outputs}", hint=hint)
    return planes[0]
