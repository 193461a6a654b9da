"""A drawn net run both ways: by the reference and by proto2torch. Results are arrays under the names of what they are:
`loss`, `output NAME`, `gradient LAYER INDEX`, `gradient INPUT`, `statistics LAYER INDEX`, `blob NAME`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from proto2torch.codegen.export import export
from proto2torch.prototxt.read import read_net

from .interpreter import AUTOMATIC, Interpreter, parse
from .nets import Case
from .reference import Array, Refused, Shape
from .values import blob_values, dropout_mask

Results = dict[str, Array]


class Reference:
    """The interpreter of a case, with its blobs and inputs."""

    def __init__(self, case: Case, noise: int | None = None, shapes: Mapping[str, Shape] | None = None) -> None:
        self.case = case
        stream = None if noise is None else np.random.default_rng(noise)
        self.net = Interpreter(parse(case.text), case.phase, shapes, stream)
        self.blobs = {
            (at, i): blob_values(case.seed, step.name, step.type, i, parameter.shape)
            for at, step in enumerate(self.net.steps)
            for i, parameter in enumerate(step.parameters)
            if parameter.owner is None
        }
        self.net.set_blobs(self.blobs)
        self.first = {s.name: [b.astype(np.float32) for b in s.layer.blobs] for s in self.net.steps if s.parameters}
        self.inputs = case.inputs(self.net.inputs)

    def results(self) -> Results:
        """Everything that is compared; blobs are those of a second forward, behind what the first has moved."""
        found: Results = {"loss": np.array(self.net.forward(self.inputs))}
        found |= {f"output {name}": self.net.data[name] for name in self.net.outputs}
        try:
            found |= self._gradients()
        except Refused:
            found["refused"] = np.array(1.0)
        found |= {
            f"statistics {step.name} {i}": blob.copy()
            for step in self.net.steps
            if step.type == "BatchNorm"
            for i, blob in enumerate(step.layer.blobs)
        }
        self.net.forward(self.inputs)
        return found | {
            f"blob {name}": value for name, value in self.net.data.items() if not name.startswith(AUTOMATIC)
        }

    def outputs(self) -> Results:
        """The outputs alone, of one forward."""
        self.net.forward(self.inputs)
        return {name: self.net.data[name] for name in self.net.outputs}

    def _gradients(self) -> Results:
        gradients = self.net.backward()
        if self.case.phase == "TEST" and self.net.noise is None:
            plain = self.net.backward(in_memory=False)
            if any(not np.array_equal(plain[at], gradients[at], equal_nan=True) for at in plain):
                return {}  # a TEST net may have the derivative where Caffe's gradient is nobody's
        learning = {at: g for at, g in gradients.items() if self.net.learning[at]}
        found = {f"gradient {self.net.steps[at].name} {i}": g for (at, i), g in learning.items()}
        if self.net.net.force_backward:
            found |= {f"gradient {name}": self.net.diff[name] for name in self.inputs if self._wanted(name)}
        return found

    def _wanted(self, name: str) -> bool:
        """Whether every reader of a blob computes its diff: Caffe leaves the others out, where torch is asked for all."""
        for step in self.net.steps:
            for bottom, need in zip(step.bottoms, step.bottom_need, strict=True):
                if bottom == name and not (need and (step.type != "Split" or all(map(self._wanted, step.tops)))):
                    return False
        return True


@contextmanager
def masks_by_shape() -> Iterator[None]:
    """Let torch's dropout draw the reference's masks."""

    def dropout(x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        mask = torch.from_numpy(dropout_mask(tuple(x.shape), p)).to(x.dtype)
        return x * mask / (1 - p) if training else x

    with mock.patch("torch.nn.functional.dropout", dropout):
        yield


def array(tensor: Tensor) -> Array:
    return tensor.detach().double().numpy()


def tensors(inputs: Mapping[str, Array], gradient: bool = False) -> dict[str, Tensor]:
    """The inputs as float32 tensors."""
    return {name: torch.from_numpy(value).requires_grad_(gradient) for name, value in inputs.items()}


def results(net: Any, reference: Reference, expected: Results) -> Results:
    """What proto2torch says of all that is `expected`."""
    inputs = tensors(reference.inputs, bool(reference.net.net.force_backward))
    outputs = net(**inputs)
    found = {"loss": array(net.loss)} | {f"output {name}": array(y) for name, y in outputs.items()}
    wanted = [key.removeprefix("gradient ") for key in expected if key.startswith("gradient ")]
    if wanted and net.loss.requires_grad:
        net.loss.backward()
    for key in wanted:
        layer, _, index = key.rpartition(" ")
        grad = inputs[key].grad if key in inputs else net.params[layer][int(index)].grad
        found[f"gradient {key}"] = np.zeros(expected[f"gradient {key}"].shape) if grad is None else array(grad)
    for key in (k for k in expected if k.startswith("statistics ")):
        layer, _, index = key.removeprefix("statistics ").rpartition(" ")
        found[key] = array(net.params[layer][int(index)].data).copy()
    blobs = [key.removeprefix("blob ") for key in expected if key.startswith("blob ")]
    with torch.no_grad():
        features = net.features(*blobs, **tensors(reference.inputs))
    return found | {f"blob {name}": array(value) for name, value in features.items()}


def exported(case: Case, net: Any, inputs: Mapping[str, Array], fold: bool) -> Results:
    """What the exported source gives, executed by itself with the net's state."""
    source = export(read_net(text=case.text), lambda *_: (), phase=case.phase, keep_labels=True, fold=fold)
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(source.text, "exported.py", "exec"), namespace)
    module: nn.Module = namespace[source.class_name]()
    module.load_state_dict(net.state(source))
    module.train(case.phase == "TRAIN")
    with torch.no_grad():
        given = module(*[torch.from_numpy(inputs[name]) for name in source.inputs])
    given = {source.returns[0]: given} if isinstance(given, Tensor) else given
    return {name: array(value) for name, value in given.items()}
