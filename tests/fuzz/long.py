"""The differential fuzz for as long as is asked: `python tests/fuzz/long.py --minutes 10`.

Draws nets from fresh seeds until the time is over, shrinks and prints each that disagrees, and then its figures. Exits
with 1 where a net disagreed. `--seed` repeats a run, as far as the time allows.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fuzz.agreement import Outcome, check
from tests.fuzz.drawn_layers import cases
from tests.fuzz.nets import Case

BATCH = 100
"""Nets of one seed."""


@dataclass
class Figures:
    """What a run has seen."""

    nets: int = 0
    loaded: int = 0
    gradients: int = 0
    explained: int = 0
    failures: list[str] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    most: int = 0

    def add(self, case: Case, outcome: Outcome) -> None:
        """Count a net that agrees."""
        types = re.findall(r' type: "(\w+)"', case.text)
        layers = [kind for kind in types if kind != "Input"]
        self.nets += 1
        self.types.update(layers)
        self.most = max(self.most, len(layers))
        self.loaded += outcome.loaded
        self.gradients += outcome.gradients
        self.explained += outcome.explained > 0

    def lines(self, seconds: float) -> list[str]:
        """The figures, one a line."""
        layers = sum(self.types.values())
        least = ", ".join(f"{kind} {n}" for kind, n in self.types.most_common()[:-4:-1])
        return [
            f"{self.nets} nets in {seconds / 60:.1f} minutes, {layers} layers of {len(self.types)} types",
            f"  layers a net: {layers / max(self.nets, 1):.1f} in the mean, {self.most} at most; rarest: {least}",
            f"  refused as Caffe aborts, or for a gradient in place: {self.nets - self.loaded}",
            f"  gradients compared: {self.gradients}",
            f"  nets with a difference that float32's errors explain: {self.explained}",
            f"  disagreements: {len(self.failures)}",
        ]


def batch(number: int, figures: Figures) -> None:
    """Draw and check the nets of one seed."""

    @seed(number)
    @settings(
        max_examples=BATCH,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )
    @given(case=cases())
    def drawn(case: Case) -> None:
        tried.append(case)
        figures.add(case, check(case))

    tried: list[Case] = []
    try:
        drawn()
    except Exception as error:
        figures.failures.append(f"seed {number}: {type(error).__name__}: {error}\n{tried[-1]!r}")
        print(figures.failures[-1], flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**9, help="the first seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"from seed {options.seed}", flush=True)
    figures, start, number = Figures(), time.monotonic(), options.seed
    while time.monotonic() - start < 60 * options.minutes:
        batch(number, figures)
        number += 1
    print("\n".join(figures.lines(time.monotonic() - start)))
    return bool(figures.failures)


if __name__ == "__main__":
    sys.exit(main())
