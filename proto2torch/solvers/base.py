"""What Caffe's update rules share: parameter groups, regularisation, history, and the step itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from proto2torch.solvers.fused import fusible
from proto2torch.solvers.numbers import float32

Params = Iterable[Tensor] | Iterable[dict[str, Any]]
Rate = float | Tensor
"""On the host, or of no dimensions on the parameters' device."""
Direction = tuple[list[Tensor] | tuple[Tensor, ...], Rate]
"""Tensors and a factor: the parameters move by minus their product."""

REGULARIZATIONS = ("L2", "L1")


class Rule(Optimizer):
    """One of Caffe's update rules as an optimizer.

    Each group may set, beside the hyperparameters of its rule:

    lr:           the rate of this update (a learning-rate policy writes it)
    lr_mult:      factor on `lr`
    weight_decay: strength of the regularisation
    decay_mult:   factor on `weight_decay`

    A step computes, with float32 hyperparameters:

        l = weight_decay * decay_mult
        g = grad + l * w              (L2)
        g = grad + l * sign(w)        (L1)
        u = rule(lr * lr_mult, g, history)
        w = w - u

    As in Caffe, a parameter without a gradient is one whose gradient is zero: it still decays and keeps its velocity.
    A step uses `.grad` as its working space; clear it before the next backward. With `keep_updates` it leaves `u`
    there, which is what Caffe leaves in a blob's diff.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    """Names of the history tensors of one parameter, in the order of Caffe's solverstate."""
    gathers: ClassVar[bool] = True
    """Whether the history changes where `lr_mult` is 0 and the gradient is not."""

    def __init__(
        self,
        params: Params,
        *,
        lr: float,
        weight_decay: float = 0.0,
        regularization: str = "L2",
        **hyperparameters: float,
    ) -> None:
        if regularization not in REGULARIZATIONS:
            raise ValueError(f"regularization must be L2 or L1. Received: {regularization!r}")
        shared = {"lr": lr, "lr_mult": 1.0, "weight_decay": weight_decay, "decay_mult": 1.0}
        super().__init__(params, {**shared, **hyperparameters, "regularization": regularization, "step": 0})
        self.keep_updates = False
        self.overflowed: Tensor | None = None
        """Not 0 where a gradient in float16 has overflowed: then an update changes nothing."""
        self._rates: dict[int, Rate] = {}  # by group
        self._placed: dict[int, tuple[float, Tensor]] | None = None  # by group, on the device, and what lies there

    def rate(self, group: dict[str, Any]) -> float:
        """The rate of a group's update, lr * lr_mult; `group["step"]` counts this update, from 1."""
        return float32(float32(group["lr"]) * float32(group["lr_mult"]))

    def adapts(self, group: dict[str, Any], rate: float) -> bool:
        """Make the group's history ready for a rate that lies on the device; False where the rule needs it as a number.

        Only the rates that it says True to are a matter of the tensor alone: for those the same kernels run.
        """
        return True

    def __getstate__(self) -> dict[str, Any]:
        """torch's own takes along what it knows; rates are placed anew."""
        placed: dict[int, Any] | None = None if self._placed is None else {}
        more = {"keep_updates": self.keep_updates, "overflowed": self.overflowed, "_rates": {}, "_placed": placed}
        return {**super().__getstate__(), **more}

    def direction(self, group: dict[str, Any], rate: Rate, grads: list[Tensor], *history: list[Tensor]) -> Direction:
        """Renew the history from the regularised gradients and give the way to go.

        `grads` may be overwritten.
        """
        raise NotImplementedError

    def fused(
        self,
        group: dict[str, Any],
        rate: Rate,
        decay: float,
        params: list[Tensor],
        grads: list[Tensor],
        *history: list[Tensor],
    ) -> bool:
        """Make the update by one of torch's fused kernels; False where it has none for it.

        The gradients lack `decay`, the strength of an L2 penalty. They may be overwritten.
        """
        return False

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one update; `closure`, where given, computes the loss and its gradients first, and is returned."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self.prepare()
        self.make()
        return loss

    def rates_on_device(self) -> None:
        """From now on let the rates lie on the parameters' device: a recorded `make` can then be played at any rate.

        Played or not the numbers are the same; those of rates on the host differ from them by rounding.
        """
        self._placed = {}

    @torch.no_grad()
    def prepare(self) -> bool:
        """The host's part of a step: count it, and take or place its rates.

        Returns whether all of them lie on the device, so that a `make` that was recorded makes this step.
        """
        everywhere = True
        for at, group in enumerate(self.param_groups):
            group["step"] += 1
            if self._rests(group):
                continue
            rate = self.rate(group)
            placed = self._placed is not None and self.adapts(group, rate)
            self._rates[at] = self._place(at, rate, group["params"][0].device) if placed else rate
            everywhere &= placed
        return everywhere

    @torch.no_grad()
    def make(self) -> None:
        """The device's part of a step, after `prepare`: nothing in it waits for the device where rates lie there."""
        for at, group in enumerate(self.param_groups):
            if not self._rests(group):
                self._update(group, self._rates[at])

    def history(self, param: Tensor) -> list[Tensor]:
        """The history of one parameter, one tensor a slot; zeros before its first update."""
        state = self.state.get(param, {})
        return [state[slot] if slot in state else torch.zeros_like(param) for slot in self.slots]

    def set_history(self, param: Tensor, history: Sequence[Tensor]) -> None:
        """Replace the history of one parameter, as a restored snapshot does; without a number in it it is none."""
        if not any(bool(value.any()) for value in history):
            self.state.pop(param, None)
            return
        self.state[param] = {
            slot: torch.empty_like(param, requires_grad=False).copy_(value)
            for slot, value in zip(self.slots, history, strict=True)
        }

    def set_step(self, step: int) -> None:
        """Continue after `step` updates (Adam's bias correction counts them)."""
        for group in self.param_groups:
            group["step"] = step

    def _rests(self, group: dict[str, Any]) -> bool:
        """Whether the group neither moves nor remembers: rate 0, history still zero, nothing that would change it."""
        if group["lr_mult"] != 0 or any(self.state.get(p) for p in group["params"]):
            return False
        return not self.gathers or _decay(group) == 0

    def _place(self, at: int, rate: float, device: torch.device) -> Tensor:
        """The rate on the device; written only where it has changed."""
        assert self._placed is not None
        before, tensor = self._placed.get(at, (None, None))
        if tensor is None:
            tensor = torch.full((), rate, device=device)
        elif before != rate:
            tensor.fill_(rate)
        self._placed[at] = rate, tensor
        return tensor

    def _update(self, group: dict[str, Any], rate: Rate) -> None:
        params: list[Tensor] = group["params"]
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        history = self._slots_of(params)
        decay = _decay(group)
        if group["regularization"] == "L1":
            regularize(params, grads, decay, "L1")
            decay = 0.0
        fused = not self.keep_updates and fusible(params, grads, *history)
        if fused and self.fused(group, rate, decay, params, grads, *history):
            return
        regularize(params, grads, decay, "L2")
        if self.overflowed is None:
            self._move(group, rate, params, grads, history)
        elif isinstance(rate, Tensor):
            changed = [*params, *(tensor for slot in history for tensor in slot)]
            before = [tensor.clone() for tensor in changed]
            self._move(group, rate, params, grads, history)
            for tensor, old in zip(changed, before, strict=True):
                tensor.copy_(torch.where(self.overflowed != 0, old, tensor))
        elif not bool(self.overflowed):
            self._move(group, rate, params, grads, history)

    def _move(
        self, group: dict[str, Any], rate: Rate, params: list[Tensor], grads: list[Tensor], history: list[list[Tensor]]
    ) -> None:
        tensors, factor = self.direction(group, rate, grads, *history)
        if isinstance(factor, Tensor):
            torch._foreach_sub_(params, torch._foreach_mul(tensors, factor))
        else:
            torch._foreach_add_(params, tensors, alpha=-factor)
        if self.keep_updates:
            for param, update in zip(params, tensors, strict=True):
                param.grad = update * factor

    def _slots_of(self, params: list[Tensor]) -> list[list[Tensor]]:
        for param in params:
            if not self.state.get(param):
                self.state[param] = {slot: torch.zeros_like(param, requires_grad=False) for slot in self.slots}
        return [[self.state[param][slot] for param in params] for slot in self.slots]


def regularize(params: list[Tensor], grads: list[Tensor], strength: float, kind: str) -> None:
    """Add the gradient of the penalty in place: strength * w (L2) or strength * sign(w) (L1), with sign(0) = 0."""
    if strength == 0:
        return
    penalty = params if kind == "L2" else torch._foreach_sign(params)
    torch._foreach_add_(grads, penalty, alpha=strength)


def _decay(group: dict[str, Any]) -> float:
    return float32(float32(group["weight_decay"]) * float32(group["decay_mult"]))
