"""Learnable blobs as Caffe shows them, over the tensors of a torch module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from proto2torch.codegen.source import Source
from proto2torch.errors import NetError
from proto2torch.ir.graph import Net as Graph
from proto2torch.ir.graph import Node, Param, Shape
from proto2torch.layers.base import Constant
from proto2torch.weights import blobproto


class LearnedBlob:
    """One learnable blob: Caffe's order and shape outside, torch's inside.

    `tensor` is the torch Parameter, or for BatchNorm's statistics the buffer; `data` and `grad` are views of it and of
    its gradient in Caffe's stored shape, so that writing into `data` changes the net. Where the blob is shared, the
    tensor has the layout of its owner.
    """

    def __init__(self, layer: str, param: Param, holder: nn.Module, leaf: str, owner: Param | None = None) -> None:
        self.layer, self.index, self.param = layer, param.index, param
        self.holder, self.leaf = holder, leaf
        self._stored = (owner or param).blob

    @property
    def tensor(self) -> Tensor:
        tensor: Tensor = getattr(self.holder, self.leaf)
        return tensor

    @property
    def shape(self) -> Shape:
        return self.param.blob.shape

    @property
    def data(self) -> Tensor:
        return self.in_caffe_shape(self.tensor.detach())

    @property
    def grad(self) -> Tensor | None:
        grad = self.tensor.grad
        return None if grad is None else self.in_caffe_shape(grad)

    @property
    def lr_mult(self) -> float:
        return self.param.lr_mult

    @property
    def decay_mult(self) -> float:
        return self.param.decay_mult

    @property
    def requires_grad(self) -> bool:
        return self.param.requires_grad

    def in_caffe_shape(self, tensor: Tensor) -> Tensor:
        """A tensor of torch's layout (the blob, its gradient or its history) as a view in Caffe's shape."""
        return (tensor.t() if self._stored.transposed else tensor).reshape(self.shape)

    def to_caffe(self, tensor: Tensor) -> Any:
        """The same as a contiguous float32 numpy array."""
        return self.in_caffe_shape(tensor.detach()).float().cpu().contiguous().numpy()

    def from_caffe(self, array: Any) -> Tensor:
        """A tensor of torch's layout, device and dtype from an array in Caffe's shape."""
        like = self.tensor
        given = torch.as_tensor(array).to(device=like.device, dtype=like.dtype).reshape(self._stored.shape)
        return (given.t() if self._stored.transposed else given).reshape(like.shape)

    def __repr__(self) -> str:
        return f"<blob {self.index} of layer {self.layer!r}, shape {self.shape}>"


class Blobs(nn.Module):
    """The learnable blobs of a net, each owner once, and buffers for those that no torch module keeps as they are."""

    def __init__(self, graph: Graph, source: Source, module: nn.Module) -> None:
        super().__init__()
        self.graph = graph
        self.kept = nn.Module()  # the buffers; their holder, so that no blob refers back to this object
        self._owned: dict[tuple[int, int], LearnedBlob] = {}
        self.stateful: dict[int, nn.Module] = {}  # by node, the modules that remember something between forwards
        for node, path in source.stateful.items():
            kept = graph.nodes[node].op.kept()
            if kept is not None:
                module.set_submodule(path, kept)
        for param in graph.owners:
            at = (param.node, param.index)
            key = source.keys.get(at)
            if key is None:
                leaf = f"blob_{param.node}_{param.index}"
                shape = param.blob.shape[::-1] if param.blob.transposed else param.blob.shape
                self.kept.register_buffer(leaf, torch.empty(shape, device="meta"), persistent=False)
                holder: nn.Module = self.kept
            else:
                path, _, leaf = key.rpartition(".")
                holder = module.get_submodule(path)
            self._owned[at] = LearnedBlob(graph.nodes[param.node].name, param, holder, leaf)

    def __iter__(self) -> Iterator[LearnedBlob]:
        return iter(self._owned.values())

    def at(self, node: int, index: int) -> LearnedBlob:
        """The owner of the blob that stands at (node, index)."""
        param = self.graph.nodes[node].params[index]
        return self._owned[param.owner or (node, index)]

    def replace(self, at: tuple[int, int], other: LearnedBlob) -> None:
        """Let another net's blob stand here."""
        blob = self._owned[at]
        blob.holder, blob.leaf = other.holder, other.leaf

    def by_layer(self, first: bool = False) -> dict[str, list[LearnedBlob]]:
        """Every layer's blobs in Caffe's stored order, sharers too; of layers of one name the last, or the first."""
        layers: dict[str, list[LearnedBlob]] = {}
        for node in self.graph.nodes:
            if node.params and not (first and node.name in layers):
                layers[node.name] = self.of(node)
        return layers

    def of(self, node: Node) -> list[LearnedBlob]:
        """A node's blobs in Caffe's stored order, those that it shares too."""
        return [self._view(node.name, p) for p in node.params]

    def _view(self, layer: str, param: Param) -> LearnedBlob:
        owner = self.at(param.node, param.index)
        return LearnedBlob(layer, param, owner.holder, owner.leaf, owner.param) if param.owner else owner

    def allocate(self, at: tuple[int, int], device: torch.device) -> Tensor:
        """Give a blob memory, zeroed, and return it in Caffe's shape for a filler to write."""
        blob = self._owned[at]
        empty = torch.zeros(blob.tensor.shape, device=device)
        set_tensor(blob.holder, blob.leaf, empty, blob.requires_grad)
        return blob.data

    def bind(self, source: Source, module: nn.Module, device: torch.device) -> None:
        """Let a generated module use these tensors, and give memory to what it keeps besides."""
        for node, path in source.stateful.items():
            module.set_submodule(path, self.stateful.setdefault(node, module.get_submodule(path)))
        for (node, index), key in source.keys.items():
            path, _, leaf = key.rpartition(".")
            holder, tensor = module.get_submodule(path), self.at(node, index).tensor
            if leaf in holder._parameters:
                holder._parameters[leaf] = tensor  # type: ignore[assignment]
            elif leaf in holder._buffers:
                holder._buffers[leaf] = tensor
        _materialize(module, device)
        for key, constant in source.constants.items():
            _load(module.get_buffer(key), constant)
        self.refresh(source, module)

    @torch.no_grad()
    def refresh(self, source: Source, module: nn.Module) -> None:
        """Recompute running_mean and running_var where torch keeps those in place of Caffe's sums."""
        for node, path in source.statistics.items():
            norm = module.get_submodule(path)
            mean, variance, scale = (self.at(node, i).tensor for i in range(3))
            factor = torch.where(scale == 0, 0.0, 1.0 / scale)
            norm.running_mean.copy_(mean * factor)  # type: ignore[operator]
            norm.running_var.copy_(variance * factor)  # type: ignore[operator]

    def version(self, source: Source) -> int:
        """A number that grows whenever somebody writes into the statistics of `source`."""
        return sum(self.at(node, i).tensor._version for node in source.statistics for i in range(3))


def set_tensor(holder: nn.Module, leaf: str, tensor: Tensor, requires_grad: bool) -> None:
    """Put a tensor in the place of a parameter or a buffer."""
    if leaf in holder._parameters:
        holder._parameters[leaf] = nn.Parameter(tensor, requires_grad)
    else:
        holder._buffers[leaf] = tensor


def _load(buffer: Tensor, constant: Constant) -> None:
    """Fill a buffer from the BlobProto file that a layer names."""
    array = blobproto.read(constant.path)
    if array.size != buffer.numel():
        shape = tuple(buffer.shape)
        raise NetError(
            f"{constant.path!r} must hold {buffer.numel()} values, of shape {shape}. Received: {array.shape}",
            where=constant.where,
        )
    buffer.copy_(torch.from_numpy(array).reshape(buffer.shape))


def _materialize(module: nn.Module, device: torch.device) -> None:
    """Every buffer on the device, zeros where it still lacks memory; a parameter that no blob fills is a slope of 1 or
    an offset of 0."""
    for part in module.modules():
        for leaf, buffer in part._buffers.items():
            if buffer is not None and buffer.device != device:
                made = torch.zeros_like(buffer, device=device) if buffer.is_meta else buffer.to(device)
                part._buffers[leaf] = made
        for leaf, parameter in part._parameters.items():
            if parameter is not None and parameter.is_meta:
                value = torch.ones_like if leaf == "weight" else torch.zeros_like
                part._parameters[leaf] = nn.Parameter(value(parameter, device=device), requires_grad=False)
