"""transform_param as a function on one image, and the mean that it subtracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from proto2torch.data.fields import refuse_others
from proto2torch.data.transform import read_mean
from proto2torch.errors import DataError
from proto2torch.layers.base import number
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.train_script.text import laid_out

_WRITTEN = 4  # values of a mean that stand in the script
_FIELDS = ("scale", "mirror", "crop_size", "mean_file", "mean_value", "force_color", "force_gray")


@dataclass(frozen=True)
class Transform:
    """What becomes of an image."""

    body: str
    """The lines of the function, `{mean}` standing for the mean's name; empty where the image stays as it is."""
    draws: bool
    """Whether it takes random numbers: crops or mirrors."""
    mean: Any = None
    """The array to subtract, (C, H, W) or (C, 1, 1)."""
    in_file: bool = False
    """Whether the mean is too large to be written out."""

    def function(self, name: str, mean: str) -> str:
        """The source of the function."""
        arguments = "image, draws" if self.draws else "image"
        head = [f"def {name}({arguments}):", '    """An image (C, H, W) as the net reads it."""']
        return laid_out("\n".join([*head, self.body.replace("{mean}", mean)]))


def read(definition: LayerDefinition, phase: str) -> Transform:
    """The transformation of a data layer.

    Raises:
        UnsupportedError, DataError: what transform_param says is not understood, or its mean cannot be read.
    """
    refuse_others(definition, "transform_param", _FIELDS)
    p = definition.message.transform_param
    if p.force_color and p.force_gray:
        where = definition.where("transform_param.force_gray")
        raise DataError("force_color and force_gray exclude each other", where=where)
    mean = read_mean(definition)
    training = phase == "TRAIN" and p.crop_size > 0
    lines = ["    image = image - {mean}"] if mean is not None and (p.crop_size or p.mirror) else []
    value = "image - {mean}" if mean is not None and not lines else "image" if lines else "image.float()"
    if training:
        lines += [
            f"    rows, columns = (extent - {p.crop_size} + 1 for extent in image.shape[1:])",
            "    top = int(torch.randint(rows, (), generator=draws))",
            "    left = int(torch.randint(columns, (), generator=draws))",
        ]
    elif p.crop_size:
        lines.append(f"    top, left = ((extent - {p.crop_size}) // 2 for extent in image.shape[1:])")
    if p.crop_size:
        lines.append(f"    image = image[:, top : top + {p.crop_size}, left : left + {p.crop_size}]")
    if p.mirror:
        lines += ["    if torch.randint(2, (), generator=draws):", "        image = image.flip(2)"]
    scale = "" if p.scale == 1 else f" * {number(p.scale)}"
    if not scale and lines and lines[-1].startswith("    image = "):
        lines[-1] = lines[-1].replace("image =", "return", 1)
    else:
        lines.append(f"    return ({value}){scale}" if scale and " " in value else f"    return {value}{scale}")
    body = "" if lines == ["    return image.float()"] else "\n".join(lines)
    return Transform(
        body, bool(p.mirror or training), mean, bool(p.mean_file) or (mean is not None and mean.size > _WRITTEN)
    )
