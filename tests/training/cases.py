"""The golden solver cases as folders to train in, and Caffe's log to compare with."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from proto2torch.training import Solver
from proto2torch.training.log import Log

SOLVERS = Path(__file__).parents[1] / "golden" / "data" / "solvers"
RUNS = SOLVERS.parent / "runs"
CASES = sorted(path.name for path in SOLVERS.iterdir())

NUMBER = re.compile(r"-?(?:\d+\.?\d*(?:e[-+]\d+)?|inf|nan)")
SPEED = re.compile(r"\([-\d.e+]+ iter/s, [\d.e+-]+s/")
NOT_IN_CAFFES = re.compile(r"(Solving|Learning Rate Policy:|Resuming from|Finetuning from) ")


def enter(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of a case's folder, made the working directory."""
    folder = tmp_path / case.name
    shutil.copytree(case, folder, ignore=shutil.ignore_patterns("expected.npz"))
    monkeypatch.chdir(folder)
    return folder


class Captured(Log):
    """A log kept in memory."""

    def __init__(self) -> None:
        self.text = io.StringIO()
        super().__init__(self.text)

    def lines(self) -> list[str]:
        """From the start of the training on, without the lines that the stored logs leave out."""
        lines = self.text.getvalue().splitlines()
        start = lines.index("Starting Optimization") if "Starting Optimization" in lines else 0
        return [line for line in lines[start:] if not NOT_IN_CAFFES.match(line)]


def expected(case: str) -> dict[str, np.ndarray]:
    """What Caffe computed: weights after 0, 1, 2, 5, 10, 20 updates, and the losses."""
    with np.load(SOLVERS / case / "expected.npz") as file:
        return dict(file)


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The norm of the difference over the norm of what is expected."""
    return float(np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-12))


def solver(folder: Path, **arguments) -> tuple[Solver, Captured]:
    log = Captured()
    return Solver(folder / "solver.prototxt", log=log, **arguments), log


def same_lines(ours: list[str], caffes: list[str], rel: float) -> None:
    """Assert that every line has Caffe's words, and its numbers within a relative tolerance; the speed is free."""
    assert len(ours) == len(caffes)
    for line, caffe in zip(ours, caffes, strict=True):
        line, caffe = SPEED.sub("(", line), SPEED.sub("(", caffe)
        assert NUMBER.sub("#", line) == NUMBER.sub("#", caffe)
        numbers, expected = ([float(n) for n in NUMBER.findall(text)] for text in (line, caffe))
        assert numbers == pytest.approx(expected, rel=rel), (line, caffe)


def weights(solver: Solver) -> dict[str, np.ndarray]:
    """Every blob of the train net, `conv_0`, in Caffe's shape."""
    return {
        f"{layer}_{i}": blob.data.cpu().numpy().copy()
        for layer, blobs in solver.net.params.items()
        for i, blob in enumerate(blobs)
    }
