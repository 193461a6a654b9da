"""One file a layer or a close family; importing this package registers them all."""

import pkgutil
from importlib import import_module

from proto2torch.layers.base import REGISTRY, Code, Layer, call

for _module in pkgutil.iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["REGISTRY", "Code", "Layer", "call"]
