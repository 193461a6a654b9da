"""The activations that have no blob of their own, one value in, one value out."""

from __future__ import annotations

from proto2torch.ir.graph import Node
from proto2torch.layers.base import Code, Layer, number
from proto2torch.layers.in_place import refuse_gradient_in_place


class ReLU(Layer, type="ReLU", param="relu_param"):
    """y = max(x, 0) + negative_slope min(x, 0); at 0 the gradient is the slope."""

    allows_inplace = True

    def code(self, node: Node) -> Code:
        slope = self.p.negative_slope
        if slope < 0:
            refuse_gradient_in_place(self, node)
        return Code(f"F.leaky_relu({{0}}, {number(slope)})" if slope else "F.relu({0})")


class Sigmoid(Layer, type="Sigmoid", param="sigmoid_param"):
    """y = 1 / (1 + exp(-x))."""

    allows_inplace = True

    def code(self, node: Node) -> Code:
        return Code("torch.sigmoid({0})")


class TanH(Layer, type="TanH", param="tanh_param"):
    """y = tanh x."""

    allows_inplace = True

    def code(self, node: Node) -> Code:
        return Code("torch.tanh({0})")


class ELU(Layer, type="ELU", param="elu_param"):
    """y = x above 0, else alpha (exp(x) - 1); at 0 the gradient is alpha."""

    allows_inplace = True

    def code(self, node: Node) -> Code:
        alpha = self.p.alpha
        if alpha < 0:
            refuse_gradient_in_place(self, node)
        return Code("F.elu({0})" if alpha == 1 else f"F.elu({{0}}, {number(alpha)})")
