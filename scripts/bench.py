"""Measure proto2torch against plain PyTorch, both in one run, as ratios of time (below 1: proto2torch is faster).

    scripts/bench step    a LeNet training step against the same step written by hand; at most 1.05
    scripts/bench load    ResNet-152's prototxt to a module against torchvision's resnet152(); at most 1.0

Each round times both sides, one after the other, in an order that alternates; the ratio is the median of the rounds'
ratios. The first line says what machine it ran on.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import proto2torch as p2t

ROOT = Path(__file__).resolve().parents[1]
RESNET = ROOT.parent / "shared/zoo/KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt"
TARGETS = {"step": 1.05, "load": 1.0}

LENET = """
name: "LeNet"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 64 dim: 1 dim: 28 dim: 28 } } }
layer { name: "label" type: "Input" top: "label" input_param { shape { dim: 64 } } }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 20 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "conv2" type: "Convolution" bottom: "pool1" top: "conv2" param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 50 kernel_size: 5 weight_filler { type: "xavier" } } }
layer { name: "pool2" type: "Pooling" bottom: "conv2" top: "pool2" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool2" top: "ip1" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 500 weight_filler { type: "xavier" } } }
layer { name: "relu1" type: "ReLU" bottom: "ip1" top: "ip1" }
layer { name: "ip2" type: "InnerProduct" bottom: "ip1" top: "ip2" param { lr_mult: 1 } param { lr_mult: 2 }
  inner_product_param { num_output: 10 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip2" bottom: "label" top: "loss" }
"""


class ByHand(nn.Module):
    """LeNet as a person writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.ip1 = nn.Linear(800, 500)
        self.ip2 = nn.Linear(500, 10)

    def forward(self, data: Tensor) -> Tensor:
        x = F.max_pool2d(self.conv1(data), 2)
        x = F.max_pool2d(self.conv2(x), 2)
        return self.ip2(F.relu(self.ip1(x.flatten(1))))


Side = Callable[[], object]


def step(device: str) -> tuple[Side, Side, int]:
    """A train step of each side: forward, backward, update. The same batches, initial weights and rule."""
    raise NotImplementedError


def load(device: str) -> tuple[Side, Side, int]:
    """A net from its file to a module, and torchvision's."""
    from torchvision.models import resnet152

    if not RESNET.exists():
        sys.exit(f"error: {RESNET} is not there: this bench reads ResNet-152 as its authors published it")
    return (lambda: p2t.load(str(RESNET), device=device)), (lambda: resnet152().to(device)), 1


BENCHES = {"step": step, "load": load}


def measure(ours: Side, theirs: Side, calls: int, rounds: int, device: str) -> list[tuple[float, float]]:
    """Seconds of `calls` calls of each side, for each round."""

    def timed(side: Side) -> float:
        start = time.perf_counter()
        for _ in range(calls):
            side()
        if device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed(ours), timed(theirs)  # warm up
    results = []
    for number in range(rounds):
        if number % 2:
            second, first = timed(theirs), timed(ours)
        else:
            first, second = timed(ours), timed(theirs)
        results.append((first, second))
    return results


def machine(device: str) -> str:
    """What a timing depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    name = cpu if device == "cpu" else f"{torch.cuda.get_device_name(device)} with {cpu}"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}, {torch.get_num_threads()} torch threads, {versions}"


def summary(bench: str, results: list[tuple[float, float]], calls: int) -> dict[str, object]:
    ratios = [ours / theirs for ours, theirs in results]
    return {
        "bench": bench,
        "ratio": round(statistics.median(ratios), 4),
        "target": TARGETS[bench],
        "lowest": round(min(ratios), 4),
        "highest": round(max(ratios), 4),
        "rounds": len(results),
        "calls_a_round": calls,
        "proto2torch_ms": round(statistics.median(ours for ours, _ in results) / calls * 1000, 3),
        "pytorch_ms": round(statistics.median(theirs for _, theirs in results) / calls * 1000, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "benches", nargs="*", choices=[*BENCHES, []], metavar="BENCH", help="step, load; all by default"
    )
    parser.add_argument("--rounds", type=int, default=15, help="rounds of both sides (15)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:0")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not arguments.json:
        print(machine(arguments.device))
    found = []
    for name in arguments.benches or BENCHES:
        ours, theirs, calls = BENCHES[name](arguments.device)
        row = summary(name, measure(ours, theirs, calls, arguments.rounds, arguments.device), calls)
        found.append(row)
        if not arguments.json:
            print(
                f"{name}: {row['ratio']:.3f} times PyTorch's time (target {row['target']}), {row['proto2torch_ms']} ms"
                f" against {row['pytorch_ms']} ms; {row['rounds']} rounds, {row['lowest']:.3f} to {row['highest']:.3f}"
            )
    if arguments.json:
        print(json.dumps({"machine": machine(arguments.device), "benches": found}, indent=2))


if __name__ == "__main__":
    main()
