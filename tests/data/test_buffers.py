from __future__ import annotations

import numpy as np
import torch

from proto2torch.data.buffers import Buffers


def test_memory_comes_back_when_no_tensor_is_left() -> None:
    buffers = Buffers(np.float32)
    first = torch.from_numpy(buffers.take((2, 3)))
    second = torch.from_numpy(buffers.take((2, 3)))
    places = [first.data_ptr(), second.data_ptr()]
    assert places[0] != places[1]
    part = first.view(-1)[4:].detach().numpy()  # the memory is in use as long as any view of it
    del first
    assert buffers.take((2, 3)).ctypes.data not in places
    del part
    again = torch.from_numpy(buffers.take((2, 3)))
    assert again.data_ptr() == places[0]


def test_another_shape_takes_other_memory() -> None:
    buffers = Buffers(np.uint8)
    held = torch.from_numpy(buffers.take((4,)))
    held.fill_(7)
    assert buffers.take((8,)).shape == (8,)
    assert held.tolist() == [7] * 4


def test_what_is_never_given_back_is_not_kept() -> None:
    buffers = Buffers(np.float32)
    held = [torch.from_numpy(buffers.take((1,))) for _ in range(50)]
    assert len({tensor.data_ptr() for tensor in held}) == 50
    assert len(buffers._lent) == 8
