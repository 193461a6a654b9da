"""Safetensors files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from proto2torch import weights
from proto2torch.errors import Proto2TorchError, WeightsError
from proto2torch.weights import tensors


def test_a_state_dict_goes_there_and_back_with_shared_and_strided_tensors(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    path = str(tmp_path / "w.safetensors")
    weights.save(path, "n", [], {"a.weight": shared, "b.weight": shared, "c.weight": shared.t(), "n": torch.tensor(3)})
    again = tensors.read(path)
    assert sorted(again) == ["a.weight", "b.weight", "c.weight", "n"]
    assert torch.equal(again["a.weight"], shared)
    assert torch.equal(again["b.weight"], shared)
    assert torch.equal(again["c.weight"], shared.t())
    assert again["n"].item() == 3


def test_what_is_no_safetensors_file(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"\x0a\x04name\xff\xff\xff\xff")
    with pytest.raises(WeightsError, match="broken safetensors file"):
        tensors.read(str(path))
    with pytest.raises(WeightsError, match="no such file"):
        tensors.read(str(tmp_path / "none.safetensors"))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(Proto2TorchError, match="no such file or directory"):
        tensors.write(str(tmp_path / "no" / "w.safetensors"), {"a": torch.zeros(1)})
