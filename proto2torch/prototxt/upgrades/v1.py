"""V1, `layers { type: CONVOLUTION blobs_lr: 1 … }`, to the newest format: type names, `param` messages, transforms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proto2torch.errors import UnsupportedError
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition, Mark
from proto2torch.prototxt.upgrades.report import Draft, Report, enum_names

TYPES = {
    "NONE": "",
    "ABSVAL": "AbsVal",
    "ACCURACY": "Accuracy",
    "ARGMAX": "ArgMax",
    "BNLL": "BNLL",
    "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss",
    "CONVOLUTION": "Convolution",
    "DATA": "Data",
    "DECONVOLUTION": "Deconvolution",
    "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData",
    "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp",
    "FLATTEN": "Flatten",
    "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss",
    "IM2COL": "Im2col",
    "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss",
    "INNER_PRODUCT": "InnerProduct",
    "LRN": "LRN",
    "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN",
    "POOLING": "Pooling",
    "POWER": "Power",
    "RELU": "ReLU",
    "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence",
    "SLICE": "Slice",
    "SOFTMAX": "Softmax",
    "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split",
    "TANH": "TanH",
    "THRESHOLD": "Threshold",
    "WINDOW_DATA": "WindowData",
}
"""V1's enum names and the type names of the newest format."""

_PARAM = {"param": "name", "blob_share_mode": "share_mode", "blobs_lr": "lr_mult", "weight_decay": "decay_mult"}
"""Lists with an entry a learnable blob, and the field of `param` that each entry becomes."""

_TRANSFORMS = {"DATA": "data_param", "IMAGE_DATA": "image_data_param", "WINDOW_DATA": "window_data_param"}
_TRANSFORM_FIELDS = ("scale", "mean_file", "crop_size", "mirror")


def upgrade(layers: Sequence[Draft], report: Report) -> list[LayerDefinition]:
    """The layers of a V1 net in the newest format."""
    kinds = enum_names(schema.new("V1LayerParameter"), "type")
    return [_layer(layer, kinds[layer.message.type], report) for layer in layers if _known(layer, kinds, report)]


def _known(layer: Draft, kinds: Mapping[int, str], report: Report) -> bool:
    """Whether Caffe itself has the layer's type; that a layer has none at all is said later."""
    kind = kinds[layer.message.type]
    if kind in TYPES:
        return True
    where = report.where(layer.mark, "type", layer=layer.message.name)
    hint = 'write the layer in the newest format, layer { type: "..." }'
    report.problems.append(UnsupportedError(f"the type {kind} is not one of Caffe's own", where=where, hint=hint))
    return False


def _layer(old: Draft, kind: str, report: Report) -> LayerDefinition:
    new = Draft(schema.new("LayerParameter"), old.mark and Mark(old.mark.offset))
    known = new.message.DESCRIPTOR.fields_by_name
    for descriptor, value in old.message.ListFields():
        name = descriptor.name
        if name in _PARAM:
            _params(old, name, value, new)
        elif name == "type":
            new.message.type = TYPES[kind]
            new.put("type", old.marks("type"))
        elif name in known:
            old.move(name, new)
        else:
            where = report.where(old.mark, name, layer=old.message.name, type=kind)
            report.problems.append(UnsupportedError(f"{name!r} of a V1 layer is not one of Caffe's own", where=where))
    if kind in _TRANSFORMS:
        _transform(_TRANSFORMS[kind], new, report)
    return LayerDefinition(new.message, new.mark, report.source)


def _params(old: Draft, name: str, values: Sequence[Any], new: Draft) -> None:
    """One of V1's lists to the same field of each `param`."""
    params, marks = new.message.param, old.marks(name)
    while len(params) < len(values):
        params.add()
    for param, value in zip(params, values, strict=False):
        setattr(param, _PARAM[name], value)
    if new.mark is None:
        return
    places = new.mark.fields.setdefault("param", [])
    for index, mark in enumerate(marks):
        if index == len(places):
            places.append(Mark(mark.offset))
        places[index].fields[_PARAM[name]] = [mark]


def _transform(holder: str, new: Draft, report: Report) -> None:
    """Move what data layers once kept in their own message to transform_param, where Caffe reads it."""
    if not new.message.HasField(holder):
        return
    old = new.child(holder)
    for name in _TRANSFORM_FIELDS:
        if not old.message.HasField(name):
            continue
        path, value = f"transform_param.{name}", getattr(old.message, name)
        transform = new.message.transform_param
        if transform.HasField(name) and getattr(transform, name) != value:
            where = LayerDefinition(new.message, new.mark, report.source).where(path)
            report.note(where, f"{name} {getattr(transform, name)!r} gives way to {value!r} of {holder}")
        setattr(transform, name, value)
        old.message.ClearField(name)
        if new.mark:
            held = new.mark.fields.get("transform_param", old.marks(name))
            kept = {**(held[0].fields if held else {}), name: old.marks(name)}
            new.mark.fields["transform_param"] = [Mark(mark.offset, kept) for mark in held[:1]]
