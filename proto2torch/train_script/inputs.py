"""What feeds a net in a script: each data layer as a Dataset, written as the expression that makes it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from proto2torch.data.datum import Parser
from proto2torch.data.records import LMDB, backend_of, open_records
from proto2torch.errors import DataError, UnsupportedError
from proto2torch.files import resolve
from proto2torch.ir.graph import Net, Node
from proto2torch.layers.base import literal
from proto2torch.train_script import transforms
from proto2torch.train_script.parameters import filler_call
from proto2torch.train_script.transforms import Transform

_LMDB = 1  # DataParameter.DB
IMAGE, DUMMY = "ßimage", "ßdummy"
"""What stands for names that are not known yet; no literal has this letter."""
_MODES = {(False, False): None, (True, False): "RGB", (False, True): "L"}


@dataclass
class Feed:
    """One data layer, or all Input layers of a net together."""

    dataset: str
    """The expression that makes the Dataset; IMAGE stands for the transform's name, DUMMY for a class's."""
    size: int | None
    """The records of a batch; None where the Dataset gives whole batches."""
    tops: tuple[str, ...]
    said: str
    """What it reads, for the docstring."""
    transform: Transform | None = None
    dummy: str = ""
    """The body of a Dataset class of its own."""
    raw: bool = False
    """Whether the database holds pixels, and no image files."""
    mode: str | None = None
    """How image files in a database are forced to be: RGB or L."""
    remarks: list[str] = field(default_factory=list)
    """Where what it reads is not Caffe's to the bit."""

    @property
    def is_database(self) -> bool:
        """Whether it reads Datums."""
        return self.dataset.startswith(("Database(", "Augmented(Database("))


def feeds(net: Net, phase: str, arrays: str) -> list[Feed]:
    """What feeds the inputs of a net; `arrays` is the .npz file of those that a caller would give.

    Raises:
        UnsupportedError: a data layer that a script cannot have. DataError: one that cannot be read.
    """
    given, found = dict[str, int](), []
    for node in net.nodes:
        if node.type in ("Input", "MemoryData"):
            given |= _rows(node)
        elif node.op.data:
            found.append(_feed(node, phase))
    if given:
        pairs = ", ".join(f"{literal(name)}: {rows}" for name, rows in given.items())
        shapes = {v.blob: v.shape for v in net.inputs}
        said = ", ".join(f"{name} {shapes[name]}" for name in given)
        said = f"the arrays of {arrays}, which you make (numpy.savez), so many batches of each: {said}"
        found.append(Feed(f"Arrays({literal(arrays)}, {{{pairs}}})", None, tuple(given), said))
    return found


def _rows(node: Node) -> dict[str, int]:
    """The first extent of each top, by name."""
    for value in node.outputs:
        if not value.shape:
            raise UnsupportedError(
                f"a training script cannot read the scalar input {value.blob!r}", where=node.definition.where()
            )
    return {value.blob: value.shape[0] for value in node.outputs}


def _feed(node: Node, phase: str) -> Feed:
    writers = {"Data": _database, "HDF5Data": _rows_of_files, "ImageData": _images, "DummyData": _dummy}
    if node.type not in writers:
        raise UnsupportedError(
            f"a training script cannot have {node.type} layers; {', '.join(writers)}, MemoryData and Input it can",
            where=node.definition.where("type"),
        )
    return writers[node.type](node, node.op.phase if node.definition.message.HasField("phase") else phase)


def _database(node: Node, phase: str) -> Feed:
    p: Any = node.definition.message.data_param
    where = node.definition.where("data_param.source")
    folder = resolve(p.source, where.file)
    there = os.path.exists(folder)
    if p.backend != _LMDB or (there and backend_of(folder) != LMDB):
        hint = f"proto2torch db copy {p.source} {p.source}_lmdb makes an LMDB of it; then name that, with backend: LMDB"
        raise UnsupportedError(
            "a training script cannot read a LevelDB", where=node.definition.where("data_param.backend"), hint=hint
        )
    transform = transforms.read(node.definition, phase)
    t = node.definition.message.transform_param
    mode = _MODES[bool(t.force_color), bool(t.force_gray)]
    return Feed(
        _drawing("Database", literal(folder), transform),
        p.batch_size,
        _tops(node),
        f"the LMDB {folder}",
        transform,
        raw=there and _is_raw(folder, where),
        mode=mode,
    )


def _is_raw(folder: str, where: Any) -> bool:
    records = open_records(folder, LMDB, where)
    try:
        _, value = next(records.take(0, 1))
        datum = Parser()(value)
        return not datum.encoded and datum.floats is None
    finally:
        records.close()


def _drawing(kind: str, arguments: str, transform: Transform, seed: bool = False) -> str:
    """A Dataset whose images are transformed, by random numbers where that takes them."""
    if transform.draws:
        return f"Augmented({kind}({arguments}), {IMAGE}, self.seed)"
    return f"{kind}({arguments}, {IMAGE})" if transform.body else f"{kind}({arguments})"


def _tops(node: Node) -> tuple[str, ...]:
    tops = tuple(value.blob for value in node.outputs)
    return tops if len(tops) > 1 or node.type != "Data" else (*tops, "")


def _rows_of_files(node: Node, phase: str) -> Feed:
    p: Any = node.definition.message.hdf5_data_param
    if node.definition.message.HasField("transform_param"):
        raise DataError(
            "HDF5Data does not transform: leave transform_param out", where=node.definition.where("transform_param")
        )
    path, root = _listing(node, p.source, "hdf5_data_param.source", "")
    names = literal([value.blob for value in node.outputs])
    more = [f"root={literal(root)}"] * bool(root) + ["seed=self.seed"] * bool(p.shuffle)
    return Feed(
        f"Rows({', '.join([literal(path), names, *more])})",
        p.batch_size,
        tuple(value.blob for value in node.outputs),
        f"the HDF5 files that {path} lists",
    )


def _listing(node: Node, source: str, field: str, root: str) -> tuple[str, str]:
    """The path of a list, and what stands before its entries: they may lie beside the prototxt."""
    where = node.definition.where(field)
    path = resolve(source, where.file)
    try:
        with open(path, "rb") as file:
            first = os.fsdecode(file.readline().split(b" ")[0].strip())
    except OSError:
        return path, root  # its shape was given
    found = resolve(root + first, where.file)
    return path, root if found == root + first else found.removesuffix(first)


def _images(node: Node, phase: str) -> Feed:
    p: Any = node.definition.message.image_data_param
    path, root = _listing(node, p.source, "image_data_param.source", p.root_folder)
    transform = transforms.read(node.definition, phase)
    arguments = [literal(path)] + [f"root={literal(root)}"] * bool(root)
    arguments += ['mode="L"'] * (not p.is_color)
    arguments += [f"size=({p.new_height}, {p.new_width})"] * bool(p.new_height)
    made = f"ImageList({', '.join(arguments)}"
    if transform.body and not transform.draws:
        made += f", transform={IMAGE}"
    made += ")"
    if p.rand_skip and not p.shuffle:
        raise UnsupportedError(
            "a training script skips images only where it shuffles",
            where=node.definition.where("image_data_param.rand_skip"),
        )
    if p.shuffle:
        skip = f", skip=self.seed % {p.rand_skip}" if p.rand_skip else ""
        made = f"Shuffled({made}, self.seed{skip})"
    if transform.draws:
        made = f"Augmented({made}, {IMAGE}, self.seed)"
    remarks = ["Images are resized as OpenCV does to within one level."] if p.new_height else []
    said = f"the images that {path} lists"
    return Feed(made, p.batch_size, _tops(node), said, transform, remarks=remarks)


def _dummy(node: Node, phase: str) -> Feed:
    p: Any = node.op.p
    fillers = list(p.data_filler)
    shapes = [value.shape for value in node.outputs]
    fillers = fillers * len(shapes) if len(fillers) == 1 else fillers or [None] * len(shapes)
    calls = [
        filler_call(
            f, shape, f"torch.empty({', '.join(map(str, shape)) or '()'})", node.definition.where(), generator="draws"
        )
        for f, shape in zip(fillers, shapes, strict=True)
    ]
    lines = ["    def __getitem__(self, number):"]
    if any("draws" in call for call in calls):
        lines.append("        draws = torch.Generator().manual_seed(self.seed + number)")
    lines += [f"        return [{', '.join(calls)}]"]
    return Feed(
        f"{DUMMY}(self.seed)",
        None,
        tuple(v.blob for v in node.outputs),
        "numbers that fillers write",
        dummy="\n".join(lines),
    )
