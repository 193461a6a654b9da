"""Databases of AnnotatedDatums, made for tests."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from PIL import Image

from proto2torch.prototxt import schema

Shown = tuple[int, int, tuple[float, float, float, float], bool]
"""Label, instance, box, difficult."""


def record(image: np.ndarray, shown: Sequence[Shown] = (), encoded: bool = True, typed: bool = True) -> bytes:
    """An AnnotatedDatum of an image (H, W, 3), blue first."""
    annotated = schema.new("AnnotatedDatum")
    if typed:
        annotated.type = 0
    annotated.datum.channels, annotated.datum.height, annotated.datum.width = 3, *image.shape[:2]
    annotated.datum.label = 7
    if encoded:
        file = io.BytesIO()
        Image.fromarray(image[:, :, ::-1]).save(file, "PNG")
        annotated.datum.data, annotated.datum.encoded = file.getvalue(), True
    else:
        annotated.datum.data = image.transpose(2, 0, 1).tobytes()
    for label, instance, box, difficult in shown:
        group = annotated.annotation_group.add()
        group.group_label = label
        one = group.annotation.add()
        one.instance_id = instance
        one.bbox.xmin, one.bbox.ymin, one.bbox.xmax, one.bbox.ymax = box
        one.bbox.difficult = difficult
    contents: bytes = annotated.SerializeToString()
    return contents


def database(folder: Path, records: Sequence[bytes]) -> Path:
    """An LMDB of records."""
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for number, contents in enumerate(records):
            transaction.put(b"%08d" % number, contents)
    return folder


def message(name: str, **fields: Any) -> Any:
    """A message of a fork's with fields set."""
    made = schema.new(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made
