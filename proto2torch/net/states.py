"""The state_dict of an exported module, back into the blobs of the net that it was exported from."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from proto2torch import weights
from proto2torch.codegen.source import generate
from proto2torch.errors import WeightsError, Where, did_you_mean, unreadable
from proto2torch.ir.deploy import without_files, without_labels
from proto2torch.net.built import Built
from proto2torch.net.layouts import Layouts
from proto2torch.weights import report, tensors

ENDINGS = (".safetensors", ".pt", ".pth")
"""How the name of such a file ends."""

_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel, and of torch.compile
_NESTED = ("state_dict", "model_state_dict", "model")  # where training scripts keep it beside other things
_MOST_SHOWN = 10


def read(path: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors or of what torch.save wrote, on the CPU; no code of the file is run.

    Raises:
        WeightsError: the file cannot be read, or holds no state_dict.
    """
    found = tensors.read(path) if path.endswith(".safetensors") else _unpickled(path)
    for prefix in _PREFIXES:
        if found and all(key.startswith(prefix) for key in found):
            found = {key.removeprefix(prefix): tensor for key, tensor in found.items()}
    return found


def load(net: Layouts, path: str, device: torch.device) -> weights.Report:
    """Put the tensors of a file into the blobs, whichever way the net was exported; BatchNorm's scale becomes 1.

    The report names the layers that the exported module lacks, which stay as they were.

    Raises:
        WeightsError: keys are missing or unknown, or a tensor has another shape; then nothing has been loaded.
    """
    state = read(path)
    built = _nearest(net, state, device)
    own = built.module.state_dict()
    problems = [*_differing(state, own), *_other_shapes(state, own)]
    if problems:
        shown, rest = problems[:_MOST_SHOWN], len(problems) - _MOST_SHOWN
        text = "\n  ".join(["does not fit the net:", *shown, *([f"and {rest} more"] if rest > 0 else [])])
        raise WeightsError(text, where=Where(file=path))
    built.module.load_state_dict(state)
    _keep_statistics(net, built)
    return _report(net, built)


def _report(net: Layouts, built: Built) -> weights.Report:
    """Which layers the exported module has; it may lack some that only training needs."""
    having = {*(node for node, _ in built.source.keys), *built.source.statistics}
    layers = {node.name: [p.blob.shape for p in node.params] for node in net.graph.nodes if node.params}
    loaded = {node.name for node in net.graph.nodes if node.index in having}
    left = [name for name in layers if name not in loaded]
    rows = [report.Row(name, None, layers[name], report.LEFT) for name in left]
    return weights.Report({name: [] for name in layers if name in loaded}, [], left, rows)


@torch.no_grad()
def _keep_statistics(net: Layouts, built: Built) -> None:
    """Caffe keeps sums and what divides them, torch the quotients: these are the sums of a scale of 1."""
    for node, module in built.source.statistics.items():
        norm = built.module.get_submodule(module)
        mean, variance, scale = (net.blobs.at(node, i).tensor for i in range(3))
        mean.copy_(norm.running_mean)  # type: ignore[arg-type]
        variance.copy_(norm.running_var)  # type: ignore[arg-type]
        scale.fill_(1)


def _nearest(net: Layouts, state: Mapping[str, Tensor], device: torch.device) -> Built:
    """The way of exporting the net whose keys are those of the file, or else have most in common with them."""
    nearest, fewest = net.main, len(state) + len(net.main.module.state_dict())
    for built in _ways(net, device):
        odd = len(built.module.state_dict().keys() ^ state.keys())
        if odd == 0:
            return built
        if odd < fewest:
            nearest, fewest = built, odd
    return nearest


def _ways(net: Layouts, device: torch.device) -> Iterator[Built]:
    """The module in each way that `export` writes it: folded or flat, with the net's losses or without."""
    yield net.main
    plain = without_files(net.graph)
    for graph, fold in ((plain, True), (plain, False), *((without_labels(plain), fold) for fold in (True, False))):
        yield Built.over(net.blobs, generate(graph, fold=fold), device)


def _differing(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    missing = [key for key in own if key not in state]
    unknown = [key for key in state if key not in own]
    found = [f"it has no {key!r}" for key in missing]
    for key in unknown:
        hint = did_you_mean(key, missing or own)
        found.append(f"the net has no {key!r}" + (f"; {hint}" if hint else ""))
    return found


def _other_shapes(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    return [
        f"{key!r} has shape {tuple(state[key].shape)} in the file and {tuple(tensor.shape)} in the net"
        for key, tensor in own.items()
        if key in state and state[key].shape != tensor.shape
    ]


def _unpickled(path: str) -> dict[str, Tensor]:
    try:
        found: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        unreadable(path, error, WeightsError)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(
            "expected a state_dict as torch.save writes it",
            where=Where(file=path),
            hint="save the state_dict alone: torch.save(model.state_dict(), path)",
        ) from error
    for name in _NESTED:
        if isinstance(found, Mapping) and isinstance(found.get(name), Mapping):
            found = found[name]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(
            f"expected a state_dict, tensors by key. Received: {type(found).__name__}", where=Where(file=path)
        )
    return dict(found)
