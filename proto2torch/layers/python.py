"""Python layers: classes of the user's own, which run only where that is allowed."""

from __future__ import annotations

from collections.abc import Sequence

from proto2torch.ir.graph import Shape
from proto2torch.layers.base import Layer


class Python(Layer, type="Python", param="python_param"):
    """A class of the user's, a subclass of caffe.Layer, named by `module` and `layer`.

    A prototxt that can name any module can run any code, so it is refused unless the caller allows it; what then runs
    it is proto2torch.python_layers.
    """

    differs = (
        "The user's class runs on numpy views of the blobs, within an autograd function; only where it is allowed."
    )

    bottoms = (0, None)
    tops_allowed = (0, None)

    def check(self) -> None:
        raise self.refuse(
            f"would run {self.p.layer!r} of the Python module {self.p.module!r}, which is not allowed",
            "type",
            "--allow-python-layers (allow_python_layers=True in Python) allows it: the module can do all that you can",
        )

    def shapes(self, *x: Shape) -> Sequence[Shape]:
        raise NotImplementedError
