"""The text format: what is accepted, against protobuf's own parser; positions; files; what a hostile text may cost."""

from __future__ import annotations

import builtins
import string
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, text_format
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.errors import Problems, Proto2TorchError, PrototxtError
from proto2torch.prototxt import schema, text
from proto2torch.prototxt.document import Source
from proto2torch.prototxt.parser import Parser
from proto2torch.prototxt.tables import table

TESTS = Path(__file__).parents[1]
ZOO = TESTS.parents[1] / "shared" / "zoo"
"""Nets as their authors published them; they lie beside a checkout at most."""

EVERYTHING = """\
name: "n" # a comment, "quoted" { } and all
input: 'a' input_dim: [1, 2] input_shape { dim: 1, dim: 0x10; dim: 017 }
layer < name: "a" "b"  # goes on
  'c' type: 'C\\n\\x41\\101\\\\\\"' bottom: ["x", "y"]
  convolution_param: { num_output: 3
    pad:1 bias_term: t engine: 1 weight_filler { std: -.5e-3f variance_norm: AVERAGE } }
  include { phase: TEST, stage: "a"; min_level: - 3 } loss_weight: inf loss_weight: -Infinity loss_weight: 7 >
layer: [ { name: "q" }, < type: "z" > ] layer [] layer [{}]
layers\t{\r\n type: CONVOLUTION blobs { data: [1, 2.5, .5, 1., 1f, 1e+3] double_data: 1e400 data: [ ] } }
state { phase: TRAIN; level: 2, }, force_backward: True
"""


def same(ours: Any, theirs: Any) -> bool:
    return bool(ours.SerializeToString(deterministic=True) == theirs.SerializeToString(deterministic=True))


def protobuf(source: str, message: str = "NetParameter") -> Any:
    return text_format.Parse(source, schema.new(message))


# what is accepted


def test_every_notation_as_protobuf_reads_it() -> None:
    known_to_both = EVERYTHING.replace("- 3", "-3")  # protobuf's parser in C++ takes the space, its Python one does not
    ours = text.parse(EVERYTHING, "NetParameter").message
    assert same(ours, protobuf(known_to_both))
    layer = ours.layer[0]
    assert (layer.name, layer.type) == ("abc", 'C\nAA\\"')
    assert list(ours.input_shape[0].dim) == [1, 16, 15]
    assert list(layer.loss_weight) == [float("inf"), -float("inf"), 7]
    assert list(ours.layers[0].blobs[0].data) == [1, 2.5, 0.5, 1, 1, 1000]
    assert (ours.layers[0].blobs[0].double_data[0], len(ours.layer)) == (float("inf"), 4)


def test_nan_is_a_number() -> None:
    weights = text.parse("layer { loss_weight: nan loss_weight: -NaN }", "NetParameter").message.layer[0].loss_weight
    assert [w != w for w in weights] == [True, True]


@pytest.mark.parametrize("word", ["true", "True", "t", "1", "0x1", "01"])
def test_true(word: str) -> None:
    assert text.parse(f"force_backward: {word}", "NetParameter").message.force_backward is True


@pytest.mark.parametrize("word", ["false", "False", "f", "0", "0x0"])
def test_false(word: str) -> None:
    message = text.parse(f"force_backward: {word}", "NetParameter").message
    assert message.force_backward is False
    assert message.HasField("force_backward")


def test_the_ends_of_the_integers() -> None:
    pads = text.parse("layer { convolution_param { pad: 4294967295 pad: 0 } }", "NetParameter").message.layer[0]
    assert list(pads.convolution_param.pad) == [2**32 - 1, 0]
    level = text.parse("state { level: -2147483648 }", "NetParameter").message.state.level
    assert level == -(2**31)


def test_an_empty_message_is_there() -> None:
    layer = text.parse("layer { relu_param { } }", "NetParameter").message.layer[0]
    assert layer.HasField("relu_param")


def test_latin_1_does_no_harm_in_a_comment(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'# r\xe9seau\nname: "a" # \xff\n')
    assert text.read(str(path), "NetParameter").message.name == "a"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(b'\xef\xbb\xbfname: "\xc3\xa9"\nlayer { }\n')
    document = text.read(str(path), "NetParameter")
    assert document.message.name == "\u00e9"
    assert (document.where("name").line, document.where("name").column) == (1, 1)


def prototxts() -> Iterator[Path]:
    yield from sorted((TESTS / "golden" / "data").rglob("*.prototxt"))
    yield from sorted(ZOO.rglob("*.prototxt*"))


def test_real_files_give_the_messages_that_protobuf_gives() -> None:
    read = 0
    for path in prototxts():
        source = path.read_bytes().decode("utf-8", "surrogateescape")
        for name in ("NetParameter", "SolverParameter"):
            try:
                theirs = protobuf(source, name)
            except text_format.ParseError:
                with pytest.raises(Proto2TorchError):
                    text.read(str(path), name)
            else:
                assert same(text.read(str(path), name).message, theirs), path
                read += 1
    assert read > 300


# random messages and random damage


def messages(descriptor: Any, depth: int = 3) -> st.SearchStrategy[Any]:
    """Messages of the descriptor with a few fields set, the required ones among them."""

    @st.composite
    def message(draw: st.DrawFn) -> Any:
        value = schema.new(descriptor.name)
        known = [f for f in descriptor.fields if depth or f.message_type is None]
        names = {f.name for f in draw(st.lists(st.sampled_from(known), max_size=4))}
        names |= set(table(descriptor).required)
        for field in (f for f in known if f.name in names):
            repeated = hasattr(getattr(value, field.name), "append")
            for _ in range(draw(st.integers(1, 3)) if repeated else 1):
                into = getattr(value, field.name)
                if field.message_type is not None:
                    part = draw(messages(field.message_type, depth - 1))
                    into = into.add() if repeated else into
                    into.CopyFrom(part)
                    into.SetInParent()
                elif repeated:
                    into.append(draw(scalars(field)))
                else:
                    setattr(value, field.name, draw(scalars(field)))
        return value

    return message()


def scalars(field: Any) -> st.SearchStrategy[Any]:
    integers = {1: (-(2**31), 2**31 - 1), 2: (-(2**63), 2**63 - 1), 3: (0, 2**32 - 1), 4: (0, 2**64 - 1)}
    if field.cpp_type in integers:
        return st.integers(*integers[field.cpp_type])
    if field.enum_type is not None:
        return st.sampled_from([v.number for v in field.enum_type.values])
    if field.type == FieldDescriptor.TYPE_BYTES:
        return st.binary(max_size=8)
    return {
        FieldDescriptor.CPPTYPE_DOUBLE: st.floats(allow_nan=False),
        FieldDescriptor.CPPTYPE_FLOAT: st.floats(allow_nan=False, width=32),
        FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
        FieldDescriptor.CPPTYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    }[field.cpp_type]


@settings(max_examples=150, deadline=None)
@given(
    messages(schema.message_class("NetParameter").DESCRIPTOR).filter(lambda m: m.ByteSize()),
    st.fixed_dictionaries(
        {k: st.booleans() for k in ("as_one_line", "as_utf8", "pointy_brackets", "use_short_repeated_primitives")}
    ),
)
def test_printed_messages_are_read_back(message: Any, style: dict[str, bool]) -> None:
    assert same(text.parse(text_format.MessageToString(message, **style), "NetParameter").message, message)
    assert same(text.parse(text.dump(message), "NetParameter").message, message)


DAMAGE = st.lists(
    st.tuples(
        st.integers(0, len(EVERYTHING)),
        st.integers(0, 12),
        st.one_of(st.sampled_from([b"{", b"}", b"[", b"]", b"<", b'"', b"#", b":", b"-", b"9"]), st.binary(max_size=3)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=400, deadline=2000)
@given(DAMAGE)
def test_damage_is_refused_or_harmless(damage: list[tuple[int, int, bytes]]) -> None:
    raw = EVERYTHING.encode()
    for at, length, put in damage:
        raw = raw[:at] + put + raw[at + length :]
    try:
        ours = text.decode(raw, "NetParameter", "net.prototxt").message
    except Proto2TorchError as error:
        assert "net.prototxt" in str(error)
        return
    try:
        theirs = protobuf(raw.decode("utf-8", "surrogateescape"))
    except (text_format.ParseError, UnicodeError, DeprecationWarning):
        return  # protobuf's Python parser refuses a few things that its C++ one takes, and knows not every escape
    assert same(ours, theirs)


@settings(max_examples=200, deadline=2000)
@given(st.text(string.printable, max_size=60))
def test_nonsense_is_refused_or_nothing(source: str) -> None:
    try:
        text.parse(source, "NetParameter")
    except PrototxtError:
        pass
    except Problems as error:
        assert all(isinstance(p, PrototxtError) and p.line for p in error.problems)


# positions


def test_every_field_has_its_place() -> None:
    source = 'name: "n"\nlayer {\n  name: "a"\n  top: "x" top: "y"\n  convolution_param {\n    pad: [1,  2]\n  }\n}\n'
    document = text.parse(source, "NetParameter", "net.prototxt")

    def place(path: str) -> tuple[int | None, int | None]:
        where = document.where(path)
        return where.line, where.column

    assert place("name") == (1, 1)
    assert place("layer") == (2, 1)
    assert place("layer[0].top[1]") == (4, 12)
    assert place("layer[0].convolution_param") == (5, 3)
    assert place("layer[0].convolution_param.pad[0]") == (6, 11)
    assert place("layer[0].convolution_param.pad[1]") == (6, 15)
    assert document.where("layer[0].top[1]").text == '  top: "x" top: "y"'
    assert document.path == "net.prototxt"


def test_the_marks_count_what_the_message_has() -> None:
    document = text.parse(EVERYTHING, "NetParameter")
    assert document.mark is not None
    assert len(document.mark.fields["layer"]) == len(document.message.layer)
    assert [len(m.fields.get("loss_weight", ())) for m in document.mark.fields["layer"]] == [3, 0, 0, 0]


# files


def refusal(path: Path) -> PrototxtError:
    with pytest.raises(PrototxtError) as raised:
        text.read(str(path), "NetParameter")
    assert raised.value.file == str(path)
    assert raised.value.exit_status == 2
    return raised.value


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert refusal(tmp_path / "no.prototxt").message == "cannot read it: no such file or directory"
    assert refusal(tmp_path).message == "cannot read it: is a directory"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(builtins, "open", denied)
    assert refusal(tmp_path / "net.prototxt").message == "cannot read it: permission denied"


WEIGHTS = schema.message_class("NetParameter")(name="n")
WEIGHTS.layer.add(name="conv", type="Convolution").blobs.add().data.extend([0.5, -1.25, 3])

OTHER_FILES = [
    (b"", "it is empty: expected the fields of a NetParameter"),
    (b" \n\t\n", "it is empty: expected the fields of a NetParameter"),
    (b"# nothing\n", "there are only comments in it: expected the fields of a NetParameter"),
    (WEIGHTS.SerializeToString(), "it looks like a binary file, not like a prototxt"),
    (b"\x89HDF\r\n\x1a\n" + bytes(64), "it looks like a binary file, not like a prototxt"),
    ('name: "n"'.encode("utf-16"), "it is UTF-16 text"),
    (b"\n<!DOCTYPE html>\n<html>\n", "it is a web page, not a prototxt"),
]


@pytest.mark.parametrize(("content", "message"), OTHER_FILES)
def test_a_file_that_is_no_prototxt(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes(content)
    assert refusal(path).message == message


def test_floats_are_dumped_as_short_as_they_can_be() -> None:
    solver = schema.new("SolverParameter")
    solver.base_lr, solver.snapshot_prefix = 0.1, "\u00e9\n"
    assert text.dump(solver) == 'base_lr: 0.1\nsnapshot_prefix: "\u00e9\\n"\n'


# what a hostile text may cost

N = 200_000
HOSTILE = {
    "opened, known": "layer {" * N,
    "opened, each on its line": "layer {\n" * N,
    "opened, unknown": "a{" * N,
    "closed": "}" * N,
    "quotes": '"' * N,
    "strings without end": 'name: "\n' * N,
    "an integer": "input_dim: " + "9" * N,
    "a name": "a" * N,
    "unknown fields": "".join(f"field{i}: 1\n" for i in range(N)),
    "unknown fields on one line": "foo: 1 " * N,
    "the same field": 'name: "a"\n' * N,
    "a solver": "base_lr: 1\n" * (N // 4),
    "lists": "input_dim: [" * N,
    "comments of another language": "/*\n" * N,
    "bad escapes": 'name: "' + "\\q" * N + '"',
    "white space": ("name" + " " * N) * 10,
    "noise": "? a: " * N,
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_text_ends_soon(source: str) -> None:
    start = time.perf_counter()
    with pytest.raises(Proto2TorchError) as raised:
        text.parse(source, "NetParameter", "net.prototxt")
    shown = str(raised.value)
    assert time.perf_counter() - start < 10
    assert len(shown) < 200_000


def test_the_problems_of_a_file_have_an_end() -> None:
    with pytest.raises(Problems) as raised:
        text.parse("foo: 1\n" * 5000, "NetParameter")
    assert len(raised.value.problems) == 1001
    assert raised.value.problems[-1].message == "there are 1000 problems up to here; the rest was not read"
    assert raised.value.problems[-1].line == 1000


def test_nesting_has_an_end() -> None:
    def nested(depth: int) -> str:
        return "nested_type {" * depth + "}" * depth

    assert Parser(Source(nested(100)), descriptor_pb2.DescriptorProto()).parse() == []
    problems = Parser(Source(nested(5000)), descriptor_pb2.DescriptorProto()).parse()
    assert [p.message for p in problems] == ["messages are nested deeper than 100"]
    assert problems[0].where.column == 100 * len("nested_type {") + 1


def test_it_is_no_slower_than_protobuf() -> None:
    source = (
        400
        * """
layer {
  name: "conv"
  type: "Convolution"
  bottom: "data"
  top: "conv"
  convolution_param {
    num_output: 64
    pad: 1
    kernel_size: 3
    weight_filler {
      type: "msra"
    }
  }
}"""
    )

    def seconds(parse: Any) -> float:
        start = time.perf_counter()
        parse(source, "NetParameter")
        return time.perf_counter() - start

    assert min(seconds(text.parse) for _ in range(5)) < min(seconds(protobuf) for _ in range(5))
