"""The benches of a GPU: refused without one, and run here with few iterations on the CPU, so that their code has run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
ON_THE_CPU = """
import bench, bench_cuda
bench_cuda.TRIAL = 2
for row in bench_cuda.rows("cuda_lenet", "cpu", bench._solver, bench.LENET, bench.ByHand()):
    sides = bench.Sides(row.ours, row.theirs, 2, against=row.against)
    print(bench._line(bench._with_speed(bench.summary("cuda_lenet", bench.measure(sides, 1, "cpu"), sides), row)))
print(bench._line(bench_cuda.lenet_solver("cpu", bench.LENET, 3)))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{SCRIPTS.parent}{os.pathsep}{SCRIPTS}"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("name", ["cuda_lenet", "cuda_lenet_solver", "cuda_images", "cuda_fed"])
def test_without_a_gpu_a_line_says_so(name: str) -> None:
    done = run(str(SCRIPTS / "bench.py"), name)
    assert done.returncode == 1
    assert done.stderr == f"error: {name} is measured on a GPU, with --device cuda:0. Received: --device cpu\n"
    assert done.stdout == ""


@pytest.mark.parametrize("device", ["cuda:99", "gpu", "meta"])
def test_a_device_that_is_not_there_is_a_line_too(device: str) -> None:
    done = run(str(SCRIPTS / "bench.py"), "--device", device, "cuda")
    assert done.returncode == 1
    assert done.stderr == f"error: --device is cpu, or a CUDA device that is there. Received: {device}\n"
    assert done.stdout == ""


def test_lenets_benches_run() -> None:
    done = run("-c", ON_THE_CPU)
    assert done.returncode == 0, done.stderr
    step, whole = done.stdout.splitlines()
    assert re.match(
        r"cuda_lenet: .* times PyTorch by hand's time \(target 1.000\), \d+ us \(target 100\) against \d+ us", step
    )
    assert re.match(r"cuda_lenet_solver: .* s for 3 iterations with their tests \(target 0.0009\)", whole)
