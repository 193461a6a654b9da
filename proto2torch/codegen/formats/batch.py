"""A program traced with a free batch size, where the net leaves one free."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Trace = Callable[[tuple["Tensor", ...], Any], Any]
"""Makes a program of a module's arguments and the extents of theirs that are free, as torch.export takes them."""


def freely(trace: Trace, inputs: Iterable[Tensor]) -> tuple[Any, bool]:
    """The program that `trace` makes of copies of the inputs, and whether its batch size is free.

    Raises:
        Exception: what `trace` raises where no size is free.
    """
    import torch

    arguments = tuple(tensor.clone() for tensor in inputs)
    if len({tensor.shape[0] for tensor in arguments if tensor.ndim}) == 1:
        batch = torch.export.Dim("batch")
        try:
            return trace(arguments, tuple({0: batch} if tensor.ndim else None for tensor in arguments)), True
        except Exception:  # nothing narrower is promised; without a free size it fails again, or does not
            pass
    return trace(arguments, None), False
