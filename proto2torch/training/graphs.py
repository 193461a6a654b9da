"""`--cuda-graph`: forward and backward of a net recorded once on the device, and played back with one call.

What a small net's step costs on a GPU is launching its kernels one by one; a graph launches them all. The inputs lie in
buffers of the graph, the gradients too; the update follows, one or a few launches of its own, with the rate of now.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from proto2torch.errors import DeviceError
from proto2torch.net import Net
from proto2torch.solvers.definition import SolverDefinition

Work = Callable[[], Any]
_WARM = 3
"""Iterations before the recording: cuDNN chooses kernels, and autograd finds its memory."""


def refusal(net: Net, definition: SolverDefinition) -> str | None:
    """Why a training cannot be recorded; None where nothing known is against it."""
    if net.device.type != "cuda":
        return "it needs a CUDA device"
    if definition.iter_size != 1:
        return "with iter_size the gradients of several batches add up"
    stateful = next((n for n in net.graph.nodes if n.type in ("Python", "HDF5Output", "Filter")), None)
    return f"layer {stateful.name!r} ({stateful.type}) runs on the host" if stateful is not None else None


class CudaRecorder:
    """Records work on the current CUDA device."""

    def warm(self, work: Work) -> Any:
        """Do the work as a recording does it, on a stream beside."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            done = work()
        torch.cuda.current_stream().wait_stream(stream)
        return done

    def record(self, work: Work) -> tuple[Any, Work]:
        """What the work gives, in memory that each play fills anew, and what plays it."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            found = work()
        return found, graph.replay


class Recorded:
    """Forward and backward over the next batch of a net, recorded after the first iterations."""

    def __init__(self, net: Net, scale: Callable[[Tensor], Tensor], recorder: Any = None) -> None:
        self._net, self._scale = net, scale
        self._recorder = recorder or CudaRecorder()
        self._seen = 0
        self._inputs: dict[str, Tensor] = {}
        self._play: Work | None = None
        self._outputs: dict[str, Tensor] = {}
        self._loss = torch.zeros(())
        self._grads: list[tuple[Tensor, Tensor]] = []

    def run(self) -> tuple[dict[str, Tensor], Tensor]:
        """The net's outputs and its objective of the next batch; the gradients stand in the parameters.

        Raises:
            DeviceError: the net does something that cannot be recorded.
        """
        batch = self._net.batch()
        if self._seen < _WARM or not self._fits(batch):
            self._seen += 1
            return self._recorder.warm(lambda: self._computed(batch))  # type: ignore[no-any-return]
        if self._play is None:
            self._record(batch)
        for name, value in batch.items():
            self._inputs[name].copy_(value, non_blocking=True)
        assert self._play is not None
        self._play()
        for parameter, grad in self._grads:
            parameter.grad = grad
        return {name: value.clone() for name, value in self._outputs.items()}, self._loss.clone()

    def _fits(self, batch: dict[str, Tensor]) -> bool:
        """Whether a batch has the shapes of the recorded one, as the last of an epoch may not."""
        return self._play is None or all(self._inputs[name].shape == value.shape for name, value in batch.items())

    def _record(self, batch: dict[str, Tensor]) -> None:
        self._inputs = {name: value.clone() for name, value in batch.items()}
        for blob in self._net.learned:
            blob.tensor.grad = None  # so that a play writes gradients, and adds to none
        try:
            (self._outputs, self._loss), self._play = self._recorder.record(lambda: self._computed(self._inputs))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise DeviceError(f"this net cannot be recorded: {reason}", hint="leave --cuda-graph out") from error
        learned = [blob.tensor for blob in self._net.learned]
        self._grads = [(tensor, tensor.grad) for tensor in learned if tensor.grad is not None]

    def _computed(self, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        outputs = self._net(**inputs)
        if self._net.loss.requires_grad:
            self._scale(self._net.loss).backward()  # type: ignore[no-untyped-call]
        return {name: value.detach() for name, value in outputs.items()}, self._net.loss.detach()
