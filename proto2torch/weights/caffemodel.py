"""Binary weight files (.caffemodel): a NetParameter whose layers hold their blobs.

Reading walks the bytes of the mapped file and leaves the values where they are. It knows the three generations of the
format: `layer` (100), `layers` (2) of V1, and `layers { layer }` of V0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np

from proto2torch import files
from proto2torch.errors import WeightsError, Where
from proto2torch.weights import blobproto, checksum, formats, wire
from proto2torch.weights.blobproto import Chunk
from proto2torch.weights.stored import StoredBlob, StoredLayer, StoredWeights
from proto2torch.weights.wire import BYTES, VARINT, Field, Malformed

Array = np.ndarray[Any, Any]

_LARGEST = 2**31 - 1  # bytes of a message that protobuf, and with it Caffe, reads
_MOST_LAYERS, _MOST_BLOBS = 100_000, 1000  # a hundred times what any net has; in a file, and in a layer
_EXPECTED = "a binary .caffemodel"
_NAME, _LAYERS, _LAYER = 1, 2, 100
_NET = {_NAME: BYTES, _LAYERS: BYTES, 3: BYTES, 5: VARINT, 6: BYTES, 7: VARINT, 8: BYTES, _LAYER: BYTES}
_BLOBS = 7


class _Numbers(NamedTuple):
    """Field numbers of one generation's layer message."""

    name: int
    blobs: int
    type: int | None = None
    inner: int | None = None


_V2, _V1, _V0 = _Numbers(1, _BLOBS, type=2), _Numbers(4, 6, inner=1), _Numbers(1, 50, type=2)


def read(path: str, check: bool = True) -> StoredWeights:
    """The blobs of every layer, those without blobs too, as views of the file.

    Of several layers of one name the first counts, as in Caffe. `check` verifies the checksum of a file that has one.

    Raises:
        WeightsError: the file cannot be read or is no NetParameter, naming the layer, the blob and the byte.
    """
    data = wire.mapped(path, WeightsError)
    formats.refuse_other(data, path, _EXPECTED, WeightsError)
    try:
        name, old, new, sealed = _net(data)
        if old and new:
            raise Malformed(old[0].offset, "`layers` and `layer` cannot stand in one file")
        if not old and not new:
            raise Malformed(0, "it has no layers")
        nested = [_nested(data, field) for field in old]
        if any(nested):
            parts = [(field, _V0) for field in nested if field]
        else:
            parts = [(field, _V1) for field in old] + [(field, _V2) for field in new]
    except Malformed as error:
        _refuse(path, data, error)
    if sealed is not None and check:
        checksum.verify(data, sealed, path, WeightsError)
    layers: dict[str, StoredLayer] = {}
    for field, numbers in parts:
        layer = _layer(path, data, field, numbers)
        layers.setdefault(layer.name, layer)
    return StoredWeights(layers, path, name, data=data)


def write(
    path: str,
    name: str,
    layers: Iterable[tuple[Any, Sequence[Array]]],
    diffs: Iterable[Sequence[Array]] | None = None,
    seal: bool = False,
) -> None:
    """Write what Caffe's snapshot holds, byte for byte: the net's name and its LayerParameters, each with its blobs.

    With `seal` a checksum follows, which Caffe skips and `read` verifies.

    `layers` are pairs of a message (blobs in it do not count) and its arrays in Caffe's stored shape; `diffs` are the
    arrays of `snapshot_diff`, layer by layer. One layer at a time is held in memory.

    Raises:
        RunError: the file cannot be written.
        WeightsError: it would be larger than protobuf can read.
    """
    written = 0
    total = checksum.Checksum()
    changes = iter(diffs) if diffs is not None else None
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        head: list[Chunk] = [name.encode("utf-8", "surrogateescape")]
        for chunk in blobproto.delimited(_NAME, head):
            total.add(chunk)
            written += file.write(chunk)
        for message, blobs in layers:
            chunks = _encode_layer(message, blobs, next(changes) if changes is not None else ())
            written += sum(len(chunk) for chunk in chunks)
            if written > _LARGEST:
                raise WeightsError(
                    f"a .caffemodel holds at most {_LARGEST} bytes. Received: more, from layer {message.name!r} on",
                    where=Where(file=path),
                    hint="write it as HDF5 (snapshot_format: HDF5, or a file name ending in .caffemodel.h5)",
                )
            for chunk in chunks:
                if seal:
                    total.add(chunk)
                file.write(chunk)
        if seal:
            file.write(total.field())


def _net(data: memoryview) -> tuple[str, list[Field], list[Field], Field | None]:
    """The name of the net, its V0 or V1 layers, its V2 layers, and the checksum where it has one."""
    name, old, new = "", [], []
    sealed: Field | None = None
    for field in wire.fields(data, 0, len(data)):
        if field.number in _NET:
            field.expect(_NET[field.number], f"field {field.number} of a NetParameter")
        if field.number == _NAME:
            name = wire.text(data, field, "name")
        elif field.number == _LAYERS:
            old.append(field)
        elif field.number == _LAYER:
            new.append(field)
        elif field.number == checksum.FIELD and field.kind == wire.FIXED64:
            sealed = field
        if len(old) + len(new) > _MOST_LAYERS:
            raise Malformed(field.offset, f"it has more than {_MOST_LAYERS} layers")
    return name, old, new, sealed


def _nested(data: memoryview, layers: Field) -> Field | None:
    """The V0 `layer` within a `layers`, or None."""
    inner = None
    for field in wire.fields(data, layers.start, layers.end):
        if field.number == _V1.inner:
            inner = field.expect(BYTES, "layer")
    return inner


def _layer(path: str, data: memoryview, message: Field, numbers: _Numbers) -> StoredLayer:
    name = kind = ""
    found: list[Field] = []
    blobs: list[StoredBlob] = []
    try:
        for field in wire.fields(data, message.start, message.end):
            if field.number == numbers.name:
                name = wire.text(data, field, "name")
            elif field.number == numbers.type:
                kind = wire.text(data, field, "type")
            elif field.number == numbers.blobs:
                found.append(field.expect(BYTES, "blobs"))
            if len(found) > _MOST_BLOBS:
                raise Malformed(field.offset, f"a layer has at most {_MOST_BLOBS} blobs. Received: more")
        for field in found:
            blobs.append(blobproto.decode(data, field.start, field.end))
    except Malformed as error:
        what = f"blob {len(blobs)}, {error}" if len(blobs) < len(found) else str(error)
        raise WeightsError(what, where=Where(file=path, layer=name, type=kind or None)) from error
    return StoredLayer(name, tuple(blobs), kind)


def _refuse(path: str, data: memoryview, error: Malformed) -> NoReturn:
    hint = None
    if bytes(data[:1]) == wire.tag(1, VARINT):
        hint = "it may be a .solverstate, which names the file of its weights, or a .binaryproto, which holds a mean"
    raise WeightsError(f"expected {_EXPECTED}: {error}", where=Where(file=path), hint=hint) from error


def _encode_layer(message: Any, blobs: Sequence[Array], diffs: Sequence[Array]) -> list[Chunk]:
    """The bytes of a layer: its fields below `blobs`, the blobs, the fields above, as protobuf orders them."""
    before, after = type(message)(), type(message)()
    before.CopyFrom(message)
    after.CopyFrom(message)
    for field, _ in message.ListFields():
        if field.number >= _BLOBS:
            before.ClearField(field.name)
        if field.number <= _BLOBS:
            after.ClearField(field.name)
    chunks: list[Chunk] = [before.SerializePartialToString(deterministic=True)]
    for index, blob in enumerate(blobs):
        chunks += blobproto.delimited(_BLOBS, blobproto.encode(blob, diffs[index] if diffs else None))
    chunks.append(after.SerializePartialToString(deterministic=True))
    return blobproto.delimited(_LAYER, chunks)
