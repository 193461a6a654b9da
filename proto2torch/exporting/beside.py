"""Weights beside an exported file: a state_dict under the file's own keys, and the lines of Python that load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from proto2torch.codegen.source import Source
from proto2torch.layers.base import literal


def write_state_dict(path: str, state: Mapping[str, Any]) -> None:
    """Write what torch.load reads, whole or not at all; blobs that layers share stay shared.

    Raises:
        RunError: the file cannot be written.
    """
    import torch

    from proto2torch import files

    plain = {key: tensor.detach().cpu() for key, tensor in state.items()}
    with files.atomic(path) as temporary, open(temporary, "wb") as file:
        torch.save(plain, file)


def loading(source: Source, safetensors: str | None, state_dict: str | None) -> str:
    """A paragraph of the file's docstring: two lines that make the module with the weights of a file beside it."""
    if safetensors is not None:
        first, call = "from safetensors.torch import load_file", f"load_file({literal(PurePath(safetensors).name)})"
    else:
        first, call = "import torch", f"torch.load({literal(PurePath(state_dict or '').name)})"
    lines = (first, f"model = {source.class_name}(); model.load_state_dict({call})")
    return "Its weights:\n\n" + "\n".join(f"    {_quotable(line)}" for line in lines)


def _quotable(text: str) -> str:
    """A line as it must be written within a docstring to be read as it is."""
    return text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
