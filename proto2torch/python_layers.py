"""Python layers, run: the user's class on numpy views of Caffe-like blobs, as a module that autograd goes through.

Only a net that was loaded with `allow_python_layers=True` comes here.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sysconfig
import traceback
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from proto2torch import caffe_module
from proto2torch.data.feed import Batch, Feed
from proto2torch.errors import NetError, Proto2TorchError, RunError, UnsupportedError, Where, shown_path
from proto2torch.ir.graph import Blob, Node, Shape
from proto2torch.layers.base import PHASES, REGISTRY, Code, Layer, Raw, call, unless
from proto2torch.layers.python import Python
from proto2torch.prototxt.document import LayerDefinition


def registry() -> dict[str, type[Layer]]:
    """The layer types of one net whose Python layers may run: each of its layers has one instance of its class."""

    class OfOneNet(HostedPython):
        hosts: ClassVar[dict[int, PythonLayer]] = {}

    return {**REGISTRY, "Python": OfOneNet}


class HostedPython(Python):
    """A Python layer that is allowed. One without bottoms is a data layer."""

    hosts: ClassVar[dict[int, PythonLayer]]

    @classmethod
    def chosen(cls, definition: LayerDefinition, fork: str) -> type[Layer]:
        """The user's own class where its module is there, also under a name that everybody knows."""
        known = super().chosen(definition, fork)
        place = os.path.dirname(definition.where().file or "") or os.getcwd()
        with caffe_module.importable(os.getcwd(), place):
            return cls if _is_there(definition.message.python_param.module) else known

    def __init__(self, definition: LayerDefinition, phase: str) -> None:
        super().__init__(definition, phase)
        self.data = not definition.message.bottom

    def check(self) -> None:
        for field in ("module", "layer"):
            if not getattr(self.p, field):
                raise self.error(f"needs python_param.{field}", field)
        if self.data and not self.tops:
            raise self.error("needs a bottom or a top", "top")

    def kept(self) -> PythonLayer:
        """The one instance; made where there is none yet."""
        return self._host(self.definition, self.phase)

    @classmethod
    def _host(cls, definition: LayerDefinition, phase: str) -> PythonLayer:
        if id(definition) not in cls.hosts:
            p, where = definition.message.python_param, definition.where("python_param.layer")
            number, tops = PHASES.index(phase), len(definition.message.top)
            host = PythonLayer(p.module, p.layer, p.param_str, phase=number, tops=tops)
            host.where, host.message = where, definition.message
            cls.hosts[id(definition)] = host
        return cls.hosts[id(definition)]

    @classmethod
    def feed(cls, definition: LayerDefinition, phase: str) -> Feed:
        """What a layer without bottoms gives as a data layer."""
        host = cls._host(definition, phase)
        host.lay_out(())
        if host.user.blobs:
            raise UnsupportedError("a Python layer without bottoms cannot learn blobs here", where=host.where)
        return Feed(_Source(host))

    def shapes(self, *x: Shape) -> Sequence[Shape]:
        return self.kept().lay_out(x)

    def blobs(self, *x: Shape) -> list[Blob]:
        own = [] if self.data else self.kept().user.blobs
        return [Blob(f"blob_{i}", blob.shape, initial=blob.data.copy) for i, blob in enumerate(own)]

    def code(self, node: Node) -> Code:
        if self.data:
            return Code(None)
        shapes = [blob.shape for blob in self.kept().user.blobs]
        module = call(
            "PythonLayer",
            str(self.p.module),
            str(self.p.layer),
            param_str=unless("", str(self.p.param_str)),
            phase=PHASES.index(self.phase),
            tops=unless(1, self.tops),
            blobs=Raw(repr(shapes)) if shapes else None,
        )
        places = ", ".join(f"{{{i}}}" for i in range(len(node.inputs)))
        line = "from proto2torch.python_layers import PythonLayer"
        return Code(f"{{me}}({places})", module, stateful=True, imports=(line,))


class PythonLayer(nn.Module):
    """A user's layer as a module: bottoms in, tops out, tensors of the bottoms' device; its blobs are parameters.

    The class is loaded and set up when shapes are first known, once.

    Args:
        module, layer: where the class is, a subclass of caffe.Layer.
        param_str: what it finds as `self.param_str`.
        phase: 0 TRAIN, 1 TEST.
        tops: the number of tops.
        blobs: the shapes of the blobs that its `setup` adds, where they are known.
    """

    def __init__(
        self,
        module: str,
        layer: str,
        param_str: str = "",
        phase: int = 1,
        tops: int = 1,
        blobs: Sequence[Shape] = (),
    ) -> None:
        super().__init__()
        self.of, self.param_str, self.phase = (module, layer), param_str, phase
        self.where, self.message = Where(), None
        self.user: Any = None
        self.bottom: list[caffe_module.Blob] = []
        self.top = [caffe_module.Blob() for _ in range(tops)]
        self._laid_out: dict[tuple[Shape, ...], list[Shape]] = {}
        self._add_parameters(blobs)

    def _add_parameters(self, shapes: Sequence[Shape]) -> None:
        for i, shape in enumerate(shapes):
            if f"blob_{i}" not in self._parameters:
                self.register_parameter(f"blob_{i}", nn.Parameter(torch.zeros(shape)))

    def lay_out(self, shapes: Sequence[Shape]) -> list[Shape]:
        """The shapes of the tops for bottoms of these shapes, as the user's `reshape` makes them."""
        tops = self._reshape(shapes)
        self._laid_out[tuple(shape[1:] for shape in shapes)] = tops
        return tops

    def _reshape(self, shapes: Sequence[Shape]) -> list[Shape]:
        if self.user is None:
            self._set_up(shapes)
        for blob, shape in zip(self.bottom, shapes, strict=True):
            blob.reshape(*shape)
        self._run("reshape", self.bottom, self.top)
        return [blob.shape for blob in self.top]

    def _set_up(self, shapes: Sequence[Shape]) -> None:
        self.bottom = [caffe_module.Blob(*shape) for shape in shapes]
        folders = (os.getcwd(), os.path.dirname(self.where.file or "") or os.getcwd())
        with caffe_module.importable(*folders):
            self.user = self._class()(self.message)
            self.user.param_str = self.user.param_str_ = self.param_str
            self.user.phase = self.phase
            self._run("setup", self.bottom, self.top)
        self._add_parameters([blob.shape for blob in self.user.blobs])

    def _class(self) -> Any:
        module, name = self.of
        importlib.invalidate_caches()
        try:
            found = getattr(importlib.import_module(module), name)
        except Exception as error:
            raise NetError(f"cannot import {name!r} from {module!r}: {_said(error)}", where=self.where) from error
        if not (isinstance(found, type) and issubclass(found, caffe_module.Layer)):
            received = f"a class {found.__name__}" if isinstance(found, type) else f"a {type(found).__name__}"
            raise NetError(f"{module}.{name} must be a subclass of caffe.Layer. Received: {received}", where=self.where)
        return found

    def _run(self, method: str, *args: Any) -> None:
        """Call the user's method; whatever it raises becomes an error that names its line."""
        kind = NetError if method in ("setup", "reshape") else RunError
        try:
            getattr(self.user, method)(*args)
        except Proto2TorchError:
            raise
        except Exception as error:
            raise kind(f"{self.of[1]}.{method} failed: {_said(error)}", where=self.where) from error

    def forward(self, *bottoms: Tensor) -> Tensor | tuple[Tensor, ...]:
        parameters = list(self._parameters.values())
        tops: tuple[Tensor, ...] = _Function.apply(self, len(bottoms), *bottoms, *parameters)
        return tops[0] if len(tops) == 1 else tops

    def compute(self, bottoms: Sequence[Any], blobs: Sequence[Any]) -> list[Any]:
        """The user's forward on arrays. The tops may have another first extent than `lay_out` said, nothing else."""
        shapes = [array.shape for array in bottoms]
        self._reshape(shapes)
        self._fill(bottoms, blobs)
        tops = self._forward()
        made = [top.shape for top in tops]
        expected = self._laid_out.setdefault(tuple(shape[1:] for shape in shapes), made)
        if [shape[1:] for shape in made] != [shape[1:] for shape in expected]:
            name = self.of[1]
            message = f"{name} may change the first extent of its tops alone. Expected: {expected}. Received: {made}"
            raise RunError(message, where=self.where)
        return tops

    def produce(self) -> list[Any]:
        """The user's forward without bottoms."""
        self._reshape(())
        return self._forward()

    def _forward(self) -> list[Any]:
        self._run("forward", self.bottom, self.top)
        return [blob.data.copy() for blob in self.top]

    def _fill(self, bottoms: Sequence[Any], blobs: Sequence[Any]) -> None:
        for blob, array in zip([*self.bottom, *self.user.blobs], [*bottoms, *blobs], strict=True):
            blob.data[...] = array

    def differentiate(self, given: _Given, diffs: Sequence[Any], wanted: Sequence[bool]) -> list[Any]:
        """The user's backward on what a forward was given and gave: the diffs of the bottoms, then of the blobs."""
        for blob, array in zip([*self.bottom, *self.top], [*given.bottoms, *given.tops], strict=True):
            blob.reshape(*array.shape)
        self._fill(given.bottoms, given.blobs)
        for blob, array, diff in zip(self.top, given.tops, diffs, strict=True):
            blob.data[...], blob.diff[...] = array, diff
        for blob in self.user.blobs:
            blob.diff[...] = 0
        self._run("backward", self.top, list(wanted), self.bottom)
        return [blob.diff.copy() for blob in [*self.bottom, *self.user.blobs]]


class _Given:
    """What one forward was given and gave, as arrays."""

    def __init__(self, bottoms: Sequence[Any], blobs: Sequence[Any], tops: Sequence[Any]) -> None:
        self.bottoms, self.blobs, self.tops = bottoms, blobs, tops


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, host: PythonLayer, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = [tensor.detach().float().cpu().numpy() for tensor in tensors]
        tops = host.compute(arrays[:count], arrays[count:])
        for tensor, array, blob in zip(tensors[count:], arrays[count:], host.user.blobs, strict=True):
            if not np.array_equal(array, blob.data, equal_nan=True):  # the user's forward wrote into its blob
                tensor.copy_(torch.from_numpy(blob.data))
        ctx.host, ctx.count = host, count
        ctx.given = _Given(arrays[:count], arrays[count:], tops)
        ctx.kinds = [(tensor.device, tensor.dtype) for tensor in tensors]
        return tuple(torch.from_numpy(top).to(tensors[0].device) for top in tops)

    @staticmethod
    def backward(ctx: Any, *diffs: Tensor) -> tuple[Tensor | None, ...]:
        wanted = ctx.needs_input_grad[2:]
        arrays = ctx.host.differentiate(ctx.given, [d.float().cpu().numpy() for d in diffs], wanted[: ctx.count])
        found = [
            torch.from_numpy(array).to(*kind) if want else None
            for array, kind, want in zip(arrays, ctx.kinds, wanted, strict=True)
        ]
        return None, None, *found


class _Source:
    """The tops of a layer without bottoms, batch after batch; every extent may change."""

    batch_size = 1
    seed = 0

    def __init__(self, host: PythonLayer) -> None:
        self._host = host
        self.shapes = [blob.shape for blob in host.top]

    def batch(self, first: int) -> Batch:
        return tuple(torch.from_numpy(top) for top in self._host.produce())

    def reseed(self, seed: object) -> None:
        """What the user's layer draws is its own business."""

    def close(self) -> None:
        """There is nothing to give back."""


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _said(error: Exception) -> str:
    """What an exception says, and the last line of the user's that led to it."""
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    theirs = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_the_users(frame.filename)]
    return f"{text} ({shown_path(theirs[-1].filename)}:{theirs[-1].lineno})" if theirs else text


def _is_the_users(file: str) -> bool:
    """Whether a file is none of ours, of Python's or of an installed package."""
    installed = (os.path.dirname(__file__), *(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib")))
    return os.path.isabs(file) and not any(file.startswith(folder + os.sep) for folder in installed)
