"""What an iteration of a training computes on the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from proto2torch.net import Net
from proto2torch.training.debug_info import DebugInfo
from proto2torch.training.scaling import Scale
from proto2torch.training.update import Update
from proto2torch.training.watch import Watch

Batch = Mapping[str, Tensor]
Found = tuple[dict[str, Tensor], Tensor]
"""The net's outputs, by name, and its objective."""


class Iteration:
    """Forward and backward over the batches of an iteration, and the update that its gradients ask for."""

    def __init__(self, net: Net, update: Update, scale: Scale | None, watch: Watch | None) -> None:
        self._net, self._update, self._scale, self._watch = net, update, scale, watch
        self._number = torch.zeros((), dtype=torch.int64, device=net.device)  # of the next `whole`
        self._counted = 0  # what it is, as the host knows

    def gradients(
        self, batches: Iterable[Batch], iteration: int | Tensor | None = None, debug: DebugInfo | None = None
    ) -> Found:
        """The outputs of the last batch and the mean objective of all; the gradients add up in the parameters.

        Args:
            batches: the inputs of the net; an empty one stands for the next batch of its data layers.
            iteration: the number under which losses are watched; without it they are not.
            debug: runs the net and logs on the way.
        """
        self._update.rule.zero_grad()
        losses = []
        for inputs in batches:
            outputs = debug.forward() if debug else self._net(**inputs)
            losses.append(self._net.loss.detach())
            if self._watch and iteration is not None:
                self._watch.loss(iteration, losses[-1])
            if debug:
                debug.backward()
            elif self._net.loss.requires_grad:
                self._scaled(self._net.loss).backward()  # type: ignore[no-untyped-call]
        if debug and self._scale:  # it logs gradients as they are
            self._scale.scale([blob.tensor.grad for blob in self._net.learned if blob.tensor.grad is not None])
        found = {name: value.detach() for name, value in outputs.items()}
        return found, losses[0] if len(losses) == 1 else torch.stack(losses).sum() / len(losses)

    def _scaled(self, loss: Tensor) -> Tensor:
        return self._scale.of(loss) if self._scale else loss

    def prepare(self, iteration: int) -> bool:
        """The host's part of `whole`; gives whether a `whole` that was recorded makes this iteration."""
        if iteration != self._counted:
            self._number.fill_(iteration)
        self._counted = iteration + 1
        return self._update.prepare(iteration)

    def whole(self, batches: Iterable[Batch]) -> Found:
        """The device's part of an iteration with its update; nothing in it is looked at on the way."""
        found = self.gradients(batches, self._number)
        if self._scale:
            self._update.unscale(self._scale, check=False)
        self._update.make()
        self._number += 1
        return found
