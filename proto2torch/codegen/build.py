"""Source to module: the generated text is compiled and executed, and tracebacks show its lines."""

from __future__ import annotations

import itertools
import linecache
from typing import TYPE_CHECKING

from proto2torch.codegen.source import Source

if TYPE_CHECKING:
    from torch import nn

_count = itertools.count()


def build(source: Source) -> nn.Module:
    """The module that `source` defines, without memory: its tensors are on the meta device, for the caller to fill."""
    import torch

    name = f"<proto2torch {source.class_name} {next(_count)}>"
    linecache.cache[name] = (len(source.text), None, source.text.splitlines(keepends=True), name)
    namespace: dict[str, object] = {"__name__": name}
    exec(compile(source.text, name, "exec"), namespace)
    with torch.device("meta"):
        module: nn.Module = namespace[source.class_name]()  # type: ignore[operator]
    return module
