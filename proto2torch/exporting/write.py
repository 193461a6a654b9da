"""The formats of `export` besides source: each written of a net that holds its weights, and checked by being read."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from proto2torch import files
from proto2torch.errors import RunError, UnsupportedError

if TYPE_CHECKING:
    from torch import nn

    from proto2torch.codegen.source import Source
    from proto2torch.net import Net


def _onnx(net: Net, source: Source, path: str, check: bool) -> list[str]:
    from proto2torch.codegen.formats import onnx

    onnx.require()
    return _program(net, source, path, check, "onnx", onnx.program, onnx.save, onnx.run)


def _pt2(net: Net, source: Source, path: str, check: bool) -> list[str]:
    from proto2torch.codegen.formats import pt2

    return _program(net, source, path, check, "pt2", pt2.program, pt2.save, pt2.run)


def _safetensors(net: Net, source: Source, path: str, check: bool) -> list[str]:
    from proto2torch.weights import tensors

    tensors.write(path, net.state(source))
    return []


def _caffemodel(net: Net, source: Source, path: str, check: bool) -> list[str]:
    from proto2torch.weights import caffemodel

    caffemodel.write(path, net.name, net.layer_messages(), seal=True)
    return []


def _h5(net: Net, source: Source, path: str, check: bool) -> list[str]:
    from proto2torch.net import transfer
    from proto2torch.weights import hdf5

    hdf5.write(path, net.layer_messages(), shared=transfer.shared(net.blobs))
    return []


Writer = Callable[["Net", "Source", str, bool], list[str]]
"""Takes a net, its source, a path, and whether to run what was written; returns what is to be said of it."""

FORMATS: dict[str, Writer] = {
    "onnx": _onnx,
    "pt2": _pt2,
    "safetensors": _safetensors,
    "caffemodel": _caffemodel,
    "h5": _h5,
}


def written(kind: str, net: Net, source: Source, check: bool) -> bytes:
    """The bytes of a file of a format, for stdout."""
    with tempfile.TemporaryDirectory(prefix="proto2torch-") as folder:
        path = os.path.join(folder, "model")
        FORMATS[kind](net, source, path, check)
        with open(path, "rb") as file:
            return file.read()


@contextmanager
def _placed(path: str) -> Iterator[str]:
    """A path of the same name in a folder of its own, from where the file, and its .data if it has one, go to `path` at
    the end."""
    with files.atomic(path) as temporary:
        plain = temporary.is_file()
        with tempfile.TemporaryDirectory(dir=temporary.parent if plain else None, prefix=".proto2torch-") as folder:
            made = os.path.join(folder, os.path.basename(path))
            yield made
            if os.path.exists(f"{made}.data"):
                os.replace(f"{made}.data", f"{path}.data")
            (os.replace if plain else shutil.copyfile)(made, temporary)


@contextmanager
def _constant(module: nn.Module) -> Iterator[None]:
    """With parameters that ask for no gradient: a file for use keeps nothing for a backward."""
    learning = [parameter for parameter in module.parameters() if parameter.requires_grad]
    module.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def _program(
    net: Net, source: Source, path: str, check: bool, kind: str, make: Callable[..., Any], save: Any, run: Any
) -> list[str]:
    """Write what runs without the source, run it, and let it stay only where it computes the same.

    `make` gives the program of a module with its arguments and results and whether its batch size is free, `save`
    writes it to a path, `run` gives what a file computes of inputs.
    """
    import torch

    from proto2torch.codegen.formats import refused
    from proto2torch.exporting import difference, self_check
    from proto2torch.net.built import Built

    refused.check(net.graph, kind)
    module = Built.over(net.blobs, source, net.device).module.eval()
    expected = self_check.reference(net, source)
    with _placed(path) as made, _constant(module):
        try:
            program, free = make(module, expected.inputs, source.returns)
        except UnsupportedError as error:
            refused.blame(net.graph, error, make)
        notes = [] if free else ["the batch size is fixed: the layers leave no other"]
        save(program, made)
        if check:
            try:
                values = list(map(torch.as_tensor, run(made, expected.inputs)))
            except Exception as error:  # of torch, or of onnxruntime, which has many kinds
                raise RunError(f"the {kind} file does not run: {' '.join(str(error).split())[:300]}") from error
            worst = self_check.passed(
                f"the {kind} file", dict(zip(source.returns, values, strict=True)), expected.outputs
            )
            notes.append(f"largest difference from the net: {difference.shown(worst)}")
    return notes
