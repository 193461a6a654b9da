"""Classes of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from proto2torch.data import workers
from proto2torch.errors import DataError, NetError, Where, did_you_mean, unreadable
from proto2torch.predict.images import ImageNet


@dataclass(frozen=True)
class Class:
    """A class, its name where there are names, and its score."""

    index: int
    label: str | None
    score: float


@dataclass(frozen=True)
class Prediction:
    """The scores of an image, (classes,)."""

    image: str
    scores: NDArray[np.float32]
    labels: Sequence[str] | None = None

    def best(self, count: int) -> list[Class]:
        """The classes with the highest scores, the best first; of equal ones the lower number."""
        order = np.argsort(-self.scores, kind="stable")[:count]
        return [Class(int(i), self.labels[i] if self.labels else None, float(self.scores[i])) for i in order]


def classify(
    found: ImageNet,
    paths: Sequence[str],
    *,
    blob: str | None = None,
    labels: Sequence[str] | None = None,
    oversample: bool = False,
    batch: int = 32,
) -> Iterator[Prediction]:
    """The scores of each image; with `oversample` the mean over its ten crops.

    Raises:
        NetError: there is no such blob, or several outputs to choose from; DataError: an image cannot be read, or there
            are more or fewer labels than classes.
    """
    name = blob or _only_output(found)
    if oversample and found.prepare.size in (None, found.prepare.shape[1:]):
        hint = "give the size that images are resized to, such as --size 256"
        raise DataError("ten crops need images larger than what the net takes", hint=hint)
    for start in range(0, len(paths), batch):
        some = paths[start : start + batch]
        crops = np.stack(workers.run(lambda path: found.prepare(path, oversample), some))
        scores = _scores(found, name, crops.reshape(-1, *found.prepare.shape))
        scores = scores.reshape(len(some), -1, scores.shape[1]).mean(1)
        if labels is not None and len(labels) != scores.shape[1]:
            raise DataError(f"expected a label for each of {scores.shape[1]} classes. Received: {len(labels)}")
        for path, row in zip(some, scores, strict=True):
            yield Prediction(path, row, labels)


def read_labels(path: str) -> list[str]:
    """The names of classes, one a line."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as error:
        unreadable(path, error, DataError)
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise DataError("there are no labels in it", where=Where(file=path))
    return lines


@torch.inference_mode()
def _scores(found: ImageNet, name: str, images: NDArray[np.float32]) -> Any:
    scores = found.net.features(name, **{found.input: torch.from_numpy(images)})[name].float().cpu().numpy()
    scores = scores.reshape(len(images), -1) if scores.ndim < 4 or scores.shape[2:] == (1, 1) else scores
    if scores.ndim != 2:
        raise NetError(f"expected the scores of an image in {name!r}. Received: a blob of shape {scores.shape}")
    return scores


def _only_output(found: ImageNet) -> str:
    outputs = found.net.outputs
    if len(outputs) == 1:
        return outputs[0]
    probable = [name for name in outputs if name in ("prob", "prob_new")]
    if len(probable) == 1:
        return probable[0]
    hint = did_you_mean("prob", outputs)
    raise NetError(f"several outputs to choose from: {', '.join(outputs)}; give one with --output", hint=hint)
