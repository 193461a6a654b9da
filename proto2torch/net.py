"""`load` and `Net`: a Caffe net as an nn.Module, its blobs and parameters under Caffe's names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from proto2torch import data, hdf5_output, initial, precision, python_layers, weights
from proto2torch.blobs import Blobs, LearnedBlob
from proto2torch.built import Built, check_sizes
from proto2torch.codegen.build import build
from proto2torch.codegen.source import Returns, Source, default_returns, generate
from proto2torch.errors import DeviceError, NetError, UsageError, WeightsError, Where, did_you_mean
from proto2torch.ir.deploy import without_labels
from proto2torch.ir.graph import Net as Graph
from proto2torch.ir.graph import Shape, Value
from proto2torch.ir.lower import lower, with_splits
from proto2torch.layers import REGISTRY
from proto2torch.prototxt import filters
from proto2torch.prototxt.document import LayerDefinition, NetDefinition
from proto2torch.prototxt.read import read_net
from proto2torch.weights import tensors
from proto2torch.weights.random import Stream

_REMEMBERED = 16  # layouts for other sizes


def load(
    path: str | os.PathLike[str] | None = None,
    weights: str | os.PathLike[str] | None = None,
    *,
    text: str | None = None,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    device: str | torch.device = "cpu",
    allow_python_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
) -> Net:
    """The net of a prototxt as an nn.Module.

    Parameters
    ----------
    path, text
        The prototxt's file, or its text in place of a file.
    weights
        A .caffemodel or .caffemodel.h5; without it the blobs start as Caffe's fillers say.
    phase, level, stages
        Select the layers, as the include and exclude rules say; phase is TRAIN or TEST.
    device
        Where the parameters live. On CUDA the process's convolutions then stay float32; torch would let them use TF32.
    allow_python_layers
        Whether Python layers of the prototxt may run: the modules that they name are imported, and can do anything.
    feeds
        What feeds data or Input layers in place of what they read, by name: an iterable of batches, such as a
        DataLoader, whose batches are mappings by top or sequences in the tops' order, or an object like `data.Feed`.

    Raises
    ------
    Proto2TorchError
        For whatever is wrong with the file, the net or the weights.
    """
    if (path is None) == (text is None):
        raise UsageError(f"takes a path or a text. Received: {'neither' if path is None else 'both'}")
    net = load_definition(
        read_net(None if path is None else os.fspath(path), text=text),
        phase=phase,
        level=level,
        stages=stages,
        device=device,
        allow_python_layers=allow_python_layers,
        feeds=feeds,
    )
    if weights is not None:
        net.load_weights(os.fspath(weights))
    return net


def load_definition(
    definition: NetDefinition,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    device: str | torch.device = "cpu",
    stream: Stream | None = None,
    allow_python_layers: bool = False,
    feeds: Mapping[str, Any] | None = None,
) -> Net:
    """The net of a definition that has been read; its fillers draw from `stream`."""
    if phase not in ("TRAIN", "TEST"):
        raise UsageError(f"phase must be 'TRAIN' or 'TEST'. Received: {phase!r}")
    if isinstance(stages, str):
        raise UsageError(f"stages must be a sequence of names. Received: {stages!r}", hint=f"stages=[{stages!r}]")
    selected = filters.select(definition, phase, level, stages)
    registry = python_layers.registry() if allow_python_layers else REGISTRY
    stream = stream or Stream(None)
    return Net(selected, phase, _device(device), stream, whole=definition, registry=registry, feeds=feeds)


def _device(device: str | torch.device) -> torch.device:
    """The device, tried out: torch itself says that one is missing only when memory is asked for."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"the device {str(device)!r} cannot be used: {reason}") from error


@dataclass(frozen=True)
class LayerInfo:
    """A layer as the filtered prototxt lists it."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]


class Net(nn.Module):
    """A Caffe net. Calling it gives every net output by blob name, losses too, in Caffe's order.

    `net(data=x)` takes inputs by name, `net(x)` where there is one, `net()` reads the next batch of the net's data
    layers. Tensors are float32 on the net's device, arrays are converted; the batch size is free, and for other spatial
    sizes the net is laid out anew, as Caffe's reshape does.
    """

    def __init__(
        self,
        selected: NetDefinition,
        phase: str,
        device: torch.device,
        stream: Stream,
        whole: NetDefinition | None = None,
        registry: Mapping[str, Any] = REGISTRY,
        feeds: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._registry = registry
        self.phase, self.device, self.dtype = phase, device, torch.float32
        if device.type == "cuda":
            precision.as_caffe()
        self.selected = selected
        self.feeds: dict[str, data.AnyFeed] = data.given(feeds or {}, selected)
        self.definition = with_splits(selected, whole, phase, registry, self._data_shapes)
        self.graph = self._lower({})
        self._built: dict[Any, Built] = {}
        self._graphs: dict[Any, Graph] = {}
        source = generate(self.graph, fold=True)
        module = build(source)
        self.blobs = Blobs(self.graph, source, module)
        initial.fill(self.graph, self.blobs, self.feeds, stream, device)
        self.blobs.bind(source, module, device)
        self._main = Built(source, module)
        self._modules["module"] = module  # under the name of the property that refreshes it
        self.train(phase == "TRAIN")
        self._terms = tuple(self.graph.objective)
        self._files = hdf5_output.of(self.graph)
        self.loss = torch.zeros((), device=device)

    # What it is

    @property
    def name(self) -> str:
        """The net's name in its prototxt."""
        return self.graph.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What Caffe drops, overrides or ignores in silence in this net: "place: text" each."""
        return self.graph.notes

    @property
    def module(self) -> nn.Module:
        """The generated module, its running statistics those of the blobs now."""
        self._main.refresh(self.blobs)
        return self._main.module

    @property
    def source(self) -> str:
        """The generated source, as `export` prints it."""
        return self._main.source.text

    @property
    def inputs(self) -> dict[str, Shape]:
        """The shape of every input by blob name, in order."""
        return {v.blob: v.shape for v in self.graph.inputs}

    @property
    def arguments(self) -> tuple[str, ...]:
        """The inputs that `module` takes, in order: those that a layer reads."""
        return self._main.source.inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the net's outputs, in Caffe's order."""
        return tuple(v.blob for v in self.graph.outputs)

    @property
    def layers(self) -> list[LayerInfo]:
        """The layers after filtering, in order."""
        messages = [layer.message for layer in self.selected.layers]
        return [LayerInfo(m.name, m.type, tuple(m.bottom), tuple(m.top)) for m in messages]

    @property
    def params(self) -> dict[str, list[LearnedBlob]]:
        """Each layer's learnable blobs, in Caffe's stored order and shape."""
        return self.blobs.by_layer()

    @property
    def learned(self) -> list[LearnedBlob]:
        """The learnable blobs, each owner once, in the order of a solver's history."""
        return list(self.blobs)

    @property
    def loss_weights(self) -> dict[str, float]:
        """The weight in the objective of each output that has one."""
        return {term.value.blob: term.weight for term in self._terms}

    # Running it

    def forward(self, *args: Any, **inputs: Any) -> dict[str, Tensor]:
        """Every net output by name; `loss` is the objective of this forward. HDF5Output layers write their files."""
        for file in self._files:
            file.prepare()
        values = self._run(_outputs, self._inputs(args, inputs), ("files",) if self._files else (), whole=True)
        self.loss = self._objective(values)
        for file in self._files:
            file.write(values)
        return {name: values[name] for name in self.outputs}

    def features(self, *names: str, **inputs: Any) -> dict[str, Tensor]:
        """The named blobs, in-place ones with their last value; layers that they do not need do not run."""

        def returns(graph: Graph) -> Returns:
            last = _last_values(graph)
            return [(name, last[name]) for name in names]

        known = _last_values(self.graph)
        for name in names:
            if name not in known:
                raise NetError(f"the net has no blob {name!r}", hint=did_you_mean(name, known))
        return self._run(returns, self._inputs((), inputs), names)

    def versions(self, **inputs: Any) -> dict[Value, Tensor]:
        """Every value of the net, in each of its versions: a blob that layers write in place has several."""
        values = [v for node in self.graph.nodes for v in node.outputs]
        names = {v: f"{v.blob}\0{v.version}" for v in values}

        def returns(graph: Graph) -> Returns:
            return [(f"{v.blob}\0{v.version}", v) for node in graph.nodes for v in node.outputs]

        found = self._run(returns, self._inputs((), inputs), tuple(names.values()))
        return {v: found[name] for v, name in names.items()}

    def _run(
        self,
        returns: Callable[[Graph], Returns],
        inputs: dict[str, Tensor],
        names: tuple[str, ...] = (),
        *,
        whole: bool = False,
    ) -> dict[str, Tensor]:
        built = self._for(returns, inputs, names, whole)
        built.refresh(self.blobs)
        return built.run(inputs)

    def _objective(self, values: Mapping[str, Tensor]) -> Tensor:
        total: Tensor | None = None
        for part in self._terms:
            top = values[part.value.blob]
            term = (top if part.back_propagates else top.detach()).sum() * part.weight
            total = term if total is None else total + term
        return torch.zeros((), device=self.device) if total is None else total

    def _inputs(self, args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Tensor]:
        names = list(self.inputs)
        if args and len(args) != len(names):
            raise NetError(f"takes {len(names)} inputs, {', '.join(names)}. Received: {len(args)} by position")
        twice = [name for name, _ in zip(names, args, strict=False) if name in given]
        if twice:
            raise NetError(f"an input is given by position or by name. Received twice: {', '.join(twice)}")
        given |= dict(zip(names, args, strict=False))
        for name in given:
            if name not in names:
                raise NetError(f"the net has no input {name!r}", hint=did_you_mean(name, names) or f"inputs: {names}")
        for layer, feed in self.feeds.items():
            tops = next(n for n in self.graph.nodes if n.name == layer and not n.inputs).outputs
            if any(v.blob not in given for v in tops):
                given |= {v.blob: t for v, t in zip(tops, feed.next(), strict=True) if v.blob not in given}
        missing = [name for name in names if name not in given]
        if missing:
            raise NetError(f"needs every input. Missing: {', '.join(missing)}")
        return {name: self._tensor(name, value) for name, value in given.items()}

    def _tensor(self, name: str, value: Any) -> Tensor:
        """An input on the net's device, in its parameters' type; arrays of any strides and byte order."""
        if isinstance(value, Tensor):
            tensor = value
        else:
            array = np.asarray(value)
            if array.dtype.kind not in "biuf":
                raise NetError(f"input {name!r} must be numbers. Received: {type(value).__name__} of {array.dtype}")
            tensor = torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))
        return tensor.to(self.device, self.dtype, non_blocking=True)

    # Laying it out

    def _lower(self, shapes: Mapping[str, Shape]) -> Graph:
        return lower(self.definition, self.phase, self._registry, self._data_shapes, shapes)

    def _data_shapes(self, definition: LayerDefinition, phase: str) -> Sequence[Shape]:
        if definition.name not in self.feeds:
            of_the_user = definition.type == "Python"
            opened = self._registry["Python"].feed(definition, phase) if of_the_user else data.open(definition, phase)
            self.feeds[definition.name] = opened
        return self.feeds[definition.name].shapes

    def _for(
        self, returns: Callable[[Graph], Returns], inputs: Mapping[str, Tensor], names: tuple[str, ...], whole: bool
    ) -> Built:
        shapes = {name: tuple(t.shape) for name, t in inputs.items()}
        declared = self.inputs
        graph = self._checked(shapes) if shapes != declared else self.graph
        same = all(shape[1:] == declared[name][1:] for name, shape in shapes.items())
        if same and not names:
            return self._main
        key = (names, whole, None if same else tuple(sorted((n, s[1:]) for n, s in shapes.items())))
        if key not in self._built:
            graph = self.graph if same else graph
            source = generate(graph, returns(graph), whole=whole)
            self._built[key] = Built.over(self.blobs, source, self.device)
        built = self._built[key]
        built.module.train(self.training)
        return built

    def _checked(self, shapes: dict[str, Shape]) -> Graph:
        """The net laid out for inputs of other sizes, or of another batch size; what does not fit is an error."""
        key = tuple(sorted(shapes.items()))
        if key not in self._graphs:
            empty = any(0 in shape for shape in shapes.values())  # there Caffe's rules divide by zero
            graph = self.graph if empty else self._lower(shapes)
            check_sizes(graph, self.graph)
            self._graphs = {**dict(list(self._graphs.items())[-_REMEMBERED:]), key: graph}
        return self._graphs[key]

    def _apply(self, fn: Any, recurse: bool = True) -> Net:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._built.clear()
        self._main.statistics = -1
        like = next((blob.tensor for blob in self.blobs), torch.empty(0, dtype=self.dtype, device=self.device))
        self.device, self.dtype = like.device, like.dtype
        return self

    # Weights

    def load_weights(
        self, source: str | os.PathLike[str] | Mapping[str, Sequence[Any]], strict: bool = False
    ) -> weights.Report:
        """Load blobs by layer name from a .caffemodel or .caffemodel.h5, or from {layer: [arrays]}; a .safetensors that
        `save` wrote goes back by its own keys.

        Returns the report of what matched, what was left as it was and what was not used; with `strict` the latter two
        are errors. Raises WeightsError with every blob that does not fit; then nothing has been loaded.
        """
        if not isinstance(source, Mapping):
            source = os.fspath(source)
        if isinstance(source, str) and source.endswith(".safetensors"):
            return self._load_state(source)
        stored = weights.read_stored(source)
        params = self.blobs.by_layer(first=isinstance(source, str) and not stored.hdf5)  # of layers of one name
        shapes = {node.name: [b.shape for b in params.get(node.name, [])] for node in self.graph.nodes}
        shared = [(node.name, p.index) for node in self.graph.nodes for p in node.params if p.owner]
        report = weights.match(stored, shapes, strict=strict, shared=shared)
        with torch.no_grad():
            for layer, arrays in report.matched.items():
                for blob, array in zip(params[layer], arrays, strict=True):
                    if array is not None:
                        blob.tensor.copy_(blob.from_caffe(array))
        return report

    def _load_state(self, path: str) -> weights.Report:
        state = tensors.read(path)
        built = next((b for b in self._ways() if b.module.state_dict().keys() == state.keys()), self._main)
        try:
            built.module.load_state_dict(state)
        except RuntimeError as error:
            raise WeightsError(f"does not fit the net: {error}", where=Where(file=path)) from error
        for node, module in built.source.statistics.items():
            norm, own = built.module.get_submodule(module), [self.blobs.at(node, i).tensor for i in range(3)]
            for blob, value in zip(own, (norm.running_mean, norm.running_var, torch.ones(1)), strict=True):
                blob.copy_(value)  # type: ignore[arg-type]
        return weights.Report({}, [], [])

    def _ways(self) -> Iterator[Built]:
        """The module in each way that `export` writes it: folded or flat, with the net's losses or without."""
        yield self._main
        for graph, fold in ((self.graph, False), *((without_labels(self.graph), fold) for fold in (True, False))):
            yield Built.over(self.blobs, generate(graph, fold=fold), self.device)

    def state(self, source: Source) -> dict[str, Tensor]:
        """The state_dict of the module that `source`, an export of this net, defines."""
        return Built.over(self.blobs, source, self.device).module.state_dict()

    def layer_messages(self) -> Iterable[tuple[Any, list[Any]]]:
        """Each layer's message as Caffe stores it, with its blobs as arrays."""
        for node in self.graph.nodes:
            message = type(node.definition.message)()
            message.CopyFrom(node.definition.message)
            del message.blobs[:]
            message.phase = ("TRAIN", "TEST").index(node.op.phase)
            yield message, [blob.to_caffe(blob.tensor) for blob in self.blobs.of(node)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write .caffemodel, .caffemodel.h5 or .safetensors, by the ending of `path`."""
        shared = [(node.name, p.index) for node in self.graph.nodes for p in node.params if p.owner]
        weights.save(os.fspath(path), self.name, self.layer_messages(), self.module.state_dict(), shared)

    def share(self, other: Net) -> None:
        """Use `other`'s tensors for every layer of the same name: a test net's way to its train net's weights. Of
        layers of one name the first takes those of the last, as in Caffe."""
        theirs = other.params
        for node in self.graph.nodes:
            blobs = theirs.pop(node.name, None) if node.params else None
            if blobs is None:
                continue
            shapes = [p.blob.shape for p in node.params]
            if [b.shape for b in blobs] != shapes:
                raise node.op.error(f"cannot share blobs with a layer whose shapes are {[b.shape for b in blobs]}")
            for param, blob in zip(node.params, blobs, strict=True):
                if param.owner is None:
                    self.blobs.replace((param.node, param.index), blob)
        self._built.clear()
        self.blobs.bind(self._main.source, self.module, self.device)
        self._main.statistics = -1

    def close(self) -> None:
        """Close the databases that its data layers read."""
        for feed in self.feeds.values():
            feed.close()


def _outputs(graph: Graph) -> Returns:
    """What a forward gives: the net's outputs, the terms of its objective, and what files are written of."""
    return [*default_returns(graph), *hdf5_output.returns(graph)]


def _last_values(graph: Graph) -> dict[str, Value]:
    return {v.blob: v for node in graph.nodes for v in node.outputs}
