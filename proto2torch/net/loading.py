"""`load`: the net of a prototxt, built and with its weights."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch

from proto2torch import python_layers
from proto2torch.errors import DeviceError, UsageError
from proto2torch.layers import REGISTRY
from proto2torch.layers.variants import check_fork
from proto2torch.net import transfer
from proto2torch.net.net import Net
from proto2torch.net.telling import told_by_weights
from proto2torch.prototxt import filters
from proto2torch.prototxt.dialect import written_for
from proto2torch.prototxt.document import NetDefinition
from proto2torch.prototxt.read import read_net
from proto2torch.weights.random import Stream
from proto2torch.weights.stored import StoredWeights


def load(
    path: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    device: str | torch.device = "cpu",
    allow_python_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
    fork: str = "",
) -> Net:
    """The net of a prototxt as an nn.Module.

    Parameters
    ----------
    path, text
        The prototxt's file, or its text in place of a file.
    weights
        A .caffemodel or .caffemodel.h5; without it the blobs start as Caffe's fillers say.
    phase, level, stages
        Select the layers, as the include and exclude rules say; phase is TRAIN or TEST.
    device
        Where the parameters live. On CUDA the process's convolutions then stay float32; torch would let them use TF32.
    allow_python_layers
        Whether Python layers of the prototxt may run: the modules that they name are imported, and can do anything.
    feeds
        What feeds data or Input layers in place of what they read, by name: an iterable of batches, such as a
        DataLoader, whose batches are mappings by top or sequences in the tops' order, or an object like `data.Feed`.
    fork
        The fork of Caffe that the net is written for, `segnet` say; needed where forks give one layer type several
        meanings and the layer's fields do not tell which.

    Raises
    ------
    Proto2TorchError
        For whatever is wrong with the file, the net or the weights.
    """
    if (path is None) == (text is None):
        raise UsageError(f"takes a path or a text. Received: {'neither' if path is None else 'both'}")
    check_fork(fork)
    with written_for(fork):
        definition = read_net(None if path is None else os.fspath(path), text=text)
    source = None if weights is None else transfer.opened(os.fspath(weights))
    if isinstance(source, StoredWeights):
        definition = told_by_weights(definition, source)
    net = load_definition(
        definition,
        phase=phase,
        level=level,
        stages=stages,
        device=device,
        allow_python_layers=allow_python_layers,
        feeds=feeds,
        brought=_with_blobs(source) if isinstance(source, StoredWeights) else (),
    )
    if source is not None:
        net.load_weights(source)
    return net


def load_definition(
    definition: NetDefinition,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    device: str | torch.device = "cpu",
    stream: Stream | None = None,
    allow_python_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
    brought: Collection[str] = (),
) -> Net:
    """The net of a definition that has been read; its fillers draw from `stream`, but not for the layers named in
    `brought`, whose weights the caller loads next."""
    if phase not in ("TRAIN", "TEST"):
        raise UsageError(f"phase must be 'TRAIN' or 'TEST'. Received: {phase!r}")
    if isinstance(stages, str):
        raise UsageError(f"stages must be a sequence of names. Received: {stages!r}", hint=f"stages=[{stages!r}]")
    selected = filters.select(definition, phase, level, stages)
    registry = python_layers.registry() if allow_python_layers else REGISTRY
    stream = stream or Stream(None)
    given: dict[str, Any] = {"registry": registry, "feeds": feeds, "brought": brought}
    return Net(selected, phase, _device(device), stream, whole=definition, **given)


def _with_blobs(stored: StoredWeights) -> list[str]:
    return [name for name, layer in stored.layers.items() if layer.blobs]


def _device(device: str | torch.device) -> torch.device:
    """The device, tried out: torch itself says that one is missing only when memory is asked for."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"the device {str(device)!r} cannot be used: {reason}") from error
