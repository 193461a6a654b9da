"""What the blobs of a net hold for one image, as pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from proto2torch.cost.table import extents
from proto2torch.net import Net
from proto2torch.predict.images import ImageNet
from proto2torch.training.features import extract
from proto2torch.view.grids import bars, enlarged, normalized, square
from proto2torch.view.sheet import Panel

Array = NDArray[np.float32]

_TARGET, _MOST = 520, 8
_BY_ITSELF = 4  # blobs where none are asked for
_COLOURS = 3


def panels(found: ImageNet, image: str, blobs: Sequence[str] = (), count: int = 64) -> list[Panel]:
    """A panel for the image as the net gets it, and one for each blob: its first `count` planes by one scale, or bars
    where it has no planes.

    Without `blobs` they are four of those that convolutions make, and the net's first output.

    Raises:
        NetError: the net has no such blob. DataError: the image cannot be read.
    """
    names = list(blobs) or chosen(found.net)
    batch = found.prepare(image)[None]
    (values,) = extract(found.net, names, [{found.input: batch}])
    whole = _image(batch[0], found.prepare.rgb)
    return [
        Panel(f"{found.input}  {extents(batch.shape[1:])}", whole),
        *(_panel(name, values[name][0], count) for name in names),
    ]


def chosen(net: Net) -> list[str]:
    """The blobs that are shown where none are asked for: of those that convolutions make, the first, the last and two
    between; and the net's first output."""
    made = dict.fromkeys(layer.tops[0] for layer in net.layers if layer.type == "Convolution" and layer.tops)
    convolved = list(made)
    places = np.linspace(0, len(convolved) - 1, min(_BY_ITSELF, len(convolved))).round().astype(int)
    return list(dict.fromkeys([*(convolved[i] for i in places), *net.outputs[:1]]))


def _image(planes: Array, rgb: bool) -> NDArray[np.uint8]:
    """What the net gets, in colour where it has three channels."""
    if len(planes) != _COLOURS:
        return enlarged(square(normalized(planes)), _TARGET // 2, _MOST)
    ordered = planes if rgb else planes[::-1]
    return enlarged(normalized(ordered).transpose(1, 2, 0), _TARGET // 2, _MOST)


def _panel(name: str, value: Array, count: int) -> Panel:
    title = f"{name}  {extents(value.shape)}"
    if value.ndim == 3 and value.shape[1] * value.shape[2] > 1:
        shown = f"  (the first {count})" if len(value) > count else ""
        return Panel(f"{title}{shown}", enlarged(square(normalized(value[:count])), _TARGET, _MOST))
    values = value.ravel()
    return Panel(f"{title}  from {values.min(initial=0):.4g} to {values.max(initial=0):.4g}", bars(values))
