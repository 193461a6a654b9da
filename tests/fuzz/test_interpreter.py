"""The interpreter against what Caffe computed: the rules of whole nets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from .interpreter import AUTOMATIC, Interpreter, parse
from .reference import LAYERS
from .test_reference import relative

FOLDER = Path(__file__).parents[1] / "golden" / "data" / "nets"
OLD = ("v0", "v1", "input-shape", "filters", "dummy", "given-blobs", "googlenet-heads")
"""Cases of what is beyond the interpreter: old formats, stages, data layers, blobs in the text, duplicate names."""
CASES = sorted(p for p in FOLDER.glob("*.prototxt") if not p.name.startswith(OLD))


def blob(net: Interpreter, name: str) -> np.ndarray:
    """A blob by its name; of those that Caffe calls automatic there is one here."""
    return net.data[next(n for n in net.data if n == name or (name == "(automatic)" and n.startswith(AUTOMATIC)))]


@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_case(path: Path) -> None:
    with np.load(path.with_suffix(".npz")) as stored:
        case = dict(stored)
    net = Interpreter(parse(path.read_text()), str(case["phase"]))
    blobs = {
        (at, i): case[f"w_{step.name}|{i}"]
        for at, step in enumerate(net.steps)
        for i, p in enumerate(step.parameters)
        if p.owner is None
    }
    net.set_blobs(blobs)
    loss = net.forward({k[3:]: v for k, v in case.items() if k.startswith("in_")})
    assert net.outputs == json.loads(str(case["outputs"]))
    problems = {"loss": relative(np.array(loss), case["loss"])}
    for key, value in case.items():
        if key.startswith("blob_"):
            problems[key] = relative(blob(net, key[5:]), value)
    gradients = net.backward() if any(k.startswith(("g_", "gin_")) for k in case) else {}
    for (at, i), gradient in gradients.items():
        key = f"g_{net.steps[at].name}|{i}"
        if key in case:
            problems[key] = relative(gradient, case[key])
    for key in (k for k in case if k.startswith("gin_")):
        problems[key] = relative(net.diff[key[4:]], case[key])
    assert {k: v for k, v in problems.items() if not v <= 1e-5} == {}


def test_the_reference_has_every_layer_of_these_cases() -> None:
    types = {m.type for path in CASES for m in parse(path.read_text()).layer}
    assert types - set(LAYERS) == {"Input"}
