"""How exactly CUDA multiplies: in float32 as Caffe does, or in TF32 where somebody asks for it.

torch lets cuDNN's convolutions use TF32 by itself, which keeps 10 bits of the mantissa. A net on a CUDA device
therefore turns it off for the process, unless `choose` has been called before.
"""

from __future__ import annotations

from typing import Any

_chosen: str | None = None


def choose(precision: str) -> None:
    """Use `fp32` or `tf32` for matrix products and convolutions on CUDA, in the whole process.

    Raises:
        ValueError: another precision.
    """
    global _chosen
    if precision not in ("fp32", "tf32"):
        raise ValueError(f"precision must be 'fp32' or 'tf32'. Received: {precision!r}")
    import torch

    _chosen = precision
    backends: Any = torch.backends
    for products in (backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn):
        products.fp32_precision = "tf32" if precision == "tf32" else "ieee"


def as_caffe() -> None:
    """float32, unless something was chosen."""
    if _chosen is None:
        choose("fp32")
