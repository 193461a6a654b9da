"""How exactly nets compute: in float32 as Caffe does, or less exactly and faster where somebody asks for it.

torch lets cuDNN's convolutions use TF32 by itself, which keeps 10 bits of the mantissa. A net on a CUDA device
therefore turns it off for the process, unless `choose` has been called before.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
"""float32; its products in TF32 on CUDA; products in bfloat16 or float16 wherever torch's autocast takes them so."""

_chosen: str | None = None


def choose(precision: str) -> None:
    """Use one of PRECISIONS in the whole process. Parameters and their updates stay float32.

    Raises:
        ValueError: another precision.
    """
    global _chosen
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {precision!r}")
    import torch

    _chosen = precision
    # torch's export and compile refuse the newer switches (fp32_precision) where only some of them are set.
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"


def as_caffe() -> None:
    """float32, unless something was chosen."""
    if _chosen is None:
        choose("fp32")


def halves() -> bool:
    """Whether products are taken in 16 bits."""
    return _chosen in ("bf16", "fp16")


def scales() -> bool:
    """Whether the loss needs a scale: float16 loses gradients below 6e-8."""
    return _chosen == "fp16"


def autocast(device: str) -> Any:
    """The context in which a net's forward runs on a device of this type."""
    if not halves():
        return nullcontext()
    import torch

    return torch.autocast(device, dtype=torch.bfloat16 if _chosen == "bf16" else torch.float16)
