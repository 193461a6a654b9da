"""What a picture says of a layer: its fields in a few words, its prototxt, and its lines in the generated module."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from proto2torch.codegen.blocks import Folded, fold_steps
from proto2torch.codegen.expression import fill
from proto2torch.codegen.inline import pieces
from proto2torch.codegen.names import LOCALS, class_name, identifier
from proto2torch.codegen.plan import Places, Plan
from proto2torch.codegen.source import default_returns
from proto2torch.codegen.steps import roots
from proto2torch.drawing.diagram import TIMES
from proto2torch.ir.deploy import without_labels
from proto2torch.ir.graph import Net, Node, Value
from proto2torch.prototxt import schema
from proto2torch.prototxt import text as prototxt

_POOLS = ("MAX", "AVE", "STOCHASTIC")
_OPERATIONS = ("PROD", "SUM", "MAX")


def summary(message: Any) -> str:
    """The fields of a LayerParameter that a person looks for: `64 x 7x7, stride 2, pad 3`; empty for most types."""
    if message.type in ("Convolution", "Deconvolution"):
        p = message.convolution_param
        size = _extents(p, "kernel_size", "kernel")
        return ", ".join([f"{p.num_output} x {size}" if size else str(p.num_output), *_geometry(p)])
    if message.type == "Pooling":
        p = message.pooling_param
        size = "global" if p.global_pooling else _extents(p, "kernel_size", "kernel")
        return ", ".join([f"{_POOLS[p.pool]} {size}", *_geometry(p)])
    if message.type == "InnerProduct":
        return str(message.inner_product_param.num_output)
    if message.type in ("LSTM", "RNN"):
        return str(message.recurrent_param.num_output)
    if message.type == "Eltwise":
        return _OPERATIONS[message.eltwise_param.operation]
    if message.type == "Dropout":
        return f"{message.dropout_param.dropout_ratio:.3g}"
    return f"n {message.lrn_param.local_size}" if message.type == "LRN" else ""


def _geometry(p: Any) -> Iterator[str]:
    """Strides, pads, dilations and groups that are not what a layer has by itself."""
    for field, usual in (("stride", "1"), ("pad", "0"), ("dilation", "1")):
        text = _extents(p, field, field)
        if text and text not in (usual, TIMES.join(usual * 2)):
            yield f"{field} {text}"
    if getattr(p, "group", 1) > 1:
        yield f"group {p.group}"


def _extents(p: Any, field: str, short: str) -> str:
    """`7x7` of kernel_size 7, of kernel_h and kernel_w, or of several; strides and the like as one number."""
    if not hasattr(p, field):
        return ""
    if hasattr(p, f"{short}_h") and (p.HasField(f"{short}_h") or p.HasField(f"{short}_w")):
        return TIMES.join(str(getattr(p, f"{short}_{side}")) for side in "hw")
    given = getattr(p, field)
    values = list(given) if not isinstance(given, int) else [given]
    if not values:
        return ""
    if short == "kernel" and len(values) == 1:
        values *= 2
    return TIMES.join(map(str, values))


def text_of(message: Any) -> str:
    """The layer as a prototxt says it, without blobs."""
    shortened = schema.new("LayerParameter")
    shortened.CopyFrom(message)
    shortened.ClearField("blobs")
    body = "".join(f"  {line}\n" for line in prototxt.dump(shortened).splitlines())
    return f"layer {{\n{body}}}\n"


class Source:
    """A net's source before it is text: the lines of each layer, and the blocks that `export` folds."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._plan = Plan(net, default_returns(net), whole=True)
        self._places: Places = self._plan.places(self._plan.steps)
        self._roots = roots(self._plan.net)
        self._made: Mapping[Value, Node] = {v: node for node in self._plan.net.nodes for v in node.outputs}

    def written(self, node: Node) -> Node:
        """The node in whose lines a node is computed: its own, or where it is fused the BatchNorm before it."""
        return self._made.get(node.outputs[0], node) if node.outputs else node

    def lines(self, node: Node) -> str:
        """The lines of a node: its module's constructor, and its call."""
        node = self.written(node)
        code = self._plan.codes.get(node.index)
        if node.op.data or node.type == "Input":
            return f"forward(self, {', '.join(identifier(v.blob, 'blob') for v in node.outputs)})"
        if code is None or code.forward is None:
            return ""
        attribute = self._places.called.get(node.index, "")
        inputs = [identifier(self._roots.get(v, v).blob, "blob") for v in node.inputs]
        outputs = ", ".join(identifier(v.blob, "blob") for v in node.outputs)
        call = f"{outputs} = {fill(code.forward, inputs, f'self.{attribute}')}"
        return f"self.{attribute} = {code.module}\n{call}" if code.module else call

    def folded(self) -> Folded:
        """The steps with what repeats as blocks, as `export` has them: without what reads labels, for a label that is
        alive through the whole net would keep its parts together."""
        net = without_labels(self._net)
        plan = Plan(net, default_returns(net), whole=True) if net is not self._net else self._plan
        taken = {class_name(net.name), *LOCALS, *pieces()}
        return fold_steps(plan.steps, plan.values, taken, with_units=False)
