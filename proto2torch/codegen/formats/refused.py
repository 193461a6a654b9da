"""Which layer it is that a format cannot hold, so that the refusal names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from proto2torch.codegen.build import build
from proto2torch.codegen.source import generate
from proto2torch.errors import Proto2TorchError, UnsupportedError
from proto2torch.ir.graph import Net, Node

if TYPE_CHECKING:
    from torch import Tensor, nn

Attempt = Callable[["nn.Module", Mapping[str, "Tensor"], Sequence[str]], object]
"""Takes a module, its arguments and the names of its results, or raises UnsupportedError."""

_LACKS = {"onnx": frozenset({"ROIPooling"})}
"""Layers that torch's exporter cannot write in a format, and says so in no words of use."""


def check(net: Net, kind: str) -> None:
    """Refuse by name what a file of `kind` cannot hold: what remembers something between forwards, for a file is a
    function of its inputs; and layers that it lacks."""
    if net.phase == "TRAIN":
        raise UnsupportedError(f"--format {kind} is for a net in use. Received: --phase TRAIN")
    for node in net.nodes:
        if node.type in _LACKS.get(kind, ()):
            raise node.op.refuse(f"torch's exporter cannot write it. Received: --format {kind}")
        code = node.op.code(node)
        if code.stateful or code.counts:
            raise node.op.refuse(f"remembers something from one forward to the next, and a file of {kind} cannot")


def blame(net: Net, error: UnsupportedError, attempt: Attempt) -> NoReturn:
    """Raise `error` as one about the first layer, each type tried once by itself, for which `attempt` fails too."""
    tried = set()
    for node in net.nodes:
        if node.inputs and node.type not in tried:
            tried.add(node.type)
            if not _works(net, node, attempt):
                raise node.op.refuse(error.message) from error
    raise error


def _works(net: Net, node: Node, attempt: Attempt) -> bool:
    import torch

    alone = replace(net, nodes=(node,), inputs=tuple(dict.fromkeys(node.inputs)), outputs=node.outputs)
    try:
        source = generate(alone)
        module = build(source).to_empty(device="cpu").eval()
    except (Proto2TorchError, LookupError):  # it does not stand alone: it borrows a blob
        return True
    shapes = {value.blob: value.shape for value in alone.inputs}
    try:
        attempt(module, {name: torch.zeros(shapes[name]) for name in source.inputs}, source.returns)
    except UnsupportedError:
        return False
    return True
