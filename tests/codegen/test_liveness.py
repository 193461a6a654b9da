"""When a short net keeps the names of its blobs: where no value that is alive too long takes memory at the peak."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

import proto2torch as p2t
from proto2torch.codegen import forward
from proto2torch.codegen.liveness import are_free
from proto2torch.codegen.steps import Step
from proto2torch.ir.graph import Value

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT.parent / "shared" / "zoo"
MOST = 1.1
"""Times the peak of the same net with its variables reused."""

NETS = (
    "BVLC+caffe/examples/cifar10/cifar10_full.prototxt",
    "BVLC+caffe/examples/mnist/lenet.prototxt",
    "GilLevi+AgeGenderDeepLearning/age_net_definitions/deploy.prototxt",
    "kpzhang93+MTCNN_face_detection_alignment/code/codes/MTCNNv1/model/det1.prototxt",
)


def chain(*sizes: tuple[str, int]) -> tuple[list[Step], list[Value]]:
    """Steps one after another, each of a type and with so many elements."""
    values = [Value("data", 0, (1,)), *(Value(f"b{i}", i, (size,)) for i, (_, size) in enumerate(sizes))]
    steps = [
        Step(i, f"l{i}", kind, "", None, (values[i],), (values[i + 1],), leads=kind in ("Convolution", "InnerProduct"))
        for i, (kind, _) in enumerate(sizes)
    ]
    return steps, values[1:]


def test_small_values_behind_a_large_one_are_free() -> None:
    steps, made = chain(("Convolution", 100), ("Pooling", 25), ("InnerProduct", 10), ("InnerProduct", 10))
    assert are_free(steps, made[-1:], made[1:])


def test_what_is_dead_at_a_convolution_is_not() -> None:
    steps, made = chain(("Convolution", 100), ("Pooling", 5), ("LRN", 5), ("Convolution", 5))
    assert not are_free(steps, made[-1:], made[1:3])
    assert are_free(steps, made[-1:], made[2:3])


def test_what_is_dead_at_the_peak_is_not() -> None:
    steps, made = chain(("Convolution", 100), ("Pooling", 25), ("InnerProduct", 10), ("Tile", 90), ("ReLU", 90))
    assert not are_free(steps, made[-1:], made[1:])


def test_scratch_as_large_as_what_a_step_makes_counts() -> None:
    steps, made = chain(("Convolution", 100), ("Pooling", 30), ("InnerProduct", 10), ("Tile", 35))
    assert are_free(steps, made[-1:], made[1:])
    steps, made = chain(("Convolution", 100), ("Pooling", 30), ("InnerProduct", 10), ("Tile", 50))
    assert not are_free(steps, made[-1:], made[1:])


@pytest.fixture(scope="module")
def measured() -> ModuleType:
    """The memory bench."""
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        return __import__("bench_memory")
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("batch", [1, 8])
def test_names_take_no_memory(name: str, batch: int, measured: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blob names against reused variables, by what torch's allocator says."""
    if not (ZOO / name).is_file():
        pytest.skip("../shared/zoo, with the published prototxts, is absent")
    ours = p2t.load(str(ZOO / name))
    monkeypatch.setattr(forward, "are_free", lambda *_: False)
    reused = p2t.load(str(ZOO / name))
    x = torch.rand(batch, *ours.inputs["data"][1:])
    assert measured.peak(ours.module, x) <= MOST * measured.peak(reused.module, x)
