"""Exported files on their own: run where proto2torch cannot be imported, they give what Caffe gave.

The prototxts of the zoo are other people's and not copied here: they are read from `../shared/zoo`, and where that
folder is absent these tests say so. The suite runs a sample of kinds; PROTO2TORCH_WHOLE_ZOO=1 runs every golden net.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.exporting import self_check
from proto2torch.exporting.job import Job
from proto2torch.layers import REGISTRY
from proto2torch.prototxt.read import read_net

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT.parent / "shared" / "zoo"
ABSENT = "MobileNet-SSD__voc"  # golden, but not among the published prototxts
CASES = sorted(case for case in (DATA / "zoo").glob("*.npz") if ABSENT not in case.name)
SAMPLE = ("mnist__lenet.", "bvlc_googlenet", "ResNet-50-deploy")
SOME = [case for case in CASES if any(name in case.name for name in SAMPLE)]


def _recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipe", DATA / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECIPE = _recipe()


def prototxt_of(case: Path) -> Path:
    return ZOO / case.name.removesuffix(".npz").replace("__", "/")


def relative(ours: np.ndarray, caffe: np.ndarray) -> float:
    assert ours.shape == caffe.shape
    return float(np.linalg.norm(ours - caffe) / max(np.linalg.norm(caffe), 1e-12))


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")
@pytest.mark.parametrize(
    "case", CASES if os.environ.get("PROTO2TORCH_WHOLE_ZOO") else SOME, ids=lambda p: p.name.removesuffix(".npz")
)
def test_alone_it_gives_what_caffe_gave(case: Path) -> None:
    path = prototxt_of(case)
    if {layer.type for layer in read_net(str(path)).layers} - set(REGISTRY):
        with pytest.raises(p2t.Proto2TorchError, match="is not supported"):
            Job(str(path)).source()
        return
    job = Job(str(path))
    net, source = job.net(), job.source()
    types = {layer.name: layer.type for layer in net.layers}
    for name, blobs in net.params.items():
        for i, blob in enumerate(blobs):
            blob.data.copy_(torch.from_numpy(RECIPE.weight(name, types[name], i, blob.shape)))
    inputs = {name: torch.from_numpy(RECIPE.blob(name, net.inputs[name])) for name in source.inputs}
    found = {name: tensor.numpy() for name, tensor in self_check.run_alone(net, source, inputs).items()}
    with np.load(case) as stored:
        expected = {key[4:]: stored[key] for key in stored if key.startswith("out_")}
        parts = {key[5:]: stored[key] for key in stored if key.startswith("part_")}
    assert set(found) == set(expected) | set(parts)
    for name, values in expected.items():
        assert relative(found[name], values) <= 1e-4, name
    for name, values in parts.items():
        flat = found[name].ravel()
        assert relative(flat[:: max(1, flat.size // 50000)], values) <= 1e-4, name


DIGESTS = """
import hashlib, sys
from proto2torch.codegen.export import export
from proto2torch.errors import Proto2TorchError
from proto2torch.prototxt.read import read_net

for path in sys.stdin.read().splitlines():
    for fold in (True, False):
        try:
            text = export(read_net(path), lambda layer, phase: [], fold=fold).text
        except Proto2TorchError as error:
            text = str(error)
        print(path, fold, hashlib.sha256(text.encode()).hexdigest())
"""


def digests(paths: list[str], seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )
    return done.stdout


@pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")
def test_the_same_net_gives_the_same_bytes_in_every_process() -> None:
    chosen = [str(prototxt_of(case)) for case in (CASES if os.environ.get("PROTO2TORCH_WHOLE_ZOO") else SOME)]
    one = digests(chosen, "1")
    assert len(one.splitlines()) == 2 * len(chosen)
    assert one == digests(chosen, "2")
