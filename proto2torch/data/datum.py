"""Datum, the record of Caffe's databases, read from its wire format without copying the pixels.

Message fields: channels 1, height 2, width 3 (int32), data 4 (bytes), label 5 (int32), float_data 6 (repeated float),
encoded 7 (bool).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.decode import UNCHANGED, decode
from proto2torch.weights import wire

_CHANNELS, _HEIGHT, _WIDTH, _DATA, _LABEL, _FLOATS, _ENCODED = range(1, 8)
_LONGEST_TAIL, _MOST_TAILS = 32, 4096
_NOTHING = memoryview(b"")  # not a part of a record, which would keep its database open

Image = NDArray[np.uint8] | NDArray[np.float32]


class NotADatum(ValueError):
    """Bytes that are not a Datum, or one whose pixels do not fit its extent; the message says which."""


@dataclass(slots=True)
class Datum:
    """One record; `data` is a view into the bytes it was read from."""

    channels: int
    height: int
    width: int
    label: int
    encoded: bool
    data: memoryview
    floats: NDArray[np.float32] | None
    start: int = 0
    """Where `data` lies in the record."""

    def image(self) -> Image:
        """The pixels, (channels, height, width): uint8 where `data` holds them, else float32. A view, not a copy.

        Raises:
            NotADatum: the number of values is not channels * height * width, or there is none.
        """
        values: Image = np.frombuffer(self.data, np.uint8)
        if not len(values) and self.floats is not None:
            values = self.floats
        shape = (self.channels, self.height, self.width)
        if min(shape) <= 0 or len(values) != self.channels * self.height * self.width:
            extent = " * ".join(map(str, shape))
            raise NotADatum(f"expected channels * height * width = {extent} values. Received: {len(values)}")
        return values.reshape(shape)

    def decoded(self, how: str = UNCHANGED) -> Image:
        """The pixels whether they are there as they are or as an image file, which is decoded as `how` says.

        Raises:
            NotADatum: as `image`. Undecodable: it is a file that cannot be decoded.
        """
        return decode(self.data, how) if self.encoded else self.image()


def parse(record: memoryview) -> Datum:
    """Read a Datum; unknown fields are skipped, of a number or of `data` given twice the last counts.

    Raises:
        NotADatum: the bytes are not a message, or a field has another type.
    """
    numbers, encoded = [0] * _ENCODED, False
    data: memoryview = record[:0]
    floats = []
    start, at, end = 0, 0, len(record)
    try:
        while at < end:
            field = wire.field_at(record, at, end)
            at = field.end
            if field.number == _DATA:
                field.expect(wire.BYTES, "data")
                start = field.start
                data = record[start:at]
            elif field.number == _FLOATS:
                values, at = wire.numbers(record, field, "<f4", end, "float_data")
                floats.append(values)
            elif field.number == _ENCODED:
                encoded = field.signed("a number") != 0
            elif field.number < _ENCODED:
                numbers[field.number] = field.signed32("a number")
    except wire.Malformed as error:
        raise NotADatum(str(error)) from error
    return Datum(
        channels=numbers[_CHANNELS],
        height=numbers[_HEIGHT],
        width=numbers[_WIDTH],
        label=numbers[_LABEL],
        encoded=encoded,
        data=data,
        floats=np.concatenate(floats) if floats else None,
        start=start,
    )


def annotated_datum(record: memoryview) -> memoryview | None:
    """The Datum within an AnnotatedDatum, its first field; None where the record does not begin with one."""
    try:
        field = wire.field_at(record, 0, len(record))
        field.expect(wire.BYTES, "datum")
    except wire.Malformed:
        return None
    return record[field.start : field.end] if field.number == 1 else None


class Parser:
    """Reads the Datums of one database.

    Most of them begin and end with the same bytes around their pixels; those bytes are walked once and then only
    compared.
    """

    def __init__(self) -> None:
        self._head = b""
        self._pixels = 0
        self._tails: dict[bytes, Datum] = {}  # what such a record says, but for its pixels

    def __call__(self, record: memoryview) -> Datum:
        """What `parse` gives."""
        start = len(self._head)
        end = start + self._pixels
        known = self._tails.get(bytes(record[end : end + _LONGEST_TAIL + 1])) if record[:start] == self._head else None
        if known is None or len(record) < end:
            return self._walk(record)
        return Datum(
            known.channels, known.height, known.width, known.label, known.encoded, record[start:end], floats=None
        )

    def _walk(self, record: memoryview) -> Datum:
        datum = parse(record)
        tail_length = len(record) - datum.start - len(datum.data)
        if datum.floats is not None or not len(datum.data) or tail_length > _LONGEST_TAIL:
            return datum
        head = bytes(record[: datum.start])
        if (head, len(datum.data)) != (self._head, self._pixels) or len(self._tails) >= _MOST_TAILS:
            self._head, self._pixels, self._tails = head, len(datum.data), {}
        self._tails[bytes(record[len(record) - tail_length :])] = replace(datum, data=_NOTHING)
        return datum


def write(image: NDArray[np.uint8], label: int, says_raw: bool = False) -> bytes:
    """The bytes of a Datum, fields in ascending order as protobuf writes them: an image (C, H, W) and its label.

    With `says_raw` it says that it is not encoded, which goes without saying; Caffe's convert_imageset does so.
    """
    numbers = (wire.tag(field, wire.VARINT) + wire.encode(extent) for field, extent in enumerate(image.shape, start=1))
    tail = wire.tag(_LABEL, wire.VARINT) + wire.encode(label)
    return b"".join(numbers) + _data(image.tobytes()) + tail + (wire.tag(_ENCODED, wire.VARINT) + b"\0") * says_raw


def write_encoded(encoded: bytes, label: int) -> bytes:
    """The bytes of a Datum that holds an image file; it says neither extent nor channels."""
    tail = wire.tag(_LABEL, wire.VARINT) + wire.encode(label) + wire.tag(_ENCODED, wire.VARINT) + wire.encode(1)
    return _data(encoded) + tail


def _data(contents: bytes) -> bytes:
    return wire.tag(_DATA, wire.BYTES) + wire.encode(len(contents)) + contents
