"""The activations that have no blob of their own, one value in, one value out."""

from __future__ import annotations

from proto2torch.ir.graph import Node
from proto2torch.layers.base import Code, Layer, number
from proto2torch.layers.in_place import refuse_gradient_in_place


class ReLU(Layer, type="ReLU", param="relu_param"):
    """y = max(x, 0) + negative_slope min(x, 0); at 0 the gradient is the slope."""

    differs = (
        "At 0 the gradient is the slope, as in torch. Of -inf it makes 0 or -inf; Caffe on a CPU makes NaN. Behind "
        "it an in-place layer changes its gradient in Caffe, and so here. In place with a slope below 0, training "
        "is refused: the sign that Caffe's backward reads is lost."
    )

    allows_inplace = True
    backward_reads = frozenset({"bottom"})

    def in_memory(self) -> tuple[str, str]:
        slope = number(self.p.negative_slope)
        function = f"lambda x: F.leaky_relu(x, {slope})" if self.p.negative_slope else "F.relu"
        return function, f"lambda y: torch.where(y > 0, 1.0, {slope})"

    def survives(self, later: Layer) -> bool:
        """Dropout keeps the sign of what it does not drop, and lets no gradient through what it does."""
        return later.type == "Dropout" or (later.type == "ReLU" and self.p.negative_slope >= 0)

    def code(self, node: Node) -> Code:
        slope = self.p.negative_slope
        if slope < 0:
            refuse_gradient_in_place(self, node)
        return Code(f"F.leaky_relu({{0}}, {number(slope)})" if slope else "F.relu({0})")


class Sigmoid(Layer, type="Sigmoid", param="sigmoid_param"):
    """y = 1 / (1 + exp(-x))."""

    differs = "Behind it an in-place layer changes its gradient in Caffe, and so here."

    allows_inplace = True
    backward_reads = frozenset({"top"})

    def in_memory(self) -> tuple[str, str]:
        return "torch.sigmoid", "lambda y: y * (1 - y)"

    def code(self, node: Node) -> Code:
        return Code("torch.sigmoid({0})")


class TanH(Layer, type="TanH", param="tanh_param"):
    """y = tanh x."""

    differs = "Behind it an in-place layer changes its gradient in Caffe, and so here."

    allows_inplace = True
    backward_reads = frozenset({"top"})

    def in_memory(self) -> tuple[str, str]:
        return "torch.tanh", "lambda y: 1 - y * y"

    def code(self, node: Node) -> Code:
        return Code("torch.tanh({0})")


class ELU(Layer, type="ELU", param="elu_param"):
    """y = x above 0, else alpha (exp(x) - 1); at 0 the gradient is alpha."""

    differs = (
        "At 0 the gradient is alpha, as in torch. In place with an alpha below 0, training is refused: the "
        "sign that Caffe's backward reads is lost."
    )

    allows_inplace = True
    backward_reads = frozenset({"bottom", "top"})

    def in_memory(self) -> tuple[str, str] | None:
        if not self.inplace:
            return None  # it reads the sign of its bottom, which is whole, and the value of its top, which is not
        alpha = number(self.p.alpha)
        return f"lambda x: F.elu(x, {alpha})", f"lambda y: torch.where(y > 0, 1.0, {alpha} + y)"

    def code(self, node: Node) -> Code:
        alpha = self.p.alpha
        if alpha < 0:
            refuse_gradient_in_place(self, node)
        return Code("F.elu({0})" if alpha == 1 else f"F.elu({{0}}, {number(alpha)})")
