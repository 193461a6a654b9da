"""Source to module: the generated text is compiled and executed, and tracebacks show its lines."""

from __future__ import annotations

import itertools
import linecache
from typing import TYPE_CHECKING

from proto2torch.codegen.source import Source

if TYPE_CHECKING:
    from torch import nn

_count = itertools.count()


def failing_line(error: BaseException, module: nn.Module) -> str | None:
    """The line of a built module's source at which `error` was raised, the last one where several are nested."""
    name, line, trace = type(module).__module__, None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name and trace.tb_frame.f_code.co_name == "forward":
            line = linecache.getline(name, trace.tb_lineno).strip() or line
        trace = trace.tb_next
    return line


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
