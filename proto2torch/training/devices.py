"""Which device a solver trains on."""

from __future__ import annotations

import torch

from proto2torch.errors import DeviceError
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.training.log import Log


def choose(asked: str | torch.device | None, definition: SolverDefinition, log: Log) -> torch.device:
    """The device asked for; where none is, what the file's solver_mode says, and the CPU where CUDA is missing.

    Raises:
        DeviceError: a device that was asked for, or the file's device_id, is not there.
    """
    if asked is not None:
        device = _checked(asked)
    elif definition.gpu is not None and not torch.cuda.is_available():
        log("solver_mode is GPU, but torch sees no CUDA device: training on the CPU")
        device = torch.device("cpu")
    elif definition.gpu is not None:
        device = _present(torch.device("cuda", definition.gpu), definition)
    else:
        device = torch.device("cpu")
    log(f"Using GPUs {device.index or 0}" if device.type == "cuda" else "Use CPU.")
    return device


def _checked(asked: str | torch.device) -> torch.device:
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise DeviceError(f"expected a device such as 'cpu' or 'cuda:0'. Received: {asked!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(f"torch sees no CUDA device. Received: {asked}")
    return _present(device)


def _present(device: torch.device, definition: SolverDefinition | None = None) -> torch.device:
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        where = definition.document.where("device_id") if definition is not None else None
        raise DeviceError(f"the CUDA devices are 0 to {count - 1}. Received: {device.index}", where=where)
    return device
