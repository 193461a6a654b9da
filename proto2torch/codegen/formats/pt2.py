"""PT2: a module as torch.export's program, its batch size free, that torch.export.load reads without the source."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from proto2torch import files
from proto2torch.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor, nn


def write(path: str, module: nn.Module, inputs: Mapping[str, Tensor]) -> bool:
    """Write `module`, whose arguments are `inputs`; whether its batch size is free.

    Raises:
        UnsupportedError: torch.export cannot follow the module.
        RunError: the file cannot be written.
    """
    import torch

    program, free = _program(module, tuple(tensor.clone() for tensor in inputs.values()))
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        torch.export.save(program, file)
    return free


def run(path: str, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What the file computes of `inputs`, read again."""
    import torch

    with open(path, "rb") as file, torch.no_grad():
        result = torch.export.load(file).module()(*inputs.values())
    return [result] if isinstance(result, torch.Tensor) else list(result.values())


def _program(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Any, bool]:
    import torch

    sizes = {tensor.shape[0] for tensor in arguments if tensor.ndim}
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        if len(sizes) == 1:
            free = tuple({0: batch} if tensor.ndim else None for tensor in arguments)
            try:
                return torch.export.export(module, arguments, dynamic_shapes=free), True
            except Exception:  # nothing narrower is promised; without a free size it fails again, or does not
                pass
        try:
            return torch.export.export(module, arguments), False
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnsupportedError(f"torch.export cannot follow it: {reason}") from error
