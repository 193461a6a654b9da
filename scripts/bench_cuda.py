"""The benches of a GPU: trainings there against the same by a hand that knows torch well.

    cuda_lenet         a training step of LeNet, batches on the device; at most 100 microseconds, and beside one by hand
    cuda_lenet_solver  lenet_solver.prototxt's 10,000 iterations with its 21 tests, from LMDBs, solver made; at most 3 s
    cuda_images        steps of CaffeNet, VGG16, GoogLeNet and ResNet-50 in fp32, TF32 and bf16: images a second
    cuda_fed           CaffeNet from an LMDB against batches that lie on the device, in bf16; at most 1/0.97, read anew
                       each time, and kept on the device

By hand means: channels_last, cuDNN's choice of kernels by trial (cudnn.benchmark), torch's fused SGD, TF32 or autocast
as the row says, and torchvision's models with Caffe's layers.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import bench_kernels
import numpy as np
import torch
import torch.nn.functional as F
from bench_sides import Side
from torch import Tensor, nn

import proto2torch as p2t
from proto2torch import precision
from proto2torch.data import datum, device_cache
from proto2torch.data.new_database import new_database

TARGETS = {"cuda_lenet": 1.0, "cuda_lenet_solver": 1.0, "cuda_images": 1.0, "cuda_fed": 1 / 0.97}
LENET_US, LENET_SOLVER_S = 100.0, 3.0
ZOO = Path(__file__).resolve().parents[2] / "shared/zoo"
PRECISIONS = ("fp32", "tf32", "bf16")
RATE = 1e-4
TRIAL = 40
"""Iterations after which a training has decided whether it is recorded."""


class Trained(NamedTuple):
    """A net that is trained."""

    path: Path
    batch: int
    extent: int
    by_hand: Callable[[], nn.Module] | None
    """torchvision's model; None for CaffeNet, which bench_kernels has."""


class Row(NamedTuple):
    """What one line of a bench compares."""

    name: str
    ours: Side
    theirs: Side
    calls: int
    images: int
    """Of a call; 0 where they are not told."""
    against: str = "PyTorch by hand"
    most_us: float | None = None
    """Microseconds that a call of ours may take."""


def zoo() -> dict[str, Trained]:
    """The nets, where they lie, and what they are fed."""
    from torchvision import models

    return {
        "CaffeNet": Trained(ZOO / "BVLC+caffe/models/bvlc_reference_caffenet/train_val.prototxt", 256, 227, None),
        "VGG16": Trained(ZOO / "soeaver+caffe-model/cls/vgg/deploy_vgg16-pytorch.prototxt", 64, 224, models.vgg16),
        "GoogLeNet": Trained(ZOO / "BVLC+caffe/models/bvlc_googlenet/train_val.prototxt", 128, 224, googlenet),
        "ResNet-50": Trained(
            ZOO / "KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt", 64, 224, models.resnet50
        ),
    }


def rows(name: str, device: str, make: Callable[..., p2t.Solver], lenet: str, by_hand: nn.Module) -> Iterator[Row]:
    """The lines of a bench; `make` gives the solver of a net's text over images and labels, `by_hand` is LeNet."""
    if name == "cuda_lenet":
        yield _lenet(device, make, lenet, by_hand)
    elif name == "cuda_images":
        for net, trained in zoo().items():
            if not trained.path.exists():
                print(f"cuda_images {net}: left out, for {trained.path} is not there", file=sys.stderr)
                continue
            for chosen in PRECISIONS:
                yield _images(net, trained, chosen, device, make)
    else:
        yield from _fed(device, make)


# LeNet


def _lenet(device: str, make: Callable[..., p2t.Solver], text: str, model: nn.Module) -> Row:
    draw = torch.Generator().manual_seed(1701)
    images = torch.rand(8, 64, 1, 28, 28, generator=draw)
    labels = torch.randint(10, (8, 64), generator=draw)
    solver = make(text, images, labels, device)
    solver.step(TRIAL)
    theirs = tuned(model.to(device), images.to(device), labels.to(device), "fp32")
    return Row("cuda_lenet", lambda: solver.step(1), theirs, 500, 0, most_us=LENET_US)


def lenet_solver(device: str, lenet: str, iterations: int = 10000) -> dict[str, object]:
    """lenet_solver.prototxt's training over drawn digits, as many as MNIST has: the seconds of it."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        draw = np.random.default_rng(0)
        for name, count in (("train", 60000), ("test", 10000)):
            _database(root / name, (draw.integers(0, 256, (1, 28, 28), np.uint8) for _ in range(count)))
        layers = lenet.strip().split("\n", 2)[2]
        data = "".join(_digits(root / name, batch, name) for name, batch in (("train", 64), ("test", 100)))
        accuracy = 'layer { name: "accuracy" type: "Accuracy" bottom: "ip2" bottom: "label" top: "accuracy"\n'
        (root / "net.prototxt").write_text(f"{data}{layers}{accuracy}  include {{ phase: TEST }} }}\n")
        (root / "solver.prototxt").write_text(
            f'net: "{root}/net.prototxt" test_iter: 100 test_interval: 500 base_lr: 0.01 momentum: 0.9 '
            'weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 100 random_seed: 1701 '
            f"max_iter: {iterations} snapshot_after_train: false"
        )
        start = time.perf_counter()
        solver = p2t.Solver(root / "solver.prototxt", device=device, log=lambda line: None)
        solver.solve()
        _synchronize(device)
        seconds = time.perf_counter() - start
        solver.close()
    most = LENET_SOLVER_S * iterations / 10000
    return {
        "bench": "cuda_lenet_solver",
        "ratio": round(seconds / most, 4),
        "target": TARGETS["cuda_lenet_solver"],
        "seconds": round(seconds, 3),
        "target_seconds": most,
        "iterations": iterations,
    }


def _digits(source: Path, batch: int, phase: str) -> str:
    return (
        f'layer {{ name: "mnist" type: "Data" top: "data" top: "label" include {{ phase: {phase.upper()} }}\n'
        f"  transform_param {{ scale: 0.00390625 }}\n"
        f'  data_param {{ source: "{source}" batch_size: {batch} backend: LMDB }} }}\n'
    )


# The large nets


def _images(net: str, trained: Trained, chosen: str, device: str, make: Callable[..., p2t.Solver]) -> Row:
    images = torch.randn(2, trained.batch, 3, trained.extent, trained.extent)
    labels = torch.randint(1000, (2, trained.batch))
    solver = make(text(trained), images, labels, device, RATE)
    fill(solver)
    ours = _ours(solver, chosen)
    given = images.to(device), labels.to(device)
    if trained.by_hand is None:
        theirs = tuned(bench_kernels.caffenet_module().to(device), *given, chosen)
    else:
        theirs = tuned(trained.by_hand().to(device), *given, chosen)
    return Row(f"cuda_images {net} {chosen}", ours, theirs, 5, trained.batch)


def text(trained: Trained) -> str:
    """A net's text for training, its data from memory; a deploy net gets a loss, and statistics of its batches."""
    content = trained.path.read_text()
    if 'type: "Data"' in content:
        return bench_kernels.caffenet_text(trained.path, trained.batch)
    layers = re.split(r"^layer\s*\{", content, flags=re.MULTILINE)[1:]
    kept = [re.sub(r"use_global_stats: true", "", layer) for layer in layers if 'type: "Softmax"' not in layer]
    last = re.findall(r'top: "([^"]*)"', kept[-1])[0]
    data = (
        'name: "memory" type: "HDF5Data" top: "data" top: "label"\n'
        f'hdf5_data_param {{ source: "list.txt" batch_size: {trained.batch} }} }}\n'
    )
    loss = f' name: "loss" type: "SoftmaxWithLoss" bottom: "{last}" bottom: "label" top: "loss" }}\n'
    return "".join(f"layer {{{layer}" for layer in (data, *kept, loss))


@torch.no_grad()
def fill(solver: p2t.Solver) -> None:
    """Draw the weights that no filler has: those of deploy nets."""
    for blob in solver.net.learned:
        if blob.requires_grad and blob.tensor.dim() > 1 and not bool(blob.tensor.any()):
            nn.init.kaiming_normal_(blob.tensor)


def _ours(solver: p2t.Solver, chosen: str) -> Side:
    def run() -> None:
        precision.choose(chosen)
        solver.step(1)

    def decided() -> None:
        precision.choose(chosen)
        solver.step(TRIAL)

    decided()
    return run


def tuned(model: nn.Module, images: Tensor, labels: Tensor, chosen: str) -> Side:
    """A training step as torch does it best without a graph."""
    model = model.train().to(memory_format=torch.channels_last)
    images = images.flatten(0, 1).to(memory_format=torch.channels_last).view_as(images)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=RATE, momentum=0.9, weight_decay=0.0005, fused=images.device.type in ("cuda", "cpu")
    )
    batches = cycle(zip(list(images), list(labels), strict=True))
    tf32 = chosen == "tf32"

    def run() -> None:
        data, label = next(batches)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        with torch.backends.cudnn.flags(enabled=True, benchmark=True, allow_tf32=tf32):
            optimizer.zero_grad()
            with torch.autocast(images.device.type, torch.bfloat16) if chosen == "bf16" else nullcontext():
                found = model(data)
                outputs = (
                    (found,) if isinstance(found, Tensor) else (found.logits, found.aux_logits1, found.aux_logits2)
                )
                losses = [F.cross_entropy(output, label) for output in outputs]
            (losses[0] + sum(0.3 * loss for loss in losses[1:])).backward()
            optimizer.step()

    return run


def googlenet() -> nn.Module:
    """torchvision's GoogLeNet with Caffe's layers: LRN and biases, no batch norms, 5 x 5 where theirs has 3 x 3."""
    from torchvision.models.googlenet import BasicConv2d, GoogLeNet, Inception

    model = GoogLeNet(aux_logits=True, transform_input=False, init_weights=False)
    for block in model.modules():
        if isinstance(block, Inception):
            narrow = block.branch3[1].conv
            block.branch3[1].conv = nn.Conv2d(narrow.in_channels, narrow.out_channels, 5, padding=2)
    for part in model.modules():
        if isinstance(part, BasicConv2d):
            conv: Any = part.conv
            part.bn = nn.Identity()
            part.conv = nn.Conv2d(
                conv.in_channels, conv.out_channels, conv.kernel_size, stride=conv.stride, padding=conv.padding
            )
    model.maxpool1 = nn.Sequential(model.maxpool1, nn.LocalResponseNorm(5, alpha=0.0001))
    model.conv3 = nn.Sequential(model.conv3, nn.LocalResponseNorm(5, alpha=0.0001))
    return model


# Fed from a database


def _fed(device: str, make: Callable[..., p2t.Solver], records: int = 2048, side: int = 256) -> Iterator[Row]:
    trained = zoo()["CaffeNet"]
    if not trained.path.exists():
        sys.exit(f"error: {trained.path} is not there: this bench trains CaffeNet as its authors published it")
    images = torch.randn(2, trained.batch, 3, trained.extent, trained.extent)
    unfed = make(text(trained), images, torch.randint(1000, (2, trained.batch)), device, RATE)
    theirs = _ours(unfed, "bf16")
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        draw = np.random.default_rng(0)
        _database(root / "db", (draw.integers(0, 256, (3, side, side), np.uint8) for _ in range(records)))
        for name, share in (("read", 0.0), ("kept on the device", 1.0)):
            with _share(share):
                solver = stack.enter_context(_from_database(root, trained, device))
                ours = _ours(solver, "bf16")
            against = "a step from the device's memory"
            yield Row(f"cuda_fed {name}", ours, theirs, 20, trained.batch, against)


@contextmanager
def _from_database(root: Path, trained: Trained, device: str) -> Iterator[p2t.Solver]:
    layer = (
        'layer { name: "memory" type: "Data" top: "data" top: "label"\n'
        f"  transform_param {{ crop_size: {trained.extent} mirror: true\n"
        "    mean_value: 104 mean_value: 117 mean_value: 123 }\n"
        f'  data_param {{ source: "{root}/db" batch_size: {trained.batch} backend: LMDB }} }}\n'
    )
    head, rest = text(trained).split("layer {", 1)
    (root / "net.prototxt").write_text(head + layer + "layer {" + rest.split("layer {", 1)[1])
    (root / "solver.prototxt").write_text(
        f'net: "{root}/net.prototxt" base_lr: {RATE} lr_policy: "fixed" momentum: 0.9 weight_decay: 0.0005 '
        "max_iter: 1000000 random_seed: 1701 snapshot_after_train: false"
    )
    solver = p2t.Solver(root / "solver.prototxt", device=device, log=lambda line: None)
    yield solver
    solver.close()


@contextmanager
def _share(share: float) -> Iterator[None]:
    """Of the device's free memory, what a database may take; it is decided in the iterations of `_ours`."""
    before, device_cache.SHARE = device_cache.SHARE, share
    try:
        yield
    finally:
        device_cache.SHARE = before


def _database(path: Path, images: Iterator[np.ndarray]) -> None:
    with new_database(str(path)) as database:
        for number, image in enumerate(images):
            database.put(b"%08d" % number, datum.write(image, number % 10))


def _synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def line(row: dict[str, Any]) -> str:
    """A row as text."""
    if row["bench"] == "cuda_lenet_solver":
        return (
            f"cuda_lenet_solver: {row['seconds']} s for {row['iterations']} iterations with their tests "
            f"(target {row['target_seconds']})"
        )
    ours, theirs = (f"{row[f'{side}_ms'] * 1000:.0f} us" for side in ("proto2torch", "theirs"))
    most = f" (target {row['target_us']:.0f})" if row["target_us"] else ""
    speed = f"; {row['images_s']:.0f} images a second against {row['theirs_images_s']:.0f}" if row["images_s"] else ""
    return (
        f"{row['bench']}: {row['ratio']:.3f} times {row['against']}'s time (target {row['target']:.3f}), "
        f"{ours}{most} against {theirs}; {row['rounds']} rounds, {row['lowest']:.3f} to {row['highest']:.3f}{speed}"
    )
