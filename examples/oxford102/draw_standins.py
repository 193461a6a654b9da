#!/usr/bin/env python3
"""Draw a small set in the form of the Oxford 102 flowers into data/, for where the real one is not at hand.

408 flowers of 102 kinds: each kind has its own number of petals, colours and shape; one image a kind to train with, one
to validate, two to test. Beside data/jpg lie setid.mat and imagelabels.mat, as the real set has them.
"""

from __future__ import annotations

import colorsys
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

DATA = Path(__file__).resolve().parent / "data"
KINDS, EACH = 102, 4
SIZE = (320, 280)


def flower(kind: int, draw: np.random.Generator) -> Image.Image:
    """A flower of a kind, somewhere in the picture, on green."""
    image = Image.new("RGB", SIZE, tuple(int(v) for v in draw.integers((20, 70, 20), (60, 120, 60))))
    petals, hue, length = 4 + kind % 9, kind / KINDS, 0.6 + 0.1 * (kind % 4)
    radius = draw.uniform(70, 110)
    centre = np.array(SIZE) / 2 + draw.uniform(-25, 25, 2)
    turn, pencil = draw.uniform(0, 2 * math.pi), ImageDraw.Draw(image)
    petal = tuple(int(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.8, draw.uniform(0.75, 1)))
    for number in range(petals):
        angle = turn + 2 * math.pi * number / petals
        along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
        t = np.linspace(0, 2 * math.pi, 24)[:, None]
        width = math.sin(math.pi / petals) * 0.9
        outline = centre + radius * (along * length * (1 + np.cos(t)) / 2 + across * width * np.sin(t) / 2)
        pencil.polygon([tuple(point) for point in outline], fill=petal, outline=(40, 40, 40))
    middle = tuple(int(255 * v) for v in colorsys.hsv_to_rgb((hue + 0.4) % 1, 0.6, 0.9))
    pencil.ellipse([*(centre - radius / 6), *(centre + radius / 6)], fill=middle)
    return image


def write_mat(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Rows of 16-bit numbers as a compressed MATLAB file of version 5, as those of the real set."""
    contents = b"MATLAB 5.0 MAT-file, drawn stand-in".ljust(124) + struct.pack("<H2s", 0x0100, b"IM")
    for name, row in arrays.items():
        body = struct.pack("<4I", 6, 8, 11, 0) + struct.pack("<2I2i", 5, 8, 1, len(row))
        for kind, data in ((1, name.encode()), (4, row.astype("<u2").tobytes())):
            body += struct.pack("<2I", kind, len(data)) + data + bytes(-len(data) % 8)
        packed = zlib.compress(struct.pack("<2I", 14, len(body)) + body)
        contents += struct.pack("<2I", 15, len(packed)) + packed
    path.write_bytes(contents)


def main() -> None:
    draw = np.random.default_rng(102)
    (DATA / "jpg").mkdir(parents=True, exist_ok=True)
    numbers = draw.permutation(np.arange(1, KINDS * EACH + 1))
    labels = np.empty(KINDS * EACH, int)
    for place, number in enumerate(numbers):
        labels[number - 1] = place % KINDS + 1
        flower(place % KINDS, draw).save(DATA / "jpg" / f"image_{number:05}.jpg", quality=90)
    trained, valid, tested = numbers[:KINDS], numbers[KINDS : 2 * KINDS], numbers[2 * KINDS :]
    write_mat(DATA / "imagelabels.mat", {"labels": labels})
    write_mat(DATA / "setid.mat", {"trnid": trained, "valid": valid, "tstid": tested})
    print(f"{KINDS * EACH} drawn flowers of {KINDS} kinds in {DATA}")


if __name__ == "__main__":
    main()
