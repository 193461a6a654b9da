"""V0, `layers { layer { type: "conv" … } }`, to V1: one flat message of fields becomes a message for each type.

A field on a type that has no use for it is dropped, as Caffe drops it, with a note. Padding layers become the `pad` of
the convolution or pooling that reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

from proto2torch.errors import NetError, Where, did_you_mean
from proto2torch.prototxt import forks, schema
from proto2torch.prototxt.document import Mark
from proto2torch.prototxt.upgrades.report import Draft, Report, enum_names

TYPES = {
    "accuracy": "ACCURACY",
    "bnll": "BNLL",
    "concat": "CONCAT",
    "conv": "CONVOLUTION",
    "data": "DATA",
    "dropout": "DROPOUT",
    "euclidean_loss": "EUCLIDEAN_LOSS",
    "flatten": "FLATTEN",
    "hdf5_data": "HDF5_DATA",
    "hdf5_output": "HDF5_OUTPUT",
    "im2col": "IM2COL",
    "images": "IMAGE_DATA",
    "infogain_loss": "INFOGAIN_LOSS",
    "innerproduct": "INNER_PRODUCT",
    "lrn": "LRN",
    "multinomial_logistic_loss": "MULTINOMIAL_LOGISTIC_LOSS",
    "pool": "POOLING",
    "relu": "RELU",
    "sigmoid": "SIGMOID",
    "softmax": "SOFTMAX",
    "softmax_loss": "SOFTMAX_LOSS",
    "split": "SPLIT",
    "tanh": "TANH",
    "window_data": "WINDOW_DATA",
}
"""V0's type strings and V1's names for them."""

_CONV, _FULL, _POOL, _LRN = "convolution_param", "inner_product_param", "pooling_param", "lrn_param"
_DATA, _HDF5, _IMAGES, _WINDOW = "data_param", "hdf5_data_param", "image_data_param", "window_data_param"

_MOVES: dict[str, dict[str, str]] = {
    "num_output": {"conv": f"{_CONV}.num_output", "innerproduct": f"{_FULL}.num_output"},
    "biasterm": {"conv": f"{_CONV}.bias_term", "innerproduct": f"{_FULL}.bias_term"},
    "weight_filler": {"conv": f"{_CONV}.weight_filler", "innerproduct": f"{_FULL}.weight_filler"},
    "bias_filler": {"conv": f"{_CONV}.bias_filler", "innerproduct": f"{_FULL}.bias_filler"},
    "pad": {"conv": f"{_CONV}.pad", "pool": f"{_POOL}.pad"},
    "kernelsize": {"conv": f"{_CONV}.kernel_size", "pool": f"{_POOL}.kernel_size"},
    "group": {"conv": f"{_CONV}.group"},
    "stride": {"conv": f"{_CONV}.stride", "pool": f"{_POOL}.stride"},
    "pool": {"pool": f"{_POOL}.pool"},
    "dropout_ratio": {"dropout": "dropout_param.dropout_ratio"},
    "local_size": {"lrn": f"{_LRN}.local_size"},
    "alpha": {"lrn": f"{_LRN}.alpha"},
    "beta": {"lrn": f"{_LRN}.beta"},
    "k": {"lrn": f"{_LRN}.k"},
    "source": {
        "data": f"{_DATA}.source",
        "hdf5_data": f"{_HDF5}.source",
        "images": f"{_IMAGES}.source",
        "window_data": f"{_WINDOW}.source",
        "infogain_loss": "infogain_loss_param.source",
    },
    "batchsize": {
        "data": f"{_DATA}.batch_size",
        "hdf5_data": f"{_HDF5}.batch_size",
        "images": f"{_IMAGES}.batch_size",
        "window_data": f"{_WINDOW}.batch_size",
    },
    "rand_skip": {"data": f"{_DATA}.rand_skip", "images": f"{_IMAGES}.rand_skip"},
    "shuffle_images": {"images": f"{_IMAGES}.shuffle"},
    "new_height": {"images": f"{_IMAGES}.new_height"},
    "new_width": {"images": f"{_IMAGES}.new_width"},
    "concat_dim": {"concat": "concat_param.concat_dim"},
    "det_fg_threshold": {"window_data": f"{_WINDOW}.fg_threshold"},
    "det_bg_threshold": {"window_data": f"{_WINDOW}.bg_threshold"},
    "det_fg_fraction": {"window_data": f"{_WINDOW}.fg_fraction"},
    "det_context_pad": {"window_data": f"{_WINDOW}.context_pad"},
    "det_crop_mode": {"window_data": f"{_WINDOW}.crop_mode"},
    "hdf5_output_param": {"hdf5_output": "hdf5_output_param"},
}
"""Where a field goes, by the V0 type that has a use for it."""

_TRANSFORM = {"scale": "scale", "meanfile": "mean_file", "cropsize": "crop_size", "mirror": "mirror"}
"""Fields that go to transform_param whatever the type."""

_TRANSFORMED = ("data", "images", "window_data", "hdf5_data")
"""The types that read transform_param, or (hdf5_data) refuse it."""

_PADDED = {"conv": _CONV, "pool": _POOL}
_SAME = ("name", "blobs", "blobs_lr", "weight_decay")


def upgrade(layers: Sequence[Draft], report: Report) -> list[Draft]:
    """The V1 layers of a V0 net, without its padding layers."""
    padding = _padding(layers, report)
    upgraded = []
    for index, layer in enumerate(layers):
        if not layer.message.HasField("layer"):
            where = report.where(layer.mark, layer=layer.message.name)
            hint = 'write all of them in the newest format, layer { type: "Convolution" ... }'
            report.problems.append(NetError("a V1 layer among V0 layers, which Caffe empties", where=where, hint=hint))
        elif layer.message.layer.type == "padding":
            for descriptor, _ in layer.message.layer.ListFields():
                if descriptor.name not in ("name", "type", "pad"):
                    _dropped(layer, descriptor.name, report)
        elif _known(layer, report) and _is_caffes(layer, report):
            upgraded.append(_layer(layer, padding.get(index), report))
    return upgraded


def _known(layer: Draft, report: Report) -> bool:
    """Whether V0 has the layer's type; that a layer has none at all is said later."""
    kind = layer.message.layer.type
    if not kind or kind in TYPES:
        return True
    hint = did_you_mean(kind, TYPES)
    where = _where(layer, report, "layer.type")
    report.problems.append(NetError(f"the V0 format has no layer type {kind!r}", where=where, hint=hint))
    return False


def _is_caffes(layer: Draft, report: Report) -> bool:
    """Whether nothing in the layer is a fork's, which V1 may have under another number."""
    found = forks.refused(layer.message.layer, lambda path: _where(layer, report, f"layer.{path}"))
    report.problems += found
    return not found


def _padding(layers: Sequence[Draft], report: Report) -> dict[int, Draft]:
    """The padding layer that each reader of one reads, by the reader's index."""
    makers: dict[str, int] = {}
    found: dict[int, int] = {}
    for index, layer in enumerate(layers):
        for bottom in layer.message.bottom:
            maker = makers.get(bottom)
            if maker is not None and layers[maker].message.layer.type == "padding":
                _check_padding(layers[maker], layer, report)
                found[index] = maker
        makers.update((top, index) for top in layer.message.top)
    for index, layer in enumerate(layers):
        if layer.message.layer.type == "padding" and index not in found.values():
            report.note(_where(layer, report), "no layer reads this padding layer, so it does nothing")
    return {reader: layers[maker] for reader, maker in found.items()}


def _check_padding(padding: Draft, reader: Draft, report: Report) -> None:
    """Refuse what Caffe refuses: padding for anything but one convolution or pooling of one bottom."""
    name, type_name = padding.message.layer.name, reader.message.layer.type
    bottoms, tops = len(padding.message.bottom), len(padding.message.top)
    if type_name not in _PADDED:
        problem = f"the padding layer {name!r} feeds conv and pool layers only. Received: a layer of type {type_name!r}"
        report.problems.append(NetError(problem, where=_where(reader, report, "bottom")))
    elif len(reader.message.bottom) != 1:
        problem = f"a layer that reads the padding layer {name!r} takes one bottom"
        problem += f". Received: {len(reader.message.bottom)}"
        report.problems.append(NetError(problem, where=_where(reader, report, "bottom")))
    elif (bottoms, tops) != (1, 1):
        problem = f"a padding layer takes one bottom and makes one top. Received: {bottoms} bottoms, {tops} tops"
        report.problems.append(NetError(problem, where=_where(padding, report)))


def _layer(old: Draft, padding: Draft | None, report: Report) -> Draft:
    """One V0 layer as a V1 layer."""
    inner = old.child("layer")
    new = Draft(schema.new("V1LayerParameter"), old.mark and Mark(old.mark.offset))
    _wrapper(old, new, report)
    _type(inner, new)
    for descriptor, _ in inner.message.ListFields():
        _field(old, inner, descriptor.name, new, report)
    if padding is not None and inner.message.type in _PADDED:
        _pad(old, padding, new, report)
    return new


def _wrapper(old: Draft, new: Draft, report: Report) -> None:
    """The fields around the V0 layer: its blobs are kept, the rest is V1's and dropped."""
    for descriptor, _ in old.message.ListFields():
        name = descriptor.name
        if name in ("bottom", "top"):
            old.move(name, new)
        elif name != "layer":
            report.note(_where(old, report, name), f"Caffe drops {name!r} beside a V0 layer")


def _type(inner: Draft, new: Draft) -> None:
    if inner.message.type:
        numbers = {name: number for number, name in enum_names(new.message, "type").items()}
        new.message.type = numbers[TYPES[inner.message.type]]
    new.put("type", inner.marks("type"))


def _field(old: Draft, inner: Draft, name: str, new: Draft, report: Report) -> None:
    """One field of the V0 layer to its place in V1."""
    kind = inner.message.type
    if name in _SAME:
        inner.move(name, new)
    elif name in _TRANSFORM:
        inner.move(name, new, f"transform_param.{_TRANSFORM[name]}")
        if kind not in _TRANSFORMED:
            report.note(_where(old, report, f"layer.{name}"), f"a layer of type {kind!r} has no use for {name!r}")
    elif kind in _MOVES.get(name, ()):
        inner.move(name, new, _MOVES[name][kind])
    elif name != "type":
        _dropped(old, name, report)


def _dropped(old: Draft, name: str, report: Report) -> None:
    users = " and ".join(repr(kind) for kind in _MOVES.get(name, ()))
    text = f"Caffe drops {name!r} of a {old.message.layer.type!r} layer" + (f": it belongs to {users}" if users else "")
    report.note(_where(old, report, f"layer.{name}"), text)


def _pad(old: Draft, padding: Draft, new: Draft, report: Report) -> None:
    """Give a layer the pad of the padding layer before it, and that layer's bottom."""
    pad = padding.message.layer.pad
    own = old.message.layer
    if own.HasField("pad") and own.pad != pad:
        name = padding.message.layer.name
        report.note(_where(old, report, "layer.pad"), f"pad {own.pad} gives way to pad {pad} of padding layer {name!r}")
    param = getattr(new.message, _PADDED[own.type])
    param.ClearField("pad")
    new.message.ClearField("bottom")
    if new.mark:
        new.mark.fields.pop("bottom", None)
        for mark in new.mark.fields.get(_PADDED[own.type], []):
            mark.fields.pop("pad", None)
    padding.child("layer").move("pad", new, f"{_PADDED[own.type]}.pad")
    padding.move("bottom", new)


def _where(layer: Draft, report: Report, path: str = "") -> Where:
    inner = layer.message.layer
    return report.where(layer.mark, path or "layer", layer=inner.name, type=inner.type)
