"""Convolution, Deconvolution and Im2col: the layers that slide a kernel over the axes behind the channels."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import Code, Layer, call, unless
from proto2torch.layers.geometry import extents, positive


@dataclass(frozen=True)
class Kernel:
    """The geometry over one bottom: each field for every spatial axis."""

    axis: int
    """The channel axis; those before it are batch, those behind it spatial."""
    size: tuple[int, ...]
    stride: tuple[int, ...]
    pad: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        """How far it extends: dilation (size - 1) + 1."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.size, self.dilation, strict=True))

    def missing(self, x: Shape) -> tuple[int, ...]:
        """How far it reaches beyond the padded bottom."""
        spatial = x[self.axis + 1 :]
        return tuple(max(0, r - n - 2 * p) for n, r, p in zip(spatial, self.reach, self.pad, strict=True))

    def slid(self, x: Shape) -> tuple[int, ...]:
        """(in + 2 pad - reach) / stride + 1, the division rounding toward zero as C's does."""
        free = (n + 2 * p - r for n, r, p in zip(x[self.axis + 1 :], self.reach, self.pad, strict=True))
        return tuple((f // s if f >= 0 else -(-f // s)) + 1 for f, s in zip(free, self.stride, strict=True))

    def misses(self, x: Shape) -> bool:
        """Whether along some axis none of its places touches the bottom, so that all it reads there is padding."""
        axes = zip(x[self.axis + 1 :], self.slid(x), self.size, self.stride, self.pad, self.dilation, strict=True)
        return any(
            not any(0 <= o * s - p + d * i < n for o in range(out) for i in range(k)) for n, out, k, s, p, d in axes
        )

    def spread(self, x: Shape) -> tuple[int, ...]:
        """stride (in - 1) + reach - 2 pad."""
        spatial = zip(x[self.axis + 1 :], self.stride, self.reach, self.pad, strict=True)
        return tuple(s * (n - 1) + r - 2 * p for n, s, r, p in spatial)


class Sliding(Layer):
    """What the three share: convolution_param's geometry."""

    def kernel(self, x: Shape) -> Kernel:
        """The geometry over a bottom of shape `x`."""
        axis = self.axis(self.p.axis, x)
        spatial = len(x) - axis - 1
        size = extents(self, "kernel_size", spatial, short="kernel") if spatial else ()
        stride = extents(self, "stride", spatial, 1, short="stride")
        pad = extents(self, "pad", spatial, 0, short="pad")
        dilation = extents(self, "dilation", spatial, 1)
        for field, values in (("kernel_size", size), ("stride", stride), ("dilation", dilation)):
            positive(self, field, values)
        return Kernel(axis, size, stride, pad, dilation)

    def slid(self, x: Shape) -> tuple[int, ...]:
        """The spatial extents of a top that holds one value for each place of the kernel."""
        kernel = self.kernel(x)
        out = kernel.slid(x)
        if any(extent <= 0 for extent in out):
            raise self.error(
                f"a kernel that reaches {kernel.reach} cannot lie on a bottom of shape {x} with pad {kernel.pad}: the "
                f"top would have extents {out}",
                "kernel_size",
            )
        return out


class Convolution(Sliding, type="Convolution", param="convolution_param"):
    """Cross-correlates with `num_output` learned filters, zero padding.

    extent = (in + 2 pad - (dilation (kernel - 1) + 1)) / stride + 1, the division rounding toward zero: a kernel that
    reaches beyond the padded bottom by less than a stride still gives one output, the missing rows counting as zeros.
    Up to 3 spatial axes behind `axis`; the axes before it are batch. Blobs: weight (num_output, C / group, kernel…),
    bias (num_output). Every bottom gets the same filters.
    """

    differs = (
        "nn.Conv; where the kernel reaches beyond the bottom by less than a stride, Caffe still makes one output, "
        "so the bottom is padded with zeros first. Axes before `axis` are laid together as batch."
    )

    bottoms = (1, None)
    tops_allowed = (1, None)
    starts_statement = True
    module = "nn.Conv"

    def check(self) -> None:
        if not self.p.num_output:
            raise self.error("needs num_output greater than zero", "num_output")
        if not self.p.group:
            raise self.error("group must be greater than zero. Received: 0", "group")
        if len(self.definition.message.bottom) != self.tops:
            raise self.error(f"needs as many tops as bottoms. Received: {self.tops}", "top")

    def shapes(self, *x: Shape) -> list[Shape]:
        kernel = self.kernel(x[0])
        if len(kernel.size) > 3:
            raise self.refuse(f"{len(kernel.size)} spatial axes are beyond torch, which has 3 at most", "axis")
        self._check_channels(x[0][kernel.axis])
        for i, other in enumerate(x):
            if other != x[0]:
                text = f"every bottom must have the shape of the first, {x[0]}. Received: {other}"
                raise self.error(text, f"bottom[{i}]")
        return [(*x[0][: kernel.axis], self.p.num_output, *self.extents(x[0]))] * len(x)

    def _check_channels(self, channels: int) -> None:
        for what, count in (("the bottom's channels", channels), ("num_output", self.p.num_output)):
            if count % self.p.group:
                raise self.error(f"group {self.p.group} must divide {what}. Received: {count}", "group")

    def extents(self, x: Shape) -> tuple[int, ...]:
        """The spatial extents of the top."""
        return self.slid(x)

    def blobs(self, *x: Shape) -> list[Blob]:
        kernel = self.kernel(x[0])
        weight = Blob("weight", (*self._filters(x[0][kernel.axis]), *kernel.size), self.p.weight_filler)
        return [weight, Blob("bias", (self.p.num_output,), self.p.bias_filler)][: 1 + self.p.bias_term]

    def _filters(self, channels: int) -> tuple[int, int]:
        return self.p.num_output, channels // self.p.group

    def multiply_adds(self, *x: Shape) -> int:
        """Every value of a top sums C / group * kernel products."""
        return sum(prod(top) for top in self.shapes(*x)) * self._products(x[0])

    def _products(self, x: Shape) -> int:
        """The products in which each value of the top, or of a Deconvolution's bottom, takes part."""
        kernel = self.kernel(x)
        return self._filters(x[kernel.axis])[1] * prod(kernel.size)

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        kernel = self.kernel(x)
        module = call(
            f"{self.module}{len(kernel.size) or 1}d",
            x[kernel.axis],
            self.p.num_output,
            kernel.size or 1,
            stride=unless(1, kernel.stride or 1),
            padding=unless(0, kernel.pad or 0),
            dilation=unless(1, kernel.dilation or 1),
            groups=unless(1, self.p.group),
            bias=unless(True, self.p.bias_term),
        )
        template = self.template(x, kernel)
        return Code(", ".join(template.replace("{0}", f"{{{i}}}") for i in range(len(node.inputs))), module)

    def template(self, x: Shape, kernel: Kernel) -> str:
        """The module called on a bottom laid out as torch has it: (batch, channels, spatial…)."""
        place = {0: "{0}[None]", 1: "{0}"}.get(kernel.axis, f"{{0}}.flatten(0, {kernel.axis - 1})")
        place = self.padded(f"{place}[..., None]" if not kernel.size else place, x, kernel)
        text = f"{{me}}({place})"
        if not kernel.size:
            text += ".squeeze(-1)"
        if kernel.axis == 1:
            return text
        return f"{text}[0]" if kernel.axis == 0 else f"{text}.unflatten(0, {{0}}.shape[:{kernel.axis}])"

    def padded(self, place: str, x: Shape, kernel: Kernel) -> str:
        """The bottom, padded at its end where the kernel reaches beyond it by less than a stride."""
        missing = kernel.missing(x)
        if not any(missing):
            return place
        return f"F.pad({place}, {[n for m in reversed(missing) for n in (0, m)]})"


class Deconvolution(Convolution, type="Deconvolution", param="convolution_param"):
    """The adjoint of a convolution: every value of the bottom adds its learned filter to the top.

    extent = stride (in - 1) + dilation (kernel - 1) + 1 - 2 pad. Up to 3 spatial axes behind `axis`; the axes before it
    are batch. Blobs: weight (C, num_output / group, kernel…), bias (num_output). Every bottom gets the same filters.
    """

    differs = "nn.ConvTranspose, whose layout is Caffe's."

    module = "nn.ConvTranspose"

    def extents(self, x: Shape) -> tuple[int, ...]:
        kernel = self.kernel(x)
        out = kernel.spread(x)
        if any(extent <= 0 for extent in out):
            raise self.error(
                f"pad {kernel.pad} leaves nothing of the top: its extents would be {out} (bottom {x})", "pad"
            )
        return out

    def _filters(self, channels: int) -> tuple[int, int]:
        return channels, self.p.num_output // self.p.group

    def multiply_adds(self, *x: Shape) -> int:
        """Every value of a bottom is multiplied by num_output / group * kernel weights."""
        return sum(prod(bottom) for bottom in x) * self._products(x[0])

    def padded(self, place: str, x: Shape, kernel: Kernel) -> str:
        return place


class Im2col(Sliding, type="Im2col", param="convolution_param"):
    """Lays the values under the kernel at each of its places one behind another along the channel axis.

    Channel c of the bottom at kernel offset (i, j) becomes channel (c kernel_h + i) kernel_w + j; spatial extents are
    those of a Convolution. num_output and group count for nothing.
    """

    differs = "F.unfold for planes; its channels come in Caffe's order."

    def shapes(self, *x: Shape) -> list[Shape]:
        kernel = self.kernel(x[0])
        if not kernel.size:
            raise self.error(f"needs a spatial axis behind axis {kernel.axis} of a bottom of shape {x[0]}", "axis")
        channels = x[0][kernel.axis]
        for extent in kernel.size:
            channels *= extent
        return [(*x[0][: kernel.axis], channels, *self.slid(x[0]))]

    def code(self, node: Node) -> Code:
        kernel = self.kernel(node.inputs[0].shape)
        arguments = call(
            "",
            list(kernel.size),
            stride=unless(1, kernel.stride) and list(kernel.stride),
            pad=unless(0, kernel.pad) and list(kernel.pad),
            dilation=unless(1, kernel.dilation) and list(kernel.dilation),
        )
        return Code(f"im2col({{0}}, {arguments[1:-1]})")
