"""How many records a data layer reads before it begins again."""

from __future__ import annotations

import os
from typing import Any

from proto2torch.files import resolve
from proto2torch.prototxt.document import LayerDefinition


def count(definition: LayerDefinition) -> int:
    """The number of records of a Data, HDF5Data or ImageData layer; 0 for others, which have no end."""
    counter = _COUNTERS.get(definition.type)
    return counter(definition) if counter else 0


def _database(definition: LayerDefinition) -> int:
    from proto2torch.data.records import open_records

    records = open_records(resolve(definition.message.data_param.source, _beside(definition)))
    try:
        return len(records)
    finally:
        records.close()


def _hdf5(definition: LayerDefinition) -> int:
    from proto2torch.data import hdf5_file

    total, top = 0, definition.message.top[0]
    for name in _words(definition, definition.message.hdf5_data_param.source):
        path, where = resolve(name, _beside(definition)), definition.where("hdf5_data_param.source")
        with hdf5_file.opened(path, where) as file:
            total += hdf5_file.rows(file, [top], path, where)
    return total


def _images(definition: LayerDefinition) -> int:
    with open(resolve(definition.message.image_data_param.source, _beside(definition)), "rb") as file:
        return sum(bool(line.strip()) for line in file)


def _words(definition: LayerDefinition, source: str) -> list[str]:
    with open(resolve(source, _beside(definition)), "rb") as file:
        return [os.fsdecode(word) for word in file.read().split()]


def _beside(definition: LayerDefinition) -> str | None:
    return definition.source.path if definition.source else None


_COUNTERS: dict[str, Any] = {"Data": _database, "HDF5Data": _hdf5, "ImageData": _images}
