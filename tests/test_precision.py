"""float32 is float32 on CUDA, unless TF32 was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from proto2torch import precision


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn)
    before = [products.fp32_precision for products in backends]
    monkeypatch.setattr(precision, "_chosen", None)
    yield
    for products, kept in zip(backends, before, strict=True):
        products.fp32_precision = kept


def test_a_net_on_cuda_keeps_float32() -> None:
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    precision.as_caffe()
    assert torch.backends.cudnn.conv.fp32_precision == "ieee"


@pytest.mark.parametrize(("asked", "kept"), [("tf32", "tf32"), ("fp32", "ieee")])
def test_it_holds_for_products_and_convolutions(asked: str, kept: str) -> None:
    precision.choose(asked)
    assert torch.backends.cuda.matmul.fp32_precision == kept
    assert torch.backends.cudnn.conv.fp32_precision == kept


def test_what_was_chosen_stays() -> None:
    precision.choose("tf32")
    precision.as_caffe()
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"


def test_another_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="Received: 'fp8'"):
        precision.choose("fp8")
