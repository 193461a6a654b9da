"""Safetensors files: the state_dict of a generated module, for what knows nothing of Caffe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from proto2torch import files
from proto2torch.errors import WeightsError, Where, unreadable


def read(path: str) -> dict[str, Any]:
    """The tensors of a file by key, on the CPU.

    Raises:
        WeightsError: the file cannot be read or is no safetensors file.
    """
    import safetensors
    import safetensors.torch

    try:
        tensors: dict[str, Any] = safetensors.torch.load_file(path)
    except OSError as error:
        unreadable(path, error, WeightsError)
    except safetensors.SafetensorError as error:
        raise WeightsError(f"broken safetensors file: {error}", where=Where(file=path)) from error
    return tensors


def write(path: str, state_dict: Mapping[str, Any]) -> None:
    """Write a state_dict; tensors that share memory are each written.

    Raises:
        RunError: the file cannot be written.
    """
    import safetensors.torch

    with files.atomic(path) as temporary:
        temporary.write_bytes(safetensors.torch.save(separate(state_dict)))


def separate(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The tensors of a state_dict on the CPU, a copy of each that shares memory with one before it."""
    found, seen = {}, set()
    for key, tensor in state_dict.items():
        plain = tensor.detach().cpu().contiguous()
        at = plain.untyped_storage().data_ptr()
        found[key] = plain.clone() if at in seen else plain
        seen.add(at)
    return found
