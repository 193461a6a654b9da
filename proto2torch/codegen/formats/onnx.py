"""ONNX: a module as one file, its batch size free, written by torch.onnx and read by onnxruntime and OpenCV.

torch writes an operator for each step. Where ONNX has one for what runtime/ adds to torch, that one stands in the file;
and what OpenCV 4 does not read is spelled otherwise.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from proto2torch.codegen.formats import batch
from proto2torch.errors import Proto2TorchError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

_PACKAGES = ("onnx", "onnxruntime", "onnxscript")
_LARGEST = 2**31 - 2**24  # bytes of weights in one file, which is a protobuf message; the rest is for the graph


def require() -> None:
    """Raise Proto2TorchError where a package is missing that writes or runs ONNX files."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise Proto2TorchError(f"--format onnx needs {', '.join(missing)}: pip install 'proto2torch[onnx]'")


def program(module: nn.Module, inputs: Mapping[str, Tensor], returns: Sequence[str]) -> tuple[Any, bool]:
    """torch's ONNX program of `module`, whose arguments are `inputs` and whose results are `returns`; and whether its
    batch size is free.

    Raises:
        UnsupportedError: ONNX, or torch's exporter, has no operator for something.
    """
    made, free = _exported(module, inputs, returns)
    _reshape_for_unsqueeze(made.model)
    _count_inside(made.model)
    return made, free


def save(program: Any, path: str) -> None:
    """Write the program to one file, or above 2 GB its weights to `path`.data."""
    size = sum(value.const_value.nbytes for value in program.model.graph.initializers.values() if value.const_value)
    program.save(path, external_data=size > _LARGEST)


def run(path: str, inputs: Mapping[str, Tensor]) -> list[np.ndarray[Any, Any]]:
    """What onnxruntime computes of `inputs` with the file, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    known = {value.name for value in session.get_inputs()}
    found: list[np.ndarray[Any, Any]] = session.run(
        None, {name: tensor.numpy() for name, tensor in inputs.items() if name in known}
    )
    return found


def _exported(module: nn.Module, inputs: Mapping[str, Tensor], returns: Sequence[str]) -> tuple[Any, bool]:
    """torch's program, with a free batch size where the net has one."""
    import torch

    how: dict[str, Any] = {"dynamo": True, "input_names": list(inputs), "output_names": list(returns), "verbose": False}

    def trace(arguments: tuple[Tensor, ...], free: Any) -> Any:
        return torch.onnx.export(module, arguments, dynamic_shapes=free, **how)

    with _quiet(), _operators(module), torch.no_grad():
        try:
            return batch.freely(trace, inputs.values())
        except Exception as error:
            raise UnsupportedError(f"ONNX cannot say it: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The first line of what began it all."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the warnings that torch and onnxscript give of themselves."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


# What ONNX says otherwise


@contextmanager
def _operators(module: nn.Module) -> Iterator[None]:
    """Let the module's source call ONNX's operators for the pieces of runtime/ that they are."""
    names = type(module).forward.__globals__
    before = dict(names)
    names.update((name, operator) for name, operator in _OPERATORS.items() if name in names)
    if "F" in names:
        names["F"] = _Functional(names["F"])
    try:
        yield
    finally:
        names.update(before)


def _lrn(x: Tensor, size: int, alpha: float = 1, beta: float = 0.75, k: float = 1) -> Tensor:
    attributes = {"size": size, "alpha": float(alpha), "beta": float(beta), "bias": float(k)}
    return _operator("LRN", x, attributes, x.shape)


def _operator(kind: str, x: Tensor, attributes: dict[str, Any], shape: Sequence[Any]) -> Tensor:
    """ONNX's operator of that name, as it has been since version 13 of the operators."""
    import torch

    result: Tensor = torch.onnx.ops.symbolic(kind, (x,), attributes, dtype=x.dtype, shape=shape, version=13)
    return result


def _top_indices(x: Tensor, k: int, axis: int) -> Tensor:
    """ONNX's TopK takes the smaller index first where values tie; turned round, that is the larger."""
    return (x.shape[axis] - 1 - x.flip(axis).topk(k, axis).indices).to(x.dtype)


_OPERATORS: dict[str, Callable[..., Any]] = {"across_channels_lrn": _lrn, "top_indices": _top_indices}


class _Functional:
    """torch.nn.functional, less what torch's exporter gets wrong: it drops divisor_override, and writes the mean of a
    plane as a Gather of computed indices where planes lie channels_last."""

    def __init__(self, functional: Any) -> None:
        self._functional = functional

    def __getattr__(self, name: str) -> Any:
        return getattr(self._functional, name)

    def avg_pool2d(self, x: Tensor, kernel: Any, *args: Any, divisor_override: int | None = None, **how: Any) -> Tensor:
        mean: Tensor = self._functional.avg_pool2d(x, kernel, *args, **how)
        if divisor_override is None:
            return mean
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        return mean * (height * width / divisor_override)

    def adaptive_avg_pool2d(self, x: Tensor, size: Any) -> Tensor:
        if size != 1:
            pooled: Tensor = self._functional.adaptive_avg_pool2d(x, size)
            return pooled
        return _operator("GlobalAveragePool", x, {}, (*x.shape[:2], 1, 1))


def _count_inside(model: Any) -> None:
    """Divide averages without padding by what lies inside: the same number, for which OpenCV 5 needs to be told."""
    import onnx_ir as ir

    for node in model.graph:
        if node.op_type == "AveragePool" and not any(node.attributes.get_ints("pads", [])):
            node.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 0)


def _reshape_for_unsqueeze(model: Any) -> None:
    """Insert several axes by a Reshape: OpenCV 4 reads no Unsqueeze of several, and fixes the batch in each of one."""
    import onnx_ir as ir

    for node in list(model.graph):
        shape = node.outputs[0].shape if node.op_type == "Unsqueeze" else None
        if shape is None or sum(not isinstance(size, int) for size in shape) > 1:
            continue
        name = f"{node.name}_shape"
        sizes = ir.tensor([size if isinstance(size, int) else -1 for size in shape], name=name)
        target = ir.Value(name=name, const_value=sizes)
        model.graph.register_initializer(target)
        made = ir.node("Reshape", [node.inputs[0], target], name=node.name)
        old, new = node.outputs[0], made.outputs[0]
        new.name, new.dtype, new.shape = f"{old.name}_reshaped", old.dtype, shape
        axes = node.inputs[1]
        ir.convenience.replace_nodes_and_values(model.graph, node, [node], [made], [old], [new])
        if not axes.uses():
            model.graph.initializers.pop(axes.name, None)
