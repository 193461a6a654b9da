"""What is exported: a net's file and the part of it that is meant, its source, and the net. Only `net` needs torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from proto2torch.codegen.export import export
from proto2torch.codegen.source import Source
from proto2torch.ir.graph import Shape
from proto2torch.layers import REGISTRY
from proto2torch.prototxt.document import LayerDefinition, NetDefinition
from proto2torch.prototxt.read import read_net

if TYPE_CHECKING:
    from proto2torch.ir.lower import DataShapes
    from proto2torch.net import Net


@dataclass(frozen=True)
class Job:
    """A net as `export` means it."""

    path: str
    phase: str = "TEST"
    level: int = 0
    stages: Sequence[str] = ()
    shapes: Mapping[str, Shape] = field(default_factory=dict)
    """Shapes of inputs and of data layers' tops, in place of what the file or a database says."""
    allow_python_layers: bool = False
    fold: bool = True

    def definition(self) -> NetDefinition:
        """The net as its file has it, upgraded."""
        return read_net(self.path)

    def source(self) -> Source:
        """The source; databases are opened where only they know the shape of what they give."""
        registry = self._registry()
        return export(
            self.definition(),
            _data_shapes(registry),
            phase=self.phase,
            level=self.level,
            stages=self.stages,
            fold=self.fold,
            registry=registry,
            shapes=self.shapes,
        )

    def net(self) -> Net:
        """The net, with the weights that its fillers give."""
        from proto2torch.net import load_definition

        definition = self.definition()
        return load_definition(
            replace(definition, layers=tuple(map(self._as_given, definition.layers))),
            phase=self.phase,
            level=self.level,
            stages=self.stages,
            allow_python_layers=self.allow_python_layers,
            feeds=self._feeds(),
        )

    def _as_given(self, layer: LayerDefinition) -> LayerDefinition:
        """An Input layer with the shapes that are given for its tops."""
        tops = list(layer.message.top)
        if layer.type != "Input" or not any(top in self.shapes for top in tops):
            return layer
        message = type(layer.message)()
        message.CopyFrom(layer.message)
        stated = [tuple(shape.dim) for shape in message.input_param.shape] or [()]
        stated = stated * len(tops) if len(stated) == 1 else stated
        message.input_param.ClearField("shape")
        for top, shape in zip(tops, stated, strict=False):
            message.input_param.shape.add().dim.extend(self.shapes.get(top, shape))
        return replace(layer, message=message)

    def _registry(self) -> Mapping[str, Any]:
        if not self.allow_python_layers:
            return REGISTRY
        from proto2torch import python_layers

        return python_layers.registry()

    def _feeds(self) -> dict[str, Any]:
        """What stands for the layers whose shapes are given."""
        from proto2torch.data import unread
        from proto2torch.prototxt import filters

        selected = filters.select(self.definition(), self.phase, self.level, self.stages)
        return unread.feeds([layer for layer in selected.layers if layer.type != "Input"], self.shapes)


def _data_shapes(registry: Mapping[str, Any]) -> DataShapes:
    """What gives the shapes of a data layer's tops, of which only its database, or the user's class, knows all."""

    def shapes(layer: LayerDefinition, phase: str) -> Sequence[Shape]:
        from proto2torch import data

        return data.shapes_in(registry, layer, phase)

    return shapes
