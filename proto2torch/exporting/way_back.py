"""Weights that were trained in an exported file, back in Caffe's formats."""

from __future__ import annotations

from dataclasses import replace

from proto2torch.errors import WeightsError
from proto2torch.exporting.job import Job
from proto2torch.net import Net
from proto2torch.weights import Report


def import_weights(job: Job, path: str) -> tuple[Net, Report]:
    """The net with the tensors of a .safetensors or .pt of a module that `export` wrote of it.

    The module may have been exported folded or flat, in either phase, with its losses or without: its keys tell. Where
    they fit in no way, what is said is about the job's own phase.

    Raises:
        WeightsError: keys are missing or unknown, or a tensor has another shape.
    """
    net = job.net()
    try:
        return net, net.load_weights(path)
    except WeightsError as error:
        other = replace(job, phase="TRAIN" if job.phase == "TEST" else "TEST").net()
        try:
            return other, other.load_weights(path)
        except WeightsError:
            raise error from None
