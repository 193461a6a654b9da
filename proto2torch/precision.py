"""How exactly CUDA multiplies: in float32 as Caffe does, or in TF32 where somebody asks for it.

torch lets cuDNN's convolutions use TF32 by itself, which keeps 10 bits of the mantissa. A net on a CUDA device
therefore turns it off for the process, unless `choose` has been called before.
"""

from __future__ import annotations

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
    # torch's export and compile refuse the newer switches (fp32_precision) where only some of them are set.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def as_caffe() -> None:
    """float32, unless something was chosen."""
    if _chosen is None:
        choose("fp32")
