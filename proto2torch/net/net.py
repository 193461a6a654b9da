"""`Net`: a Caffe net as an nn.Module, its blobs and parameters under Caffe's names."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from proto2torch import data, hdf5_output, precision, weights
from proto2torch.codegen.source import Returns, Source, default_returns
from proto2torch.errors import NetError, did_you_mean
from proto2torch.ir.graph import Net as Graph
from proto2torch.ir.graph import Shape, Value
from proto2torch.ir.lower import DataShapes, with_splits
from proto2torch.layers import REGISTRY
from proto2torch.net import arguments, copies, initial, transfer
from proto2torch.net.blobs import Blobs, LearnedBlob
from proto2torch.net.built import Built
from proto2torch.net.layouts import Layouts
from proto2torch.prototxt.document import LayerDefinition, NetDefinition
from proto2torch.weights.random import Stream


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
        brought: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.phase, self.device, self.dtype = phase, device, torch.float32
        if device.type == "cuda":
            precision.as_caffe()
        self.selected = selected
        self._given = dict(feeds or {})
        self.feeds: dict[str, data.AnyFeed] = data.given(self._given, selected)
        shapes = _data_shapes(self.feeds, registry)
        self.definition = with_splits(selected, whole, phase, registry, shapes)
        self._layouts = Layouts(self.definition, phase, registry, shapes)
        initial.fill(self.graph, self.blobs, self.feeds, stream, device, brought)
        self._layouts.rebind(device)
        self._modules["module"] = self._layouts.main.module  # under the name of the property that refreshes it
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
    def graph(self) -> Graph:
        """The net's graph: every layer with its blobs' shapes, for the declared sizes."""
        return self._layouts.graph

    @property
    def blobs(self) -> Blobs:
        """The learnable blobs, in the order of a solver's history."""
        return self._layouts.blobs

    @property
    def notes(self) -> tuple[str, ...]:
        """What Caffe drops, overrides or ignores in silence in this net: "place: text" each."""
        return self.graph.notes

    @property
    def module(self) -> nn.Module:
        """The generated module, its running statistics those of the blobs now."""
        main = self._layouts.main
        main.refresh(self.blobs)
        return main.module

    @property
    def source(self) -> str:
        """The generated source, as `export` prints it."""
        return self._layouts.main.source.text

    @property
    def inputs(self) -> dict[str, Shape]:
        """The shape of every input by blob name, in order."""
        return {v.blob: v.shape for v in self.graph.inputs}

    @property
    def arguments(self) -> tuple[str, ...]:
        """The inputs that `module` takes, in order: those that a layer reads."""
        return self._layouts.main.source.inputs

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
        return self._whole(_outputs, args, inputs, ("files",) if self._files else ())[0]

    def observed(self, **inputs: Any) -> tuple[dict[str, Tensor], dict[Value, Tensor]]:
        """What `forward` gives, and every value of the net on the way, as `versions` gives them."""

        def returns(graph: Graph) -> Returns:
            return [*_outputs(graph), *_versions(graph).items()]

        outputs, values = self._whole(returns, (), inputs, ("observed\0",))
        return outputs, {value: values[name] for name, value in _versions(self.graph).items()}

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
        names = _versions(self.graph)
        found = self._run(lambda graph: list(_versions(graph).items()), self._inputs((), inputs), tuple(names))
        return {value: found[name] for name, value in names.items()}

    def _whole(
        self, returns: Callable[[Graph], Returns], args: tuple[Any, ...], inputs: dict[str, Any], names: tuple[str, ...]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """A forward of all layers: the net's outputs, and all that `returns` says."""
        for file in self._files:
            file.prepare()
        values = self._run(returns, self._inputs(args, inputs), names, whole=True)
        self.loss = self._objective(values)
        for file in self._files:
            file.write(values)
        return {name: values[name] for name in self.outputs}, values

    def _run(
        self,
        returns: Callable[[Graph], Returns],
        inputs: dict[str, Tensor],
        names: tuple[str, ...] = (),
        *,
        whole: bool = False,
    ) -> dict[str, Tensor]:
        sizes = {name: tuple(t.shape) for name, t in inputs.items()}
        built = self._layouts.get(returns, sizes, self.device, names, whole=whole)
        if built.module.training != self.training:
            built.module.train(self.training)
        built.refresh(self.blobs)
        return arguments.run(self.graph, self.feeds, built, inputs)

    def _objective(self, values: Mapping[str, Tensor]) -> Tensor:
        total: Tensor | None = None
        for part in self._terms:
            top = values[part.value.blob]
            term = (top if part.back_propagates else top.detach()).sum() * part.weight
            total = term if total is None else total + term
        return torch.zeros((), device=self.device) if total is None else total

    def _inputs(self, args: tuple[Any, ...], given: dict[str, Any]) -> dict[str, Tensor]:
        found = arguments.collect(self.graph, self.feeds, args, given, self.device)
        return {name: arguments.as_tensor(name, value, self.device, self.dtype) for name, value in found.items()}

    def _apply(self, fn: Any, recurse: bool = True) -> Net:
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self._layouts.forget()
        like = next((blob.tensor for blob in self.blobs), torch.empty(0, dtype=self.dtype, device=self.device))
        self.device, self.dtype = like.device, like.dtype
        return self

    # Weights

    def load_weights(self, source: transfer.Source, strict: bool = False) -> weights.Report:
        """Load blobs by layer name from a .caffemodel or .caffemodel.h5, or from {layer: [arrays]}; a .safetensors that
        `save` wrote goes back by its own keys.

        Returns the report of what matched, what was left as it was and what was not used; with `strict` the latter two
        are errors. Raises WeightsError with every blob that does not fit; then nothing has been loaded.
        """
        return transfer.load(self._layouts, source, self.device, strict=strict)

    def state(self, source: Source) -> dict[str, Tensor]:
        """The state_dict of the module that `source`, an export of this net, defines."""
        return Built.over(self.blobs, source, self.device).module.state_dict()

    def layer_messages(self) -> Iterable[tuple[Any, list[Any]]]:
        """Each layer's message as Caffe stores it, with its blobs as arrays."""
        return transfer.messages(self.blobs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write .caffemodel, .caffemodel.h5 or .safetensors, by the ending of `path`."""
        transfer.save(self.blobs, path, self.name, self.module)

    def share(self, other: Net) -> None:
        """Use `other`'s tensors for every layer of the same name: a test net's way to its train net's weights. Of
        layers of one name the first takes those of the last, as in Caffe."""
        transfer.share(self.blobs, other.params)
        self._layouts.rebind(self.device)

    # Copies

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle and copy.deepcopy: a net of the same layers and values, whose data layers stand where these do.

        Hooks and gradients stay behind. Raises UsageError where a layer is the user's Python.
        """
        tensors = [blob.tensor for blob in self.blobs]
        kept = copies.Kept(
            copies.message(self.selected),
            copies.without_layers(self.selected),
            self.phase,
            self.device,
            self.dtype,
            self.training,
            self._given,
            {name: feed.state() for name, feed in self.feeds.items()},
            tuple(tensor.detach() for tensor in tensors),
            tuple(tensor.requires_grad for tensor in tensors),
            copies.remembered(self.blobs),
        )
        return type(self)._restored, (kept,)

    @classmethod
    def _restored(cls, kept: copies.Kept) -> Net:
        net = cls(copies.definition(kept), kept.phase, kept.device, Stream(None), feeds=kept.given)
        net.to(kept.dtype)
        for blob, values, learns in zip(net.blobs, kept.blobs, kept.learns, strict=True):
            with torch.no_grad():
                blob.tensor.copy_(values)
            blob.tensor.requires_grad_(learns)
        copies.remember(net.blobs, kept.memories)
        for name, state in kept.feeds.items():
            net.feeds[name].load_state(state)
        return net.train(kept.training)

    def batch(self) -> dict[str, Tensor]:
        """The next batch of the data layers, by blob, on the net's device."""
        return self._inputs((), {})

    def trace(self) -> None:
        """Let each layer compute under its number, for a profile; what it computes stays the same."""
        self._layouts.trace(self.device)

    def close(self) -> None:
        """Close the databases that its data layers read."""
        for feed in self.feeds.values():
            feed.close()


def _outputs(graph: Graph) -> Returns:
    """What a forward gives: the net's outputs, the terms of its objective, and what files are written of."""
    return [*default_returns(graph), *hdf5_output.returns(graph)]


def _versions(graph: Graph) -> dict[str, Value]:
    """Every value of a net under a name that no blob has."""
    return {f"{v.blob}\0{v.version}": v for node in graph.nodes for v in node.outputs}


def _last_values(graph: Graph) -> dict[str, Value]:
    return {v.blob: v for node in graph.nodes for v in node.outputs}


def _data_shapes(feeds: dict[str, data.AnyFeed], registry: Mapping[str, Any]) -> DataShapes:
    """Opens what a data layer reads, once, and gives the shapes of its tops."""

    def shapes(definition: LayerDefinition, phase: str) -> Sequence[Shape]:
        if definition.name not in feeds:
            feeds[definition.name] = data.open_in(registry, definition, phase)
        return feeds[definition.name].shapes

    return shapes
