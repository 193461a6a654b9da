"""The layers that only reshape or route: Flatten, Reshape, Concat, Split, Silence."""

from __future__ import annotations

from math import prod

from proto2torch.ir.graph import Node, Shape
from proto2torch.layers.base import Code, Layer


class Flatten(Layer, type="Flatten", param="flatten_param"):
    """Merges the axes from `axis` to `end_axis`, both included."""

    differs = (
        "In Caffe the top is the bottom's own memory, and that of Reshape, of a Concat of one bottom and of a Slice "
        "into one top too: an in-place layer behind it is refused where the bottom is still read."
    )

    def shares_memory(self) -> bool:
        return True

    def _ends(self, x: Shape) -> tuple[int, int]:
        start, end = self.axis(self.p.axis, x), self.axis(self.p.end_axis, x, "end_axis")
        if end < start:
            raise self.error(f"end_axis must not lie before axis. Received: axis {start}, end_axis {end}", "end_axis")
        return start, end

    def shapes(self, *x: Shape) -> list[Shape]:
        start, end = self._ends(x[0])
        return [(*x[0][:start], prod(x[0][start : end + 1]), *x[0][end + 1 :])]

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        start, end = self._ends(x)
        if start == end:
            return Code("{0}")
        return Code(f"{{0}}.flatten({start})" if end == len(x) - 1 else f"{{0}}.flatten({start}, {end})")


class Reshape(Layer, type="Reshape", param="reshape_param"):
    """Replaces `num_axes` axes from `axis` on by the dims of `shape`: 0 copies the bottom's dim, one -1 is inferred.

    A negative `axis` counts from behind the last axis, so -1 appends.
    """

    differs = "A negative axis counts from behind the last."

    def shares_memory(self) -> bool:
        return True

    def check(self) -> None:
        dims = list(self.p.shape.dim)
        if dims.count(-1) > 1:
            raise self.error(f"at most one dim may be -1. Received: {dims}", "shape")
        if any(d < -1 for d in dims):
            raise self.error(f"dims must be at least -1. Received: {dims}", "shape")

    def _span(self, x: Shape) -> tuple[int, int]:
        axis, count = self.p.axis, self.p.num_axes
        start = axis if axis >= 0 else len(x) + axis + 1
        if not 0 <= start <= len(x):
            raise self.error(
                f"axis must lie in [{-len(x) - 1}, {len(x)}] for a bottom of shape {x}. Received: {axis}", "axis"
            )
        end = len(x) if count == -1 else start + count
        if count < -1 or end > len(x):
            raise self.error(f"num_axes must be -1, or fit in a bottom of shape {x}. Received: {count}", "num_axes")
        return start, end

    def _dims(self, x: Shape) -> tuple[int, list[int], int]:
        """Start and end of what is replaced, and the dims that replace it, 0 and -1 still in them."""
        start, end = self._span(x)
        dims = list(self.p.shape.dim)
        for i, dim in enumerate(dims):
            if dim == 0 and start + i >= len(x):
                raise self.error(f"dim 0 copies axis {start + i} of the bottom, which has shape {x}", f"shape.dim[{i}]")
        return start, dims, end

    def shapes(self, *x: Shape) -> list[Shape]:
        start, dims, end = self._dims(x[0])
        known = [x[0][start + i] if d == 0 else d for i, d in enumerate(dims)]
        rest = prod(x[0][:start]) * prod(x[0][end:])
        if -1 in known:
            explicit = rest * prod(d for d in known if d != -1)
            if explicit == 0 or prod(x[0]) % explicit:
                raise self.error(
                    f"cannot infer the -1 of {dims}: {prod(x[0])} elements do not divide by {explicit}", "shape"
                )
            known[known.index(-1)] = prod(x[0]) // explicit
        top = (*x[0][:start], *known, *x[0][end:])
        if prod(top) != prod(x[0]):
            raise self.error(f"the top must have as many elements as the bottom {x[0]}. Received: {top}", "shape")
        return [top]

    def code(self, node: Node) -> Code:
        x = node.inputs[0].shape
        start, dims, end = self._dims(x)
        copied = [f"{{0}}.shape[{i}]" for i in range(len(x))]
        args = copied[:start] + [copied[start + i] if d == 0 else str(d) for i, d in enumerate(dims)] + copied[end:]
        if "-1" not in args and any(a in copied for a in args):
            args[next(i for i, a in enumerate(args) if a in copied)] = "-1"
        return Code(f"{{0}}.reshape({', '.join(args) or '()'})")


class Concat(Layer, type="Concat", param="concat_param"):
    """Joins its bottoms along `axis` (or the older concat_dim)."""

    bottoms = (1, None)

    def shares_memory(self) -> bool:
        return len(self.definition.message.bottom) == 1

    def _axis(self, x: Shape) -> int:
        if self.p.HasField("concat_dim"):
            if self.p.HasField("axis"):
                raise self.error("give either axis or concat_dim, not both", "concat_dim")
            return self.axis(self.p.concat_dim, x, "concat_dim")
        return self.axis(self.p.axis, x)

    def shapes(self, *x: Shape) -> list[Shape]:
        axis = self._axis(x[0])
        for i, other in enumerate(x):
            if len(other) != len(x[0]) or any(
                a != b for j, (a, b) in enumerate(zip(other, x[0], strict=True)) if j != axis
            ):
                raise self.error(
                    f"every bottom must have the dims of the first, {x[0]}, save along axis {axis}. Received: {other}",
                    f"bottom[{i}]",
                )
        return [(*x[0][:axis], sum(s[axis] for s in x), *x[0][axis + 1 :])]

    def code(self, node: Node) -> Code:
        if len(node.inputs) == 1:
            return Code("{0}")
        places = ", ".join(f"{{{i}}}" for i in range(len(node.inputs)))
        return Code(f"torch.cat([{places}], {self._axis(node.inputs[0].shape)})")


class Split(Layer, type="Split"):
    """Gives its bottom to several readers; their gradients add."""

    differs = "No code: names for one value. Autograd adds the gradients."

    tops_allowed = (1, None)
    alias = True

    def shapes(self, *x: Shape) -> list[Shape]:
        return [x[0]] * self.tops

    def code(self, node: Node) -> Code:
        return Code("{0}")


class Silence(Layer, type="Silence"):
    """Reads blobs that would otherwise be outputs, and does nothing."""

    bottoms = (1, None)
    tops_allowed = (0, 0)

    def shapes(self, *x: Shape) -> list[Shape]:
        return []

    def code(self, node: Node) -> Code:
        return Code(None)
