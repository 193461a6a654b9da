"""A recorder that does on the CPU what a CUDA graph does on its device: it plays the very operations that it has seen,
over the same memory and with the numbers of then, and none of Python in between."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def _tensors(value):
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, torch.Tensor)]


def _memory(tensor):
    return tensor.untyped_storage().data_ptr()


class _Tape(TorchDispatchMode):
    """Keeps every operation, and what the memory that they wrote to held before."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self._own = set()
        self.before = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func.namespace == "profiler":
            return func(*args, **kwargs)
        written = [
            given
            for argument, given in zip(func._schema.arguments, args, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        for tensor in _tensors([written, kwargs.get("out")]):
            if _memory(tensor) not in self._own and _memory(tensor) not in self.before:
                self.before[_memory(tensor)] = tensor.untyped_storage(), tensor.untyped_storage().clone()
        given = {_memory(tensor) for tensor in _tensors([args, kwargs])}
        found = func(*args, **kwargs)
        fresh = [tensor for tensor in _tensors(found) if _memory(tensor) not in given]
        self._own |= {_memory(tensor) for tensor in fresh}
        self.calls.append((func, args, kwargs, found))
        return found

    def play(self):
        for func, args, kwargs, found in self.calls:
            again = func(*args, **kwargs)
            for mine, new in zip(_tensors(found), _tensors(again), strict=True):
                if _memory(mine) != _memory(new):
                    mine.copy_(new)


class Tape:
    """In place of `graphs.CudaRecorder`."""

    def __init__(self, against=None):
        """`against` is what is against a recording."""
        self.against = against
        self.warmed = self.records = self.plays = 0

    def warm(self, work):
        self.warmed += 1
        return work()

    def examine(self, work):
        return self.warm(work), self.against

    def record(self, work):
        """As a graph does, without computing: what was written is put back."""
        self.records += 1
        with _Tape() as tape:
            found = work()
        for storage, kept in tape.before.values():
            storage.copy_(kept)

        def play():
            self.plays += 1
            with torch.no_grad():
                tape.play()

        return found, play
