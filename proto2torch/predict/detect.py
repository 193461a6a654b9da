"""Objects in images: the boxes that SSD, YOLO and Faster R-CNN nets find, in pixels of the image.

SSD and YOLO nets end in a layer that gives rows of label, score and box. A Faster R-CNN net gives regions (`rois`), and
for each the scores of the classes (`cls_prob`) and how each class moves the region (`bbox_pred`): as py-faster-rcnn's
test does, the image is brought to 600 pixels at its shorter side, 1000 at most at the longer, and boxes of one class
that overlap by more than `overlap` are thinned out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from proto2torch.data.decode import Pixels
from proto2torch.errors import NetError
from proto2torch.predict.images import ImageNet
from proto2torch.predict.preprocess import read_image

ROWS = ("DetectionOutput", "YoloDetectionOutput", "Yolov3DetectionOutput")
"""Layers whose top has a row a detection: image, label, score, xmin, ymin, xmax, ymax, the box in shares."""
REGIONS = ("rois", "cls_prob", "bbox_pred")
_SHORTER, _LONGER = 600, 1000
_MEANS = (102.9801, 115.9465, 122.7717)  # blue, green, red of ImageNet, as py-faster-rcnn takes them


@dataclass(frozen=True)
class Detection:
    """One object: its label, what that is called where there are names, its score, and xmin, ymin, xmax, ymax in pixels
    of the image."""

    label: int
    name: str | None
    score: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Detected:
    """An image (3, H, W), blue first, and what was found in it, the best first."""

    image: str
    pixels: Pixels
    objects: list[Detection]


def detect(
    found: ImageNet,
    paths: Sequence[str],
    *,
    names: Mapping[int, str] | None = None,
    threshold: float = 0.5,
    overlap: float = 0.3,
) -> Iterator[Detected]:
    """What a net finds in each image, with a score of `threshold` at least.

    Raises:
        NetError: the net has none of the outputs above; DataError: an image cannot be read.
    """
    rows = [n.outputs[0].blob for n in found.net.graph.nodes if n.type in ROWS]
    if not rows and not set(REGIONS) <= {v.blob for n in found.net.graph.nodes for v in n.outputs}:
        layers, blobs = ", ".join(ROWS), ", ".join(REGIONS)
        outputs = ", ".join(found.net.outputs)
        raise NetError(f"expected a layer of type {layers}, or the blobs {blobs}. Received: outputs {outputs}")
    for path in paths:
        pixels = read_image(path)
        boxes = _rows(found, rows[-1], pixels) if rows else _regions(found, pixels, overlap)
        boxes = boxes[boxes[:, 1] >= threshold]
        order = np.argsort(-boxes[:, 1], kind="stable")
        yield Detected(path, pixels, [_detection(row, names) for row in boxes[order].tolist()])


def _detection(row: list[float], names: Mapping[int, str] | None) -> Detection:
    label, score, *box = row
    xmin, ymin, xmax, ymax = box
    return Detection(int(label), names.get(int(label)) if names else None, score, (xmin, ymin, xmax, ymax))


@torch.inference_mode()
def _rows(found: ImageNet, blob: str, pixels: Pixels) -> NDArray[np.float64]:
    """(n, 6): label, score and box of an output of rows."""
    image = torch.from_numpy(found.prepare(pixels))[None]
    rows = found.net.features(blob, **{found.input: image})[blob].double().cpu().numpy().reshape(-1, 7)
    rows = rows[rows[:, 1] >= 0, 1:]
    return np.concatenate([rows[:, :2], in_pixels(rows[:, 2:], found.prepare, pixels.shape[1:])], 1)


def in_pixels(boxes: NDArray[np.float64], prepare: Any, extent: Sequence[int]) -> NDArray[np.float64]:
    """Boxes in shares of what the net saw, in pixels of an image of this height and width, within it."""
    height, width = prepare.size or extent
    top, left = prepare.places((height, width))[4]
    scale = np.array([extent[1] / width, extent[0] / height] * 2)
    size = np.array([prepare.shape[2], prepare.shape[1]] * 2)
    moved = (boxes * size + np.array([left, top] * 2)) * scale
    return np.asarray(moved.clip(0, np.array([extent[1], extent[0]] * 2)))


@torch.inference_mode()
def _regions(found: ImageNet, pixels: Pixels, overlap: float) -> NDArray[np.float64]:
    """(n, 6): label, score and box of a net of regions."""
    from torchvision import ops

    height, width = pixels.shape[1:]
    scale = _SHORTER / min(height, width)
    scale = min(scale, _LONGER / max(height, width))
    extent = [round(height * scale), round(width * scale)]
    mean = _MEANS if found.prepare.mean is None else found.prepare.mean.mean((1, 2))
    image = torch.from_numpy(np.ascontiguousarray(pixels[::-1] if found.prepare.rgb else pixels)).float()
    image = image - torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
    image = F.interpolate(image[None], extent, mode="bilinear", align_corners=False)
    given = {found.input: image, "im_info": torch.tensor([[*extent, scale]], dtype=torch.float32)}
    out = {name: blob.cpu() for name, blob in found.net.features(*REGIONS, **given).items()}
    scores = out["cls_prob"].flatten(1)
    moves = out["bbox_pred"].reshape(len(scores), -1, 4)
    boxes = _moved(out["rois"].reshape(-1, out["rois"].shape[-1])[:, 1:5] / scale, moves)
    boxes = boxes.clamp(min=0).minimum(torch.tensor([width - 1, height - 1] * 2, dtype=boxes.dtype))
    rows = []
    for label in range(1, scores.shape[1]):
        own, place = scores[:, label], boxes[:, label if boxes.shape[1] == scores.shape[1] else -1]
        ends = torch.cat([place[:, :2], place[:, 2:] + 1], 1)  # the last pixel is a part of the box
        kept = ops.nms(ends, own, overlap)
        rows.append(torch.cat([torch.full((len(kept), 1), label), own[kept, None], place[kept]], 1))
    return np.asarray(torch.cat(rows).double()) if rows else np.zeros((0, 6))


def _moved(regions: Tensor, moves: Tensor) -> Tensor:
    """Regions (n, 4) moved as each class says, (n, classes, 4): centre by shares of the size, size by its logarithm."""
    size = regions[:, None, 2:] - regions[:, None, :2] + 1
    centre = regions[:, None, :2] + size / 2 + moves[..., :2] * size
    half = moves[..., 2:].exp() * size / 2
    return torch.cat([centre - half, centre + half], 2)
