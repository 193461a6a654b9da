"""The benches of text, snapshots and layouts: both sides of each, and what measures `export`."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bench_sides import Side
from google.protobuf import text_format
from torch import Tensor, nn

from proto2torch import precision
from proto2torch.prototxt import schema, text
from proto2torch.runtime.pool import max_pool2d
from proto2torch.training.snapshot import names

TARGETS = {"step_bf16": 1 / 2.2, "caffenet_bf16": 1 / 1.7, "lrn_last": 0.125, "nesterov": 0.2, "pooling": 1 / 2.8}
TARGETS |= {"planes": 1 / 2.8, "generated": 1.02, "parser": 0.25, "export": 0.25, "snapshot": 1.1, "snapshot_held": 1.0}

ZOO = Path(__file__).resolve().parents[2] / "shared/zoo"
LARGEST = ZOO / "soeaver+caffe-model/cls/resnet-v2/deploy_resnet269-v2.prototxt"
GOOGLENET = ZOO / "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt"


def in_bf16(side: Side) -> Side:
    """The side with its products in bfloat16, for the time of its call."""

    def run() -> None:
        precision.choose("bf16")
        try:
            side()
        finally:
            precision.choose("fp32")

    return run


def pooling(device: str) -> tuple[Side, Side]:
    """3/2 max pooling of CaffeNet's first planes as a net of ours lays them out, against contiguous ones."""
    x = torch.randn(16, 96, 55, 55, device=device)
    last = x.to(memory_format=torch.channels_last)
    return (
        lambda: F.max_pool2d(last, 3, 2, ceil_mode=True),
        lambda: F.max_pool2d(x, 3, 2, ceil_mode=True),
    )


def planes(device: str) -> tuple[Side, Side]:
    """The same with planes that stay contiguous, by way of channels_last."""
    x = torch.randn(16, 96, 55, 55, device=device)
    return lambda: max_pool2d(x, 3, 2, ceil_mode=True), lambda: F.max_pool2d(x, 3, 2, ceil_mode=True)


def generated(module: nn.Module, by_hand: nn.Module, images: Tensor, labels: Tensor) -> tuple[Side, Side]:
    """Forward and backward of the generated module against a hand-written one at equal flags."""
    last = images.to(memory_format=torch.channels_last)

    def theirs() -> None:
        by_hand.zero_grad()
        F.cross_entropy(by_hand(last), labels.long()).backward()

    def ours() -> None:
        module.zero_grad()
        module(images, labels).backward()

    return ours, theirs


def parser() -> tuple[Side, Side]:
    """The largest prototxt of the zoo to messages, against protobuf's own text_format, which keeps no positions."""
    if not LARGEST.exists():
        sys.exit(f"error: {LARGEST} is not there: this bench reads the largest prototxt of the zoo")
    content = LARGEST.read_text()
    return (
        lambda: text.parse(content, "NetParameter", str(LARGEST)),
        lambda: text_format.Parse(content, schema.new("NetParameter")),
    )


def snapshot(solver: Any, folder: str, *, held: bool) -> tuple[Side, Side]:
    """A snapshot written, against torch.save of the same tensors; or how long it holds training up, against a step."""
    where = names(os.path.join(folder, "bench"), 1, hdf5=False)
    solver.step(1)
    if held:
        return lambda: solver._taken(where), lambda: solver.step(1)
    rule = solver._update.rule

    def theirs() -> None:
        tensors = [blob.tensor.detach() for blob in solver.net.learned]
        slots = [slot for blob in solver.net.learned for slot in rule.history(blob.tensor)]
        path = os.path.join(folder, "theirs.pt")
        with open(path, "wb") as file:
            torch.save([tensors, slots], file)
            file.flush()
            os.fsync(file.fileno())

    return lambda: solver.snapshot(where), theirs


def export(rounds: int) -> dict[str, object]:
    """`proto2torch export` of GoogLeNet against `import torch`, in processor time, each in a process of its own."""
    if not GOOGLENET.exists():
        sys.exit(f"error: {GOOGLENET} is not there: this bench exports GoogLeNet as its authors published it")
    ours = ["-m", "proto2torch", "export", str(GOOGLENET), "--no-check"]
    pairs = [(_seconds(ours), _seconds(["-c", "import torch"])) for _ in range(rounds)]
    ratios = sorted(mine / theirs for mine, theirs in pairs)
    return {
        "bench": "export",
        "ratio": round(statistics.median(ratios), 4),
        "target": TARGETS["export"],
        "lowest": round(ratios[0], 4),
        "highest": round(ratios[-1], 4),
        "against": "import torch",
        "processor_ratio": round(statistics.median(ratios), 4),
        "rounds": rounds,
        "proto2torch_ms": round(statistics.median(mine for mine, _ in pairs) * 1000, 1),
        "theirs_ms": round(statistics.median(theirs for _, theirs in pairs) * 1000, 1),
    }


def _seconds(arguments: list[str]) -> float:
    """The processor's time of a Python process."""
    before = os.times()
    with tempfile.TemporaryFile() as nowhere:
        subprocess.run([sys.executable, *arguments], check=True, stdout=nowhere)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system
