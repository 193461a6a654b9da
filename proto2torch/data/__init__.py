"""What feeds a net: data layers, and the same sources as PyTorch datasets.

`open` gives the feed of a layer, `Feed.next()` its batches. A type of data layer is one module here and a line in
`_FEEDS`. `LMDB`, `LevelDB`, `ImageList` and `HDF5` are datasets for a DataLoader; `from_iterable` goes the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from proto2torch.data import database, dummy_data, hdf5_data, image_data, memory_data, projects, window_data
from proto2torch.data.annotated import layer as annotated_data
from proto2torch.data.datasets import HDF5, ImageList
from proto2torch.data.datasets import LevelDBDataset as LevelDB
from proto2torch.data.datasets import LMDBDataset as LMDB
from proto2torch.data.feed import Feed
from proto2torch.data.iterable import AnyFeed, from_iterable, given, next_batch
from proto2torch.errors import UnsupportedError
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition

__all__ = [
    "HDF5",
    "LMDB",
    "AnyFeed",
    "Feed",
    "ImageList",
    "LevelDB",
    "from_iterable",
    "given",
    "next_batch",
    "open",
    "open_in",
    "shapes_in",
]

_FEEDS: dict[str, Callable[[LayerDefinition, str, int | None], Feed]] = {
    "AnnotatedData": annotated_data.open_feed,
    "Data": database.open_feed,
    "DummyData": dummy_data.open_feed,
    "HDF5Data": hdf5_data.open_feed,
    "ImageData": image_data.open_feed,
    "ImageLabelmapData": projects.open_given,
    "MemoryData": memory_data.open_feed,
    "Python": projects.open_python,
    "WindowData": window_data.open_feed,
}


def open_in(registry: Mapping[str, Any], definition: LayerDefinition, phase: str) -> AnyFeed:
    """The feed of a data layer of a net whose layer types are those of `registry`: of a Python layer that may run, what
    the user's class gives."""
    kind: Any = registry["Python"].chosen(definition, "") if definition.type == "Python" else None
    feed: AnyFeed = kind.feed(definition, phase) if hasattr(kind, "feed") else open(definition, phase)
    return feed


def shapes_in(registry: Mapping[str, Any], definition: LayerDefinition, phase: str) -> Sequence[Shape]:
    """The shapes of a data layer's tops, from a feed that is opened, as `open_in` does, for nothing else."""
    feed = open_in(registry, definition, phase)
    try:
        found: Sequence[Shape] = feed.shapes
        return found
    finally:
        feed.close()


def open(definition: LayerDefinition, phase: str, seed: int | None = None) -> Feed:
    """The feed of a data layer.

    Relative paths are taken from the working directory and, where nothing is there, from the folder of the prototxt.

    Args:
        phase: TRAIN or TEST; it decides where a layer has no phase of its own.
        seed: what random crops, mirrors and shuffles follow from, as `weights.seeds.draw` draws it; None chooses one.

    Raises:
        DataError: what the layer names cannot be read or does not fit.
        UnsupportedError: a type, or a kind of file, that is not read yet.
    """
    if definition.type not in _FEEDS:
        known = ", ".join(sorted(_FEEDS))
        raise UnsupportedError(f"{definition.type} layers cannot be fed; {known} can", where=definition.where("type"))
    message = definition.message
    if message.HasField("phase"):
        phase = ("TRAIN", "TEST")[message.phase]
    return _FEEDS[definition.type](definition, phase, seed)
