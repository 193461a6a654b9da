"""ReLU6, SeLU, HardSigmoid, HardSwish and Mish: one value in, one value out."""

from __future__ import annotations

from proto2torch.ir.graph import Node
from proto2torch.layers.base import Code, Layer, number
from proto2torch.layers.in_place import refuse_gradient_in_place
from proto2torch.layers.variants import understood


class ReLU6(Layer, type="ReLU6", param="relu6_param"):
    """y = min(max(x, 0) + negative_slope min(x, 0), 6); the gradient is 0 from 6 on, and the slope at 0."""

    forks = ("yolo", "mobilenet-ssd", "synopsys", "windows")
    fork_fields = understood("relu6_param", "negative_slope", "engine")
    allows_inplace = True
    backward_reads = frozenset({"bottom"})

    def code(self, node: Node) -> Code:
        if self.p.negative_slope < 0:
            refuse_gradient_in_place(self, node)
        return Code(self._leaky("{0}") if self.p.negative_slope else "F.relu6({0})")

    def _leaky(self, x: str) -> str:
        return f"F.hardtanh(F.leaky_relu({x}, {number(self.p.negative_slope)}), {number(float('-inf'))}, 6)"

    def in_memory(self) -> tuple[str, str]:
        slope = self.p.negative_slope
        rule = f"lambda y: torch.where(y > 0, 1.0, {number(slope)}) * (y < 6)"
        return f"lambda x: {self._leaky('x')}" if slope else "F.relu6", rule


class SeLU(Layer, type="SeLU", param="selu_param"):
    """y = lambda x above 0, else lambda alpha (exp(x) - 1)."""

    forks = ("synopsys",)
    fork_fields = understood("selu_param", "lambda", "alpha")
    allows_inplace = True
    backward_reads = frozenset({"bottom"})

    def code(self, node: Node) -> Code:
        refuse_gradient_in_place(self, node)
        scale, alpha = getattr(self.p, "lambda"), self.p.alpha
        defaults = {field.name: field.default_value for field in self.p.DESCRIPTOR.fields}
        if (scale, alpha) == (defaults["lambda"], defaults["alpha"]):
            return Code("F.selu({0})")
        return Code(f"{number(scale)} * F.elu({{0}}, {number(alpha)})")


class HardSigmoid(Layer, type="HardSigmoid", param="hard_sigmoid_param"):
    """y = alpha x + beta within [0, 1]; the fork has no backward."""

    forks = ("synopsys",)
    fork_fields = understood("hard_sigmoid_param", "alpha", "beta")
    allows_inplace = True
    differentiable = False

    def code(self, node: Node) -> Code:
        return Code(f"({number(self.p.alpha)} * {{0}} + {number(self.p.beta)}).clamp(0, 1)")


class HardSwish(Layer, type="HardSwish"):
    """y = x times x + 3 within [0, 6], over 6; the fork has no backward."""

    forks = ("synopsys",)
    allows_inplace = True
    differentiable = False

    def code(self, node: Node) -> Code:
        return Code("F.hardswish({0})")


class Mish(Layer, type="Mish"):
    """y = x tanh(log(1 + exp(x))). The fork's backward takes the derivative at y, not at x."""

    differs = "F.mish; in training its gradient is dy mish'(y), the derivative at the wrong place, as in the fork."
    forks = ("synopsys",)
    allows_inplace = True
    backward_reads = frozenset({"top"})

    def in_memory(self) -> tuple[str, str]:
        return "F.mish", "mish_slope"

    def code(self, node: Node) -> Code:
        trains = self.net_phase == "TRAIN" and node.propagate[0]
        return Code("overwritten({0}, F.mish, mish_slope)" if trains else "F.mish({0})")
