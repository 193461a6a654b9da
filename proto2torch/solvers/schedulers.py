"""Caffe's learning-rate policies as a scheduler of any torch optimizer."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from proto2torch.solvers.numbers import float32
from proto2torch.solvers.policies import Policy


class PolicyLR(LRScheduler):
    """Sets the rate of each update as a policy of `solvers.policies` says, stepped once after each update:

        optimizer = SGD(net.parameters(), lr=0.01, momentum=0.9)
        scheduler = PolicyLR(optimizer, Step(base_lr=0.01, gamma=0.1, stepsize=1000))
        for batch in batches:
            ...
            optimizer.step()
            scheduler.step()

    A group that starts with another rate than the policy's `base_lr` keeps its ratio to it. For `Plateau`, call
    `policy.observe(loss)` before each `step`. `state_dict` holds what the policy remembers.
    """

    def __init__(self, optimizer: Optimizer, policy: Policy, last_epoch: int = -1) -> None:
        self.policy = policy
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Any]:
        rate = self.policy.rate(self.last_epoch)
        base = float32(self.policy.base_lr)
        return [
            rate if float32(float(initial)) == base or not base else rate * initial / base for initial in self.base_lrs
        ]

    def state_dict(self) -> dict[str, Any]:
        own = {key: value for key, value in super().state_dict().items() if key != "policy"}
        return {**own, "policy": {"current_step": self.policy.current_step, **self.policy.state()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = dict(state_dict)
        self.policy.load_state(own.pop("policy"))
        super().load_state_dict(own)
