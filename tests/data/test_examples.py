from __future__ import annotations

import gzip
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from proto2torch.prototxt.read import read_net, read_solver

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
DIGITS = EXAMPLES / "digits"


def test_the_script_makes_the_files_that_are_here() -> None:
    subprocess.run([sys.executable, "-W", "ignore", DIGITS / "make_idx.py", "--check"], check=True)


def test_every_fifth_image_is_held_back() -> None:
    labels = load_digits().target
    held_back = gzip.decompress((DIGITS / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:]
    trained = gzip.decompress((DIGITS / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    assert held_back == bytes(labels[::5].astype(np.uint8)) and len(held_back) == 360
    assert trained == bytes(np.delete(labels, slice(None, None, 5)).astype(np.uint8)) and len(trained) == 1437


def test_the_images_shrink_to_what_they_were_made_from() -> None:
    pixels = gzip.decompress((DIGITS / "t10k-images-idx3-ubyte.gz").read_bytes())[16:]
    images = np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)
    inner = images[:, 4:24, 4:24].astype(np.float64)
    assert images.sum() == inner.sum()  # the margin is black
    blocks = np.repeat(np.repeat(inner, 2, 1), 2, 2).reshape(-1, 8, 5, 8, 5).mean((2, 4)) / 255 * 16
    original = load_digits().images[::5]
    assert np.corrcoef(blocks.ravel(), original.ravel())[0, 1] > 0.98


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in DIGITS.glob("*.gz")) < 300_000


@pytest.mark.parametrize(("folder", "images"), [("digits", 360), ("mnist", 10_000)])
def test_a_test_takes_each_image_once(folder: str, images: int) -> None:
    layers = read_net(str(EXAMPLES / folder / "lenet_train_test.prototxt")).layers
    test = next(layer.message for layer in layers if layer.type == "Data" and layer.message.include[0].phase == 1)
    solver = read_solver(str(EXAMPLES / folder / "lenet_solver.prototxt")).message
    assert solver.test_iter[0] * test.data_param.batch_size == images
