"""PT2: a module as torch.export's program, its batch size free, that torch.export.load reads without the source."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from proto2torch.codegen.formats import batch
from proto2torch.errors import UnsupportedError

if TYPE_CHECKING:
    from torch import Tensor, nn


def program(module: nn.Module, inputs: Mapping[str, Tensor], returns: Sequence[str]) -> tuple[Any, bool]:
    """torch.export's program of `module`, whose arguments are `inputs`, and whether its batch size is free.

    Results keep the form that they have in the source: their names, `returns`, are not needed.

    Raises:
        UnsupportedError: torch.export cannot follow the module.
    """
    import torch

    def trace(arguments: tuple[Tensor, ...], free: Any) -> Any:
        return torch.export.export(module, arguments, dynamic_shapes=free)

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        try:
            return batch.freely(trace, inputs.values())
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UnsupportedError(f"torch.export cannot follow it: {reason}") from error


def save(program: Any, path: str) -> None:
    """Write the program."""
    import torch

    with open(path, "wb") as file:
        torch.export.save(program, file)


def run(path: str, inputs: Mapping[str, Tensor]) -> list[Tensor]:
    """What the file computes of `inputs`, read again."""
    import torch

    with open(path, "rb") as file, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions warn of how they read it themselves
        result = torch.export.load(file).module()(*inputs.values())
    return [result] if isinstance(result, torch.Tensor) else list(result.values())
