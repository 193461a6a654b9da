"""proto2torch compiles Caffe prototxt networks and solvers to PyTorch.

    import proto2torch as p2t

    net = p2t.load("deploy.prototxt", "w.caffemodel")
    out = net(data=x)

Each name is imported when it is first used, so that `import proto2torch` alone brings in neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proto2torch import data
    from proto2torch.errors import Proto2TorchError
    from proto2torch.measure.compare import verify
    from proto2torch.net import load
    from proto2torch.predict.preprocess import Preprocessor
    from proto2torch.training import Solver
    from proto2torch.weights import read as read_weights
    from proto2torch.weights.blobproto import read as read_blob

__version__ = "0.1.0"

__all__ = [
    "Preprocessor",
    "Proto2TorchError",
    "Solver",
    "__version__",
    "data",
    "load",
    "read_blob",
    "read_weights",
    "verify",
]

_HOMES = {
    "Proto2TorchError": ("proto2torch.errors", "Proto2TorchError"),
    "Preprocessor": ("proto2torch.predict.preprocess", "Preprocessor"),
    "Solver": ("proto2torch.training", "Solver"),
    "data": ("proto2torch.data", ""),
    "load": ("proto2torch.net", "load"),
    "read_blob": ("proto2torch.weights.blobproto", "read"),
    "verify": ("proto2torch.measure.compare", "verify"),
    "read_weights": ("proto2torch.weights", "read"),
}
"""Where each exported name lives, and what it is called there; nothing where it is the module itself."""


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home, attribute = _HOMES[name]
    module = import_module(home)
    value: object = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
