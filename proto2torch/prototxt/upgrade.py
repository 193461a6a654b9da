"""Every older format of a net or solver to the newest, by Caffe's own rules and in Caffe's own order.

Nets: V0 to V1 layers, V1 to today's, the net's input fields to an Input layer, BatchNorm's rates. Solvers:
`solver_type` to `type`, and a default `snapshot_prefix`. Where Caffe aborts this raises, all problems of a net
together; where Caffe drops or ignores something in silence there is a line in `NetDefinition.notes`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from proto2torch.errors import PrototxtError, SolverError, raise_problems
from proto2torch.prototxt import dialect, forks, schema
from proto2torch.prototxt.document import Document, LayerDefinition, Mark, NetDefinition
from proto2torch.prototxt.upgrades import fields, inputs, v0, v1
from proto2torch.prototxt.upgrades.report import Draft, Report, enum_names

_DROPPED_BY_V0 = ("input_shape", "state", "debug_info")

_SOLVER_TYPES = {
    "SGD": "SGD",
    "NESTEROV": "Nesterov",
    "ADAGRAD": "AdaGrad",
    "RMSPROP": "RMSProp",
    "ADADELTA": "AdaDelta",
    "ADAM": "Adam",
}


def net(document: Document) -> NetDefinition:
    """The net of a NetParameter document in the newest format.

    Layers that no step changes share the document's messages: neither is to be written to.

    Raises:
        NetError, PrototxtError: where Caffe aborts. UnsupportedError: fields of the net, and types and fields of its
            older layers, that are a fork's; those of the newest format are kept. Problems, if there are several.
    """
    report = Report(document.source)
    whole = Draft(document.message, document.mark)
    report.problems += forks.refused(document.message, document.where, skip=("layer", "layers"))
    layers, kept = _layers(whole, report)
    entry = inputs.upgrade(kept, report)
    finished = fields.finish([*([entry] if entry else []), *layers], report)
    raise_problems(report.problems)
    message = kept.message
    return NetDefinition(
        name=message.name,
        layers=finished,
        force_backward=message.force_backward,
        debug_info=message.debug_info,
        state=message.state if message.HasField("state") else None,
        source=document.source,
        notes=tuple(report.notes),
        fork=dialect.said(),
    )


def message(net: NetDefinition) -> Any:
    """The net as one NetParameter message of its own, in the newest format."""
    whole = schema.new("NetParameter")
    whole.name = net.name
    if net.force_backward:
        whole.force_backward = True
    if net.debug_info:
        whole.debug_info = True
    if net.state is not None:
        whole.state.CopyFrom(net.state)
    whole.layer.extend(layer.message for layer in net.layers)
    return whole


def solver(document: Document) -> Document:
    """A SolverParameter document with `type` for `solver_type`, and with a `snapshot_prefix` where the file has a path.

    A `solver_type` of a fork is kept: to refuse it, as any other field of a fork, is up to who reads the solver.

    Raises:
        SolverError: both `type` and `solver_type` are given.
    """
    upgraded = schema.new("SolverParameter")
    upgraded.CopyFrom(document.message)
    mark = document.mark and Mark(document.mark.offset, dict(document.mark.fields))
    if upgraded.HasField("solver_type"):
        if upgraded.HasField("type"):
            text = "a solver takes 'type' or the older 'solver_type'. Received: both"
            raise SolverError(text, where=document.where("solver_type"), hint="remove 'solver_type'")
        old = enum_names(upgraded, "solver_type")[upgraded.solver_type]
        if old in _SOLVER_TYPES:
            upgraded.type = _SOLVER_TYPES[old]
            upgraded.ClearField("solver_type")
            if mark and "solver_type" in mark.fields:
                mark.fields["type"] = mark.fields.pop("solver_type")
    _snapshot_prefix(upgraded, document.path)
    return Document(upgraded, mark, document.source)


def _layers(whole: Draft, report: Report) -> tuple[Sequence[LayerDefinition], Draft]:
    """The layers of whatever format in the newest, and the net with the fields that its format keeps."""
    old = [whole.child("layers", index) for index in range(len(whole.message.layers))]
    if old and whole.message.layer:
        text = "a net lists its layers as 'layer' or, in the older format, as 'layers'. Received: both"
        hint = 'write all of them as layer { type: "Convolution" ... }'
        raise PrototxtError(text, where=report.where(whole.mark, "layers"), hint=hint)
    if not old:
        marks = whole.marks("layer")
        places = [*marks, *[None] * (len(whole.message.layer) - len(marks))]
        pairs = zip(whole.message.layer, places, strict=True)
        return [LayerDefinition(layer, mark, report.source) for layer, mark in pairs], whole
    if any(layer.message.HasField("layer") for layer in old):
        old, whole = v0.upgrade(old, report), _kept_by_v0(whole, report)
    return v1.upgrade(old, report), whole


def _kept_by_v0(whole: Draft, report: Report) -> Draft:
    """The net without the fields that came after V0, which Caffe drops."""
    kept = Draft(schema.new("NetParameter"), whole.mark)
    for descriptor, _ in whole.message.ListFields():
        name = descriptor.name
        if name in _DROPPED_BY_V0:
            report.note(report.where(whole.mark, name), f"Caffe drops {name!r} of a net of V0 layers")
        elif name != "layers":
            whole.move(name, Draft(kept.message))
    return kept


def _snapshot_prefix(solver: Any, path: str | None) -> None:
    """Caffe: the solver's path without its extension, or, below a directory that is there, the file's stem."""
    if path is None:
        return
    stem = os.path.splitext(path)[0]
    if not solver.HasField("snapshot_prefix"):
        solver.snapshot_prefix = stem
    elif os.path.isdir(solver.snapshot_prefix):
        solver.snapshot_prefix = os.path.join(solver.snapshot_prefix, os.path.basename(stem))
