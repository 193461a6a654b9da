"""A net laid out: its graph and module for the sizes and the returns that are asked for, each built once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from proto2torch.codegen.build import build
from proto2torch.codegen.source import Returns, generate
from proto2torch.ir.graph import Net, Shape
from proto2torch.ir.lower import DataShapes, lower
from proto2torch.net.blobs import Blobs
from proto2torch.net.built import Built, check_sizes
from proto2torch.prototxt.document import NetDefinition

_REMEMBERED = 16  # graphs for other sizes

Sizes = Mapping[str, Shape]
"""The shape of every input by blob name."""


class Layouts:
    """The ways in which a net runs, over one set of blobs.

    `graph` and `main` are those of the declared sizes and outputs; others are made when they are first needed, as
    Caffe's reshape does. It holds no reference to the net, so that a net that is dropped goes at once.
    """

    def __init__(
        self, definition: NetDefinition, phase: str, registry: Mapping[str, Any], data_shapes: DataShapes
    ) -> None:
        self._definition, self._phase = definition, phase
        self._registry, self._data_shapes = registry, data_shapes
        self._graphs: dict[Any, Net] = {}
        self._built: dict[Any, Built] = {}
        self.graph = self._lower({})
        self.declared = {v.blob: v.shape for v in self.graph.inputs}
        self._counted = {n.outputs[i].blob for n in self.graph.nodes for i in n.op.counted_tops if i < len(n.outputs)}
        source = generate(self.graph, fold=True)
        self.main = Built(source, build(source))
        self.blobs = Blobs(self.graph, source, self.main.module)

    def get(
        self,
        returns: Callable[[Net], Returns],
        sizes: Sizes,
        device: torch.device,
        names: tuple[str, ...] = (),
        *,
        whole: bool = False,
    ) -> Built:
        """What runs for inputs of these sizes and gives what `returns` says, which `names` stand for.

        Raises what does not fit as lowering a net of these sizes does.
        """
        if self._counted:
            sizes = {n: self.declared[n] if n in self._counted else size for n, size in sizes.items()}
        graph = self._checked(sizes) if sizes != self.declared else self.graph
        same = all(shape[1:] == self.declared[name][1:] for name, shape in sizes.items())
        if same and not names:
            return self.main
        key = (names, whole, None if same else tuple(sorted((n, s[1:]) for n, s in sizes.items())))
        if key not in self._built:
            graph = self.graph if same else graph
            self._built[key] = Built.over(self.blobs, generate(graph, returns(graph), whole=whole), device)
        return self._built[key]

    def trace(self, device: torch.device) -> None:
        """From now on let each layer compute under its number, as a profile tells them apart."""
        traced = Built.over(self.blobs, generate(self.graph, traced=True), device)
        traced.module.train(self.main.module.training)
        traced.module._forward_pre_hooks.update(self.main.module._forward_pre_hooks)
        self.main = traced

    def forget(self) -> None:
        """Build anew what is built over the blobs' tensors: they are others now, or somewhere else."""
        self._built.clear()
        self.main.statistics = -1

    def rebind(self, device: torch.device) -> None:
        """Let everything use the blobs' tensors after some were replaced."""
        self.blobs.bind(self.main.source, self.main.module, device)
        self.forget()

    def _checked(self, sizes: Sizes) -> Net:
        """The net laid out for inputs of other sizes, or of another batch size; what does not fit is an error."""
        key = tuple(sorted(sizes.items()))
        if key not in self._graphs:
            empty = any(0 in shape for shape in sizes.values())  # there Caffe's rules divide by zero
            graph = self.graph if empty else self._lower(sizes)
            check_sizes(graph, self.graph)
            self._graphs = {**dict(list(self._graphs.items())[-_REMEMBERED:]), key: graph}
        return self._graphs[key]

    def _lower(self, sizes: Sizes) -> Net:
        return lower(self._definition, self._phase, self._registry, self._data_shapes, sizes)
