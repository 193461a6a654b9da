"""Python layers: classes of the user's own, which run only where that is allowed, and those that everybody knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from proto2torch.ir.graph import Shape
from proto2torch.layers.base import Layer
from proto2torch.prototxt.document import LayerDefinition

KNOWN: dict[tuple[str, str], type[Layer]] = {}
"""The Python layers that are layers of proto2torch's own, by module and class name."""


class Python(Layer, type="Python", param="python_param"):
    """A class of the user's, a subclass of caffe.Layer, named by `module` and `layer`.

    A prototxt that can name any module can run any code, so it is refused unless the caller allows it; what then runs
    it is proto2torch.python_layers. The layers of well-known projects need none of that: their names stand for layers
    of proto2torch's own.
    """

    differs = (
        "The user's class runs on numpy views of the blobs, within an autograd function; only where it is allowed. "
        "py-faster-rcnn's layers of the region proposal network are known by name, and run nobody's Python."
    )

    bottoms = (0, None)
    tops_allowed = (0, None)

    @classmethod
    def chosen(cls, definition: LayerDefinition, fork: str) -> type[Layer]:
        p = definition.message.python_param
        return KNOWN.get((p.module, p.layer), cls)

    def check(self) -> None:
        raise self.refuse(
            f"would run {self.p.layer!r} of the Python module {self.p.module!r}, which is not allowed",
            "type",
            "--allow-python-layers (allow_python_layers=True in Python) allows it: the module can do all that you can",
        )

    def shapes(self, *x: Shape) -> Sequence[Shape]:
        raise NotImplementedError


class KnownPython(Layer, param="python_param"):
    """A layer that a prototxt names as a Python class of a well-known project.

        class ProposalLayer(KnownPython, module="rpn.proposal_layer", layer="ProposalLayer"):

    What its param_str says is `self.options`, the class's `defaults` for the rest.
    """

    type = "Python"
    defaults: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, module: str = "", layer: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if module:
            KNOWN[module, layer] = cls

    def __init__(self, definition: LayerDefinition, phase: str) -> None:
        super().__init__(definition, phase)
        self.options: dict[str, Any] = {**self.defaults, **self._given()}

    def _given(self) -> dict[str, Any]:
        from proto2torch.layers.param_str import NotRead, read

        try:
            given = read(self.p.param_str)
        except NotRead as wrong:
            raise self.error(f"param_str: {wrong}", "param_str") from wrong
        for name, value in given.items():
            if name not in self.defaults:
                known = ", ".join(sorted(self.defaults))
                raise self.error(f"param_str knows {known}. Received: {name!r}", "param_str")
            kind = type(self.defaults[name])
            if not isinstance(value, kind) or (kind is int and value <= 0 and self.defaults[name] > 0):
                raise self.error(f"param_str: {name} takes a {kind.__name__}. Received: {value!r}", "param_str")
        return given
