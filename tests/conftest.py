"""What tests of several folders share."""

from __future__ import annotations

import pytest
from torch.utils._python_dispatch import TorchDispatchMode


class Calls(TorchDispatchMode):
    """The operations that are called within, by name."""

    def __enter__(self):
        self.names = []
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.names.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def called():
    """Within `with called() as calls:` torch's operations are noted in `calls.names`."""
    return Calls
