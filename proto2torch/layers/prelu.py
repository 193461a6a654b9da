"""PReLU: a rectifier with learned slopes."""

from __future__ import annotations

from typing import Any

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call


class PReLU(Layer, type="PReLU", param="prelu_param"):
    """y = max(x, 0) + a min(x, 0), with one slope a channel (axis 1), or one for all with channel_shared.

    Blobs: the slopes, (C) or a scalar; filled with 0.25 where no filler is given.
    """

    differs = "The slope's shape is Caffe's; channel_shared has a scalar."

    allows_inplace = True

    def shapes(self, *x: Shape) -> list[Shape]:
        if len(x[0]) < 2:
            raise self.error(f"needs at least 2 axes. Received: a bottom of shape {x[0]}", "bottom")
        return [x[0]]

    def blobs(self, *x: Shape) -> list[Blob]:
        shape = () if self.p.channel_shared else (x[0][1],)
        return [Blob("weight", shape, self._filler())]

    def _filler(self) -> Any:
        filler = self.p.filler
        if not self.p.HasField("filler"):
            filler = type(filler)(type="constant", value=0.25)
        return filler

    def code(self, node: Node) -> Code:
        channels = 1 if self.p.channel_shared else node.inputs[0].shape[1]
        return Code("{me}({0})", call("nn.PReLU", *([] if channels == 1 else [channels])))
