"""ConvolutionDepthwise and DepthwiseConvolution: a kernel for each channel."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, call, unless
from proto2torch.layers.convolution import Convolution, Kernel, Sliding
from proto2torch.layers.geometry import check_planes, positive
from proto2torch.layers.variants import Variants


class DepthwiseConvolution(Convolution, type="DepthwiseConvolution", param="convolution_param"):
    """Convolution under another name: its forks have a faster kernel for as many groups as channels.

    Without `group` it is a full convolution, as on a CPU there.
    """

    forks = ("yolo", "windows")


class ChannelwiseConvolution(Sliding, param="convolution_param"):
    """Cross-correlates each channel with its own learned filter; num_output and group are not read.

    kernel_h and kernel_w, stride_h and stride_w, pad_h and pad_w count where both of a pair are given, else
    kernel_size, stride and pad, of one or two values. Blobs: weight (C, 1, kernel_h, kernel_w), bias (C).
    """

    differs = "nn.Conv2d with a group a channel. A stride or pad that is left out is 1 or 0; the fork reads beyond it."
    forks = ("mobilenet-ssd", "windows", "pr5665")
    starts_statement = True

    def kernel(self, x: Shape) -> Kernel:
        check_planes(self, x)
        size = self._pair("kernel_size", "kernel", None)
        stride, pad = self._pair("stride", "stride", 1), self._pair("pad", "pad", 0)
        dilation = self._pair("dilation", "", 1)
        for field, values in (("kernel_size", size), ("stride", stride), ("dilation", dilation)):
            positive(self, field, values)
        return Kernel(1, size, stride, pad, dilation)

    def _pair(self, field: str, stem: str, default: int | None) -> tuple[int, int]:
        p = self.p
        if stem and p.HasField(f"{stem}_h") and p.HasField(f"{stem}_w"):
            return int(getattr(p, f"{stem}_h")), int(getattr(p, f"{stem}_w"))
        values = list(getattr(p, field)) or ([] if default is None else [default])
        if len(values) not in (1, 2):
            given = f"once or twice. Received: {values or 'nothing'}"
            raise self.error(f"{field} must be given {given}", field)
        return int(values[0]), int(values[-1])

    def shapes(self, *x: Shape) -> list[Shape]:
        check_planes(self, x[0])
        return [(*x[0][:2], *self.slid(x[0]))]

    def blobs(self, *x: Shape) -> list[Blob]:
        weight = Blob("weight", (x[0][1], 1, *self.kernel(x[0]).size), self.p.weight_filler)
        return [weight, Blob("bias", (x[0][1],), self.p.bias_filler)][: 1 + self.p.bias_term]

    def multiply_adds(self, *x: Shape) -> int:
        """Every value of the top sums a kernel of products."""
        return prod(self.shapes(*x)[0]) * prod(self.kernel(x[0]).size)

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        kernel = self.kernel(x)
        module = call(
            "nn.Conv2d",
            x[1],
            x[1],
            kernel.size,
            stride=unless(1, kernel.stride),
            padding=unless(0, kernel.pad),
            dilation=unless(1, kernel.dilation),
            groups=unless(1, x[1]),
            bias=unless(True, self.p.bias_term),
        )
        missing = kernel.missing(x)
        padded = f"F.pad({{0}}, {[n for m in reversed(missing) for n in (0, m)]})" if any(missing) else "{0}"
        return Code(f"{{me}}({padded})", module)


class SynopsysDepthwise(Convolution, param="convolution_param"):
    """Synopsys: Convolution under another name, num_output and group as there."""

    forks = ("synopsys",)


class ConvolutionDepthwise(Variants, type="ConvolutionDepthwise", variants=(ChannelwiseConvolution, SynopsysDepthwise)):
    """A learned filter for each channel, num_output and group not read; in a net of synopsys a Convolution."""

    differs = ChannelwiseConvolution.differs
    otherwise = ChannelwiseConvolution
