"""Read digits with an exported model: predict.py MODEL.py WEIGHTS.safetensors IMAGES.idx3[.gz]

It needs torch and safetensors, and bars proto2torch to show that the model stands alone.
"""

from __future__ import annotations

import gzip
import runpy
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

SHADES = " .:-=+*#%@"


def read_images(path: str) -> torch.Tensor:
    """The images of an idx file, plain or gzipped: (N, 1, rows, columns), bytes scaled to [0, 1) as in training."""
    data = Path(path).read_bytes()
    if path.endswith(".gz"):
        data = gzip.decompress(data)
    count, rows, columns = (int.from_bytes(data[at : at + 4], "big") for at in (4, 8, 12))
    pixels = torch.frombuffer(bytearray(data[16:]), dtype=torch.uint8)
    return pixels.reshape(count, 1, rows, columns) / 256


def drawn(image: torch.Tensor) -> list[str]:
    """An image as text, every second row, for a character is twice as high as wide."""
    return ["".join(SHADES[int(v * len(SHADES))] for v in row) for row in image[0, ::2]]


def main(model_path: str, weights_path: str, images_path: str) -> None:
    sys.modules["proto2torch"] = None  # type: ignore[assignment]  # any import of it fails from here on
    model = runpy.run_path(model_path)["LeNet"]()
    model.load_state_dict(load_file(weights_path))
    model.eval()
    images = read_images(images_path)[:4]
    with torch.no_grad():
        scores = model(images)
    for lines in zip(*map(drawn, images), strict=True):
        print("  ".join(lines).rstrip())
    print("  ".join(f"{f'this is a {digit}':^28}" for digit in scores.argmax(1).tolist()).rstrip())


if __name__ == "__main__":
    main(*sys.argv[1:])
