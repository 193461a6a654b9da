"""Drawn nets of many layers: proto2torch, its exported source and the reference agree. `long.py` draws more of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from proto2torch.layers import REGISTRY

from .agreement import check
from .drawn_layers import LAYER, cases
from .nets import Case

NOT_DRAWN = {
    "Split": "every net has them where a blob is read twice",
    "Input": "every net has them",
    "Data": "reads a database",
    "DummyData": "draws its values",
    "HDF5Data": "reads files",
    "HDF5Output": "writes a file",
    "ImageData": "reads files",
    "MemoryData": "takes its values from a caller",
    "Python": "runs a user's class",
    "WindowData": "reads files",
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Small nets gain nothing by threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_every_layer_of_caffes_own_is_drawn() -> None:
    assert {kind for kind, cls in REGISTRY.items() if not cls.forks} == set(LAYER) | set(NOT_DRAWN)


@settings(
    max_examples=150,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(case=cases())
def test_drawn_net(case: Case) -> None:
    check(case)
