#!/usr/bin/env python3
"""Draw curve.png: how LeNet learns the digits 5 to 9 from few images, from scratch and from weights for 0 to 4.

Each curve is the mean over several draws of the few images and of the initial weights; the band is its standard error.
From scratch the better of several rates is drawn at each number of images: the one whose mean over the run is highest.
Needs the weights that old_solver.prototxt makes, and matplotlib (pip install proto2torch[plot]).
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import make_digits
import numpy as np
import torch

import proto2torch as p2t

FOLDER = Path(__file__).resolve().parent
WEIGHTS = FOLDER / "old_iter_1200.caffemodel"
AT = (0, 2, 5, 10, 15, 20, 30, 40, 60, 80, 100)
BATCH = 25
EACH = (5, 10)
WAYS: dict[str, tuple[tuple[float, ...], bool]] = {  # the rates to choose from, and whether it begins with the weights
    "from scratch": ((0.003, 0.01, 0.03), False),
    "fine-tuned": ((0.002,), True),
}


def curve(part: make_digits.Part, test: make_digits.Part, rate: float, pretrained: bool, seed: int) -> list[float]:
    """The accuracy on the images of `test` after each of AT iterations."""
    solver = p2t.Solver(
        FOLDER / "new_solver.prototxt",
        overrides={"base_lr": rate, "random_seed": seed + 1, "test_initialization": False, "test_interval": 1000},
        weights=str(WEIGHTS) if pretrained else None,
        replace={"ip2": "ip2_new:5"} if pretrained else None,
        data={"digits": batches(part, seed)},
        test_data={"digits": [tensors(test, slice(None))]},
        log=lambda message: None,
    )
    accuracies = []
    for iteration in AT:
        solver.step(iteration - solver.iter)
        with torch.no_grad():
            accuracies.append(float(solver.test_nets[0]()["accuracy"]))
    return accuracies


def batches(part: make_digits.Part, seed: int) -> Iterator[dict[str, torch.Tensor]]:
    """Batches without end, in another order each time through."""
    draw = np.random.default_rng(seed)
    while True:
        order = draw.permutation(len(part[1]))
        for start in range(0, len(order), BATCH):
            yield tensors(part, order[start : start + BATCH])


def tensors(part: make_digits.Part, rows: slice | np.ndarray) -> dict[str, torch.Tensor]:
    """Images and labels as the net takes them."""
    images, labels = part
    return {"data": torch.from_numpy(images[rows, None] / 256).float(), "label": torch.from_numpy(labels[rows]).float()}


def measured(each: int, seeds: int) -> dict[str, np.ndarray]:
    """The curves of each way, (seeds, AT), with its best rate."""
    found = {}
    for way, (rates, pretrained) in WAYS.items():
        of_rate = {}
        for rate in rates:
            made = [make_digits.parts(each, seed) for seed in range(seeds)]
            of_rate[rate] = np.array(
                [curve(p["new_train"], p["new_test"], rate, pretrained, seed) for seed, p in enumerate(made)]
            )
        best = max(of_rate, key=lambda rate: of_rate[rate].mean())
        found[f"{way}, base_lr {best}"] = of_rate[best]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="draws that a curve is the mean of (10)")
    parser.add_argument("-o", "--output", type=Path, default=FOLDER / "curve.png")
    arguments = parser.parse_args()
    os.chdir(FOLDER.parents[1])
    found = {each: measured(each, arguments.seeds) for each in EACH}
    print("accuracy in %, after iterations:".ljust(48), *(f"{n:5}" for n in AT))
    for each, ways in found.items():
        for way, curves in ways.items():
            means = (f"{100 * value:5.1f}" for value in curves.mean(0))
            print(f"{each} images a class, {way}".ljust(48), *means)
    draw(found, arguments.output)


def draw(found: dict[int, dict[str, np.ndarray]], path: Path) -> None:
    """A panel for each number of images."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True)
    for panel, (each, ways) in zip(panels, found.items(), strict=True):
        for colour, (way, curves) in zip(("tab:grey", "tab:blue"), ways.items(), strict=True):
            mean, error = 100 * curves.mean(0), 100 * curves.std(0, ddof=1) / np.sqrt(len(curves))
            panel.plot(AT, mean, color=colour, label=way)
            panel.fill_between(AT, mean - error, mean + error, color=colour, alpha=0.2, linewidth=0)
        panel.set(title=f"{each} images of each digit", xlabel="iterations", xlim=(0, AT[-1]), ylim=(15, 70))
        panel.grid(alpha=0.3)
        panel.legend(loc="lower right")
    panels[0].set_ylabel("accuracy on 5 to 9 (%)")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
