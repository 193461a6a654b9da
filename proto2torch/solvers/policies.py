"""Caffe's learning-rate policies.

A policy gives the rate of the update after `iteration` finished ones (the first update asks for iteration 0). Powers
and exponentials are taken in double precision of float32 inputs, and the result is rounded to float32, as Caffe does.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from proto2torch.errors import SolverError
from proto2torch.solvers.numbers import exp, float32, power


@dataclass
class Policy:
    """A learning-rate policy. `current_step` counts the drops so far, where the policy drops in steps."""

    base_lr: float
    current_step: int = 0

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


POLICIES: dict[str, type[Policy]] = {
    "fixed": Fixed,
    "step": Step,
    "exp": Exp,
    "inv": Inv,
    "multistep": MultiStep,
    "poly": Poly,
    "sigmoid": Sigmoid,
}
