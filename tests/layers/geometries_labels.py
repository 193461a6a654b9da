"""Drawn geometries of the losses, of Accuracy and of the recurrent layers."""

from __future__ import annotations

from math import prod

from hypothesis import strategies as st

from .geometries import Draw, axis_of, extent, geometry, phases, shape, sometimes
from .nets import Case

ignore = "loss_param { ignore_label: 0 }"


@geometry("SoftmaxWithLoss", "Accuracy")
def by_position(draw: Draw, kind: str) -> Case:
    """Scores, and a label for each position, in any shape of as many elements."""
    x = (2, *shape(draw, 1, 3))
    axis = draw(st.integers(1 - len(x), -1)) if kind == "SoftmaxWithLoss" else axis_of(draw, x)
    axis = draw(st.sampled_from([axis, axis % len(x)]))
    labels = tuple(e for i, e in enumerate(x) if i != axis % len(x))
    labels = draw(st.sampled_from([labels, (*labels, 1), (2, prod(labels) // 2) if axis % len(x) else labels]))
    if kind == "Accuracy":
        return Case(kind, f"accuracy_param {{ axis: {axis} }}", (x, labels), draw(st.integers(1, 2)))
    fields = f"softmax_param {{ axis: {axis} }} {sometimes(draw, ignore)}"
    return Case(kind, fields, (x, labels), phase=draw(phases))


@geometry("EuclideanLoss", "SigmoidCrossEntropyLoss")
def pairs(draw: Draw, kind: str) -> Case:
    x = shape(draw, 1, 4)
    return Case(kind, "", (x, x), phase=draw(phases))


@geometry("HingeLoss", "MultinomialLogisticLoss")
def by_item(draw: Draw, kind: str) -> Case:
    n = draw(extent)
    labels = draw(st.sampled_from([(n,), (n, 1, 1, 1)]))
    return Case(kind, "", ((n, *shape(draw, 1, 3)), labels))


@geometry("InfogainLoss")
def infogain(draw: Draw, kind: str) -> Case:
    x = (draw(extent), *shape(draw, 1, 3))
    axis = draw(st.integers(1, len(x) - 1))
    labels = tuple(e for i, e in enumerate(x) if i != axis)
    tops = draw(st.integers(1, 2))
    weights = "loss_weight: 1 loss_weight: 0" if tops == 2 else ""
    return Case(kind, f"infogain_loss_param {{ axis: {axis} }} {weights}", (x, labels, (1, 1, x[axis], x[axis])), tops)


@geometry("ContrastiveLoss")
def contrastive(draw: Draw, kind: str) -> Case:
    n, c = draw(extent), draw(extent)
    x = draw(st.sampled_from([(n, c), (n, c, 1, 1)]))
    legacy = sometimes(draw, "legacy_version: true")
    return Case(kind, f"contrastive_loss_param {{ {legacy} }}", (x, x, draw(st.sampled_from([(n,), (n, 1)]))))


@geometry("LSTM", "RNN")
def recurrent(draw: Draw, kind: str) -> Case:
    steps, items, hidden = draw(extent), draw(extent), draw(extent)
    bottoms = [(steps, items, *shape(draw, 1, 2)), (steps, items)]
    bottoms += [(items, draw(extent))] if draw(st.booleans()) else []
    exposed = (2 if kind == "LSTM" else 1) if draw(st.booleans()) else 0
    bottoms += [(1, items, hidden)] * exposed
    expose = "expose_hidden: true" if exposed else ""
    return Case(kind, f"recurrent_param {{ num_output: {hidden} {expose} }}", tuple(bottoms), 1 + exposed)


@geometry("LSTMUnit")
def lstm_unit(draw: Draw, kind: str) -> Case:
    items, hidden = draw(extent), draw(extent)
    return Case(kind, "", ((1, items, hidden), (1, items, 4 * hidden), (1, items)), 2)
