"""The choice of the device and of the arithmetic."""

from __future__ import annotations

import click
import pytest
import torch

from proto2torch.cli import options
from proto2torch.errors import DeviceError


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch):
    """Let torch see so many CUDA devices."""

    def see(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return see


def test_a_device_is_asked_for_by_its_number(cuda) -> None:
    cuda(2)
    assert options.cuda_device("1") == "cuda:1"


def test_all_of_one_device_is_that_device(cuda) -> None:
    cuda(1)
    assert options.cuda_device("all") == "cuda:0"


@pytest.mark.parametrize("asked", ["all", "0,1"])
def test_several_devices_are_refused(cuda, asked: str) -> None:
    cuda(2)
    with pytest.raises(DeviceError, match=f"Received: --gpu {asked}"):
        options.cuda_device(asked)


@pytest.mark.parametrize("asked", ["2", "0,7"])
def test_a_device_that_is_not_there_is_refused(cuda, asked: str) -> None:
    cuda(2)
    with pytest.raises(DeviceError, match=f"the CUDA devices are 0 to 1. Received: --gpu {asked}"):
        options.cuda_device(asked)


@pytest.mark.parametrize("asked", ["0", "all"])
def test_no_device_at_all_is_said(cuda, asked: str) -> None:
    cuda(0)
    with pytest.raises(DeviceError, match="torch sees no CUDA device"):
        options.cuda_device(asked)


@pytest.mark.parametrize("asked", ["", "gpu", "-1", "0,", "1.0", "²"])
def test_what_is_no_device_is_wrong_usage(asked: str) -> None:
    with pytest.raises(click.BadParameter, match="expected a device's number, or all"):
        options.cuda_device(asked)


def test_stages_are_separated_by_commas() -> None:
    assert options.stages("a,b") == ("a", "b")
    assert options.stages("") == ()
