"""Watching for figures that are not finite: a training that has diverged stops where it did."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from proto2torch.errors import Proto2TorchError, RunError, Where
from proto2torch.ir.graph import Node, Param
from proto2torch.net import Net


class Watch:
    """Ends a training whose loss or gradient is not finite, before the update that would spoil the weights.

    On the CPU every iteration is looked at. On another device nothing may wait for it: the iteration of the first bad
    loss is noted there, and asked for where the training waits anyway: at a display, a test or a snapshot.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self._last = _Last()
        self._first = torch.full((), -1, device=net.device)  # the iteration of the first bad loss
        net.module.register_forward_pre_hook(self._last)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """Of the last forward: what the net's module takes."""
        return self._last.inputs

    @inputs.setter
    def inputs(self, inputs: tuple[Tensor, ...]) -> None:
        self._last.inputs = inputs

    def loss(self, iteration: int | Tensor, loss: Tensor) -> None:
        """Look at the loss of one batch; a number of the iteration that lies on the device is not waited for.

        Raises:
            RunError: it is not finite.
        """
        if loss.device.type == "cpu":
            if not loss.isfinite():
                self._end(int(iteration), f"the loss is {loss.item():g}")
            return
        unseen = (self._first < 0) & ~torch.isfinite(loss)
        self._first.copy_(torch.where(unseen, iteration, self._first))

    def gradients(self, iteration: int, wait: bool) -> None:
        """Look at the gradients of an iteration; on another device than the CPU only where `wait` says so.

        Raises:
            RunError: one is not finite.
        """
        if self._net.device.type != "cpu":
            if not wait:
                return
            self.settle()
        grads = [blob.tensor.grad for blob in self._net.learned if blob.tensor.grad is not None]
        if grads and not _all_finite(grads):
            self._end(iteration, "a gradient is not finite")

    def settle(self) -> None:
        """Wait for the device, and look at what was noted there.

        Raises:
            RunError: a loss was not finite.
        """
        first = int(self._first)
        if first >= 0:
            self._end(first, "the loss is not finite")

    def _end(self, iteration: int, what: str) -> None:
        with torch.enable_grad():
            found = first_bad(self._net, dict(zip(self._net.arguments, self.inputs, strict=False)))
        text = f"iteration {iteration}: {what}"
        hint = "the snapshots written before are whole; a lower base_lr or clip_gradients may help"
        if found is None:
            raise RunError(text, hint=hint)
        node, why = found
        raise RunError(f"{text}: {why}", where=Where(layer=node.name, type=node.type), hint=hint)


class _Last:
    """Keeps the inputs of the last forward, and no hold on the net, whose module has this hook: dropped nets close."""

    def __init__(self) -> None:
        self.inputs: tuple[Tensor, ...] = ()

    def __call__(self, module: Any, inputs: tuple[Tensor, ...]) -> None:
        self.inputs = inputs


def first_bad(net: Net, inputs: dict[str, Tensor]) -> tuple[Node, str] | None:
    """The first layer whose output or, where all outputs are finite, whose gradient is not finite, and why.

    Outputs are looked at in the order of the forward, gradients in that of the backward. None where all are finite, as
    may be where a layer draws random numbers.
    """
    for name, value in inputs.items():
        if not value.isfinite().all():
            return _maker(net, name), f"the input {name!r} is not finite"
    try:
        values = net.features(*dict.fromkeys(v.blob for n in net.graph.nodes for v in n.outputs), **inputs)
    except Proto2TorchError:
        return None
    for node in net.graph.nodes:
        for top in node.outputs:
            if not values[top.blob].isfinite().all():
                return node, _cause(net, node, top.blob)
    return _first_bad_gradient(net, values)


def _all_finite(tensors: list[Tensor]) -> bool:
    """Whether every value is finite, by the L2 norms: the fastest pass there is, but one that overflows beyond 1e19."""
    if torch.stack(torch._foreach_norm(tensors)).isfinite().all():
        return True
    return all(bool(tensor.isfinite().all()) for tensor in tensors)


def _maker(net: Net, blob: str) -> Node:
    return next(n for n in net.graph.nodes if any(v.blob == blob for v in n.outputs))


def _cause(net: Net, node: Node, blob: str) -> str:
    """That an output is bad, and whether the weights that made it are."""
    text = f"its output {blob!r} is the first that is not finite"
    return text if all(_finite(net, p) for p in node.params) else f"{text}; its weights are not finite"


def _finite(net: Net, param: Param) -> bool:
    return bool(net.blobs.at(param.node, param.index).tensor.isfinite().all())


def _first_bad_gradient(net: Net, values: dict[str, Tensor]) -> tuple[Node, str] | None:
    terms = [values[name].sum() * weight for name, weight in net.loss_weights.items() if name in values]
    if not any(term.requires_grad for term in terms):
        return None
    blobs = {name: value for name, value in values.items() if value.requires_grad}
    params = [(n, p) for n in net.graph.nodes for p in n.params if net.blobs.at(p.node, p.index).tensor.requires_grad]
    tensors = [net.blobs.at(p.node, p.index).tensor for _, p in params]
    objective = torch.stack(terms).sum()
    grads = torch.autograd.grad(objective, [*blobs.values(), *tensors], allow_unused=True)
    bad_blobs = _bad(zip(blobs, grads, strict=False))
    bad_params = _bad(zip(((n.index, p.index) for n, p in params), grads[len(blobs) :], strict=True))
    for node in reversed(net.graph.nodes):
        if any((node.index, p.index) in bad_params for p in node.params):
            return node, "the gradient of its weights is not finite"
        for bottom in node.inputs:
            if bottom.blob in bad_blobs and node.needs_backward:
                return node, f"the gradient of its bottom {bottom.blob!r} is the first that is not finite"
    return None


def _bad(named: Iterable[tuple[Any, Tensor | None]]) -> set[Any]:
    return {name for name, grad in named if grad is not None and not grad.isfinite().all()}
