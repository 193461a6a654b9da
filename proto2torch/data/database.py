"""The Data layer: batches of a database's Datums, in the order of their keys."""

from __future__ import annotations

import os
from typing import Any

import torch

from proto2torch.data.datum import Datum, Image, NotADatum, Parser
from proto2torch.data.decode import COLOUR, GREY, UNCHANGED, Undecodable
from proto2torch.data.device_cache import Arriving, DeviceCache, fits, settled
from proto2torch.data.feed import Batch, Feed, Seed, one
from proto2torch.data.fields import batch_size, new_seed, refuse_others, tops
from proto2torch.data.on_device import Pending, finished
from proto2torch.data.records import LEVELDB, LMDB, Records, open_records
from proto2torch.data.transform import Decoded, Transform
from proto2torch.errors import DataError
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition

_FIELDS = ("source", "batch_size", "backend", "prefetch")
_IGNORED_BY_CAFFE = ("rand_skip", "scale", "mean_file", "crop_size", "mirror", "force_encoded_color")
_LMDB = 1  # DataParameter.DB


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """The feed of a Data layer.

    Raises:
        DataError: the database cannot be read, or it does not fit transform_param.
    """
    refuse_others(definition, "data_param", (*_FIELDS, *_IGNORED_BY_CAFFE))
    p = definition.message.data_param
    if p.prefetch < 1:
        where = definition.where("data_param.prefetch")
        raise DataError(f"prefetch must be at least 1. Received: {p.prefetch}", where=where)
    return Feed(DatabaseSource(definition, phase, seed), p.prefetch)


class DatabaseSource:
    """Records of a database as batches: images (N, C, H, W) and, where there is a second top, labels (N,).

    All images of a batch have one shape, unless they are cropped to one; another batch may have another.
    """

    def __init__(self, definition: LayerDefinition, phase: str, seed: int | None) -> None:
        self._definition = definition
        self._p: Any = definition.message.data_param
        self._labels = tops(definition, 1, 2) == 2
        self.batch_size = batch_size(definition, "data_param")
        self._phase = phase
        self._transform = Transform(definition, phase, new_seed(seed))
        self._parse = Parser()
        self._how = how_decoded(definition)
        self._records = open_database(definition)
        self._cache: DeviceCache | None = None
        self._undecided = False  # a LevelDB stays so: it does not know how many records it has
        self._gathered: tuple[torch.device | None, int] = None, 0  # batches for the last device
        try:
            self.shapes = self._shapes()
        except BaseException:
            self.close()
            raise

    @property
    def seed(self) -> int:
        """What its crops and mirrors follow from."""
        return self._transform.seed

    def reseed(self, seed: Seed) -> None:
        self._transform.reseed(one(seed))

    def batch(self, first: int) -> Batch:
        found, labels = self._take(first)
        if any(datum.encoded for _, datum in found) and not _with_floats(found):
            data = self._transform.stream(self._decoded(found), first)
        else:
            data = self._transform(self._images(found), first)
        return (data, labels) if self._labels else (data,)

    def gather(self, first: int, device: torch.device) -> Pending | Arriving | Batch:
        """Bytes for `device`; float32 where the records hold that. Nothing is read of what lies on the device."""
        cache = self._cache_for(device)
        places = cache.places(first, self.batch_size) if cache else []
        if cache and cache.has(places):
            return cache.batch(places, self._transform.picks([cache.shape] * len(places), first))
        found, labels = self._take(first)
        if _with_floats(found):
            self._cache = None
            return self.batch(first)
        if any(datum.encoded for _, datum in found):
            self._cache = None
            images = self._transform.gather_stream(self._decoded(found), first, device)
            return Pending(images, labels if self._labels else None)
        raw = self._images(found)
        if cache and all(image.shape == cache.shape for image in raw):
            picks = self._transform.picks([cache.shape] * len(raw), first)
            return Arriving(cache, self._transform.whole(raw, device), labels, places, picks)
        self._cache = None
        return Pending(self._transform.gather(raw, first, device), labels if self._labels else None)

    def finish(self, gathered: Pending | Arriving | Batch, device: torch.device) -> Batch:
        return finished(self._transform, gathered.stored() if isinstance(gathered, Arriving) else gathered, device)

    def _cache_for(self, device: torch.device) -> DeviceCache | None:
        """What keeps the images on a device; whether they fit is decided once."""
        before, batches = self._gathered
        if device != before:
            self._cache, self._undecided, batches = None, self._p.backend == _LMDB, 0
        self._gathered = device, batches + 1
        if self._undecided and settled(self._phase, batches, self.batch_size, len(self._records)):
            self._cache, self._undecided = self._new_cache(device), False
        return self._cache

    def _new_cache(self, device: torch.device) -> DeviceCache | None:
        datum, count = self._datum(*next(self._records.take(0, 1))), len(self._records)
        if datum.encoded or not len(datum.data) or not fits(count, shape := datum.image().shape, device):
            return None
        return DeviceCache(count, shape, self._transform.shape(shape)[1:], self._labels, device)

    def name(self, number: int) -> str:
        """A record as messages name it."""
        return next(f"the record {_text(key)} of {self._p.source!r}" for key, _ in self._records.take(number, 1))

    def close(self) -> None:
        self._records.close()

    def _shapes(self) -> list[Shape]:
        key, value = next(self._records.take(0, 1))
        image = self._transform.shape(self._image((key, self._datum(key, value))).shape)
        shapes: list[Shape] = [(self.batch_size, *image)]
        return [*shapes, (self.batch_size,)] if self._labels else shapes

    def _take(self, first: int) -> tuple[list[tuple[memoryview, Datum]], torch.Tensor]:
        """The keys and Datums of a batch, and their labels."""
        found = [(key, self._datum(key, value)) for key, value in self._records.take(first, self.batch_size)]
        return found, torch.tensor([datum.label for _, datum in found], dtype=torch.float32)

    def _decoded(self, found: list[tuple[memoryview, Datum]]) -> Decoded:
        """The images of a batch, some of which are files of images."""
        return Decoded(
            len(found),
            lambda number: self._image(found[number]),
            lambda number, expected, received: self._other_shape(found[number][0], expected, received),
        )

    def _images(self, found: list[tuple[memoryview, Datum]]) -> list[Image]:
        """The images of a batch, which fit one another."""
        images = [self._image(item) for item in found]
        expected, before = self._transform.shape(images[0].shape), images[0].shape
        for (key, _), image in zip(found, images, strict=True):
            if image.shape != before:
                before, received = image.shape, self._transform.shape(image.shape)
                if received != expected:
                    raise self._other_shape(key, expected, received)
        return images

    def _datum(self, key: memoryview, value: memoryview) -> Datum:
        try:
            return self._parse(value)
        except NotADatum as error:
            raise self._bad(key, error) from error

    def _image(self, item: tuple[memoryview, Datum]) -> Image:
        key, datum = item
        try:
            return datum.decoded(self._how)
        except (NotADatum, Undecodable) as error:
            raise self._bad(key, error) from error

    def _bad(self, key: memoryview, error: Exception) -> DataError:
        what = "is not a Datum" if isinstance(error, NotADatum) else "has an image that cannot be decoded"
        message = f"the record {_text(key)} of {self._p.source!r} {what}: {error}"
        return DataError(message, where=self._definition.where("data_param.source"))

    def _other_shape(self, key: memoryview, expected: Shape, received: Shape) -> DataError:
        message = (
            f"all images of a batch must have one shape, but the record {_text(key)} of {self._p.source!r} differs."
            f" Expected: {expected}. Received: {received}"
        )
        hint = "set transform_param.crop_size, or batch_size: 1" if expected[0] == received[0] else None
        return DataError(message, where=self._definition.where("data_param.source"), hint=hint)


def open_database(definition: LayerDefinition) -> Records:
    """The database that data_param names.

    Raises:
        DataError: it cannot be read, or is not what `backend` says.
    """
    p, where = definition.message.data_param, definition.where("data_param.source")
    if not p.source:
        raise DataError("source, the folder of the database, is missing", where=where)
    folder = resolve(p.source, where.file)
    if p.backend != _LMDB and os.path.isfile(os.path.join(folder, "data.mdb")):
        where = definition.where("data_param.backend")
        hint = "set 'backend: LMDB'; where none is set, LEVELDB is meant"
        raise DataError(f"expected a LevelDB. Received: {folder!r}, an LMDB", where=where, hint=hint)
    return open_records(folder, LMDB if p.backend == _LMDB else LEVELDB, where)


def how_decoded(definition: LayerDefinition) -> str:
    """How transform_param wants encoded images."""
    p = definition.message.transform_param
    if p.force_color and p.force_gray:
        where = definition.where("transform_param.force_gray")
        raise DataError("force_color and force_gray exclude each other", where=where)
    return COLOUR if p.force_color else GREY if p.force_gray else UNCHANGED


def _with_floats(found: list[tuple[memoryview, Datum]]) -> bool:
    """Whether there are records that hold float32."""
    return any(datum.floats is not None and not len(datum.data) for _, datum in found)


def _text(key: memoryview) -> str:
    return repr(bytes(key).decode(errors="backslashreplace"))
