"""BlobProto: one array as Caffe stores it, in weight files, snapshots and mean files (.binaryproto)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from proto2torch import files
from proto2torch.errors import DataError, NetError, Where
from proto2torch.weights import formats, wire
from proto2torch.weights.stored import StoredBlob
from proto2torch.weights.wire import Malformed

Array = np.ndarray[Any, Any]
Chunk = bytes | memoryview

_MOST_AXES = 32
_LEGACY = {1: "num", 2: "channels", 3: "height", 4: "width"}
_VALUES = {5: ("data", "<f4"), 6: ("diff", "<f4"), 8: ("double_data", "<f8"), 9: ("double_diff", "<f8")}
_RAW_TYPES = {0: "<f8", 1: "<f4", 2: "<f2"}  # NVIDIA's fork: DOUBLE, FLOAT, FLOAT16
_DATA, _DIFF, _SHAPE, _DIM = 5, 6, 7, 1


def read(path: str) -> Array:
    """The array of a .binaryproto file, float32: 4 axes where it gives num, channels, height, width.

    Raises:
        DataError: the file cannot be read or is no BlobProto.
    """
    data = wire.mapped(path, DataError)
    formats.refuse_other(data, path, "a binary BlobProto (.binaryproto)", DataError)
    try:
        return np.array(decode(data, 0, len(data)).array)
    except Malformed as error:
        raise DataError(f"no BlobProto (.binaryproto): {error}", where=Where(file=path)) from error


def write(path: str, array: Array, legacy: bool = True) -> None:
    """Write an array as a .binaryproto file, by default with num, channels, height and width, as Caffe's mean files."""
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        for chunk in encode(array, legacy=legacy):
            file.write(chunk)


def array(message: Any, shape: tuple[int, ...], where: Where) -> Array:
    """The values of a BlobProto that a net gives for a blob of `shape`, float32.

    Raises:
        NetError at `where`: its shape is another one, or its values are more or fewer.
    """
    data = message.SerializePartialToString()
    try:
        blob = decode(memoryview(data), 0, len(data))
    except Malformed as error:
        raise NetError(f"broken blob: {error.reason}", where=where) from error
    extents = (1,) * (4 - len(shape)) + shape if blob.legacy else shape
    if blob.array.shape != extents:
        raise NetError(f"a blob of shape {shape} is expected. Received: {blob.array.shape}", where=where)
    return np.array(blob.array).reshape(shape)


def decode(data: memoryview, start: int, end: int) -> StoredBlob:
    """The BlobProto at `start`. Packed float data stays where it lies, without a copy.

    Raises:
        Malformed: it is cut short, or its shape does not fit its data.
    """
    values: dict[str, list[Array]] = {}
    legacy: dict[int, int] = {}
    shape: list[int] = []
    raw: dict[int, wire.Field] = {}
    position = start
    while position < end:
        field = wire.field_at(data, position, end)
        position = field.end
        if field.number in _VALUES:
            name, dtype = _VALUES[field.number]
            part, position = wire.numbers(data, field, dtype, end, name)
            values.setdefault(name, []).append(part)
        elif field.number in _LEGACY:
            legacy[field.number] = field.signed32(_LEGACY[field.number])
        elif field.number == _SHAPE:
            field.expect(wire.BYTES, "shape")
            shape += _dims(data, field.start, field.end)
        elif 10 <= field.number <= 13:
            raw[field.number] = field
    extents = tuple(legacy.get(number, 0) for number in _LEGACY) if legacy else tuple(shape)
    joined = {name: parts[0] if len(parts) == 1 else np.concatenate(parts) for name, parts in values.items()}
    content = _first(joined, "double_data", "data", lambda: _raw(data, raw, 10, 12))
    change = _first(joined, "double_diff", "diff", lambda: _raw(data, raw, 11, 13))
    _check(extents, 0 if content is None else content.size, "data", start)
    if content is None:
        content = np.empty(0, np.float32)
    if change is not None and change.size:
        _check(extents, change.size, "diff", start)
        return StoredBlob(content.reshape(extents), bool(legacy), change.reshape(extents))
    return StoredBlob(content.reshape(extents), bool(legacy))


def encode(array: Array, diff: Array | None = None, legacy: bool = False) -> list[Chunk]:
    """The bytes of a BlobProto in the order of Caffe's writer, the values as views of the arrays where they can be."""
    chunks: list[Chunk] = []
    if legacy:
        extents = (1,) * (4 - array.ndim) + array.shape
        pairs = zip(_LEGACY, extents, strict=True)
        chunks.append(b"".join(wire.tag(number, wire.VARINT) + wire.encode(extent) for number, extent in pairs))
    chunks += _packed(_DATA, array)
    if diff is not None:
        chunks += _packed(_DIFF, diff)
    if array.ndim and not legacy:  # Caffe gives a scalar no shape at all
        dims = b"".join(wire.encode(extent) for extent in array.shape)
        packed = wire.tag(_DIM, wire.BYTES) + wire.encode(len(dims)) + dims
        chunks.append(wire.tag(_SHAPE, wire.BYTES) + wire.encode(len(packed)) + packed)
    return chunks


def delimited(number: int, chunks: list[Chunk]) -> list[Chunk]:
    """The bytes of a field `number` that holds the message of `chunks`."""
    return [wire.tag(number, wire.BYTES) + wire.encode(sum(len(chunk) for chunk in chunks)), *chunks]


def _packed(number: int, array: Array) -> list[Chunk]:
    if not array.size:
        return []
    flat = np.ascontiguousarray(array, dtype="<f4").reshape(-1)
    return delimited(number, [flat.view(np.uint8).data])


def _dims(data: memoryview, start: int, end: int) -> list[int]:
    """The extents of a BlobShape, packed or not."""
    dims: list[int] = []
    for field in wire.fields(data, start, end):
        if field.number != _DIM:
            continue
        if field.kind != wire.BYTES:
            dims.append(field.signed("dim"))
        position = field.start
        while field.kind == wire.BYTES and position < field.end and len(dims) <= _MOST_AXES:
            value, position = wire.varint(data, position, field.end)
            dims.append(value - 2**64 if value >= 2**63 else value)
        if len(dims) > _MOST_AXES:
            raise Malformed(start, f"a blob has at most {_MOST_AXES} axes. Received: more")
    return dims


def _check(extents: tuple[int, ...], count: int, what: str, start: int) -> None:
    if len(extents) > _MOST_AXES:
        raise Malformed(start, f"a blob has at most {_MOST_AXES} axes. Received: {len(extents)}")
    if any(extent < 0 for extent in extents):
        raise Malformed(start, f"no extent of a blob can be negative. Received: shape {extents}")
    if math.prod(extents) != count:
        raise Malformed(start, f"shape {extents} needs {math.prod(extents)} values. Received: {count} in {what}")


def _first(values: dict[str, Array], double: str, single: str, otherwise: Callable[[], Array | None]) -> Array | None:
    """Caffe's choice: doubles where there are any, else floats; float32 either way. Empty fields do not count."""
    given = {name: array for name, array in values.items() if array.size}
    if double in given:
        return _narrow(given[double])
    return given[single] if single in given else otherwise()


def _raw(data: memoryview, fields: dict[int, wire.Field], type_number: int, number: int) -> Array | None:
    """The values of NVIDIA's fork, which writes the bytes of an array and their type."""
    if number not in fields:
        return None
    kind = fields[type_number].signed("raw_data_type") if type_number in fields else 0
    if kind not in _RAW_TYPES:
        raise Malformed(fields[number].offset, f"raw_data_type must be DOUBLE, FLOAT or FLOAT16. Received: {kind}")
    field = fields[number].expect(wire.BYTES, "raw_data")
    return _narrow(wire.numbers(data, field, _RAW_TYPES[kind], field.end, "raw_data")[0])


def _narrow(values: Array) -> Array:
    with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 is infinity, as in Caffe
        return values.astype(np.float32, copy=False)
