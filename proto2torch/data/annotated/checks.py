"""What an AnnotatedData layer says, checked before any record is read."""

from __future__ import annotations

from typing import Any

from proto2torch.data.annotated.fitting import SMALL, name
from proto2torch.data.fields import batch_size, refuse_others
from proto2torch.errors import DataError, UnsupportedError
from proto2torch.prototxt.document import LayerDefinition

_DATA = ("source", "batch_size", "backend", "prefetch", "rand_skip")
_OWN = ("batch_sampler", "label_map_file", "anno_type")


def check(definition: LayerDefinition) -> None:
    """Refuse what the layer says wrongly, as SSD does.

    Raises:
        DataError: a bound that cannot be; UnsupportedError: a field that is not understood.
    """
    refuse_others(definition, "data_param", _DATA)
    refuse_others(definition, "annotated_data_param", _OWN)
    param, change = definition.message.annotated_data_param, definition.message.transform_param
    if param.HasField("anno_type") and param.anno_type != 0:
        where = definition.where("annotated_data_param.anno_type")
        raise UnsupportedError("only annotations of type BBOX are read", where=where)
    if definition.message.data_param.prefetch < 1:
        raise _error(definition, "data_param.prefetch", "prefetch must be at least 1", 0)
    for i, sampler in enumerate(param.batch_sampler):
        _check_sampler(definition, f"annotated_data_param.batch_sampler[{i}].sampler", sampler.sampler)
    if len(change.resize_param) > 1:
        received = len(change.resize_param)
        raise _error(definition, "transform_param.resize_param[1]", "resize_param must be given once", received)
    for resize in change.resize_param:
        _check_resize(definition, resize)
    if change.HasField("distort_param"):
        _check_distortion(definition, change.distort_param)
    if change.HasField("expand_param") and not change.expand_param.max_expand_ratio >= 1:
        field, received = "transform_param.expand_param.max_expand_ratio", change.expand_param.max_expand_ratio
        raise _error(definition, field, "max_expand_ratio must be at least 1", received)


def _check_sampler(definition: LayerDefinition, path: str, p: Any) -> None:
    if not 0 < p.min_scale <= p.max_scale <= 1:
        received = f"{p.min_scale:g} and {p.max_scale:g}"
        raise _error(definition, f"{path}.min_scale", "needs 0 < min_scale <= max_scale <= 1", received)
    if not 0 < p.min_aspect_ratio <= p.max_aspect_ratio < float("inf"):
        received = f"{p.min_aspect_ratio:g} and {p.max_aspect_ratio:g}"
        message = "needs 0 < min_aspect_ratio <= max_aspect_ratio"
        raise _error(definition, f"{path}.min_aspect_ratio", message, received)


def _check_resize(definition: LayerDefinition, p: Any) -> None:
    path = "transform_param.resize_param"
    for field in ("height", "width"):
        if not getattr(p, field):
            raise _error(definition, f"{path}.{field}", f"{field} must be at least 1", getattr(p, field))
    if p.prob != 1:
        raise _error(definition, f"{path}.prob", "images are always resized: prob must be 1", f"{p.prob:g}")
    if name(p, "resize_mode") == SMALL and batch_size(definition, "data_param") > 1:
        received = definition.message.data_param.batch_size
        raise _error(definition, f"{path}.resize_mode", "FIT_SMALL_SIZE needs batch_size: 1", received)


def _check_distortion(definition: LayerDefinition, p: Any) -> None:
    path = "transform_param.distort_param"
    for kind in ("brightness", "hue"):
        if not getattr(p, f"{kind}_delta") >= 0:
            received = f"{getattr(p, f'{kind}_delta'):g}"
            raise _error(definition, f"{path}.{kind}_delta", f"{kind}_delta must not be negative", received)
    for kind in ("contrast", "saturation"):
        low, high = getattr(p, f"{kind}_lower"), getattr(p, f"{kind}_upper")
        if not 0 <= low <= high:
            message = f"needs 0 <= {kind}_lower <= {kind}_upper"
            raise _error(definition, f"{path}.{kind}_lower", message, f"{low:g} and {high:g}")


def _error(definition: LayerDefinition, field: str, message: str, received: object) -> DataError:
    return DataError(f"{message}. Received: {received}", where=definition.where(field))
