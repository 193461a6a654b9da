"""Convolution."""

from __future__ import annotations

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.geometry import extents, positive


class Convolution(Layer, type="Convolution", param="convolution_param"):
    """Cross-correlates with `num_output` learned filters, zero padding.

    extent = (in + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1, the division rounding toward zero: a kernel that
    reaches beyond the padded bottom by less than a stride still gives one output, the missing rows counting as zeros.
    Any number of spatial axes behind `axis`; the axes before it are batch. Blobs: weight (num_output, C / group,
    kernel…), bias (num_output). Every bottom gets the same filters.
    """

    bottoms = (1, None)
    tops_allowed = (1, None)
    starts_statement = True

    def check(self) -> None:
        if not self.p.num_output:
            raise self.error("needs num_output greater than zero", "num_output")
        if not self.p.group:
            raise self.error("group must be greater than zero. Received: 0", "group")
        if len(self.definition.message.bottom) != self.tops:
            raise self.error(f"needs as many tops as bottoms. Received: {self.tops}", "top")

    def geometry(self, x: Shape) -> tuple[int, tuple[tuple[int, ...], ...]]:
        """The channel axis, and kernel, stride, pad and dilation of each spatial axis."""
        axis = self.axis(self.p.axis, x)
        spatial = len(x) - axis - 1
        kernel = extents(self, "kernel_size", spatial, short="kernel")
        stride = extents(self, "stride", spatial, 1, short="stride")
        pad = extents(self, "pad", spatial, 0, short="pad")
        dilation = extents(self, "dilation", spatial, 1)
        for field, values in (("kernel_size", kernel), ("stride", stride), ("dilation", dilation)):
            positive(self, field, values)
        return axis, (kernel, stride, pad, dilation)

    def shapes(self, *x: Shape) -> list[Shape]:
        axis, _ = self.geometry(x[0])
        self._check_channels(x[0][axis])
        for i, other in enumerate(x):
            if other != x[0]:
                raise self.error(f"every bottom must have the shape of the first, {x[0]}. Received: {other}", f"bottom[{i}]")
        top = (*x[0][:axis], self.p.num_output, *self.extents(x[0]))
        return [top] * len(x)

    def _check_channels(self, channels: int) -> None:
        for what, count in (("the bottom's channels", channels), ("num_output", self.p.num_output)):
            if count % self.p.group:
                raise self.error(f"group {self.p.group} must divide {what}. Received: {count}", "group")

    def extents(self, x: Shape) -> tuple[int, ...]:
        """The spatial extents of the top."""
        axis, (kernel, stride, pad, dilation) = self.geometry(x)
        out = []
        for i, extent in enumerate(x[axis + 1 :]):
            reach = dilation[i] * (kernel[i] - 1) + 1
            free = extent + 2 * pad[i] - reach
            out.append((free // stride[i] if free >= 0 else -(-free // stride[i])) + 1)
            if out[-1] <= 0:
                raise self.error(
                    f"a kernel that reaches {reach} cannot lie on a padded extent of {extent + 2 * pad[i]} "
                    f"(bottom {x}). The top would have extent {out[-1]}",
                    "kernel_size",
                )
        return tuple(out)

    def blobs(self, *x: Shape) -> list[Blob]:
        axis, (kernel, *_) = self.geometry(x[0])
        weight = Blob("weight", (self.p.num_output, x[0][axis] // self.p.group, *kernel), self.p.weight_filler)
        return [weight, Blob("bias", (self.p.num_output,), self.p.bias_filler)][: 1 + self.p.bias_term]

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        axis, (kernel, stride, pad, dilation) = self.geometry(x)
        spatial = len(kernel)
        template = self._short(x, axis, (kernel, stride, pad, dilation))
        if 1 <= spatial <= 3:
            module = call(
                f"nn.Conv{spatial}d",
                x[axis],
                self.p.num_output,
                kernel,
                stride=unless(1, stride),
                padding=unless(0, pad),
                dilation=unless(1, dilation),
                groups=unless(1, self.p.group),
                bias=unless(True, self.p.bias_term),
            )
        elif spatial == 0:
            module, template = self._pointwise(x[axis]), "{me}({0}.unsqueeze(-1)).squeeze(-1)"
        else:
            raise self.refuse(f"convolution over {spatial} spatial axes is beyond torch, which has 3 at most")
        if axis != 1:
            template = template.replace("{0}", _flatten_batch(axis)) + _unflatten_batch(axis)
        return Code(", ".join(template.replace("{0}", f"{{{i}}}") for i in range(len(node.inputs))), module)

    def _pointwise(self, channels: int) -> str:
        return call("nn.Conv1d", channels, self.p.num_output, 1, groups=unless(1, self.p.group), bias=unless(True, self.p.bias_term))

    def _short(self, x: Shape, axis: int, geometry: tuple[tuple[int, ...], ...]) -> str:
        """The input, padded at its end where the kernel reaches beyond it by less than a stride."""
        kernel, _, pad, dilation = geometry
        missing = [
            max(0, d * (k - 1) + 1 - (extent + 2 * p))
            for extent, k, p, d in zip(x[axis + 1 :], kernel, pad, dilation, strict=True)
        ]
        if not any(missing):
            return "{me}({0})"
        pads = [n for m in reversed(missing) for n in (0, m)]
        return f"{{me}}(F.pad({{0}}, {pads}))"


def _flatten_batch(axis: int) -> str:
    """The axes before the channels as one."""
    return "{0}[None]" if axis == 0 else f"{{0}}.flatten(0, {axis - 1})"


def _unflatten_batch(axis: int) -> str:
    return "[0]" if axis == 0 else f".unflatten(0, {{0}}.shape[:{axis}])"

