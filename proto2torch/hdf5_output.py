"""The files that a net's HDF5Output layers write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from proto2torch.errors import Proto2TorchError, RunError, Where
from proto2torch.ir.graph import Net, Node, Value
from proto2torch.layers.hdf5_output import four
from proto2torch.weights import hdf5

_DATASETS = ("data", "label")


class Output:
    """The file of one layer. As in Caffe it holds one batch: what a second forward would write has no place in it."""

    def __init__(self, node: Node) -> None:
        self._node, self._written = node, False
        self.path: str = node.definition.message.hdf5_output_param.file_name

    def prepare(self) -> None:
        """Empty the file before anything is computed.

        Raises:
            RunError: it has its batch already.
            Proto2TorchError: it cannot be written; a RunError where there is no permission or no space.
        """
        if self._written:
            hint = "`features` gives the blobs of any number of batches"
            message = f"{self.path!r} has one batch, and no place for that of a second forward"
            raise RunError(message, where=self._where, hint=hint)
        self._create({})

    def write(self, values: Mapping[str, Tensor]) -> None:
        """Write its bottoms out of what a forward gave under the names of `returns`."""
        self._written = True
        self._create({name: values[place] for name, (place, _) in zip(_DATASETS, _places(self._node), strict=True)})

    def _create(self, datasets: Mapping[str, Tensor]) -> None:
        arrays = {name: value.detach().float().cpu().numpy() for name, value in datasets.items()}

        def fill(file: Any) -> None:
            for name, array in arrays.items():
                file.create_dataset(name, data=array.reshape(four(array.shape)))

        try:
            hdf5.create(self.path, fill)
        except Proto2TorchError as error:
            raise type(error)(f"{self.path!r}: {error.message}", where=self._where, hint=error.hint) from error

    @property
    def _where(self) -> Where:
        return self._node.definition.where("hdf5_output_param.file_name")


def of(net: Net) -> list[Output]:
    """The files that a net writes, in the order of its layers."""
    return [Output(node) for node in _writers(net)]


def returns(net: Net) -> list[tuple[str, Value]]:
    """What a forward must give for its files, each under a name that no blob has."""
    return [place for node in _writers(net) for place in _places(node)]


def _writers(net: Net) -> Sequence[Node]:
    return [node for node in net.nodes if node.type == "HDF5Output"]


def _places(node: Node) -> list[tuple[str, Value]]:
    return [(f"{node.index}\0{i}", value) for i, value in enumerate(node.inputs)]
