"""What Caffe's data layers draw from the random stream while a net is built, before the fillers of later layers.

A layer that transforms its images seeds a generator of its own for mirror bits and crop offsets, and one that reads
ahead seeds its thread. Without these draws the fillers would start at another place of the stream.
"""

from __future__ import annotations

from dataclasses import dataclass

from proto2torch.prototxt.document import LayerDefinition
from proto2torch.weights.random import Stream

_READING_AHEAD = ("Data", "AnnotatedData", "ImageData", "WindowData")


@dataclass(frozen=True)
class Seeds:
    """The words that a data layer drew; None where it needs none."""

    transform: int | None = None
    """Seed of the mirror bits and crop offsets."""
    shuffle: int | None = None
    """Seed of ImageData's order of the list."""
    skip: int | None = None
    """ImageData starts at this word modulo `rand_skip`."""
    windows: int | None = None
    """Seed of WindowData's choice of windows."""

    def given(self) -> dict[str, int]:
        """Those that the layer drew, by name."""
        return {name: word for name, word in vars(self).items() if word is not None}


def data_layer_draws(definition: LayerDefinition, phase: str, stream: Stream) -> Seeds:
    """Take the words that this layer takes at its construction in Caffe; no word for a layer that is no data layer.

    The order: a transform seed that is never used, ImageData's or WindowData's own, the transform seed in use, the
    seed of the thread. MemoryData has the first alone, and uses it. HDF5Data, DummyData and Input draw nothing.
    `phase` is TRAIN or TEST, the net's; a layer's own phase goes before it.
    """
    kind, message = definition.type, definition.message
    if kind not in (*_READING_AHEAD, "MemoryData"):
        return Seeds()
    training = message.phase == 0 if message.HasField("phase") else phase == "TRAIN"
    transform = message.transform_param
    draws = transform.mirror or (training and transform.crop_size > 0)

    first = stream.word() if draws else None
    if kind == "MemoryData":
        return Seeds(transform=first)
    image, window = message.image_data_param, kind == "WindowData"
    shuffle = stream.word() if kind == "ImageData" and image.shuffle else None
    skip = stream.word() if kind == "ImageData" and image.rand_skip else None
    windows = stream.word() if window and (transform.mirror or transform.crop_size) else None
    seed = stream.word() if draws else None
    thread = stream.word()  # but for AnnotatedData no value depends on it
    seed = thread if kind == "AnnotatedData" else seed
    return Seeds(transform=seed, shuffle=shuffle, skip=skip, windows=windows)
