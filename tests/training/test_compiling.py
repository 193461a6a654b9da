"""`--compile`: when the net is compiled, and what is said of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import proto2torch as p2t
from proto2torch.training import compiling
from proto2torch.training.compiling import Compile

CASE = Path(__file__).parents[1] / "golden/data/solvers/00-SGD-fixed"


@pytest.mark.parametrize(("factor", "word"), [(0.5, "faster"), (2.0, "slower: it may be better left out")])
def test_it_compiles_after_ten_iterations_and_tells_after_ten_more(factor, word, monkeypatch, tmp_path):
    shutil.copytree(CASE, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    clock, compiled, lines = [0.0], [], []
    monkeypatch.setattr(compiling.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append((module, solver.iter)))

    class Ticks(p2t.training.callbacks.Callback):
        def iterated(self, solver):
            clock[0] += 0.25 * (factor if compiled else 1)

    solver = p2t.Solver("solver.prototxt", log=lines.append, callbacks=[Ticks(), Compile()])
    solver.step(20)
    assert compiled == [(solver.net.module, 10)]
    assert f"--compile: {250 * factor:.3f} ms an iteration, 250.000 ms without, {word}" in lines
