"""The small net of the golden solver cases, written by hand in plain PyTorch, and its batches."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

DATA = Path(__file__).parents[1] / "golden" / "data" / "solvers"
CASES = sorted(path.name for path in DATA.iterdir())
BATCH = 8
LEARNING = {"conv": ((1, 1), (2, 0)), "ip1": ((1, 1), (0.5, 1)), "ip2": ((1, 1), (1, 1))}
"""(lr_mult, decay_mult) of the weight and the bias of each layer: the same in every case."""
ACTIVATIONS = {"ReLU": F.relu, "ELU": F.elu, "Sigmoid": torch.sigmoid, "TanH": torch.tanh}


class PlainNet(nn.Module):
    """data (8, 1, 10, 9), label (8) -> loss, from the weights of `expected` after `at` updates."""

    def __init__(self, case: str, expected: dict[str, np.ndarray], at: int) -> None:
        super().__init__()
        text = (DATA / case / "train.prototxt").read_text()
        self.average = "pool: AVE" in text
        self.activation = next(f for name, f in ACTIVATIONS.items() if f'name: "act" type: "{name}"' in text)
        self.conv, self.ip1, self.ip2 = nn.Conv2d(1, 4, 3), nn.Linear(48, 12), nn.Linear(12, 5)
        with torch.no_grad():
            for layer in LEARNING:
                for i, param in enumerate(getattr(self, layer).parameters()):
                    param.copy_(torch.from_numpy(expected[f"w{at}_{layer}_{i}"]))

    def forward(self, data: Tensor, label: Tensor) -> Tensor:
        pool = F.avg_pool2d if self.average else F.max_pool2d
        pooled = F.relu(pool(self.conv(data), 3, 2, ceil_mode=True))
        return F.cross_entropy(self.ip2(self.activation(self.ip1(pooled.flatten(1)))), label)

    def groups(self) -> list[dict[str, object]]:
        """One parameter a group, in Caffe's order, with its multipliers."""
        return [
            {"params": [param], "lr_mult": lr, "decay_mult": decay}
            for layer, learning in LEARNING.items()
            for param, (lr, decay) in zip(getattr(self, layer).parameters(), learning, strict=True)
        ]


def expected(case: str) -> dict[str, np.ndarray]:
    """What Caffe computed: weights after 0, 1, 2, 5, 10, 20 updates, and the losses."""
    with np.load(DATA / case / "expected.npz") as file:
        return dict(file)


def batches(case: str, skip: int = 0):
    """(data, label) of the case's HDF5 file, in order, again and again, after `skip` batches."""
    with h5py.File(DATA / case / "train.h5") as file:
        data, label = torch.from_numpy(file["data"][:]), torch.from_numpy(file["label"][:]).long()
    while True:
        rows = torch.arange(skip * BATCH, (skip + 1) * BATCH) % len(data)
        yield data[rows], label[rows]
        skip += 1


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The norm of the difference over the norm of what is expected."""
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))
