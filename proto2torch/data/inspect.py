"""Databases looked at and copied: how many records, what they hold, some of them as a picture."""

from __future__ import annotations

import math
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from proto2torch.data.datum import Datum, Image, NotADatum, Parser, annotated_datum
from proto2torch.data.datum import parse as parse_datum
from proto2torch.data.decode import Undecodable
from proto2torch.data.new_database import new_database
from proto2torch.data.progress import Progress
from proto2torch.data.records import LEVELDB, LMDB, backend_of, open_records
from proto2torch.errors import DataError, Where

Key = tuple[int, int, int, str]


@dataclass
class Summary:
    """What a database holds."""

    backend: str
    count: int
    first_key: str
    last_key: str
    shapes: Counter[Key] = field(default_factory=Counter)
    """How many records have each (channels, height, width, kind), kind being uint8, float32 or encoded."""
    labels: Counter[int] = field(default_factory=Counter)
    """How many records have each label."""
    bad: list[str] = field(default_factory=list)
    """Keys of records that are no Datum or whose image cannot be decoded."""


@dataclass(frozen=True)
class Shown:
    """One record."""

    key: str
    label: int
    image: Image


def summary(db: str) -> Summary:
    """Read a database once.

    Raises:
        DataError: it cannot be read.
    """
    found, parse = Summary(backend_of(db), 0, "", ""), Parser()
    with closing(open_records(db)) as records, Progress(records, "records") as progress:
        for key, value in records:
            found.last_key = _text(key)
            found.first_key = found.first_key if found.count else found.last_key
            found.count += 1
            progress.step()
            try:
                datum = _datum(parse, value)
                image = datum.decoded()
            except (NotADatum, Undecodable):
                found.bad.append(found.last_key)
                continue
            channels, height, width = image.shape
            kind = "encoded" if datum.encoded else str(image.dtype)
            found.shapes[channels, height, width, kind] += 1
            found.labels[datum.label] += 1
    return found


def show(db: str, first: int = 0, count: int = 1) -> list[Shown]:
    """Records `first` to `first + count - 1`, as far as there are any.

    Raises:
        DataError: the database or one of them cannot be read, or there is no record `first`.
    """
    parse, shown = Parser(), []
    with closing(open_records(db)) as records:
        if not 0 <= first < len(records):
            message = f"the records are 0 to {len(records) - 1}. Received: {first}"
            raise DataError(message, where=Where(file=db))
        for key, value in records.take(first, min(count, len(records) - first)):
            try:
                datum = _datum(parse, value)
                image = datum.decoded()
            except (NotADatum, Undecodable) as error:
                raise DataError(f"the record {_text(key)!r} is no image: {error}", where=Where(file=db)) from error
            shown.append(Shown(_text(key), datum.label, image.copy()))
    return shown


def _datum(parse: Parser, record: memoryview) -> Datum:
    """The Datum of a record: the record itself, or what is in an AnnotatedDatum.

    Raises:
        NotADatum: it is neither.
    """
    try:
        return parse(record)
    except NotADatum:
        inner = annotated_datum(record)
        if inner is None:
            raise
        return parse_datum(inner)


def picture(images: list[Image]) -> NDArray[np.uint8]:
    """Images side by side, (H, W, 3), red before blue; other values than bytes are spread over 0 to 255."""
    tiles = [_tile(image) for image in images]
    columns = math.ceil(math.sqrt(len(tiles)))
    height, width = max(t.shape[0] for t in tiles) + 2, max(t.shape[1] for t in tiles) + 2
    sheet = np.full((height * math.ceil(len(tiles) / columns), width * columns, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // columns * height, number % columns * width
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def _tile(image: Image) -> NDArray[np.uint8]:
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)
    channels = image[:3][::-1] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return channels.transpose(1, 2, 0).astype(np.uint8)


def copy(source: str, target: str, backend: str | None = None) -> int:
    """Copy every record, byte for byte, to a new database; by default one of the other kind. Gives their number.

    Raises:
        DataError: the source cannot be read, or `target` exists.
        RunError: the target cannot be written.
    """
    backend = backend or (LEVELDB if backend_of(source) == LMDB else LMDB)
    count = 0
    with (
        closing(open_records(source)) as records,
        Progress(records, "records") as progress,
        new_database(target, backend) as database,
    ):
        for key, value in records:
            database.put(bytes(key), bytes(value))
            count += 1
            progress.step()
    return count


def _text(key: memoryview) -> str:
    return bytes(key).decode(errors="backslashreplace")
