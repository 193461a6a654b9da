"""The AnnotatedData layer: batches of images and of their objects, both changed alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from proto2torch.data import workers
from proto2torch.data.annotated import distortion, fitting, objects, sampling
from proto2torch.data.annotated.checks import check
from proto2torch.data.annotated.objects import WHOLE, Box, Objects
from proto2torch.data.crop import Pick
from proto2torch.data.database import how_decoded, open_database
from proto2torch.data.datum import Datum, NotADatum
from proto2torch.data.decode import Undecodable
from proto2torch.data.feed import Batch, Feed, Seed, one
from proto2torch.data.fields import batch_size, new_seed, tops
from proto2torch.data.resize import Pixels
from proto2torch.data.transform import Transform, read_mean
from proto2torch.errors import DataError
from proto2torch.ir.graph import Shape
from proto2torch.prototxt import schema
from proto2torch.prototxt.document import LayerDefinition

_CHANGES = ("resize_param", "distort_param", "expand_param", "emit_constraint")
_NOTHING = -1.0


def open_feed(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """The feed of an AnnotatedData layer.

    Raises:
        DataError: the database cannot be read, or it does not fit what the layer says.
    """
    check(definition)
    return Feed(AnnotatedSource(definition, phase, seed), definition.message.data_param.prefetch)


@dataclass(frozen=True)
class Record:
    """One record: its key, for errors, its image (C, H, W), its objects, and a label where it has none of those."""

    key: str
    image: Pixels
    objects: Objects
    label: int
    typed: bool
    """Whether it says that its annotations are boxes."""


class AnnotatedSource:
    """Records of a database as batches: images (N, C, H, W), and objects (1, 1, G, 8) or plain labels (N,)."""

    def __init__(self, definition: LayerDefinition, phase: str, seed: int | None) -> None:
        self._definition = definition
        self._p: Any = definition.message.annotated_data_param
        self._change: Any = definition.message.transform_param
        self._rows = tops(definition, 1, 2) == 2
        self.batch_size = batch_size(definition, "data_param")
        self._transform = Transform(definition, phase, new_seed(seed), _CHANGES)
        self._mean = read_mean(definition)
        self._how = how_decoded(definition)
        self._class = schema.message_class("AnnotatedDatum")
        self._records = open_database(definition)
        try:
            self.shapes = self._shapes()
        except BaseException:
            self.close()
            raise

    @property
    def seed(self) -> Seed:
        """What every random choice follows from, with a record's number."""
        return self._transform.seed

    def reseed(self, seed: Seed) -> None:
        self._transform.reseed(one(seed))

    def close(self) -> None:
        self._records.close()

    def batch(self, first: int) -> Batch:
        taken = list(self._records.take(first, self.batch_size))
        found = workers.run(self._made, [(first + i, *entry) for i, entry in enumerate(taken)])
        images = [record.image for record in found]
        self._check(found)
        picks = self._transform.picks([image.shape for image in images], first)
        data = self._transform.apply(images, picks)
        if not self._rows:
            return (data,)
        if not self._boxes:
            return data, torch.tensor([record.label for record in found], dtype=torch.float32)
        shape = self._transform.shape(images[0].shape)
        seen = [self._seen(record, pick, shape) for record, pick in zip(found, picks, strict=True)]
        rows = np.concatenate([some.rows(i) for i, some in enumerate(seen)])
        return data, torch.from_numpy(rows if len(rows) else np.full((1, 8), _NOTHING, np.float32))[None, None]

    def _made(self, entry: tuple[int, memoryview, memoryview]) -> Record:
        """One record, changed up to its size; resize_param is there once at most."""
        number, key, value = entry
        record, draw = self._read(key, value), np.random.default_rng((self._transform.seed, number))
        image, some = record.image, record.objects
        if self._change.HasField("distort_param"):
            self._check_colours(record)
            image = distortion.distort(image, self._change.distort_param, draw)
        if self._change.HasField("expand_param"):
            image, canvas = fitting.expand(image, self._change.expand_param, self._mean, draw)
            some = some if canvas is None else self._through(some, canvas)
        box = sampling.choose(self._p.batch_sampler, some, draw)
        if box is not None:
            image, some = fitting.cut(image, box), self._through(some, objects.clipped(box))
        for resize in self._change.resize_param:
            if not image.size:
                raise self._bad(record.key, "its sampled part is smaller than a pixel")
            some = fitting.fit_boxes(some, image.shape[1:], resize)
            image = fitting.fit(image, resize, draw)
        return replace(record, image=image, objects=some)

    def _seen(self, record: Record, pick: Pick, shape: Shape) -> Objects:
        """The objects in what `pick` takes of the image, as shares of it."""
        rows, columns = record.image.shape[1:]
        ends = [pick.left, pick.top, pick.left + shape[2], pick.top + shape[1]]
        crop = np.divide(ends, [columns, rows, columns, rows]).astype(np.float32)
        some = self._through(record.objects, crop if self._change.crop_size else WHOLE)
        return objects.mirrored(some) if pick.mirrored else some

    def _through(self, some: Objects, crop: Box) -> Objects:
        if self._change.HasField("emit_constraint"):
            some = objects.emitted(some, crop, self._change.emit_constraint)
        return objects.seen_through(some, crop)

    def _shapes(self) -> list[Shape]:
        key, value = next(self._records.take(0, 1))
        record = self._read(key, value)
        self._boxes = record.typed or self._p.HasField("anno_type")  # the first one speaks for all
        image = record.image.shape
        for resize in self._change.resize_param:
            image = fitting.fit(record.image, resize, np.random.default_rng(0)).shape
        shapes: list[Shape] = [(self.batch_size, *self._transform.shape(image))]
        if not self._rows:
            return shapes
        return [*shapes, (1, 1, max(1, len(record.objects)), 8) if self._boxes else (self.batch_size,)]

    def _read(self, key: memoryview, value: memoryview) -> Record:
        name = bytes(key).decode(errors="backslashreplace")
        try:
            annotated = self._class.FromString(bytes(value))
        except Exception as error:  # protobuf's own DecodeError, of whatever runtime
            raise self._bad(name, "it is not an AnnotatedDatum") from error
        datum = annotated.datum
        try:
            image = _bare(datum).decoded(self._how)
        except (NotADatum, Undecodable) as error:
            raise self._bad(name, str(error)) from error
        return Record(
            name, np.asarray(image, np.uint8), objects.read(annotated), datum.label, annotated.HasField("type")
        )

    def _check(self, found: Sequence[Record]) -> None:
        expected = self._transform.shape(found[0].image.shape)
        for record in found:
            received = self._transform.shape(record.image.shape)
            if received != expected:
                hint = "resize_param or crop_size makes all images of one size"
                raise self._bad(record.key, f"expected an image of {expected}. Received: {received}", hint)

    def _check_colours(self, record: Record) -> None:
        if len(record.image) != 3:
            hint = "transform_param { force_color: true } reads every image as colour"
            message = f"distort_param needs 3 channels. Received: {len(record.image)}"
            raise self._bad(record.key, message, hint)

    def _bad(self, key: str, reason: str, hint: str | None = None) -> DataError:
        source = self._definition.message.data_param.source
        where = self._definition.where("data_param.source")
        return DataError(f"the record {key!r} of {source!r} cannot be used: {reason}", where=where, hint=hint)


def _bare(message: Any) -> Datum:
    """A Datum of bytes that protobuf has read."""
    extent = (message.channels, message.height, message.width)
    return Datum(*extent, message.label, message.encoded, memoryview(message.data), None)
