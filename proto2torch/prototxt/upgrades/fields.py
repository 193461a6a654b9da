"""Single fields of the newest format: BatchNorm's rates, and what Caffe accepts there and never reads."""

from __future__ import annotations

from collections.abc import Sequence

from proto2torch.errors import PrototxtError
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.prototxt.upgrades.report import Report

_STATISTICS = 3
"""BatchNorm's blobs, none of which a solver may move."""

_MOVED = ("scale", "mean_file", "crop_size", "mirror")
_UNREAD: dict[str, dict[str, tuple[str, ...]]] = {
    "Data": {"data_param": _MOVED},
    "ImageData": {"image_data_param": _MOVED},
    "WindowData": {"window_data_param": _MOVED[1:], "transform_param": ("scale",)},
}
"""Fields that Caffe parses and never reads, by type and message."""


def finish(layers: Sequence[LayerDefinition], report: Report) -> tuple[LayerDefinition, ...]:
    """The layers as Caffe builds them: refuse those without a type, set BatchNorm's rates, note what is never read."""
    finished = []
    for layer in layers:
        kind = layer.type
        if not kind:
            report.problems.append(PrototxtError("the layer has no type", where=layer.where("type")))
        elif kind == "BatchNorm":
            layer = _batch_norm(layer, report)
        elif kind in _UNREAD:
            _unread(layer, report)
        finished.append(layer)
    return tuple(finished)


def _batch_norm(layer: LayerDefinition, report: Report) -> LayerDefinition:
    """Set the rates of exactly three `param` to 0, as Caffe does; any other number of them is left to the layer."""
    params = layer.message.param
    if len(params) != _STATISTICS or all(p.HasField("lr_mult") and p.lr_mult == 0 == p.decay_mult for p in params):
        return layer
    message = schema.new("LayerParameter")
    message.CopyFrom(layer.message)
    for index, param in enumerate(message.param):
        if param.HasField("lr_mult") and param.lr_mult:
            where = layer.where(f"param[{index}].lr_mult")
            report.note(where, f"BatchNorm's statistics are not learned, so lr_mult {param.lr_mult:g} becomes 0")
        param.lr_mult = param.decay_mult = 0
    return LayerDefinition(message, layer.mark, layer.source)


def _unread(layer: LayerDefinition, report: Report) -> None:
    for holder, names in _UNREAD[layer.type].items():
        if not layer.message.HasField(holder):
            continue
        given = getattr(layer.message, holder)
        for name in names:
            if given.HasField(name):
                instead = "window_data_param" if holder == "transform_param" else "transform_param"
                text = f"Caffe ignores {name!r} of {holder}: it reads {instead}.{name}"
                report.note(layer.where(f"{holder}.{name}"), text)
