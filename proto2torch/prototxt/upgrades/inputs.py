"""The net's own `input`, `input_shape` and `input_dim` to an Input layer before all others."""

from __future__ import annotations

from proto2torch.errors import PrototxtError
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, Mark
from proto2torch.prototxt.upgrades.report import Draft, Report

_DIMS = 4
"""How many `input_dim` each input takes."""


def upgrade(net: Draft, report: Report) -> LayerDefinition | None:
    """The Input layer that the net's input fields say; None where they say none.

    Inputs without a shape, as old weight files have them, are dropped.
    """
    shaped, dims = len(net.message.input_shape), len(net.message.input_dim)
    if not net.message.input:
        for name, count in (("input_shape", shaped), ("input_dim", dims)):
            if count:
                report.note(report.where(net.mark, name), f"Caffe ignores {name!r} without 'input'")
        return None
    if not shaped and not dims:
        names = ", ".join(repr(name) for name in net.message.input)
        text = f"input {names} has neither 'input_shape' nor 'input_dim', and Caffe drops it"
        report.note(report.where(net.mark, "input"), text)
        return None
    if not _enough(net, report):
        return None
    if shaped and dims:
        report.note(report.where(net.mark, "input_dim"), "Caffe ignores 'input_dim' beside 'input_shape'")
    return _layer(net, report)


def _enough(net: Draft, report: Report) -> bool:
    """Whether each input has its shape; what is too much is a note."""
    name, each = ("input_shape", 1) if net.message.input_shape else ("input_dim", _DIMS)
    given, needed = len(getattr(net.message, name)), each * len(net.message.input)
    per = f"{each} {name!r} each" if each > 1 else f"one {name!r} each"
    text = f"{len(net.message.input)} input(s) take {per}, {needed} in all. Received: {given}"
    if given < needed:
        report.problems.append(PrototxtError(text, where=report.where(net.mark, name)))
    elif given > needed:
        report.note(report.where(net.mark, name), f"{text}, and Caffe ignores the rest")
    return given >= needed


def _layer(net: Draft, report: Report) -> LayerDefinition:
    names = net.marks("input")
    new = Draft(schema.new("LayerParameter"), Mark(names[0].offset) if names else None)
    new.message.name, new.message.type = "input", "Input"
    net.move("input", new, "top")
    shapes = new.message.input_param.shape
    if net.message.input_shape:
        shapes.extend(net.message.input_shape[: len(net.message.input)])
        new.put("input_param.shape", net.marks("input_shape"))
    else:
        for start in range(0, _DIMS * len(net.message.input), _DIMS):
            shapes.add(dim=net.message.input_dim[start : start + _DIMS])
        for start in range(0, len(net.marks("input_dim")), _DIMS):
            dims = net.marks("input_dim")[start : start + _DIMS]
            new.put("input_param.shape", [Mark(dims[0].offset, {"dim": dims})])
    return LayerDefinition(new.message, new.mark, report.source)
