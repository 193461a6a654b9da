"""Which layers back-propagate: two passes over the net, forward for what could need a gradient, backward for what
reaches the objective. Autograd follows the same paths by itself, save where a prototxt says otherwise; what is decided
here tells the source where to cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from proto2torch.errors import NetError, Proto2TorchError
from proto2torch.ir.graph import Node, Param


@dataclass
class Backward:
    """For each node whether it runs backward, and for each bottom whether its diff is computed."""

    layer_need: list[bool] = field(default_factory=list)
    bottom_need: list[list[bool]] = field(default_factory=list)
    problems: list[Proto2TorchError] = field(default_factory=list)


def mark_backward(nodes: Sequence[Node], force: bool, refuse: bool) -> Backward:
    """Decide it for a net; `force` is the net's force_backward. Caffe aborts on a gradient that has nowhere to go when
    it runs backward; with `refuse`, which a TRAIN net sets, that is a problem now."""
    backward = Backward()
    _forward_pass(nodes, backward)
    _backward_pass(nodes, backward)
    if force:
        for node, need in zip(nodes, backward.bottom_need, strict=True):
            spared = (*node.op.labels, *(node.op.unforced if refuse else node.op.indices))
            need[:] = [n or i not in spared for i, n in enumerate(need)]
        backward.layer_need = [True] * len(nodes)
    if refuse:
        _refuse(nodes, backward, force)
    return backward


def _forward_pass(nodes: Sequence[Node], backward: Backward) -> None:
    """A blob needs a gradient when a layer at or before it learns."""
    blob_need: dict[str, bool] = {}
    for node in nodes:
        given = list(node.definition.message.propagate_down)
        wanted = [blob_need.get(v.blob, False) for v in node.inputs]
        if given and len(given) != len(wanted):
            backward.problems.append(
                NetError(
                    f"propagate_down must be given for every bottom or for none: {len(wanted)} times. "
                    f"Received: {len(given)}",
                    where=node.definition.where("propagate_down"),
                )
            )
            given = []
        learns = any(p.lr_mult or _unspecified(node, p) for p in node.params)
        need = any(wanted) or learns
        backward.layer_need.append(need)
        backward.bottom_need.append([bool(g) for g in given] if given else wanted)
        blob_need.update({v.blob: need for v in node.outputs})


def _unspecified(node: Node, param: Param) -> bool:
    """BatchNorm's statistics count as learnable here where no `param` says otherwise, as in Caffe."""
    return param.blob.frozen and param.index >= len(node.definition.message.param)


def _backward_pass(nodes: Sequence[Node], backward: Backward) -> None:
    """A layer contributes when it has a weighted top, or one that a contributing layer reads."""
    under_loss: set[str] = set()
    skip: set[str] = set()
    for at in range(len(nodes) - 1, -1, -1):
        node, bottoms = nodes[at], backward.bottom_need[at]
        contributes = any(w or v.blob in under_loss for v, w in zip(node.outputs, node.loss_weights, strict=True))
        if backward.layer_need[at] and all(v.blob in skip for v in node.outputs):
            backward.layer_need[at] = False
            bottoms[:] = [False] * len(bottoms)
        if contributes:
            under_loss.update(v.blob for v in node.inputs)
        else:
            backward.layer_need[at] = False
            bottoms[:] = [False] * len(bottoms)
        skip.update(v.blob for v, need in zip(node.inputs, bottoms, strict=True) if not need)


def _refuse(nodes: Sequence[Node], backward: Backward, force: bool) -> None:
    why = "but force_backward asks for one" if force else "but a learnable layer lies before it"
    hint = "propagate_down: false for that bottom, or lr_mult: 0 in the layers before it, stops it"
    for node, need, layer in zip(nodes, backward.bottom_need, backward.layer_need, strict=True):
        if not layer:
            continue
        for i in (*node.op.labels, *node.op.indices):
            if i < len(need) and need[i]:
                text = f"cannot back-propagate to bottom {i} ({node.inputs[i].blob!r}): it takes no gradient, {why}"
                where = node.definition.where(f"bottom[{i}]")
                backward.problems.append(NetError(text, where=where, hint=None if force else hint))
        if not node.op.differentiable and any(need):
            text = f"{node.type} has no backward, " + (why if force else "but the objective is behind it")
            leave = "leave force_backward out, or this layer out of the TRAIN net: include { phase: TEST }"
            backward.problems.append(NetError(text, where=node.definition.where(), hint=leave if force else None))
