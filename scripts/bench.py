"""Measure proto2torch against plain PyTorch or numpy, both in one run, as ratios (below 1: proto2torch takes less).

    scripts/bench step    a LeNet training step against the same step written by hand; at most 0.645
    scripts/bench load    ResNet-152's prototxt to a module against torchvision's resnet152(); at most 1.0
    scripts/bench memory  the peak of one inference of ResNet-152 against torchvision's; at most 1.1
    scripts/bench update  an update of 61 million parameters against torch.optim.SGD as it comes; at most 0.2
    scripts/bench lrn     LRN and its gradient against nn.LocalResponseNorm; at most 0.125; lrn_last in channels_last
    scripts/bench caffenet  a CaffeNet training step, batch 16, against the same by hand; at most 0.77
    scripts/bench step_bf16, caffenet_bf16  the two steps with --precision bf16 against float32's by hand
    scripts/bench generated  the module of LeNet against a hand-written one at equal flags; at most 1.02
    scripts/bench generated_zoo  CaffeNet, VGG16, GoogLeNet and ResNet-50 forward against torchvision's; at most 1.02
    scripts/bench pooling  3/2 max pooling as our nets lay planes out against contiguous ones; at most 1/2.8
    scripts/bench planes   3/2 max pooling of contiguous planes by ours against F.max_pool2d; at most 1/2.8
    scripts/bench nesterov  as update, by Nesterov's rule against torch.optim.SGD(nesterov=True); at most 0.2
    scripts/bench parser  the largest prototxt of the zoo against protobuf's text_format; at most 0.25
    scripts/bench export  export of GoogLeNet against `import torch`, a process each; at most 0.25
    scripts/bench snapshot, snapshot_held  CaffeNet's snapshot against torch.save; the wait for it against a step
    scripts/bench rules   an update of ResNet-50's weights by each rule against torch.optim's nearest; at most 1.1
    scripts/bench weights   a .caffemodel of 240 MB into a net against numpy's copy of the same bytes; at most 1.2
    scripts/bench sealed    the same with the checksum of our own snapshots, which is verified first
    scripts/bench vgg16     a VGG16 .caffemodel into its parameters against copy_ of the same tensors; at most 1.0
    scripts/bench weights_peak  what loading 240 MB takes at its peak beyond the parameters; at most 64 MB
    scripts/bench features  features of a CaffeNet's last blob, written, against the plain forward; at most 1/0.95
    scripts/bench data    batches out of databases: data_uint8, data_float, data_jpeg and data_lenet, as bench_data.py
                          says; at most 1/20, 1/5, 1/0.9 and 1.1
    scripts/bench detection  SSD300's output layer against torchvision's batched_nms over the same boxes; at most 2.0
    scripts/bench mobilenet_ssd  MobileNet-SSD against the net without its output layer and that layer; at most 1.05
    scripts/bench --device cuda:0 cuda  on a GPU: cuda_lenet, cuda_lenet_solver, cuda_images and cuda_fed, as
                          bench_cuda.py says; at most 100 us, 3 s, 1.0 and 1/0.97

Each round of all but the two of memory times both sides, one after the other, in an order that alternates; the ratio is
the median of the rounds' ratios. The first line says what machine it ran on; the processor's time tells more than the
clock where that is busy with other work.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import cycle
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import bench_cuda
import bench_data
import bench_detection
import bench_kernels
import bench_memory
import bench_rules
import bench_speed
import bench_weights
import bench_zoo
import h5py
import torch
import torch.nn.functional as F
from bench_sides import Check, Found, Side, Taken, in_turn, taken
from torch import Tensor, nn

import proto2torch as p2t

ROOT = Path(__file__).resolve().parents[1]
CAFFENET = ROOT.parent / "shared/zoo/BVLC+caffe/models/bvlc_reference_caffenet/train_val.prototxt"
RESNET = ROOT.parent / "shared/zoo/KaimingHe+deep-residual-networks/prototxt/ResNet-152-deploy.prototxt"
TARGETS = {"step": 0.645, "load": 1.0, "memory": 1.1, "update": 0.2, "lrn": 0.125, "caffenet": 0.77, "rules": 1.1}
TARGETS |= {"weights": 1.2, "sealed": 2.0, "vgg16": 1.0, "weights_peak": 64, "features": 1.053}
TARGETS |= {"detection": 2.0, "mobilenet_ssd": 1.05}
TARGETS |= bench_data.TARGETS | bench_speed.TARGETS | bench_zoo.TARGETS | bench_cuda.TARGETS
GROUPS = {"data": bench_data.TARGETS, "cuda": bench_cuda.TARGETS}

BATCHES, BATCH = 8, 64

LENET = """
name: "LeNet"
layer { name: "memory" type: "HDF5Data" top: "data" top: "label" hdf5_data_param { source: "list.txt" batch_size: 64 } }
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
SOLVER = """
net: "net.prototxt" base_lr: 0.01 lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 max_iter: 1000000
random_seed: 1701 snapshot_after_train: false
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


class Sides(NamedTuple):
    """What a bench compares."""

    ours: Side
    theirs: Side
    calls: int
    """How often each is called in a round."""
    check: Check = lambda: None
    """Ends the run where the sides have not done the same."""
    against: str = "PyTorch"


class Memory:
    """Stands in for a data layer: the same batches over and over, on the device already."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]]) -> None:
        self._batches = cycle(batches)

    def next(self) -> tuple[Tensor, Tensor]:
        return next(self._batches)

    def state(self) -> dict[str, object]:
        return {}


def step(device: str) -> Sides:
    """A train step of each side: forward, backward, update. The same batches, initial weights and rule."""
    draw = torch.Generator().manual_seed(1701)
    images = torch.rand(BATCHES, BATCH, 1, 28, 28, generator=draw)
    labels = torch.randint(10, (BATCHES, BATCH), generator=draw)
    solver = _solver(LENET, images, labels, device)
    model = ByHand().to(device)
    with torch.no_grad():
        for name, blobs in solver.net.params.items():
            layer = getattr(model, name)
            layer.weight.copy_(blobs[0].data.view_as(layer.weight))
            layer.bias.copy_(blobs[1].data)
    return Sides(
        lambda: solver.step(1), _by_hand(model, images.to(device), labels.to(device)), 50, _same(solver, model)
    )


def _solver(net: str, images: Tensor, labels: Tensor, device: str, rate: float = 0.01) -> p2t.Solver:
    """A solver of the net, its batches from memory."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with h5py.File(root / "data.h5", "w") as file:
            file["data"], file["label"] = images[0].numpy(), labels[0].float().numpy()
        (root / "list.txt").write_text(str(root / "data.h5"))
        (root / "net.prototxt").write_text(net)
        (root / "solver.prototxt").write_text(SOLVER)
        how: dict[str, Any] = {"device": device, "overrides": {"base_lr": rate}, "log": lambda message: None}
        solver = p2t.Solver(root / "solver.prototxt", **how)
    batches = list(zip(images.to(device), labels.float().to(device), strict=True))
    solver.net.feeds["memory"] = Memory(batches)
    return solver


def _by_hand(model: nn.Module, images: Tensor, labels: Tensor) -> Side:
    named = dict(model.named_parameters())
    groups = [
        {"params": [p for name, p in named.items() if name.endswith("weight")], "lr": 0.01},
        {"params": [p for name, p in named.items() if name.endswith("bias")], "lr": 0.02},
    ]
    optimizer = torch.optim.SGD(groups, momentum=0.9, weight_decay=0.0005)
    batches = cycle(zip(list(images), list(labels), strict=True))

    def run() -> None:
        data, label = next(batches)
        optimizer.zero_grad()
        F.cross_entropy(model(data), label).backward()
        optimizer.step()

    return run


def _same(solver: p2t.Solver, model: nn.Module) -> Check:
    """After the first ten steps both have the same weights, or they were not the same step.

    Later, rounding decides which of two nearly equal values a pooling takes, and the sides part.
    """

    def check() -> None:
        ours = solver.net.params["ip2"][0].data
        theirs = model.ip2.weight.detach()
        difference = ((ours - theirs).norm() / theirs.norm()).item()
        if difference > 1e-5:
            sys.exit(f"error: the sides trained differently: weights of ip2 differ by {difference:.2g}")

    return check


def load(device: str) -> Sides:
    """A net from its file to a module, and torchvision's."""
    from torchvision.models import resnet152

    _need_resnet()
    return Sides(lambda: p2t.load(str(RESNET), device=device), lambda: resnet152().to(device), 1)


def memory(device: str) -> dict[str, object]:
    """What a forward of each side's ResNet-152 holds at its peak."""
    from torchvision.models import resnet152

    _need_resnet()
    return bench_memory.memory(p2t.load(str(RESNET), device=device).module, resnet152(), device, TARGETS["memory"])


def _need_resnet() -> None:
    if not RESNET.exists():
        sys.exit(f"error: {RESNET} is not there: this bench reads ResNet-152 as its authors published it")


def caffenet(device: str) -> Sides:
    """A train step of CaffeNet of each side: forward, backward, update. Their dropouts draw apart."""
    if not CAFFENET.exists():
        sys.exit(f"error: {CAFFENET} is not there: this bench trains CaffeNet as its authors published it")
    images, labels = torch.randn(2, 16, 3, 227, 227), torch.randint(1000, (2, 16))
    solver = _solver(bench_kernels.caffenet_text(CAFFENET, 16), images, labels, device)
    theirs = bench_kernels.caffenet_by_hand(images.to(device), labels.to(device))
    return Sides(lambda: solver.step(1), theirs, 1)


def generated(device: str) -> Sides:
    """The module of LeNet and one written by hand, both in channels_last: forward and backward."""
    images, labels = torch.rand(2, BATCH, 1, 28, 28), torch.randint(10, (2, BATCH))
    solver = _solver(LENET, images, labels, device)
    given = images[0].to(device), labels[0].float().to(device)
    return Sides(*bench_speed.generated(solver.net.module, ByHand().to(device), *given), 20)


def snapshot(device: str, *, held: bool) -> Sides:
    """CaffeNet's snapshot written, or how long it holds the training up."""
    folder = tempfile.mkdtemp(prefix="bench")
    atexit.register(shutil.rmtree, folder)
    images, labels = torch.randn(2, 16, 3, 227, 227), torch.randint(1000, (2, 16))
    solver = _solver(bench_kernels.caffenet_text(CAFFENET, 16), images, labels, device)
    return Sides(*bench_speed.snapshot(solver, folder, held=held), 1, against="a step" if held else "torch.save")


def _in_bf16(sides: Sides) -> Sides:
    return sides._replace(ours=bench_speed.in_bf16(sides.ours), check=lambda: None)


BENCHES = {
    "step": step,
    "load": load,
    "update": lambda device: Sides(*bench_kernels.update(device)),
    "nesterov": lambda device: Sides(*bench_kernels.nesterov(device)),
    "lrn": lambda device: Sides(*bench_kernels.lrn(device)),
    "lrn_last": lambda device: Sides(*bench_kernels.lrn(device, torch.channels_last)),
    "pooling": lambda device: Sides(*bench_speed.pooling(device), 1),
    "planes": lambda device: Sides(*bench_speed.planes(device), 5),
    "caffenet": caffenet,
    "step_bf16": lambda device: _in_bf16(step(device)),
    "caffenet_bf16": lambda device: _in_bf16(caffenet(device)),
    "generated": generated,
    "parser": lambda device: Sides(*bench_speed.parser(), 1, against="protobuf"),
    "snapshot": lambda device: snapshot(device, held=False),
    "snapshot_held": lambda device: snapshot(device, held=True),
    "weights": lambda device: _plain(bench_weights.weights(device), "numpy"),
    "sealed": lambda device: _plain(bench_weights.weights(device, seal=True), "numpy"),
    "vgg16": lambda device: _plain(bench_weights.vgg16(device), "PyTorch"),
    "features": lambda device: _plain(bench_weights.features(device), "PyTorch"),
    "detection": lambda device: _plain(bench_detection.detection(device), "torchvision"),
    "mobilenet_ssd": lambda device: _plain(bench_detection.mobilenet_ssd(device), "its parts"),
}  # of time; memory is measured otherwise
SEVERAL = {
    "rules": (bench_rules.rules, "rules", "torch.optim"),
    "generated_zoo": (bench_zoo.rows, "generated", "PyTorch"),
}
"""Benches of several rows: what gives them, and how a row and its other side are called."""


def _rows(name: str, rounds: int, device: str) -> Iterator[dict[str, object]]:
    """What one bench has measured."""
    if name == "memory":
        yield memory(device)
    elif name == "weights_peak":
        yield bench_weights.peak()
    elif name in SEVERAL:
        several, title, against = SEVERAL[name]
        for part, found in several(device):
            sides = _plain(found, against)
            yield summary(name, measure(sides, rounds, device), sides) | {"bench": f"{title} {part}"}
    elif name == "export":
        yield bench_speed.export(rounds)
    elif name == "cuda_lenet_solver":
        yield bench_cuda.lenet_solver(device, LENET)
    elif name in bench_cuda.TARGETS:
        for row in bench_cuda.rows(name, device, _solver, LENET, ByHand()):
            sides = Sides(row.ours, row.theirs, row.calls, against=row.against)
            yield _with_speed(summary(name, measure(sides, rounds, device), sides), row)
    elif name in bench_data.TARGETS:
        # Alone in a process: what others did to this one's memory decides what a new array costs.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            yield pool.submit(bench_data.row, name, rounds, LENET, SOLVER).result()
    else:
        sides = BENCHES[name](device)
        yield summary(name, measure(sides, rounds, device), sides)


def _with_speed(found: dict[str, object], row: bench_cuda.Row) -> dict[str, object]:
    ours, theirs = (
        round(row.images / float(str(found[f"{side}_ms"])) * 1000, 1) if row.images else None
        for side in ("proto2torch", "theirs")
    )
    return found | {"bench": row.name, "images_s": ours, "theirs_images_s": theirs, "target_us": row.most_us}


def _plain(found: Found, against: str) -> Sides:
    ours, theirs, check = found
    return Sides(ours, theirs, 1, check, against)


def measure(sides: Sides, rounds: int, device: str) -> list[tuple[Taken, Taken]]:
    """What each side takes in each round."""

    def timed(side: Side) -> Taken:
        def calls() -> None:
            for _ in range(sides.calls):
                side()
            if device != "cpu":
                torch.cuda.synchronize()

        gc.collect()  # what the last round left behind is no part of this one
        return taken(calls)

    for _ in range(min(sides.calls, 10)):
        sides.ours(), sides.theirs()
    sides.check()
    timed(sides.ours), timed(sides.theirs)  # warm up
    return list(in_turn(sides.ours, sides.theirs, rounds, timed))


def machine(device: str) -> str:
    """What a timing depends on."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    name = cpu if device == "cpu" else f"{torch.cuda.get_device_name(device)} with {cpu}"
    versions = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{name}, {torch.get_num_threads()} torch threads, {versions}"


def summary(bench: str, results: list[tuple[Taken, Taken]], sides: Sides) -> dict[str, object]:
    ratios = [ours.clock / theirs.clock for ours, theirs in results]
    processor = [ours.processor / theirs.processor for ours, theirs in results]
    return {
        "bench": bench,
        "against": sides.against,
        "ratio": round(statistics.median(ratios), 4),
        "processor_ratio": round(statistics.median(processor), 4),
        "target": TARGETS[bench],
        "lowest": round(min(ratios), 4),
        "highest": round(max(ratios), 4),
        "rounds": len(results),
        "calls_a_round": sides.calls,
        "proto2torch_ms": round(statistics.median(ours.clock for ours, _ in results) / sides.calls * 1000, 3),
        "theirs_ms": round(statistics.median(theirs.clock for _, theirs in results) / sides.calls * 1000, 3),
    }


def _line(row: dict[str, object]) -> str:
    bench = str(row["bench"])
    if bench == "memory":
        return (
            f"memory: {row['ratio']:.3f} times PyTorch's peak (target {row['target']}), {row['proto2torch_mb']} MB"
            f" against {row['pytorch_mb']} MB for {row['batch']} images, weights and images apart"
        )
    if bench in bench_data.TARGETS:
        return bench_data.line(row)
    if bench.startswith("cuda_"):
        return bench_cuda.line(row)
    if bench == "weights_peak":
        return f"weights_peak: {row['mb']} MB beyond the parameters (target {row['target']})"
    return (
        f"{bench}: {row['ratio']:.3f} times {row['against']}'s time (target {round(float(str(row['target'])), 3)}), "
        f"{row['proto2torch_ms']} ms against {row['theirs_ms']} ms; {row['rounds']} rounds, {row['lowest']:.3f} to "
        f"{row['highest']:.3f}; of processor time {row['processor_ratio']:.3f}"
    )


def _is_there(device: str) -> bool:
    try:
        return device == "cpu" or torch.zeros(1, device=device).is_cuda
    except (AssertionError, RuntimeError):  # a name that torch does not know, or no such GPU
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"{', '.join(TARGETS)}; all by default")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of both sides (15)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda:0")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    names = [n for name in arguments.benches for n in GROUPS.get(name, [name])]
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        parser.error(f"expected {' or '.join(TARGETS)}. Received: {unknown[0]!r}")
    elsewhere = [name for name in names if name in bench_cuda.TARGETS] if arguments.device == "cpu" else []
    if elsewhere:
        sys.exit(f"error: {elsewhere[0]} is measured on a GPU, with --device cuda:0. Received: --device cpu")
    if not _is_there(arguments.device):
        sys.exit(f"error: --device is cpu, or a CUDA device that is there. Received: {arguments.device}")
    if not arguments.json:
        print(machine(arguments.device))
    found = []
    for name in names or [name for name in TARGETS if arguments.device != "cpu" or name not in bench_cuda.TARGETS]:
        for row in _rows(name, arguments.rounds, arguments.device):
            found.append(row)
            if not arguments.json:
                print(_line(row), flush=True)
    if arguments.json:
        print(json.dumps({"machine": machine(arguments.device), "benches": found}, indent=2))


if __name__ == "__main__":
    main()
