"""Messages as bytes, as Caffe's tools write them: nets, and weight files given where a net is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proto2torch.errors import Proto2TorchError, PrototxtError, UnsupportedError, Where, raise_problems
from proto2torch.prototxt import binary_forks, schema
from proto2torch.prototxt.document import Document, Source

LARGEST = 2**31 - 1
"""The most bytes that protobuf takes for one message."""

_HDF5 = b"\x89HDF\r\n\x1a\n"
_SAMPLE = 1 << 16
_CONTROL = bytes(set(range(32)) - set(b"\t\n\v\f\r"))

SEAL = b"\xc9\xb2\xad\x1c"
"""The tag of the checksum that ends our own files (weights/checksum.py): field 7433001, 8 bytes."""
SEALED = len(SEAL) + 8


def is_binary(data: bytes) -> bool:
    """Whether the bytes begin as no text does: with control characters, as the tags of a binary message are."""
    sample = data[:_SAMPLE]
    return len(sample.translate(None, _CONTROL)) != len(sample)


def net(data: bytes, path: str | None = None) -> Document:
    """The NetParameter of a binary file, a .caffemodel too.

    Raises:
        PrototxtError: the bytes are no net. UnsupportedError: they have fields that Caffe's own nets do not have.
    """
    return understood(parsed(data, path))


def parsed(data: bytes, path: str | None = None) -> Document:
    """The message of a binary file by the schema's own numbers, which `understood` takes for those of its fork.

    Raises:
        PrototxtError: the bytes are no net.
    """
    where = Where(file=path)
    if data.startswith(_HDF5):
        raise PrototxtError("this is an HDF5 file, which holds weights and no net", where=where)
    if len(data) > LARGEST:
        raise PrototxtError(f"a binary net has {LARGEST} bytes at most. Received: {len(data)} bytes", where=where)
    message = _parse(data[:-SEALED] if data[-SEALED:].startswith(SEAL) else data, where)
    return Document(message, source=Source("", path))


def understood(document: Document) -> Document:
    """What was `parsed`, as the fork means it that wrote it.

    Its layers are copied on the way, blobs and all: those that are not wanted are best left out before.

    Raises:
        UnsupportedError: it has fields that Caffe's own nets do not have, and that are not those of one fork.
    """
    given = document.message
    meant = binary_forks.understood(given, Where(file=document.path))
    if meant is None:
        raise_problems(list(_strange(given, document.path)))
    if meant is None or meant is given:
        return document
    for old, new in zip(_layers(given), _layers(meant), strict=True):
        new.blobs.extend(old.blobs)
    return Document(meant, source=document.source)


def without_weights(document: Document) -> Document:
    """The same net without its blobs, in a message of its own: clearing a field alone gives no memory back.

    The document given loses its blobs too. It comes back itself if it has none.
    """
    cleared = False
    for layer in _layers(document.message):
        cleared = cleared or len(layer.blobs) > 0
        layer.ClearField("blobs")
    if not cleared:
        return document
    small = schema.new("NetParameter")
    small.CopyFrom(document.message)
    return Document(small, document.mark, document.source)


def dump(message: Any) -> bytes:
    """The bytes of a message, the same for the same message."""
    data: bytes = message.SerializeToString(deterministic=True)
    return data


def _parse(data: bytes, where: Where) -> Any:
    from google.protobuf.message import DecodeError

    parsed = schema.new("NetParameter")
    try:
        parsed.ParseFromString(data)
    except DecodeError as error:
        text = "this is neither the text of a net nor a whole binary net: it is cut short, or something else"
        raise PrototxtError(text, where=where) from error
    if not (parsed.layer or parsed.layers or parsed.input):
        raise PrototxtError("this binary file holds no layers: it is not a net", where=where)
    return parsed


def _strange(net: Any, path: str | None) -> Iterator[Proto2TorchError]:
    """An error for each layer, and for the net, with fields that the schema does not know. They are discarded."""
    for layer in (*net.layer, *net.layers):
        if binary_forks.discards(layer):
            where = Where(file=path, layer=layer.name, type=layer.type if isinstance(layer.type, str) else None)
            yield UnsupportedError("the layer has fields, or a type, that are not among Caffe's", where=where)
    if binary_forks.discards(net):
        yield UnsupportedError("the net has fields that are not among Caffe's", where=Where(file=path))


def _layers(net: Any) -> Iterator[Any]:
    """The messages that can carry blobs, of every format."""
    for layer in net.layer:
        yield layer
    for layer in net.layers:
        yield layer
        if layer.HasField("layer"):
            yield layer.layer
