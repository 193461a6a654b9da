"""The mean average precision of detections, as SSD's solver computes it of the rows of a DetectionEvaluate layer.

A row is -1, a class, its number of true boxes; or an image, a class, a score, and whether the detection is a true or a
false positive. Of a class's detections in falling order precision is the share of true ones so far, recall what share
of its true boxes they are.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

VERSIONS = ("Integral", "MaxIntegral", "11point")
"""The area under the curve as it is (SSD's default); under its hull from the right (VOC 2012), where SSD takes each
step of recall at the precision before it; the mean of the best precision beyond each of 11 recalls (VOC 2007)."""
_SAME = 1e-6  # recalls that differ by no more are one

Values = NDArray[np.float64]


def mean_average_precision(rows: Tensor, version: str = "Integral") -> tuple[float, dict[int, float]]:
    """The mean over the classes, and each class's own, of rows (n, 5) of all batches.

    A class without a detection counts as 0, and is not among the classes; of no classes the mean is not a number.
    """
    found = rows.double().cpu().numpy()
    counts, detected = found[found[:, 0] == -1], found[found[:, 0] != -1]
    detected = detected[(detected[:, 3] != 0) | (detected[:, 4] != 0)]  # neither: it is a difficult object
    totals: dict[int, float] = {}
    for label, count in counts[:, 1:3]:
        totals[int(label)] = totals.get(int(label), 0.0) + count
    classes: dict[int, float] = {}
    for label in sorted(totals):
        own = detected[detected[:, 1] == label]
        if len(own):
            own = own[np.argsort(-own[:, 2], kind="stable")]
            classes[label] = _average(np.cumsum(own[:, 3]), np.cumsum(own[:, 4]), totals[label], version)
    return (sum(classes.values()) / len(totals) if totals else float("nan")), classes


def _average(true: Values, false: Values, total: float, version: str) -> float:
    """The average precision of one class."""
    precision = true / (true + false)
    recall = true / total if total else np.zeros_like(true)
    if version == "11point":
        return float(sum(max(precision[recall >= at / 10], default=0.0) for at in range(11)) / 11)
    if version == "MaxIntegral":
        hull = np.maximum.accumulate(precision[::-1])[::-1]
        precision = np.concatenate([hull[:1], hull[:-1]])
    steps = np.diff(recall, prepend=0.0)
    return float(np.sum(np.where(steps > _SAME, precision * steps, 0)))


def rows_of(output: Tensor) -> Tensor:
    """The rows (n, 5) of a DetectionEvaluate layer's top (1, 1, n, 5), kept by themselves."""
    return torch.clone(output.detach().reshape(-1, 5))
