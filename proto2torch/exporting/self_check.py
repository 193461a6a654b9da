"""The self-check of `export`: its file, run in a fresh process, computes what the net computes that it was made of."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from proto2torch.codegen.source import Source, default_returns
from proto2torch.errors import NetError, RunError
from proto2torch.exporting.difference import largest, shown
from proto2torch.exporting.inputs import BATCH, draw_inputs
from proto2torch.net import Net
from proto2torch.weights import tensors

TOLERANCE = 1e-5
"""The largest difference that passes, in units of `difference.largest`."""

__all__ = ["TOLERANCE", "Reference", "check", "passed", "reference", "shown"]

_RUNNER = Path(__file__).with_name("runner.py")
_LONGEST = 900  # seconds
_HINT = "this is a bug of proto2torch; --no-check writes the file all the same"
_OURS = re.compile(r"^(from|import) proto2torch\b", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """What a net computes of drawn inputs: the values that its exported source returns too, by name."""

    inputs: Mapping[str, Tensor]
    """The arguments of the source, in order."""
    outputs: Mapping[str, Tensor]


def check(net: Net, source: Source) -> float:
    """Run the file that `source` is beside `net`, with its weights, and return the largest difference.

    Raises:
        RunError: the file does not run, or differs by more than TOLERANCE.
    """
    expected = reference(net, source)
    return passed("the exported file", run_alone(net, source, expected.inputs), expected.outputs)


def run_alone(net: Net, source: Source, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What the file that `source` is gives of `inputs` with the weights of `net`, in a process where proto2torch cannot
    be imported; where the file itself imports it, for Python layers, it can.

    Raises:
        RunError: the file does not run.
    """
    with tempfile.TemporaryDirectory(prefix="proto2torch-") as folder:
        Path(folder, "model.py").write_text(source.text, encoding="utf-8")
        save_file(tensors.separate(net.state(source)), os.path.join(folder, "state.safetensors"))
        arguments = {str(i): inputs[name].contiguous() for i, name in enumerate(source.inputs)}
        save_file(arguments, os.path.join(folder, "inputs.safetensors"))
        _run(folder, source, net.phase)
        found = load_file(os.path.join(folder, "outputs.safetensors"))
    return {name: found[str(i)] for i, name in enumerate(source.returns)}


def reference(net: Net, source: Source) -> Reference:
    """What `net` gives of drawn inputs; in phase TRAIN only what it returns itself: a second run would draw anew."""
    kept = [(blob.tensor, blob.tensor.detach().clone()) for blob in net.learned if blob.param.blob.frozen]
    try:
        return _reference(net, source, BATCH)
    except (NetError, RuntimeError):  # the batch size is not free
        return _reference(net, source, None)
    finally:
        with torch.no_grad():
            for tensor, before in kept:  # BatchNorm gathers statistics in phase TRAIN
                tensor.copy_(before)


def passed(what: str, found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference of the values that both have; a RunError where that is above TOLERANCE."""
    differences = {name: largest([found[name]], [expected[name]]) for name in expected}
    worst = max(differences, key=lambda name: differences[name], default=None)
    if worst is not None and not differences[worst] <= TOLERANCE:
        raise RunError(
            f"{what} does not compute what the net computes: {worst!r} differs by {differences[worst]:.1e}, "
            f"and at most {TOLERANCE:.0e} passes",
            hint=_HINT,
        )
    return max(differences.values(), default=0.0)


def _reference(net: Net, source: Source, batch: int | None) -> Reference:
    every = draw_inputs(net.graph, net.inputs, batch)
    names = [name for name, _ in default_returns(net.graph)]
    torch.manual_seed(0)
    with torch.no_grad():
        result = net.module(*[every[name].clone() for name in net.arguments])
        values = {names[0]: result} if isinstance(result, Tensor) else dict(result)
        rest = [name for name in source.returns if name not in values]
        if rest and net.phase == "TEST":
            values |= net.features(*rest, **{name: tensor.clone() for name, tensor in every.items()})
    outputs = {name: values[name].detach().clone() for name in source.returns if name in values}
    return Reference({name: every[name] for name in source.inputs}, outputs)


def _run(folder: str, source: Source, phase: str) -> None:
    """Run runner.py with the folders of this process's own imports and as many threads."""
    alone = not _OURS.search(source.text)
    arguments = [folder, source.class_name, phase, str(torch.get_num_threads()), str(int(alone))]
    places = os.pathsep.join(path or os.getcwd() for path in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-P", str(_RUNNER), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_LONGEST,
            env={**os.environ, "PYTHONPATH": places, "PYTHONIOENCODING": "utf-8"},
        )
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the exported file has not come to an end in {_LONGEST} seconds") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise RunError(f"the exported file does not run: {last}", hint=_HINT)
