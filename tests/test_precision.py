"""float32 is float32 on CUDA, unless TF32 was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from proto2torch import precision


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    monkeypatch.setattr(precision, "_chosen", None)
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def test_a_net_on_cuda_keeps_float32() -> None:
    torch.backends.cudnn.allow_tf32 = True
    precision.as_caffe()
    assert not torch.backends.cudnn.allow_tf32


@pytest.mark.parametrize(("asked", "kept"), [("tf32", True), ("fp32", False)])
def test_it_holds_for_products_and_convolutions(asked: str, kept: bool) -> None:
    precision.choose(asked)
    assert torch.backends.cuda.matmul.allow_tf32 is kept
    assert torch.backends.cudnn.allow_tf32 is kept


def test_what_was_chosen_stays() -> None:
    precision.choose("tf32")
    precision.as_caffe()
    assert torch.backends.cudnn.allow_tf32


def test_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: 'fp8'"):
        precision.choose("fp8")
