"""Layers of a user's own: a Python file whose classes register themselves as proto2torch's do."""

from __future__ import annotations

import importlib.util
import os
import sys
import traceback
from types import ModuleType

from proto2torch.errors import Proto2TorchError, Where, did_you_mean
from proto2torch.layers import REGISTRY

_loaded: dict[str, list[str]] = {}


def load(path: str) -> list[str]:
    """Run a Python file and give the layer types that it registers; a file that has been loaded is not run again.

    Raises:
        Proto2TorchError: the file cannot be read or run, registers no layer, or registers a type that there is. Then
            none of its layers stays.
    """
    file = os.path.realpath(path)
    if file not in _loaded:
        before, name = dict(REGISTRY), f"_own_layers_{len(_loaded)}"
        try:
            _run(path, file, name)
            new = [kind for kind in REGISTRY if kind not in before]
            if not new:
                raise Proto2TorchError("it registers no layer", where=Where(file=path), hint=_EXAMPLE)
            _check_pieces()
        except BaseException:
            REGISTRY.clear()
            REGISTRY.update(before)
            sys.modules.pop(name, None)
            raise
        _loaded[file] = new
    return _loaded[file]


_EXAMPLE = 'a layer is registered by its class line: class Mine(Layer, type="Mine"):'


def _run(path: str, file: str, name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if not os.path.isfile(file) or spec is None or spec.loader is None:
        reason = "expected a Python file, with the ending .py" if os.path.exists(file) else "no such file or directory"
        raise Proto2TorchError(f"cannot read the layers: {reason}", where=Where(file=path), hint=_near(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Proto2TorchError:
        raise
    except Exception as error:
        raise Proto2TorchError(f"cannot run it: {_said(error)}", where=_place(path, file, error)) from error
    return module


def _near(path: str) -> str | None:
    folder = os.path.dirname(path) or "."
    files = os.listdir(folder) if os.path.isdir(folder) else []
    return did_you_mean(os.path.basename(path), [f for f in files if f.endswith(".py")])


def _said(error: Exception) -> str:
    text = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return text if isinstance(error, (SyntaxError, TypeError)) else f"{type(error).__name__}: {text}"


def _place(path: str, file: str, error: Exception) -> Where:
    """The line of the user's file at which it ended."""
    if isinstance(error, SyntaxError):
        return Where(file=path, line=error.lineno, column=error.offset, text=(error.text or "").rstrip("\n"))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    if not frames:
        return Where(file=path)
    with open(file, encoding="utf-8") as source:
        text = source.read().splitlines()[(frames[-1].lineno or 1) - 1]
    return Where(file=path, line=frames[-1].lineno, column=1, text=text)


def _check_pieces() -> None:
    """Refuse a file that takes the name of one of proto2torch's pieces of source."""
    from proto2torch.codegen.inline import pieces

    pieces()
