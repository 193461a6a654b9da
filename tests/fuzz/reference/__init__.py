"""Caffe's layers in plain numpy and double precision, written from what Caffe computes and from nothing of proto2torch.

`LAYERS` holds a class for each type. Each says its shapes, its values and its gradients, and reads what Caffe reads:
`backward` is given the data that its bottoms and tops hold by then, which an in-place layer may have overwritten.
"""

from __future__ import annotations

from . import convolution, losses, normalise, pointwise, pooling, recurrent, routing, selection
from .base import LAYERS, Array, Layer, Refused, Shape

__all__ = [
    "LAYERS",
    "Array",
    "Layer",
    "Refused",
    "Shape",
    "convolution",
    "losses",
    "normalise",
    "pointwise",
    "pooling",
    "recurrent",
    "routing",
    "selection",
]
