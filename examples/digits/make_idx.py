#!/usr/bin/env python3
"""Make the four idx files of this folder from the UCI handwritten digits that scikit-learn carries.

Each 8x8 image of 17 levels of grey becomes 28x28 with values from 0 to 255, as MNIST's are: it is enlarged to 20x20 by
cubic interpolation, keeps its 17 levels (the files stay small), and is set amid a margin of 4. Every fifth image, from
the first on, is held back for the test. With `--check` nothing is written; the exit status is 1 where a file's contents
differ from what this script makes.
"""

from __future__ import annotations

import argparse
import gzip
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

FOLDER = Path(__file__).parent
SIZE, EXTENT, MARGIN = 28, 20, 4
IMAGES, LABELS = 2051, 2049  # the magic numbers of MNIST's files


def enlarge(images: np.ndarray) -> np.ndarray:
    """(N, 8, 8) of 0 to 16 to (N, 28, 28) of 0 to 255."""
    cubic = interpolation(images.shape[1], EXTENT)
    levels = np.rint(cubic @ images @ cubic.T).clip(0, 16)
    return np.pad(np.rint(levels * (255 / 16)), ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN))).astype(np.uint8)


def interpolation(old: int, new: int) -> np.ndarray:
    """The (new, old) matrix that resamples a row of pixels by Catmull-Rom cubics; the edge pixels go on outside."""
    matrix = np.zeros((new, old))
    for row in range(new):
        centre = (row + 0.5) * old / new - 0.5
        for column in range(int(np.floor(centre)) - 1, int(np.floor(centre)) + 3):
            matrix[row, min(max(column, 0), old - 1)] += kernel(abs(centre - column))
    return matrix


def kernel(x: float) -> float:
    """The Catmull-Rom kernel at distance x."""
    return (1.5 * x - 2.5) * x * x + 1 if x <= 1 else ((-0.5 * x + 2.5) * x - 4) * x + 2


def files() -> Iterator[tuple[str, bytes]]:
    """Each file's name and what it holds once unpacked."""
    digits = load_digits()
    images, labels = enlarge(digits.images), digits.target.astype(np.uint8)
    held_back = np.arange(len(labels)) % 5 == 0
    for name, part in (("train", ~held_back), ("t10k", held_back)):
        count = int(part.sum())
        yield f"{name}-images-idx3-ubyte.gz", struct.pack(">4i", IMAGES, count, SIZE, SIZE) + images[part].tobytes()
        yield f"{name}-labels-idx1-ubyte.gz", struct.pack(">2i", LABELS, count) + labels[part].tobytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the files that are here; write nothing")
    check = parser.parse_args().check
    differing = []
    for name, contents in files():
        path = FOLDER / name
        if not check:
            path.write_bytes(gzip.compress(contents, mtime=0))
        elif gzip.decompress(path.read_bytes()) != contents:
            differing.append(name)
    if differing:
        print("these differ from what scikit-learn's digits give:", *differing)
    return 1 if differing else 0


if __name__ == "__main__":
    raise SystemExit(main())
