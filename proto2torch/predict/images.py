"""Nets that take images from files: the net, and what is done to an image before it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from proto2torch import data
from proto2torch.data.transform import read_mean
from proto2torch.errors import DataError, NetError, Proto2TorchError
from proto2torch.ir.graph import Shape
from proto2torch.layers import REGISTRY
from proto2torch.net import Net, load_definition
from proto2torch.predict import deploy
from proto2torch.predict.preprocess import Extent, Preprocessor
from proto2torch.prototxt import filters, schema
from proto2torch.prototxt.document import LayerDefinition, NetDefinition
from proto2torch.prototxt.read import read_net


@dataclass(frozen=True)
class ImageNet:
    """A net, the name of its input, and what makes that input of an image."""

    net: Net
    input: str
    prepare: Preprocessor


@dataclass(frozen=True)
class Given:
    """What the user says of images; None where the net's own transform decides."""

    shape: Shape | None = None
    """(channels, height, width) of the net's input."""
    size: Extent | None = None
    mean: Any = None
    scale: float | None = None
    raw_scale: float | None = None
    rgb: bool = False

    @property
    def anything(self) -> bool:
        """Whether the user says anything at all."""
        fields = (self.shape, self.size, self.mean, self.scale, self.raw_scale)
        return self.rgb or any(field is not None for field in fields)


def load(
    path: str, *, given: Given | None = None, device: Any = "cpu", allow_python_layers: bool = False, **state: Any
) -> ImageNet:
    """The TEST net of a prototxt, without weights yet, for images in place of its data layer.

    A net with data layers becomes its deploy net, and images are prepared as its data layer says; `given` replaces
    parts of that. `state` is `level` and `stages`.

    Raises:
        NetError: the net has no input of images.
        DataError: the shape of its images is not known, or a mean does not fit.
    """
    given = given or Given()
    definition = read_net(path)
    layer = data_layer(definition, **state)
    if layer is None:
        net = load_definition(definition, device=device, allow_python_layers=allow_python_layers, **state)
        name, shape = _image_input(net)
        return ImageNet(net, name, _changed(Preprocessor(shape, (shape[1], shape[2])), given))
    shape = given.shape or image_shape(layer)
    shapes = deploy.fixed_shapes({layer.message.top[0]: (1, *shape)}, input_shapes)
    deployed = deploy.deploy(definition, shapes, **state)
    net = load_definition(deployed, device=device, allow_python_layers=allow_python_layers)
    prepare = Preprocessor.of_layer(layer, shape, given.size, given.mean)
    if prepare.size is None and layer.type == "Data":
        prepare = prepare.with_(size=_extent(layer) or (shape[1], shape[2]))
    return ImageNet(net, layer.message.top[0], _changed(prepare, given))


def data_layer(definition: NetDefinition, level: int = 0, stages: Sequence[str] = ()) -> LayerDefinition | None:
    """The first data layer of the TEST net."""
    for layer in filters.select(definition, "TEST", level, stages).layers:
        cls = REGISTRY.get(layer.type)
        if cls is not None and cls.data:
            return layer
    return None


def input_shapes(layer: LayerDefinition) -> list[Shape]:
    """The shapes of a data layer's tops, batch first: without its data where the prototxt says enough.

    Raises:
        DataError: they cannot be known.
    """
    tops = len(layer.message.top)
    if layer.type in ("Data", "ImageData", "WindowData", "MemoryData"):
        return [(1, *image_shape(layer)), *[(1,)] * (tops - 1)]
    return _opened(layer)


def image_shape(layer: LayerDefinition) -> Shape:
    """(channels, height, width) that a data layer makes of an image."""
    message = layer.message
    p, crop = message.transform_param, message.transform_param.crop_size
    if layer.type == "MemoryData":
        m = message.memory_data_param
        return (m.channels, m.height, m.width)
    if layer.type == "WindowData":
        return (3, crop, crop)
    if layer.type == "ImageData":
        images = message.image_data_param
        extent = (crop, crop) if crop else (images.new_height, images.new_width)
        if extent[0]:
            return (3 if images.is_color else 1, *extent)
    elif crop and len(p.mean_value) > 1:
        return (len(p.mean_value), crop, crop)
    if p.mean_file:
        with suppress(DataError):
            mean = read_mean(layer)
            assert mean is not None
            return (mean.shape[0], crop or mean.shape[1], crop or mean.shape[2])
    return tuple(_opened(layer)[0][1:])


def _opened(layer: LayerDefinition) -> list[Shape]:
    try:
        feed = data.open(_without(layer, "mean_file"), "TEST")
    except Proto2TorchError as error:
        hint = "its data would say the shape of an image; --shape 3,227,227 says it without"
        raise DataError(error.message, where=error.where, hint=hint) from error
    try:
        return feed.shapes
    finally:
        feed.close()


def _extent(layer: LayerDefinition) -> Extent | None:
    """Height and width of the records of a Data layer, as far as its database is there."""
    with suppress(Proto2TorchError):
        shape = _opened(_without(layer, "crop_size"))[0]
        return (shape[2], shape[3])
    return None


def _without(layer: LayerDefinition, field: str) -> LayerDefinition:
    """A layer that says nothing of a field of transform_param."""
    message = schema.new("LayerParameter")
    message.CopyFrom(layer.message)
    message.transform_param.ClearField(field)
    return replace(layer, message=message)


def _image_input(net: Net) -> tuple[str, Shape]:
    """The input of the net that takes images."""
    images = {name: shape for name, shape in net.inputs.items() if len(shape) == 4 and shape[1] in (1, 3)}
    if len(images) != 1:
        found = ", ".join(f"{name} {shape}" for name, shape in net.inputs.items()) or "none"
        raise NetError(f"expected one input of images, (N, 3, height, width) or (N, 1, …). Received: {found}")
    name, shape = next(iter(images.items()))
    return name, shape[1:]


def _changed(prepare: Preprocessor, given: Given) -> Preprocessor:
    changes: dict[str, Any] = {}
    for field in ("size", "mean", "scale", "raw_scale"):
        if getattr(given, field) is not None:
            changes[field] = getattr(given, field)
    if given.rgb:
        changes["rgb"] = True
    return prepare.with_(**changes) if changes else prepare
