#!/usr/bin/env python3
"""Make the four databases of this folder from the digits of ../digits: each image moved by up to four pixels.

The digits 0 to 4 become the old task, all of their images ten times over, each time elsewhere; 5 to 9 become the new
one, ten images each. Labels count from 0 in both. The images to test with are the held-back ones, three times over.
"""

from __future__ import annotations

import gzip
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np

from proto2torch.data.convert.mnist import convert_mnist
from proto2torch.errors import Proto2TorchError

FOLDER = Path(__file__).resolve().parent
DIGITS = FOLDER.parent / "digits"
CLASSES, FARTHEST = 5, 4
OLD, NEW = 0, 5
OVER, TESTED = 10, 3
EACH = 10

Part = tuple[np.ndarray, np.ndarray]


def digits(which: str, first: int) -> Part:
    """Images (N, 28, 28) of 0 to 255 and labels from 0 of five digits; `which` is train or t10k."""
    images = gzip.decompress((DIGITS / f"{which}-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = np.frombuffer(gzip.decompress((DIGITS / f"{which}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    chosen = (labels >= first) & (labels < first + CLASSES)
    return np.frombuffer(images, np.uint8).reshape(-1, 28, 28)[chosen], labels[chosen] - np.uint8(first)


def few(part: Part, each: int, seed: int) -> Part:
    """`each` images of every class, drawn by `seed`."""
    draw = np.random.default_rng(seed)
    images, labels = part
    at = np.concatenate([draw.choice(np.flatnonzero(labels == c), each, replace=False) for c in range(CLASSES)])
    at = draw.permutation(at)
    return images[at], labels[at]


def moved(part: Part, times: int, seed: int) -> Part:
    """Every image `times` over, each time moved down and right by some of -4 to 4 pixels; the margin is as wide."""
    draw = np.random.default_rng(seed)
    images, labels = np.tile(part[0], (times, 1, 1)), np.tile(part[1], times)
    by = draw.integers(-FARTHEST, FARTHEST + 1, (len(images), 2))
    return np.stack([np.roll(image, step, (0, 1)) for image, step in zip(images, by, strict=True)]), labels


def parts(each: int = EACH, seed: int = 0) -> dict[str, Part]:
    """What each database holds; `seed` chooses the few images of the new task, and where they lie."""
    return {
        "old_train": moved(digits("train", OLD), OVER, 1),
        "old_test": moved(digits("t10k", OLD), TESTED, 2),
        "new_train": moved(few(digits("train", NEW), each, seed), 1, seed),
        "new_test": moved(digits("t10k", NEW), TESTED, 3),
    }


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "images", Path(folder) / "labels"
        for name, (images, labels) in parts().items():
            files[0].write_bytes(struct.pack(">4i", 2051, *images.shape) + images.tobytes())
            files[1].write_bytes(struct.pack(">2i", 2049, len(labels)) + labels.tobytes())
            try:
                count = convert_mnist(*map(str, files), str(FOLDER / f"{name}_lmdb"))
            except Proto2TorchError as error:
                print(f"error: {error}", file=sys.stderr)
                return error.exit_status
            print(f"{name}_lmdb: {count} images")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
