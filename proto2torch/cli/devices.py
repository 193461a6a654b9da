"""`proto2torch devices`: what torch sees."""

from __future__ import annotations

import json
from typing import Any

import click

from proto2torch.cli.options import emit


@click.command(short_help="The devices that torch sees.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list, one object a device.")
def devices(as_json: bool) -> None:
    """List the devices that torch sees; the CUDA ones by the number that --gpu takes.

    \b
    Example:
      proto2torch devices
      proto2torch devices --json
    """
    found = [_cpu(), *_cuda()]
    emit(json.dumps(found, indent=2) + "\n" if as_json else "".join(_line(device) for device in found))


def _cpu() -> dict[str, Any]:
    import torch

    return {"device": "cpu", "threads": torch.get_num_threads(), "torch": torch.__version__}


def _cuda() -> list[dict[str, Any]]:
    import torch

    if not torch.cuda.is_available():
        return []
    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(
            {
                "device": f"cuda:{index}",
                "gpu": index,
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "compute_capability": f"{properties.major}.{properties.minor}",
                "multiprocessors": properties.multi_processor_count,
            }
        )
    return found


def _line(device: dict[str, Any]) -> str:
    if device["device"] == "cpu":
        return f"cpu     {device['threads']} threads, torch {device['torch']}\n"
    memory = device["memory_bytes"] / 2**30
    return (
        f"{device['device']}  {device['name']}, {memory:.1f} GiB, compute capability {device['compute_capability']}, "
        f"{device['multiprocessors']} multiprocessors\n"
    )
