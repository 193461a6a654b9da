"""A generated module at work: over a net's blobs, with running statistics that follow them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from proto2torch import precision
from proto2torch.codegen.build import build, failing_line
from proto2torch.codegen.source import Source
from proto2torch.errors import DataError, NetError
from proto2torch.ir.graph import Net
from proto2torch.net.blobs import Blobs

_ON_THE_HOST = "can't allocate memory"  # torch has no class of error for it


@dataclass
class Built:
    """The module of one source: for a net's declared shapes, or for other sizes or other returns."""

    source: Source
    module: nn.Module
    statistics: int = -1
    """The version of BatchNorm's sums that running_mean and running_var were computed from; -1 for none."""

    @classmethod
    def over(cls, blobs: Blobs, source: Source, device: torch.device) -> Built:
        """The module of `source` over blobs that are there already."""
        module = build(source)
        blobs.bind(source, module, device)
        return cls(source, module)

    def refresh(self, blobs: Blobs) -> None:
        """Compute running_mean and running_var anew where the sums have changed."""
        if not self.source.statistics:
            return
        version = blobs.version(self.source)
        if version != self.statistics:
            blobs.refresh(self.source, self.module)
            self.statistics = version

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What the module returns, by name.

        Raises:
            NetError: what torch says of inputs that do not fit each other, with the line of the source that met it.
            DataError: the same of a label or an index out of range.
        """
        try:
            result = self._called([inputs[name] for name in self.source.inputs])
        except (RuntimeError, IndexError, ValueError) as error:
            raise self._explained(error, inputs) from error
        values = {self.source.returns[0]: result} if isinstance(result, Tensor) else result
        return {name: _widened(value) for name, value in values.items()} if precision.halves() else values

    def _called(self, inputs: list[Tensor]) -> Tensor | dict[str, Tensor]:
        if not precision.halves() or not inputs:
            return self.module(*inputs)  # type: ignore[no-any-return]
        with precision.autocast(inputs[0].device.type):
            return self.module(*inputs)  # type: ignore[no-any-return]

    def _explained(self, error: Exception, inputs: Mapping[str, Tensor]) -> Exception:
        """The error with its line; one that is not about a line, or about memory, stays itself."""
        line = failing_line(error, self.module)
        if line is None or is_out_of_memory(error):
            return error
        given = ", ".join(f"{name} {tuple(inputs[name].shape)}" for name in self.source.inputs)
        kind = DataError if isinstance(error, IndexError) else NetError
        return kind(f"at `{line}`: {str(error).rstrip('.')}. Received: {given}")


def _widened(value: Tensor) -> Tensor:
    """What 16 bits hold as float32, anything else as it is."""
    return value.float() if value.dtype in (torch.bfloat16, torch.float16) else value


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch or Python found no memory, on the device or on the host."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or _ON_THE_HOST in str(error)


def check_sizes(net: Net, declared: Net) -> None:
    """Refuse the layout of a net for other sizes whose blobs would need another shape than they have."""
    for node, ours in zip(net.nodes, declared.nodes, strict=True):
        for param, own in zip(node.params, ours.params, strict=True):
            if param.blob.shape != own.blob.shape:
                needed = param.blob.shape
                text = f"blob {param.index} has shape {own.blob.shape}, but an input of this size needs {needed}"
                raise node.op.error(text, "bottom")
