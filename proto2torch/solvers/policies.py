"""Caffe's learning-rate policies.

A policy gives the rate of the update after `iteration` finished ones (the first update asks for iteration 0). Powers
and exponentials are taken in double precision of float32 inputs, and the result is rounded to float32, as Caffe does.

`MultiFixed` and `Plateau` are not Caffe's but its forks'. As schedulers of any torch optimizer, see `schedulers`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from proto2torch.errors import SolverError
from proto2torch.solvers.numbers import exp, float32, power


@dataclass
class Policy:
    """A learning-rate policy. `current_step` counts the drops so far, where the policy drops in steps."""

    base_lr: float
    current_step: int = 0

    status: ClassVar[str] = ""
    """What the log calls a step of the policy, where Caffe logs it: `MultiStep`."""
    watches_loss: ClassVar[bool] = False
    """Whether the rate depends on the loss, which `observe` is then told before each query."""

    def observe(self, loss: float) -> None:
        """Take the smoothed loss of the iteration whose rate is asked for next."""

    def state(self) -> dict[str, Any]:
        """What the policy remembers beside `current_step`."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a `state`."""
        vars(self).update(state)

    def rate(self, iteration: int) -> float:
        """The rate for the update number `iteration`; `current_step` follows it."""
        raise NotImplementedError

    def peek(self, iteration: int) -> float:
        """The same, leaving `current_step` as it is."""
        return copy.copy(self).rate(iteration)


@dataclass
class Fixed(Policy):
    """base_lr"""

    def rate(self, iteration: int) -> float:
        return float32(self.base_lr)


@dataclass
class Step(Policy):
    """base_lr * gamma^(iteration div stepsize)"""

    gamma: float = 0.0
    stepsize: int = 1

    def rate(self, iteration: int) -> float:
        self.current_step = iteration // self.stepsize
        return float32(self.base_lr * power(self.gamma, self.current_step))


@dataclass
class Exp(Policy):
    """base_lr * gamma^iteration"""

    gamma: float = 0.0

    def rate(self, iteration: int) -> float:
        return float32(self.base_lr * power(self.gamma, iteration))


@dataclass
class Inv(Policy):
    """base_lr * (1 + gamma * iteration)^(-power)"""

    gamma: float = 0.0
    power: float = 0.0

    def rate(self, iteration: int) -> float:
        base = float32(1 + float32(self.gamma * iteration))
        return float32(self.base_lr * power(base, -self.power))


@dataclass
class MultiStep(Policy):
    """base_lr * gamma^current_step; a query moves at most one step on, when its iteration has reached the next value.

    The one step a query shows where stepvalues repeat, descend, or lie behind a restored iteration.
    """

    gamma: float = 0.0
    stepvalue: Sequence[int] = ()

    status = "MultiStep"

    def rate(self, iteration: int) -> float:
        if self.current_step < len(self.stepvalue) and iteration >= self.stepvalue[self.current_step]:
            self.current_step += 1
        return float32(self.base_lr * power(self.gamma, self.current_step))


@dataclass
class Poly(Policy):
    """base_lr * (1 - iteration / max_iter)^power"""

    power: float = 0.0
    max_iter: int = 1

    def rate(self, iteration: int) -> float:
        base = float32(1 - float32(float32(iteration) / float32(self.max_iter)))
        rate = float32(self.base_lr * power(base, self.power))
        if rate != rate:
            raise SolverError(
                f"the poly policy has no learning rate beyond max_iter {self.max_iter}. Received: iteration {iteration}"
            )
        return rate


@dataclass
class Sigmoid(Policy):
    """base_lr / (1 + exp(-gamma * (iteration - stepsize))), which rises with the iteration"""

    gamma: float = 0.0
    stepsize: int = 1

    def rate(self, iteration: int) -> float:
        exponent = float32(-self.gamma * float32(iteration - self.stepsize))
        return float32(self.base_lr / (1 + exp(exponent)))


@dataclass
class MultiFixed(Policy):
    """An extension of forks (Intel's Caffe): the rate stagelr[i] up to and including iteration stageiter[i].

    After the last stage its rate stays. `base_lr` is not used.
    """

    stagelr: Sequence[float] = ()
    stageiter: Sequence[int] = ()

    def rate(self, iteration: int) -> float:
        stages = zip(self.stagelr, self.stageiter, strict=True)
        return float32(next((rate for rate, last in stages if iteration <= last), self.stagelr[-1]))


@dataclass
class Plateau(Policy):
    """An extension of forks (SSD's Caffe and NVIDIA's): base_lr * gamma^current_step, a step where the loss rests.

    A step is made where plateau_winsize[current_step] iterations have gone by since the smoothed loss was last at its
    lowest, or since the last step; as many steps as there are window sizes. The loss is waited for in each iteration.
    """

    gamma: float = 0.0
    plateau_winsize: Sequence[int] = ()
    minimum_loss: float = math.inf
    last_event: int = 0
    """The iteration of the lowest loss or of the last step, whichever came later."""

    status = "Plateau"
    watches_loss = True
    _loss: float = math.nan

    def observe(self, loss: float) -> None:
        self._loss = loss

    def state(self) -> dict[str, Any]:
        return {"minimum_loss": self.minimum_loss, "last_event": self.last_event}

    def rate(self, iteration: int) -> float:
        if self._loss < self.minimum_loss:
            self.minimum_loss, self.last_event = self._loss, iteration
        step = self.current_step
        if step < len(self.plateau_winsize) and iteration >= self.last_event + self.plateau_winsize[step]:
            self.current_step, self.last_event = step + 1, iteration
        return float32(self.base_lr * power(self.gamma, self.current_step))


POLICIES: dict[str, type[Policy]] = {
    "fixed": Fixed,
    "step": Step,
    "exp": Exp,
    "inv": Inv,
    "multistep": MultiStep,
    "poly": Poly,
    "sigmoid": Sigmoid,
    "multifixed": MultiFixed,
    "plateau": Plateau,
}
