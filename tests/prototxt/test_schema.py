"""The compiled schema against the tables of Caffe's and its forks' fields, row by row."""

from __future__ import annotations

import csv
import gc
import hashlib
import importlib.util
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pb2

from proto2torch.prototxt import schema

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "tests" / "golden" / "data" / "facts"
BINPB = ROOT / "proto2torch" / "prototxt" / "caffe.binpb"
TABLE = ROOT / "proto2torch" / "prototxt" / "caffe.forks"
PRIVATE = 50001  # the first number that no fork uses for a field that had to move

# Two forks have a message of their own for a field of one name; the schema has one message with both sets of fields.
MERGED = {"CtcLossParameter": "CTCLossParameter", "ReLU6Parameter": "ReLUParameter"}
# The table of enums lacks this one, which the table of fields refers to.
UNLISTED = {"ConvolutionParameter.TFPaddingMethod": {"SAME": 0, "VALID": 1}}


@dataclass(frozen=True)
class Row:
    """A field, or with an empty label a value of an enum, as a table says it; fork "" is BVLC Caffe."""

    fork: str
    scope: str
    name: str
    number: int
    label: str = ""
    type: str = ""
    type_name: str = ""
    default: str = ""
    packed: bool = False


def table(name: str) -> list[dict[str, str]]:
    with (FACTS / name).open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def field_rows(name: str) -> list[Row]:
    rows = [
        Row(
            fork=r.get("fork", ""),
            scope=r["message"].removeprefix("caffe."),
            name=r["field"],
            number=int(r["number"]),
            label=r["label"],
            type=r["type"],
            type_name=r["type_name"].removeprefix("caffe."),
            default=r["default"],
            packed=r["packed"] == "packed",
        )
        for r in table(name)
    ]
    # A fork whose LayerParameter.type is an enum has under that name what BVLC calls V1LayerParameter.
    rows = [replace(r, scope="V1" + r.scope) if r.fork in OLD and r.scope == "LayerParameter" else r for r in rows]
    return [
        replace(r, scope=MERGED.get(r.scope, r.scope), type_name=MERGED.get(r.type_name, r.type_name)) for r in rows
    ]


def enum_rows(name: str) -> list[Row]:
    rows = [Row(r.get("fork", ""), r["enum"].removeprefix("caffe."), r["name"], int(r["number"])) for r in table(name)]
    return [replace(r, scope="V1" + r.scope) if r.scope == "LayerParameter.LayerType" else r for r in rows]


OLD = {r["fork"] for r in table("fork_enums.tsv") if r["enum"] == "LayerParameter.LayerType"}
FIELDS, FORK_FIELDS = field_rows("caffe_fields.tsv"), field_rows("fork_fields.tsv")
ENUMS, FORK_ENUMS = enum_rows("caffe_enums.tsv"), enum_rows("fork_enums.tsv")


def loaded() -> descriptor_pb2.FileDescriptorProto:
    """The file that the message classes come from."""
    file = descriptor_pb2.FileDescriptorProto()
    schema.message_class("NetParameter").DESCRIPTOR.file.CopyToProto(file)
    return file


def walk(messages: Any, outer: str = "") -> Iterator[tuple[str, Any]]:
    """Each message with its full name below the package, nested ones too."""
    for message in messages:
        yield outer + message.name, message
        yield from walk(message.nested_type, f"{outer}{message.name}.")


FILE = loaded()
MESSAGES = {name: {f.name: f for f in m.field} for name, m in walk(FILE.message_type)}
ENUM_TYPES = {e.name: e for e in FILE.enum_type} | {
    f"{name}.{e.name}": e for name, m in walk(FILE.message_type) for e in m.enum_type
}
LABEL = {1: "optional", 2: "required", 3: "repeated"}


def type_of(field: Any) -> str:
    """`uint32`, `message`, `enum` …, in the words of the tables."""
    return str(descriptor_pb2.FieldDescriptorProto.Type.Name(field.type)).removeprefix("TYPE_").lower()


def same_type(field: Any, row: Row) -> bool:
    """Whether the field has the row's type; a name in a fork's table may be relative to its message."""
    known = {f".caffe.{row.type_name}", f".caffe.{row.scope}.{row.type_name}"} if row.type_name else {""}
    return type_of(field) == row.type and field.type_name in known


def same_default(field: Any, row: Row) -> bool:
    """Whether the defaults are one value; floats are compared as Caffe holds them, in 32 bits."""
    if row.type == "float" and row.default and field.default_value:
        return bool(np.float32(row.default) == np.float32(field.default_value))
    if row.type == "double" and row.default and field.default_value:
        return float(row.default) == float(field.default_value)
    return bool(field.default_value == (row.default.lower() if row.type == "bool" else row.default))


def same_packing(field: Any, row: Row) -> bool:
    return bool(field.options.packed) == row.packed


def test_every_field_of_caffe_is_as_its_table_says() -> None:
    assert len(FIELDS) == 423
    wrong = []
    for row in FIELDS:
        field = MESSAGES[row.scope].get(row.name)
        if field is None or not (
            (field.number, LABEL[field.label]) == (row.number, row.label)
            and same_type(field, row)
            and same_default(field, row)
            and same_packing(field, row)
        ):
            wrong.append((row, str(field)))
    assert wrong == []


def test_every_enum_of_caffe_is_as_its_table_says_and_in_its_order() -> None:
    """The first value is the default of a field that names none, so the order counts."""
    assert len(ENUMS) == 111
    tables: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for row in ENUMS:
        tables[row.scope].append((row.name, row.number))
    for scope, values in tables.items():
        assert [(v.name, v.number) for v in ENUM_TYPES[scope].value][: len(values)] == values, scope


class Numbers:
    """Which name may keep a number that several names claim.

    BVLC's field always does, else that of the most forks, and none of them where as many forks say one as another.
    Two names of one fork for one number are one value of an enum, not rivals.
    """

    def __init__(self, caffe: list[Row], forks: list[Row]) -> None:
        self.caffe = {(r.scope, r.number) for r in caffe}
        self.names = {(r.scope, r.name) for r in caffe}
        self.claims: dict[tuple[str, int], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        self.given: dict[tuple[str, str], set[int]] = defaultdict(set)
        for r in forks:
            if (r.scope, r.name) not in self.names:
                self.claims[r.scope, r.number][r.name].add(r.fork)
                self.given[r.scope, r.name].add(r.number)

    def keeps(self, scope: str, name: str, number: int) -> bool:
        claims = self.claims[scope, number]
        mine = claims[name]
        rivals = [forks for other, forks in claims.items() if other != name and not forks & mine]
        return (scope, number) not in self.caffe and all(len(forks) < len(mine) for forks in rivals)

    def expected(self, scope: str, name: str) -> set[int]:
        """The kept numbers that the most forks use; empty where the name has to move."""
        kept = {n: len(self.claims[scope, n][name]) for n in self.given[scope, name] if self.keeps(scope, name, n)}
        return {n for n, forks in kept.items() if forks == max(kept.values())}

    def wrong(self, row: Row, number: int) -> str | None:
        """What is wrong with `number` for this row, or None."""
        if (row.scope, row.name) in self.names:
            return None  # BVLC's own, compared above
        expected = self.expected(row.scope, row.name)
        if expected:
            return None if number in expected else f"{row}: expected {expected}, received {number}"
        free = number >= PRIVATE and number not in {n for s, n in self.claims if s == row.scope}
        return None if free else f"{row}: expected a private number, received {number}"


def test_every_field_of_a_fork_is_there_under_its_number_or_has_had_to_move() -> None:
    assert len(FORK_FIELDS) == 3147
    numbers = Numbers(FIELDS, FORK_FIELDS)
    absent = [r for r in FORK_FIELDS if r.name not in MESSAGES.get(r.scope, {})]
    assert absent == []
    wrong = [numbers.wrong(r, MESSAGES[r.scope][r.name].number) for r in FORK_FIELDS]
    assert [w for w in wrong if w] == []


def test_every_enum_value_of_a_fork_is_there_under_its_number_or_has_had_to_move() -> None:
    assert len(FORK_ENUMS) == 561
    numbers = Numbers(ENUMS, FORK_ENUMS)
    values = {(scope, v.name): v.number for scope, e in ENUM_TYPES.items() for v in e.value}
    absent = [r for r in FORK_ENUMS if r.scope.split(".")[0] not in MERGED and (r.scope, r.name) not in values]
    assert absent == []
    wrong = [numbers.wrong(r, values[r.scope, r.name]) for r in FORK_ENUMS]
    assert [w for w in wrong if w] == []


def test_two_names_of_one_value_stay_one_value() -> None:
    pool = ENUM_TYPES["PoolingParameter.PoolMethod"].value
    numbers = {v.name: v.number for v in pool}
    assert numbers["AVE_EXC_PAD"] == numbers["AVE_TF"] >= PRIVATE  # 3 there, which is DEF in another fork
    numbers = {v.name: v.number for v in ENUM_TYPES["SPPParameter.PoolMethod"].value}
    assert numbers["AVE_EXC_PAD"] == numbers["AVE_TF"] == 3


def test_every_field_of_a_fork_has_its_type_where_the_forks_agree() -> None:
    by_name: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in FORK_FIELDS:
        if (row.scope, row.name) not in {(r.scope, r.name) for r in FIELDS if r.scope == row.scope}:
            by_name[row.scope, row.name].append(row)
    wrong = []
    for (scope, name), rows in by_name.items():
        field = MESSAGES[scope][name]
        repeated = any(r.label == "repeated" for r in rows)
        defaults = {r.default for r in rows if r.default}
        # One fork's type is the field's, and all the others where they agree; repeated is the more general label.
        if not (
            any(same_type(field, r) for r in rows)
            and (len({(r.type, r.type_name) for r in rows}) > 1 or all(same_type(field, r) for r in rows))
            and LABEL[field.label] == ("repeated" if repeated else rows[0].label)
            and (any(same_default(field, r) for r in rows) or repeated)
            and bool(field.default_value) == (bool(defaults) and not repeated)
            and all(same_packing(field, r) for r in rows)
        ):
            wrong.append((rows, str(field)))
    assert wrong == []


def test_nothing_is_in_the_schema_that_no_table_has() -> None:
    fields = {(r.scope, r.name) for r in FIELDS + FORK_FIELDS}
    assert {(m, f) for m, fs in MESSAGES.items() for f in fs} - fields == set()
    values = {(r.scope, r.name) for r in ENUMS + FORK_ENUMS}
    values |= {(scope, name) for scope, unlisted in UNLISTED.items() for name in unlisted}
    assert {(scope, v.name) for scope, e in ENUM_TYPES.items() for v in e.value} - values == set()


def short_names() -> dict[str, str]:
    """The schema's name of each fork by the tables' name: `weiliu89+caffe` is `ssd`."""
    _, _, listed = (ROOT / "schemas" / "caffe.proto").read_text().partition("// The forks:\n")
    pairs = [line.split()[1:] for line in listed.partition("\n\n")[0].splitlines()]
    return {repository.replace("/", "+"): name for name, repository in pairs}


def forks_of(caffe: list[Row], forks: list[Row]) -> dict[tuple[str, str], set[str]]:
    """By the tables: the forks of each name that BVLC lacks, and none of each that it has."""
    short, own = short_names(), {(r.scope, r.name) for r in caffe}
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in forks:
        if (row.scope, row.name) not in own:
            found[row.scope, row.name].add(short[row.fork])
    return {**{place: set() for place in own}, **found}


def test_a_field_is_its_forks_where_caffe_lacks_it() -> None:
    expected = forks_of(FIELDS, FORK_FIELDS)
    assert {(m, f): set(schema.forks(m, f)) for m, fs in MESSAGES.items() for f in fs} == expected
    assert sum(not forks for forks in expected.values()) == 423 < len(expected)


def test_an_enum_value_is_its_forks_where_caffe_lacks_it() -> None:
    expected = forks_of(ENUMS, FORK_ENUMS)
    expected |= {(scope, name): {"mobilenet-ssd"} for scope, names in UNLISTED.items() for name in names}
    expected = {place: forks for place, forks in expected.items() if place[0].split(".")[0] not in MERGED}
    assert {(s, v.name): set(schema.forks(s, v.name)) for s, e in ENUM_TYPES.items() for v in e.value} == expected
    assert schema.forks("PoolingParameter.PoolMethod", "MAX") == () == schema.forks("NoSuchParameter", "field")


def test_every_field_of_a_fork_has_its_number_there() -> None:
    short = short_names()
    own = {(r.scope, r.name) for r in FIELDS}
    classes = {fork: schema.classes_of(fork) for fork in short.values()}
    wrong = []
    for row in FORK_FIELDS:
        if (row.scope, row.name) in own or row.scope in MERGED.values():
            continue
        field = classes[short[row.fork]][row.scope].DESCRIPTOR.fields_by_name.get(row.name)
        if field is None or field.number != row.number:
            wrong.append((row.fork, row.scope, row.name, row.number, field and field.number))
    assert wrong == []


def test_every_value_of_a_fork_has_its_number_there() -> None:
    short = short_names()
    own = {(r.scope, r.name) for r in ENUMS}
    wrong = []
    for row in FORK_ENUMS:
        if (row.scope, row.name) in own or row.scope.split(".")[0] in MERGED:
            continue
        scope, _, name = row.scope.rpartition(".")
        classes = schema.classes_of(short[row.fork])
        if scope:
            enum = classes[scope].DESCRIPTOR.enum_types_by_name[name]
        else:
            enum = classes["NetParameter"].DESCRIPTOR.file.enum_types_by_name[name]
        value = enum.values_by_name.get(row.name)
        if value is None or value.number != row.number:
            wrong.append((row.fork, row.scope, row.name, row.number, value and value.number))
    assert wrong == []


def test_the_forks_stand_in_the_order_of_the_schema() -> None:
    given = schema.forks("TransformationParameter", "distort_param")
    assert given == ("ssd", "refinedet", "yolo", "nvidia", "intel", "synopsys")


def test_a_message_is_read_and_written_as_caffe_does() -> None:
    blob = schema.new("BlobProto")
    blob.shape.dim.extend([1, 2])
    blob.data.append(1.0)
    # By hand: field 5, 4 bytes, 1.0f; field 7, 4 bytes: field 1, 2 bytes, 1, 2.
    assert blob.SerializeToString() == b"\x2a\x04\x00\x00\x80\x3f\x3a\x04\x0a\x02\x01\x02"
    assert schema.message_class("BlobProto").FromString(b"\x2d\x00\x00\x80\x3f").data == [1.0]  # unpacked is read too


def test_a_class_is_made_once_and_a_message_is_new() -> None:
    layer = schema.message_class("LayerParameter")
    assert schema.message_class("LayerParameter") is layer
    net = schema.new("NetParameter")
    assert type(net.layer.add()) is layer
    assert schema.new("NetParameter") is not net and len(schema.new("NetParameter").layer) == 0
    with pytest.raises(KeyError, match="NoSuchParameter"):
        schema.message_class("NoSuchParameter")


def test_every_message_has_a_class_that_outlives_a_collection() -> None:
    """Some versions of protobuf crash when the class of a field has been collected."""
    gc.collect()
    for name, fields in MESSAGES.items():
        message = schema.new(name)
        for field in fields.values():
            if field.type == field.TYPE_MESSAGE:
                part = getattr(message, field.name)
                part = part.add() if field.label == field.LABEL_REPEATED else part
                part.SetInParent()
                assert type(part) is schema.message_class(field.type_name.removeprefix(".caffe."))


def run(code: str) -> None:
    """Run code in a Python of its own, with warnings as errors."""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


def test_importing_it_loads_no_protobuf() -> None:
    run("import sys, proto2torch.prototxt.schema; assert not [m for m in sys.modules if m.startswith('google.')]")


def test_another_caffe_in_the_process_does_not_clash() -> None:
    run(
        "from google.protobuf import descriptor_pb2, descriptor_pool\n"
        "other = descriptor_pb2.FileDescriptorProto(name='caffe.proto', package='caffe')\n"
        "other.message_type.add(name='NetParameter')\n"
        "descriptor_pool.Default().AddSerializedFile(other.SerializeToString())\n"
        "from proto2torch.prototxt import schema\n"
        "assert schema.new('NetParameter').layer.add().type == ''\n"
        "assert not descriptor_pool.Default().FindMessageTypeByName('caffe.NetParameter').fields\n"
    )


def test_it_works_on_the_pure_python_runtime() -> None:
    run(
        "import os; os.environ['PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION'] = 'python'\n"
        "from google.protobuf.internal import api_implementation\n"
        "from proto2torch.prototxt import schema\n"
        "assert api_implementation.Type() == 'python'\n"
        "solver = schema.new('SolverParameter')\n"
        "assert solver.solver_mode == 1 and solver.type == 'SGD'\n"
        "solver.net_param.layer.add().pooling_param.pool = 1\n"
        "assert type(solver).FromString(solver.SerializeToString()) == solver\n"
    )


def copy_of_the_schema(folder: Path) -> Path:
    """The script and its files alone, in `folder`; gives the copied script."""
    for name in (
        "scripts/build-schema",
        "schemas/caffe.proto",
        BINPB.relative_to(ROOT),
        TABLE.relative_to(ROOT),
        TABLE.with_name("caffe.numbers").relative_to(ROOT),
        f"{BINPB.relative_to(ROOT)}.sha256",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder / "scripts" / "build-schema"


def build(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, check=False)


def test_the_compiled_schema_belongs_to_its_source() -> None:
    sums = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (ROOT / "schemas" / "caffe.proto", BINPB)
    }
    lines = BINPB.with_name("caffe.binpb.sha256").read_text().splitlines()
    assert {name: digest for digest, _, name in (line.partition("  ") for line in lines)} == sums


@pytest.mark.parametrize(
    "changed",
    ["schemas/caffe.proto", *(f"proto2torch/prototxt/caffe.{kind}" for kind in ("binpb", "forks", "numbers"))],
)
def test_check_finds_what_is_stale(tmp_path: Path, changed: str) -> None:
    script = copy_of_the_schema(tmp_path)
    assert build(script, "--check").returncode == 0
    with (tmp_path / changed).open("ab") as file:
        file.write(b"\n")
    done = build(script, "--check")
    assert done.returncode == 1 and "stale" in done.stderr


needs_protoc = pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None and shutil.which("protoc") is None,
    reason="compiling needs grpcio-tools or protoc; the checksums are compared without",
)


@needs_protoc
def test_compiling_the_source_gives_the_compiled_schema(tmp_path: Path) -> None:
    script = copy_of_the_schema(tmp_path)
    compiled = tmp_path / BINPB.relative_to(ROOT)
    table = tmp_path / TABLE.relative_to(ROOT)
    compiled.unlink()
    table.unlink()
    done = build(script)
    assert done.returncode == 0 and "wrote proto2torch/prototxt/caffe.binpb" in done.stdout
    parse = descriptor_pb2.FileDescriptorSet.FromString  # bytes may differ between versions of protoc
    assert parse(compiled.read_bytes()) == parse(BINPB.read_bytes())
    assert table.read_bytes() == TABLE.read_bytes()


@needs_protoc
def test_a_source_with_an_error_leaves_the_compiled_schema(tmp_path: Path) -> None:
    script = copy_of_the_schema(tmp_path)
    (tmp_path / "schemas" / "caffe.proto").write_text("message {")
    done = build(script)
    assert done.returncode == 1 and "does not compile" in done.stderr
    folder = (tmp_path / BINPB.relative_to(ROOT)).parent
    assert sorted(p.name for p in folder.iterdir()) == [
        "caffe.binpb",
        "caffe.binpb.sha256",
        "caffe.forks",
        "caffe.numbers",
    ]
    assert (folder / "caffe.binpb").read_bytes() == BINPB.read_bytes()
    assert (folder / "caffe.forks").read_bytes() == TABLE.read_bytes()
