"""WindowData against a plain reference written from what Caffe does, with OpenCV's own resize."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from proto2torch import data
from proto2torch.errors import DataError
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.prototxt.schema import new

from .records import layer, pictures

SEED = 7
CROP = 13
WINDOWS = [  # image, label, overlap, x1, y1, x2, y2
    (0, 3, 0.9, 2, 1, 20, 12),
    (0, 2, 0.5, 0, 0, 39, 29),
    (0, 5, 0.2, 30, 22, 39, 29),
    (0, 9, 0.45, 1, 1, 2, 2),
    (1, 1, 1.0, 5, 20, 9, 24),
    (1, 4, 0.0, 0, 10, 24, 24),
]


def window_layer(folder: Path, fields: str = "", transform: str = "", text: str | None = None) -> LayerDefinition:
    for number, (height, width) in enumerate([(30, 40), (25, 25)]):
        cv2.imwrite(str(folder / f"{number}.png"), pictures(1, (height, width, 3), seed=number)[0])
    lines = []
    for number, (height, width) in enumerate([(30, 40), (25, 25)]):
        own = [w for w in WINDOWS if w[0] == number]
        lines += [f"# {number}", f"{number}.png", "3", str(height), str(width), str(len(own))]
        lines += [" ".join(str(value) for value in window[1:]) for window in own]
    (folder / "windows.txt").write_text("\n".join(lines) + "\n" if text is None else text)
    return layer(
        folder,
        'layer { name: "windows" type: "WindowData" top: "data" top: "label"\n'
        f"transform_param {{ crop_size: {CROP} {transform} }}\n"
        f'window_data_param {{ source: "{folder}/windows.txt" root_folder: "{folder}/" batch_size: 9'
        f" fg_threshold: 0.5 bg_threshold: 0.3 {fields} }} }}",
    )


def mean_file(folder: Path) -> tuple[str, np.ndarray]:
    mean = pictures(1, (3, 17, 17), seed=5)[0].astype(np.float32)
    blob = new("BlobProto")
    blob.num, (blob.channels, blob.height, blob.width) = 1, mean.shape
    blob.data.extend(mean.ravel().tolist())
    (folder / "mean.binaryproto").write_bytes(blob.SerializeToString())
    return str(folder / "mean.binaryproto"), mean


def reference(folder: Path, pad: int, square: bool, mirror: bool, mean: Any, scale: float) -> list[np.ndarray]:
    """One batch: background windows first, then a quarter of foreground."""
    f32 = np.float32

    def cround(value: float) -> int:
        return int(math.copysign(math.floor(abs(value) + 0.5), value))

    foreground = [w for w in WINDOWS if w[2] >= 0.5]
    background = [(w[0], 0, *w[2:]) for w in WINDOWS if w[2] < 0.3]
    drawn = iter(np.random.RandomState(SEED).randint(0, 1 << 32, 18, np.uint64).tolist())
    out, labels = np.zeros((9, 3, CROP, CROP), f32), np.zeros(9, f32)
    for item in range(9):
        group = background if item < 9 - int(9 * 0.25) else foreground
        image, label, _, x1, y1, x2, y2 = group[next(drawn) % len(group)]
        flip = mirror and next(drawn) % 2 == 1
        picture = cv2.imread(str(folder / f"{image}.png"))
        rows, columns = picture.shape[:2]
        width, height, pad_h, pad_w = CROP, CROP, 0, 0
        if pad or square:
            grow = f32(CROP) / f32(CROP - 2 * pad)
            half_h, half_w = f32((y2 - y1 + 1) / 2), f32((x2 - x1 + 1) / 2)
            cx, cy = f32(x1) + half_w, f32(y1) + half_h
            if square:
                half_h = half_w = max(half_h, half_w)
            x1, x2 = cround(cx - half_w * grow), cround(cx + half_w * grow)
            y1, y2 = cround(cy - half_h * grow), cround(cy + half_h * grow)
            scale_x, scale_y = f32(CROP) / f32(x2 - x1 + 1), f32(CROP) / f32(y2 - y1 + 1)
            pad_x1, pad_y1 = max(0, -x1), max(0, -y1)
            pad_x2, pad_y2 = max(0, x2 - columns + 1), max(0, y2 - rows + 1)
            x1, x2, y1, y2 = x1 + pad_x1, x2 - pad_x2, y1 + pad_y1, y2 - pad_y2
            width, height = cround(f32(x2 - x1 + 1) * scale_x), cround(f32(y2 - y1 + 1) * scale_y)
            pad_h = cround(f32(pad_y1) * scale_y)
            pad_w = cround(f32(pad_x2) * scale_x) if flip else cround(f32(pad_x1) * scale_x)
            height, width = min(height, CROP - pad_h), min(width, CROP - pad_w)
        part = cv2.resize(picture[y1 : y2 + 1, x1 : x2 + 1], (width, height))
        part = cv2.flip(part, 1) if flip else part
        offset = (17 - CROP) // 2
        for h in range(height):
            for w in range(width):
                for c in range(3):
                    pixel = f32(part[h, w, c])
                    if isinstance(mean, np.ndarray):
                        pixel -= mean[c, h + offset + pad_h, w + offset + pad_w]
                    elif mean is not None:
                        pixel -= f32(mean[c])
                    out[item, c, h + pad_h, w + pad_w] = pixel * f32(scale)
        labels[item] = label
    return [out, labels]


@pytest.mark.parametrize("mean", ["none", "values", "file"])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("pad", "mode"), [(0, "warp"), (3, "warp"), (0, "square"), (4, "square")])
def test_a_batch(tmp_path: Path, pad: int, mode: str, mirror: bool, mean: str) -> None:
    path, image = mean_file(tmp_path)
    means = {"none": ("", None), "values": ("mean_value: 104 mean_value: 117 mean_value: 123", (104, 117, 123))}
    text, expected_mean = {**means, "file": (f'mean_file: "{path}"', image)}[mean]
    fields = f'context_pad: {pad} crop_mode: "{mode}" scale: 0.5'
    feed = data.open(window_layer(tmp_path, fields, f"{text} scale: 99 mirror: {str(mirror).lower()}"), "TRAIN")
    feed.reseed({"windows": SEED})
    got = [part.numpy() for part in feed.next()]
    feed.close()
    expected = reference(tmp_path, pad, mode == "square", mirror, expected_mean, 0.5)
    assert np.array_equal(got[1], expected[1]) and set(expected[1]) > {0.0}
    assert np.array_equal(got[0], expected[0])


def test_a_batch_read_again_is_the_same(tmp_path: Path) -> None:
    feed = data.open(window_layer(tmp_path, transform="mirror: true"), "TRAIN", seed=1)
    batches = [feed.next() for _ in range(4)]
    feed.load_state({**feed.state(), "position": 18})
    assert np.array_equal(feed.next()[0], batches[2][0])
    assert not np.array_equal(batches[1][0], batches[2][0])
    feed.close()


GOOD = "# 0\n0.png\n3\n30\n40\n2\n3 0.9 2 1 20 12\n0 0.1 1 1 5 5\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no windows of the background"),
        (GOOD.replace("0.1", "0.4"), "has no windows of the background"),
        (GOOD.replace("0.9", "0.2"), "has no windows of the foreground"),
        (GOOD.replace("3 0.9", "0 0.9"), "must have a label of 1 or more. Received: 0, line 7 of"),
        (GOOD.replace("# 0", "# 1"), "windows.txt:1: expected the number of the image, 0. Received: '1'"),
        (GOOD.replace("\n3\n", "\n1\n"), "windows.txt:3: expected the number of channels, 3. Received: '1'"),
        (GOOD.replace("20 12", "20 2147483648"), "windows.txt:7: expected a window's y2, a whole number of 32 bits"),
        (GOOD.replace("3 0.9", "9" * 400 + " 0.9"), "windows.txt:7: expected a window's label, a whole number of 32"),
        (GOOD.replace("20 12", "20 x"), "windows.txt:7: expected a window's y2. Received: 'x'"),
        (GOOD.replace("1 1 5 5", "1 1 5"), "windows.txt:8: expected a window's y2. Received: 'the end of the file'"),
        (GOOD.replace("# 0", "0"), "windows.txt:1: expected '#' and the number of an image. Received: '0'"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        data.open(window_layer(tmp_path, text=text), "TRAIN")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("20 12", "20 30").replace("1 1 5 5", "1 1 5 30"), "must lie in its image, 40 wide and 30 high"),
        (GOOD.replace("0.png", "gone.png"), "cannot read the image '.*gone.png': no such file or directory"),
        (GOOD.replace("0.png", "windows.txt"), "cannot decode the image '.*windows.txt': it is none of JPEG"),
    ],
)
def test_windows_that_are_refused(tmp_path: Path, text: str, message: str) -> None:
    feed = data.open(window_layer(tmp_path, text=text), "TRAIN")
    with pytest.raises(DataError, match=message):
        feed.next()
    feed.close()


@pytest.mark.parametrize(
    ("fields", "transform", "message"),
    [
        ('crop_mode: "crop"', "", "crop_mode must be warp or square. Received: 'crop'"),
        ("fg_fraction: 1.5", "", "fg_fraction must be within 0 to 1. Received: 1.5"),
        ("fg_fraction: -1", "", "fg_fraction must be within 0 to 1. Received: -1"),
        ("context_pad: 7", "", "context_pad must be less than half of crop_size, 13. Received: 7"),
        ("", "mean_value: 1 mean_value: 2", "expected 1 or 3 values. Received: 2"),
    ],
)
def test_refused(tmp_path: Path, fields: str, transform: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        data.open(window_layer(tmp_path, fields, transform), "TRAIN")
    assert caught.value.layer == "windows"


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    definition = window_layer(tmp_path)
    definition.message.window_data_param.source = "nowhere"
    with pytest.raises(DataError, match="cannot read the list 'nowhere': no such file or directory"):
        data.open(definition, "TRAIN")
