"""What the loss layers have in common: a scalar top, labels without a gradient, the normaliser of loss_param."""

from __future__ import annotations

from proto2torch.layers.base import Layer

_MODES = ("FULL", "VALID", "BATCH_SIZE", "NONE")


class Loss(Layer):
    """A layer whose first top weighs 1 in the objective unless loss_weight says otherwise."""

    bottoms = (2, 2)
    tops_allowed = (1, 2)
    loss = True
    labels = (1,)

    @property
    def ignore_label(self) -> int | None:
        """The label that counts for nothing, or None."""
        loss = self.definition.message.loss_param
        return int(loss.ignore_label) if loss.HasField("ignore_label") else None

    def normalization(self, default: str) -> str | None:
        """The mode by name, or None where it is `default`; the older `normalize` counts where the mode is absent."""
        loss = self.definition.message.loss_param
        mode = default
        if loss.HasField("normalization"):
            mode = _MODES[loss.normalization]
        elif loss.HasField("normalize"):
            mode = "VALID" if loss.normalize else "BATCH_SIZE"
        if mode == "VALID" and default == "VALID":
            return None
        return None if mode == default else mode
