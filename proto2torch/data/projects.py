"""The data layers of well-known projects: FCN's segmentations are read, others are given by the caller."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from proto2torch.data.feed import Batch, Feed, Seed, one
from proto2torch.data.fields import new_seed
from proto2torch.errors import DataError, UnsupportedError, why
from proto2torch.files import resolve
from proto2torch.ir.graph import Shape
from proto2torch.layers.python import KNOWN
from proto2torch.prototxt.document import LayerDefinition


def open_python(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """The feed of a data layer that is known by its Python module and class.

    Raises DataError: what it names cannot be read.
    """
    p = definition.message.python_param
    kind: Any = KNOWN.get((p.module, p.layer))
    if kind is None:
        raise UnsupportedError(f"{p.module}.{p.layer} cannot be fed", where=definition.where("python_param.layer"))
    if p.layer == "RoIDataLayer":
        return Feed(Awaited(definition, [(1, 3, 600, 1000), (1, 3), (1, 5)]))
    return Feed(Segmentations(definition, kind(definition, phase).options, new_seed(seed)), prefetch=4)


def open_given(definition: LayerDefinition, phase: str, seed: int | None) -> Feed:
    """No feed: what the layer gives, the caller has to, or at least its shape. Always raises DataError."""
    where = definition.where("image_data_param.source")
    source = definition.message.image_data_param.source
    if not os.path.exists(resolve(source, where.file)):
        raise DataError(f"cannot read the list {source!r}: no such file or directory", where=where)
    text = f"how {definition.type} scales an edge map is not known here: its tops must be given"
    raise DataError(text, where=where, hint="feeds= in Python gives what is in them")


class Awaited:
    """Tops that the caller gives in every forward; the shapes are only what a net is laid out for at first."""

    batch_size = 1
    seed: Seed = 0

    def __init__(self, definition: LayerDefinition, shapes: list[Shape]) -> None:
        self._definition, self.shapes = definition, shapes

    def batch(self, first: int) -> Batch:
        names = ", ".join(f"{name}=…" for name in self._definition.message.top)
        text = "its data set is not read: the caller gives what it does"
        raise DataError(text, where=self._definition.where(), hint=f"net({names}), or feeds=")

    def reseed(self, seed: Seed) -> None:
        """Nothing is drawn."""

    def close(self) -> None:
        """Nothing is open."""


class Segmentations:
    """FCN's pairs of an image and its classes, one a batch, in order or drawn by chance."""

    batch_size = 1

    def __init__(self, definition: LayerDefinition, options: Mapping[str, Any], seed: int) -> None:
        self._where, self._options = definition.where("python_param.param_str"), options
        self._voc = "voc_dir" in options
        self._folder = resolve(options["voc_dir" if self._voc else "sbdd_dir"], self._where.file)
        self._names = self._split()
        self._random = bool(options["randomize"]) and "train" in options["split"]
        self.seed: Seed = options["seed"] or seed
        self._mean = np.array(options["mean"], np.float32)[:, None, None]
        self.shapes: list[Shape] = [tuple(top.shape) for top in self.batch(0)]

    def batch(self, first: int) -> Batch:
        number = first % len(self._names)
        if self._random:
            number = int(np.random.default_rng([one(self.seed), first]).integers(len(self._names)))
        name = self._names[number]
        image = np.array(self._open("JPEGImages" if self._voc else "img", f"{name}.jpg").convert("RGB"), np.float32)
        image = image[:, :, ::-1].transpose(2, 0, 1) - self._mean
        tops = (np.ascontiguousarray(image)[None], self._classes(name).astype(np.float32)[None, None])
        return tuple(map(torch.from_numpy, tops))

    def reseed(self, seed: Seed) -> None:
        self.seed = self._options["seed"] or seed

    def close(self) -> None:
        """There is nothing to give back: each file is opened and closed."""

    def _split(self) -> list[str]:
        split = f"{self._options['split']}.txt"
        path = os.path.join(self._folder, *(["ImageSets", "Segmentation"] if self._voc else []), split)
        try:
            with open(path, encoding="utf-8") as file:
                names = file.read().split()
        except (OSError, UnicodeDecodeError) as error:
            reason = why(error)
            raise DataError(f"cannot read the split {path!r}: {reason.lower()}", where=self._where) from error
        if not names:
            raise DataError(f"the split {path!r} names no image", where=self._where)
        return names

    def _classes(self, name: str) -> NDArray[Any]:
        if self._voc:
            return np.array(self._open("SegmentationClass", f"{name}.png"), np.uint8)
        path = os.path.join(self._folder, "cls", f"{name}.mat")
        try:
            from scipy.io import loadmat  # type: ignore[import-untyped]

            classes: NDArray[Any] = loadmat(path)["GTcls"][0]["Segmentation"][0].astype(np.uint8)
        except ImportError as error:
            raise DataError("reading .mat files needs scipy", where=self._where, hint="pip install scipy") from error
        except (OSError, ValueError, KeyError, IndexError, TypeError, NotImplementedError) as error:
            raise DataError(f"cannot read the classes {path!r}: {error}", where=self._where) from error
        return classes

    def _open(self, *parts: str) -> Image.Image:
        path = os.path.join(self._folder, *parts)
        try:
            image = Image.open(path)
            image.load()
        except (OSError, SyntaxError, ValueError) as error:
            reason = why(error)
            raise DataError(f"cannot read the image {path!r}: {reason.lower()}", where=self._where) from error
        return image
