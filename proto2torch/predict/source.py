"""What is done to a pixel before a net, saved with an export: as a note, as JSON, as a module of plain torch.

The module does what a data layer's transform does in TEST. Its resize is torch's bilinear one, rounded to whole levels,
which differs from OpenCV's by one level of 255 at most; all else is the same to the bit.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from proto2torch import files
from proto2torch.errors import DataError
from proto2torch.predict.images import data_layer, image_shape
from proto2torch.predict.preprocess import Preprocessor
from proto2torch.prototxt.document import NetDefinition

_WIDTH = 88
_IMPORTS = ("import torch", "import torch.nn.functional as F", "from torch import nn")


def of_net(definition: NetDefinition, *, level: int = 0, stages: Sequence[str] = ()) -> Preprocessor | None:
    """What the data layer of the TEST net does to an image; None of a net without one, or where it cannot be known."""
    layer = data_layer(definition, level=level, stages=stages)
    if layer is None or layer.type not in ("Data", "ImageData"):
        return None
    with suppress(DataError):
        shape = image_shape(layer)
        return Preprocessor.of_layer(layer, shape) if shape[0] in (1, 3) else None
    return None


def note(prepare: Preprocessor) -> str:
    """A sentence for an exported file's docstring."""
    return textwrap.fill(f"Images before it, as its data layer makes them: {'; '.join(prepare.lines())}.", _WIDTH)


def with_module(text: str, prepare: Preprocessor) -> str:
    """An exported source with the class Prepare at its end: images (N, C, H, W) of 0 to 255 in, the net's input out."""
    missing = [line for line in _IMPORTS if f"\n{line}\n" not in text]
    if missing:
        present = [line for line in _IMPORTS if line not in missing]
        text = text.replace(f"\n{present[0]}\n", "\n" + "\n".join(sorted((*missing, present[0]))) + "\n", 1)
    return f"{text.rstrip()}\n\n\n{module(prepare)}"


def module(prepare: Preprocessor) -> str:
    """The source of the class Prepare, which needs torch, F and nn.

    Raises:
        DataError: images are prepared in floats, as Caffe's Transformer does.
    """
    if prepare.raw_scale is not None:
        raise DataError("only what a data layer does can become a module. Received: raw_scale")
    return (
        "\n".join(["class Prepare(nn.Module):", *_docstring(prepare), *_init(prepare), "", *_forward(prepare)]) + "\n"
    )


def _docstring(prepare: Preprocessor) -> Iterator[str]:
    channels = prepare.shape[0]
    order = "grey" if channels == 1 else "red before blue"
    first = f'    """Images (N, {channels}, H, W) of 0 to 255, {order}, to what the net takes.'
    if _image_mean(prepare) is None:
        yield f'{first}"""'
        return
    yield first
    yield ""
    yield "    load_state_dict gives it the mean image, from the file beside."
    yield '    """'


def _init(prepare: Preprocessor) -> Iterator[str]:
    image = _image_mean(prepare)
    if prepare.mean is None:
        return
    yield ""
    yield "    def __init__(self):"
    yield "        super().__init__()"
    if image is not None:
        yield f'        self.register_buffer("mean", torch.zeros({", ".join(map(str, image.shape))}))'
        return
    values = ", ".join(repr(float(value)) for value in prepare.mean.reshape(-1))
    mean = f"torch.tensor([{values}]).reshape(-1, 1, 1)"
    yield f'        self.register_buffer("mean", {mean}, persistent=False)'


def _forward(prepare: Preprocessor) -> Iterator[str]:
    channels, height, width = prepare.shape
    flipped = channels == 3 and not prepare.rgb
    yield "    def forward(self, images):"
    yield f"        x = images.float(){'.flip(1)' if flipped else ''}"
    if prepare.size is not None:
        yield f'        x = F.interpolate(x, {prepare.size}, mode="bilinear").round()'
    if prepare.size is None:
        yield f"        top, left = (x.shape[2] - {height}) // 2, (x.shape[3] - {width}) // 2"
        yield f"        x = x[:, :, top : top + {height}, left : left + {width}]"
    elif prepare.size != (height, width):
        top, left = (prepare.size[0] - height) // 2, (prepare.size[1] - width) // 2
        yield f"        x = x[:, :, {top}:{top + height}, {left}:{left + width}]"
    value = "x" if prepare.mean is None else "x - self.mean"
    if prepare.scale != 1:
        value = f"({value}) * {float(prepare.scale)!r}" if prepare.mean is not None else f"x * {float(prepare.scale)!r}"
    yield f"        return {value}"


def _image_mean(prepare: Preprocessor) -> np.ndarray | None:
    """The mean image where the net's input lies in it; None where there is a mean of each channel, or none."""
    if prepare.mean is None or prepare.mean.shape[1:] == (1, 1):
        return None
    mean: np.ndarray = prepare.mean
    height, width = prepare.shape[1:]
    top, left = (mean.shape[1] - height) // 2, (mean.shape[2] - width) // 2
    return np.ascontiguousarray(mean[:, top : top + height, left : left + width])


def write(stem: Path, prepare: Preprocessor) -> list[Path]:
    """Write STEM.preprocess.json and, of a mean image, STEM.preprocess.safetensors; gives what was written.

    Raises:
        RunError: a file cannot be written.
    """
    written = [stem.with_name(f"{stem.name}.preprocess.json")]
    with files.atomic(written[0]) as temporary:
        temporary.write_text(json.dumps({**prepare.as_dict(), "steps": prepare.lines()}, indent=2) + "\n")
    mean = _image_mean(prepare)
    if mean is not None:
        import torch

        from proto2torch.weights import tensors

        written.append(stem.with_name(f"{stem.name}.preprocess.safetensors"))
        tensors.write(str(written[1]), {"mean": torch.from_numpy(mean)})
    return written
