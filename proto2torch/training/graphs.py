"""`--cuda-graph`: an iteration recorded once on the device, and played back with one call.

What a small net's step costs on a GPU is launching its kernels one by one; a graph launches them all: forward, backward
and update. The inputs lie in buffers of the graph, the gradients too, and what changes from update to update, the rate
above all, in tensors that are written before a play.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from proto2torch.errors import DeviceError
from proto2torch.net import Net
from proto2torch.solvers.definition import SolverDefinition
from proto2torch.training.iteration import Batch, Found

Work = Callable[[Sequence[Batch]], Found]
_WARM = 3
"""Iterations before the recording: cuDNN chooses kernels, and autograd finds its memory."""
_ON_THE_HOST = ("Python", "HDF5Output", "Filter")


def refusal(net: Net) -> str | None:
    """Why a training cannot be recorded; None where nothing known is against it."""
    if net.device.type != "cuda":
        return "it needs a CUDA device"
    found = next((n for n in net.graph.nodes if n.type in _ON_THE_HOST or n.index in net.blobs.stateful), None)
    if found is None:
        return None
    does = "runs on the host" if found.type in _ON_THE_HOST else "remembers the batch before on the host"
    return f"layer {found.name!r} ({found.type}) {does}"


def with_update(definition: SolverDefinition) -> bool:
    """Whether the update can be part of a recording: nothing comes between it and the gradients.

    Something does in a display iteration, which is not played; where each is one, only forward and backward are
    recorded. So it is where the rate depends on the loss, and where Caffe keeps the update itself.
    """
    return definition.display != 1 and not definition.policy().watches_loss and not definition.snapshot_diff


class Recorder(Protocol):
    """Records work, and plays it."""

    def warm(self, work: Callable[[], Found]) -> Found:
        """Do the work as a recording does it."""

    def examine(self, work: Callable[[], Found]) -> tuple[Found, str | None]:
        """Do the work, and say why it should not be recorded; None where nothing is against it."""

    def record(self, work: Callable[[], Found]) -> tuple[Found, Callable[[], Any]]:
        """What the work will give, in memory that each play fills anew, and what plays it; nothing is computed yet."""


class CudaRecorder:
    """Records work on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None

    def warm(self, work: Callable[[], Found]) -> Found:
        """On a stream beside, for a recording is one too."""
        with torch.cuda.device(self._device):
            self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                done = work()
            torch.cuda.current_stream().wait_stream(self._stream)
        return done

    def examine(self, work: Callable[[], Found]) -> tuple[Found, str | None]:
        """A recording cannot wait for the device, and its memory comes on top of what plain iterations take."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                found = self.warm(work)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        if any("called a synchronizing" in str(warning.message) for warning in said):
            return found, "it waits for the device"
        return found, None if self._has_room() else "there is no memory for it"

    def _has_room(self) -> bool:
        """Whether an iteration fits twice beside what is held: recorded, and plain as those that are shown."""
        device, held = self._device, torch.cuda.memory_allocated(self._device)
        free = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - held
        return 2 * (torch.cuda.max_memory_allocated(device) - held) <= free

    def record(self, work: Callable[[], Found]) -> tuple[Found, Callable[[], Any]]:
        """Threads that read data and write snapshots go on with theirs."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, capture_error_mode="thread_local"):
            found = work()
        return found, graph.replay


class Recorded:
    """The work of an iteration over the next batches of a net, recorded after the first iterations."""

    def __init__(
        self, net: Net, batches: int, work: Work, recorder: Recorder | None = None, *, required: bool = True
    ) -> None:
        """`batches` is how many of them an iteration takes; where a recording is not `required`, one that cannot or
        should not be is `refused`, and the work is done as it is."""
        self.refused: str | None = None
        self._required = required
        self._net, self._batches, self._work = net, batches, work
        self._recorder = recorder or CudaRecorder(net.device)
        self._seen = 0
        self._play: Callable[[], Any] | None = None
        self._inputs: list[dict[str, Tensor]] = []
        self._found: Found = {}, torch.zeros(())

    def run(self, playable: bool = True) -> Found:
        """What the work gives of the next batches; its gradients stand in the parameters.

        `playable` says whether the recording would make this iteration.

        Raises:
            DeviceError: a recording is required, and the net does something that cannot be recorded.
        """
        batches: list[Batch] = [self._net.batch() for _ in range(self._batches)]
        if not playable or self._seen < _WARM or not self._fit(batches) or not self._recording(batches):
            return self._warmed(batches)
        for kept, given in zip(self._inputs, batches, strict=True):
            for name, value in given.items():
                kept[name].copy_(value, non_blocking=True)
        return self._played()

    def forget(self) -> None:
        """Record anew, for tensors have been replaced."""
        self._seen, self._play = 0, None

    def _warmed(self, batches: list[Batch]) -> Found:
        self._seen += 1
        if self._seen != 1 or self._required or self.refused:
            return self._recorder.warm(lambda: self._work(batches))
        found, self.refused = self._recorder.examine(lambda: self._work(batches))
        return found

    def _fit(self, batches: list[Batch]) -> bool:
        """Whether batches have the shapes of the recorded ones, as the last of an epoch may not."""
        if self._play is None:
            return True
        pairs = zip(self._inputs, batches, strict=True)
        return all(kept[name].shape == value.shape for kept, given in pairs for name, value in given.items())

    def _recording(self, batches: list[Batch]) -> bool:
        """Whether there is a recording; the first call makes it."""
        if self._play is not None or self.refused:
            return self._play is not None
        self._inputs = [{name: value.clone() for name, value in given.items()} for given in batches]
        for blob in self._net.learned:
            blob.tensor.grad = None  # so that nothing of before is given back within the recording
        try:
            self._found, self._play = self._recorder.record(lambda: self._work(self._inputs))
        except RuntimeError as error:
            self.refused = str(error).splitlines()[0]
            if not self._required:
                return False
            raise DeviceError(f"this net cannot be recorded: {self.refused}", hint="leave --cuda-graph out") from error
        self._tensors = [blob.tensor for blob in self._net.learned]
        self._grads = [(tensor, tensor.grad) for tensor in self._tensors if tensor.grad is not None]
        return True

    def _played(self) -> Found:
        assert self._play is not None
        self._play()
        torch.autograd.graph.increment_version(self._tensors)  # torch does not see what a graph writes
        for parameter, grad in self._grads:
            if parameter.grad is not grad:  # an iteration that was not played had its own
                parameter.grad = grad
        outputs, loss = self._found
        return {name: value.clone() for name, value in outputs.items()}, loss.clone()
