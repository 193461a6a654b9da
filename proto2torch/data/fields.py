"""What every data layer says, read and checked."""

from __future__ import annotations

import secrets

from proto2torch.errors import DataError
from proto2torch.prototxt.document import LayerDefinition


def tops(definition: LayerDefinition, fewest: int, most: int | None) -> int:
    """The number of tops.

    Raises:
        DataError: it is not one that the layer makes.
    """
    number = len(definition.message.top)
    if number < fewest or (most is not None and number > most):
        expected = f"{fewest} or more" if most is None else f"{fewest}" if fewest == most else f"{fewest} to {most}"
        raise DataError(f"expected {expected} tops. Received: {number}", where=definition.where("top"))
    return number


def batch_size(definition: LayerDefinition, param: str) -> int:
    """The field batch_size of the message `param`.

    Raises:
        DataError: it is missing or 0.
    """
    message = getattr(definition.message, param)
    if not message.batch_size:
        received = "0" if message.HasField("batch_size") else "none"
        where = definition.where(f"{param}.batch_size")
        raise DataError(f"batch_size must be at least 1. Received: {received}", where=where)
    return int(message.batch_size)


def new_seed(seed: int | None) -> int:
    """The seed itself, or a random one."""
    return secrets.randbits(32) if seed is None else seed
