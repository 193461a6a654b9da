"""Nets as their authors published them: every blob and every output is Caffe's; folded, flat and built they compute the
same bits; and what is exported gives the same where proto2torch cannot be imported."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.codegen.source import Source
from proto2torch.exporting import runner, self_check
from proto2torch.exporting.job import Job
from proto2torch.net import Net

from .folding import check_one_computation
from .zoo import CASES, DATA, ZOO, check_outputs, draw_inputs, draw_weights, name_of, present, prototxt_of

pytestmark = present
PUBLISHED = sorted((DATA / "published").glob("*.npz"))
Case = dict[str, np.ndarray]


@pytest.fixture(scope="module", params=CASES, ids=name_of)
def published(request: pytest.FixtureRequest) -> tuple[Path, Net, Case]:
    """A net with its weights drawn, and what Caffe computed."""
    path = prototxt_of(request.param)
    if not path.is_file():
        pytest.skip(f"{path.relative_to(ZOO)} is not among the published prototxts in ../shared/zoo")
    with np.load(request.param) as stored:
        case = dict(stored)
    net = p2t.load(str(path))
    draw_weights(net)
    return path, net, case


def check(net: Net, case: Case) -> None:
    """Every output against Caffe's, and the shape, mean and standard deviation of every blob on the way."""
    digest = json.loads(str(case["digest"]))
    inputs = draw_inputs(net, net.inputs)
    with torch.inference_mode():
        outputs = {k: v.numpy() for k, v in net(**inputs).items()}
        blobs = {k: v.numpy() for k, v in net.features(*digest, **inputs).items()}
    for name, (shape, mean, std) in digest.items():
        blob = blobs[name].astype(np.float64)
        assert list(blob.shape) == shape, name
        size = max(abs(mean), std, 1e-12)
        assert abs(blob.mean() - mean) <= 1e-3 * size and abs(blob.std() - std) <= 1e-3 * size, name
    check_outputs(outputs, case)


def test_every_blob_and_output(published: tuple[Path, Net, Case]) -> None:
    _, net, case = published
    check(net, case)


def test_one_computation(published: tuple[Path, Net, Case]) -> None:
    check_one_computation(published[1])


WORKER = """
import runpy, sys

main = runpy.run_path(sys.argv[1])["main"]
for line in sys.stdin:
    main(*line.rstrip("\\n").split("\\t"))
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def alone() -> Iterator[Callable[[str, Source, str], None]]:
    """One process for all nets, in which proto2torch cannot be imported: it runs what the self-check's own runs."""
    command = [sys.executable, "-P", "-c", WORKER, runner.__file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None and process.stdout is not None

        def run(folder: str, source: Source, phase: str) -> None:
            print(
                folder, source.class_name, phase, torch.get_num_threads(), 1, sep="\t", file=process.stdin, flush=True
            )
            assert process.stdout is not None and process.stdout.readline() == "done\n"

        yield run
        process.stdin.close()
        assert process.wait(60) == 0


def test_the_exported_file_alone(
    published: tuple[Path, Net, Case], alone: Callable[[str, Source, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, net, case = published
    source = Job(str(path)).source()
    monkeypatch.setattr(self_check, "_run", alone)
    found = self_check.run_alone(net, source, draw_inputs(net, source.inputs))
    check_outputs({name: tensor.numpy() for name, tensor in found.items()}, case)


@pytest.mark.parametrize("path", PUBLISHED, ids=name_of)
def test_net_with_its_published_weights(path: Path) -> None:
    with np.load(path) as stored:
        case = dict(stored)
    prototxt = prototxt_of(path)
    check(p2t.load(str(prototxt), str(prototxt.with_suffix(".caffemodel"))), case)
