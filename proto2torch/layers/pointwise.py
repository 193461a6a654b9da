"""The functions that take each value by itself: AbsVal, BNLL, Clip, Exp, Log, Power, Swish, Threshold."""

from __future__ import annotations

import math

from proto2torch.ir.graph import Node
from proto2torch.layers.base import Code, Layer, number
from proto2torch.layers.in_place import refuse_gradient_in_place

_E = -1
"""The base that stands for e."""


class AbsVal(Layer, type="AbsVal"):
    """y = |x|; at 0 the gradient is 0."""

    differs = "Refused in place, as in Caffe."

    def code(self, node: Node) -> Code:
        return Code("torch.abs({0})")


class BNLL(Layer, type="BNLL"):
    """y = log(1 + exp(x)), the binomial normal log likelihood.

    In place Caffe takes the gradient where it finds the top: dx = dy sigmoid(y).
    """

    differs = (
        "F.softplus, more accurate than Caffe far below zero, where Caffe's log(1 + e^x) rounds to 0. In place "
        "Caffe takes the gradient at its own top, and so does this."
    )

    allows_inplace = True
    backward_reads = frozenset({"bottom"})

    def in_memory(self) -> tuple[str, str]:
        return "F.softplus", "torch.sigmoid"

    def code(self, node: Node) -> Code:
        if self.inplace and node.propagate[0]:
            return Code("overwritten({0}, F.softplus, torch.sigmoid)")
        return Code("F.softplus({0})")


class Clip(Layer, type="Clip", param="clip_param"):
    """y = x within [min, max]; the gradient passes there, bounds included, and nowhere else.

    In place Caffe looks for the bounds in the top, which never leaves them: the gradient passes everywhere.
    """

    differs = (
        "The gradient passes at the bounds, which torch.clamp gives too, but in place passes everywhere, because "
        "Caffe looks at the top. NaN passes, as in torch."
    )

    allows_inplace = True
    backward_reads = frozenset({"bottom"})

    def in_memory(self) -> tuple[str, str]:
        low, high = number(self.p.min), number(self.p.max)
        return f"lambda x: x.clamp({low}, {high})", f"lambda y: ((y >= {low}) & (y <= {high})).to(y.dtype)"

    def check(self) -> None:
        for field in ("min", "max"):
            if not self.p.HasField(field):
                raise self.error(f"needs {field}", field)
        if self.p.min > self.p.max:
            received = f"{number(self.p.min)} and {number(self.p.max)}"
            raise self.error(f"min must not be larger than max. Received: {received}", "min")

    def _bounds(self) -> str:
        """Both whole or both with a point: torch's way to ONNX takes no others."""
        both = [number(self.p.min), number(self.p.max)]
        whole = [text.lstrip("-").isdecimal() for text in both]
        if any(whole) and not all(whole):
            both = [f"{text}.0" if is_whole else text for text, is_whole in zip(both, whole, strict=True)]
        return ", ".join(both)

    def code(self, node: Node) -> Code:
        bounds = self._bounds()
        if not node.propagate[0]:
            return Code(f"{{0}}.clamp({bounds})")
        if self.inplace:
            return Code(f"overwritten({{0}}, lambda x: x.clamp({bounds}), torch.ones_like)")
        return Code(f"clip({{0}}, {bounds})")


class Exp(Layer, type="Exp", param="exp_param"):
    """y = base ^ (shift + scale x), computed as base ^ shift times base ^ (scale x); base -1 is e."""

    differs = "base^shift times base^(scale x), as Caffe multiplies them, so that it overflows where Caffe does."

    allows_inplace = True
    backward_reads = frozenset({"top"})

    def check(self) -> None:
        base = self.p.base
        if base != _E and not 0 < base < math.inf:
            raise self.error(f"base must be -1, for e, or greater than zero. Received: {number(base)}", "base")

    def code(self, node: Node) -> Code:
        base = number(self.p.base)
        exponent = _times(self.p.scale, "{0}")
        if self.p.base == _E:
            factor, power = f"math.exp({number(self.p.shift)})", f"torch.exp({exponent})"
        elif self.p.base == 2:
            factor, power = f"2 ** {_signed(self.p.shift)}", f"torch.exp2({exponent})"
        else:
            factor, power = f"{base} ** {_signed(self.p.shift)}", f"{base} ** {_bracketed(exponent)}"
        return Code(f"{factor} * {power}" if self.p.shift else power)


class Log(Layer, type="Log", param="log_param"):
    """y = log(shift + scale x) to the base `base`; -1 is e."""

    differs = "Training in place is refused: Caffe reads what it has overwritten."

    allows_inplace = True
    backward_reads = frozenset({"bottom"})

    def check(self) -> None:
        base = self.p.base
        if base != _E and (not 0 < base < math.inf or base == 1):
            text = f"base must be -1, for e, or greater than zero and not 1. Received: {number(base)}"
            raise self.error(text, "base")

    def code(self, node: Node) -> Code:
        refuse_gradient_in_place(self, node)
        base, argument = self.p.base, _affine(self.p.scale, self.p.shift)
        function = {_E: "torch.log", 2.0: "torch.log2", 10.0: "torch.log10"}.get(base)
        return Code(f"{function}({argument})" if function else f"torch.log({argument}) / math.log({number(base)})")


class Power(Layer, type="Power", param="power_param"):
    """y = (shift + scale x) ^ power.

    The gradient is dy power scale y / (shift + scale x), which is NaN where that is 0, save for powers 1 and 2, which
    have their own rule, and where power or scale is 0: y is constant, and the gradient 0.
    """

    differs = (
        "Powers other than 0, 1 and 2 have Caffe's gradient, power scale y / (shift + scale x), which is NaN where "
        "that is 0. Training in place is refused save for power 1."
    )

    allows_inplace = True

    @property
    def backward_reads(self) -> frozenset[str]:  # type: ignore[override]
        """A linear function needs neither."""
        return frozenset() if self.p.power in (0, 1) or not self.p.scale else frozenset({"bottom", "top"})

    def code(self, node: Node) -> Code:
        power, scale, shift = self.p.power, self.p.scale, self.p.shift
        if power == 1 and scale:
            return Code(_affine(scale, shift))
        refuse_gradient_in_place(self, node)
        base = _bracketed(_affine(scale, shift))
        if power == 2 and scale:
            return Code(f"{base}.square()")
        if power * scale and not node.propagate[0]:
            return Code(f"{base} ** {number(power)}")
        arguments = [number(power)]
        arguments += [f"scale={number(scale)}"] if scale != 1 else []
        arguments += [f"shift={number(shift)}"] if shift else []
        return Code(f"caffe_power({{0}}, {', '.join(arguments)})")


class Swish(Layer, type="Swish", param="swish_param"):
    """y = x sigmoid(beta x)."""

    allows_inplace = True
    backward_reads = frozenset({"top"})

    def code(self, node: Node) -> Code:
        beta = self.p.beta
        return Code("F.silu({0})" if beta == 1 else f"{{0}} * torch.sigmoid({_times(beta, '{0}')})")


class Threshold(Layer, type="Threshold", param="threshold_param"):
    """y = 1 where x > threshold, else 0; there is no gradient."""

    differs = "No gradient: Caffe aborts on one."

    allows_inplace = True
    differentiable = False

    def code(self, node: Node) -> Code:
        return Code(f"({{0}} > {number(self.p.threshold)}).to({{0}}.dtype)")


def _times(factor: float, place: str) -> str:
    return place if factor == 1 else f"{number(factor)} * {place}"


def _signed(value: float) -> str:
    return number(value) if value >= 0 else f"({number(value)})"


def _bracketed(expression: str) -> str:
    return expression if expression == "{0}" else f"({expression})"


def _affine(scale: float, shift: float) -> str:
    """`scale x + shift` as a person writes it."""
    text = "-{0}" if scale == -1 else _times(scale, "{0}")
    return text if not shift else f"{text} {'-' if shift < 0 else '+'} {number(abs(shift))}"
