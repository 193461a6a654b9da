"""The scripts of examples/oxford102 and examples/finetune: lists as the splits say, prototxts as they were, digits."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import scipy.io
from PIL import Image

from proto2torch.prototxt.read import read_net, read_solver

EXAMPLES = Path(__file__).parents[2] / "examples"


def module(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def oxford(tmp_path: Path) -> Path:
    """A copy of the example's folder, to write into."""
    return Path(shutil.copytree(EXAMPLES / "oxford102", tmp_path / "oxford102", ignore=shutil.ignore_patterns("data")))


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("kind", ["u1", "u2", "i4", "f4", "f8"])
def test_mat_files_are_read_as_scipy_reads_them(kind: str, compressed: bool, oxford: Path, tmp_path: Path) -> None:
    arrays = {"tstid": np.arange(200, 240, dtype=kind)[None], "s": np.array([[7]], kind), "grid": np.ones((3, 4), kind)}
    arrays["grid"][1, 2] = 9
    scipy.io.savemat(tmp_path / "a.mat", {**arrays, "text": "left out"}, do_compression=compressed)
    found = module(oxford / "make_lists.py").read_mat(tmp_path / "a.mat")
    for name, array in arrays.items():
        assert np.array_equal(found[name], array), name


def test_lists_have_the_images_of_the_splits_in_order(oxford: Path) -> None:
    assert run(oxford / "make_lists.py").returncode == 2
    assert "README.md says where it comes from" in run(oxford / "make_lists.py").stderr
    assert run(oxford / "draw_standins.py").stdout.startswith("408 drawn flowers of 102 kinds")
    assert run(oxford / "make_lists.py").returncode == 0
    splits = scipy.io.loadmat(oxford / "data/setid.mat")
    labels = scipy.io.loadmat(oxford / "data/imagelabels.mat")["labels"][0]
    for name, split, count in (("train", "trnid", 102), ("valid", "valid", 102), ("test", "tstid", 204)):
        lines = [line.split(" ") for line in (oxford / f"data/{name}.txt").read_text().splitlines()]
        numbers = splits[split][0]
        assert len(lines) == count and len(set(numbers)) == count
        assert [path for path, _ in lines] == [f"{oxford}/data/jpg/image_{n:05}.jpg" for n in numbers]
        assert [int(label) for _, label in lines] == [labels[n - 1] - 1 for n in numbers]
        assert sorted({int(label) for _, label in lines}) == list(range(102))
    with Image.open(oxford / "data/jpg/image_00408.jpg") as image:
        assert image.size == (320, 280)


def test_prototxts_are_taken_as_they_are_but_for_their_authors_paths(oxford: Path, tmp_path: Path) -> None:
    text = """name: "n" # a comment
layers { name: "data" type: IMAGE_DATA top: "data" top: "label"
  image_data_param { source: "/home/a/caffe-oxford102/test.txt" # Flipped
  }
  transform_param { mean_file: "/home/a/ilsvrc12/imagenet_mean.binaryproto" } }
"""
    for net in ("AlexNet", "VGG_S"):
        (tmp_path / "clone" / net).mkdir(parents=True)
        for name in ("train_val", "solver", "deploy"):
            (tmp_path / "clone" / net / f"{name}.prototxt").write_text(text if name == "train_val" else "# as it is\n")
    assert run(oxford / "take_prototxts.py", str(tmp_path / "clone")).returncode == 0
    taken = (oxford / "data/VGG_S/train_val.prototxt").read_text()
    paths = ("/home/a/caffe-oxford102/test.txt", f"{oxford}/data/test.txt")
    means = ("/home/a/ilsvrc12/imagenet_mean.binaryproto", f"{oxford}/data/mean.binaryproto")
    assert taken == text.replace(*paths).replace(*means)
    assert (oxford / "data/AlexNet/solver.prototxt").read_text() == "# as it is\n"


def test_digits_of_both_tasks() -> None:
    digits = module(EXAMPLES / "finetune/make_digits.py")
    parts = digits.parts(each=10, seed=3)
    counts = {"old_train": 7190, "old_test": 546, "new_train": 50, "new_test": 534}
    assert {name: len(labels) for name, (_, labels) in parts.items()} == counts
    images, labels = parts["new_train"]
    assert np.bincount(labels).tolist() == [10] * 5
    original = {image.tobytes() for image in digits.digits("train", 5)[0]}
    shift = {(y, x) for y in range(-4, 5) for x in range(-4, 5)}
    for image in images[:10]:
        assert any(np.roll(image, by, (0, 1)).tobytes() in original for by in shift)
    for solver in ("old", "new"):
        read_solver(str(EXAMPLES / f"finetune/{solver}_solver.prototxt"))
    assert len(read_net(str(EXAMPLES / "finetune/lenet.prototxt")).layers) == 13
