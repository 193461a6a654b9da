"""`proto2torch devices`, with the devices that torch is made to see."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from proto2torch.cli import main


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(name="Some GPU", total_memory=3 * 2**30, major=9, minor=0, multi_processor_count=132)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)


def test_lines(one_gpu: None) -> None:
    cpu, gpu = CliRunner().invoke(main, ["devices"]).stdout.splitlines()
    assert cpu == f"cpu     {torch.get_num_threads()} threads, torch {torch.__version__}"
    assert gpu == "cuda:0  Some GPU, 3.0 GiB, compute capability 9.0, 132 multiprocessors"


def test_json(one_gpu: None) -> None:
    cpu, gpu = json.loads(CliRunner().invoke(main, ["devices", "--json"]).stdout)
    assert cpu["device"] == "cpu"
    assert gpu == {
        "device": "cuda:0",
        "gpu": 0,
        "name": "Some GPU",
        "memory_bytes": 3 * 2**30,
        "compute_capability": "9.0",
        "multiprocessors": 132,
    }


def test_without_cuda_there_is_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert len(CliRunner().invoke(main, ["devices"]).stdout.splitlines()) == 1
