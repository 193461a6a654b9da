"""What every data layer says, read and checked."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from proto2torch.errors import DataError, UnsupportedError, raise_problems
from proto2torch.prototxt.document import LayerDefinition


def refuse_others(definition: LayerDefinition, param: str, understood: Collection[str]) -> None:
    """Refuse what the message `param` sets beyond the fields `understood`: those of forks, which would change the data.

    Raises:
        UnsupportedError: one such field; Problems where there are several.
    """
    others = [
        field.name for field, _ in getattr(definition.message, param).ListFields() if field.name not in understood
    ]
    raise_problems(
        [
            UnsupportedError(
                f"{param}.{name}, a field of a fork of Caffe, is not supported",
                where=definition.where(f"{param}.{name}"),
            )
            for name in others
        ]
    )


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
