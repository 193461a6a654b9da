"""What is said of a wrong prototxt: the message, the hint, and where. The sign § stands before the place of each."""

from __future__ import annotations

import pytest

from proto2torch.errors import Problems, PrototxtError
from proto2torch.prototxt import text

Said = tuple[str, str | None]
"""A message and a hint."""


def problems(source: str, message: str = "NetParameter") -> list[PrototxtError]:
    with pytest.raises((PrototxtError, Problems)) as raised:
        text.parse(source.replace("§", ""), message, "net.prototxt")
    error = raised.value
    return [error] if isinstance(error, PrototxtError) else list(error.problems)  # type: ignore[arg-type]


def places(source: str) -> list[tuple[int, int]]:
    """Line and column of every sign in the source."""
    found, line, column = [], 1, 1
    for char in source:
        if char == "§":
            found.append((line, column))
        else:
            line, column = (line + 1, 1) if char == "\n" else (line, column + 1)
    return found


def check(source: str, *said: Said, message: str = "NetParameter") -> None:
    """The problems of a source are these, at its signs, in this order, and no others."""
    found = problems(source, message)
    assert [(p.message, p.hint) for p in found] == list(said)
    assert [(p.line, p.where.column) for p in found] == places(source)


UINT32 = "an integer from 0 to 4294967295"
INT32 = "an integer from -2147483648 to 2147483647"


def test_the_whole_of_an_error() -> None:
    source = 'layer {\n  name: "pool1"\n  type: "Pooling"\n  pooling_param {\n    pol: MAX\n  }\n}\n'
    (problem,) = problems(source)
    assert str(problem) == (
        "layer 'pool1' (Pooling), net.prototxt:5:5: PoolingParameter has no field 'pol'\n"
        "  5 |     pol: MAX\n"
        "    |     ^\n"
        "  did you mean 'pool'?"
    )
    assert (problem.file, problem.line, problem.layer, problem.exit_status) == ("net.prototxt", 5, "pool1", 2)


def test_a_layer_is_named_though_its_name_comes_last() -> None:
    (old,) = problems('layers {\n  convolution_param { num_output: x }\n  name: "c"\n  type: CONVOLUTION\n}')
    assert (old.where.layer, old.where.type) == ("c", "CONVOLUTION")
    (outside,) = problems('layer { name: "a" }\nfoo: 1\n')
    assert outside.where.layer is None


# fields


FIELDS: list[tuple[str, list[Said]]] = [
    ("layer { convolution_param { §num_outputs: 3 } }", [
        ("ConvolutionParameter has no field 'num_outputs'", "did you mean 'num_output'?"),
    ]),
    ('§Layer { name: "a" }\nlayer { }', [("NetParameter has no field 'Layer'", "did you mean 'layer'?")]),
    ('layer { §zzzzzzzz { a: "}" b { } # }\n } name: "a" §yyyyyyyy: [1, 2] }', [
        ("LayerParameter has no field 'zzzzzzzz'", None),
        ("LayerParameter has no field 'yyyyyyyy'", None),
    ]),
    ('layer { type: "Convolution" §kernel_size: 3 }', [
        ("LayerParameter has no field 'kernel_size'", "'kernel_size' belongs in convolution_param { }"),
    ]),
    ('layer { pooling_param { §bottom: "x" } }', [
        ("PoolingParameter has no field 'bottom'", "'bottom' belongs in layer { }"),
    ]),
    ('layer { §force_backward: true }', [
        ("LayerParameter has no field 'force_backward'", "'force_backward' belongs outside of every { }"),
    ]),
    ('layer {\n  name: "a"\n  §name: "b"\n}', [("'name' is given twice, first at line 2", None)]),
    ("layer {\n relu_param { }\n §relu_param { negative_slope: 1 §negative_slope: §x }\n}", [
        ("'relu_param' is given twice, first at line 2", None),
        ("'negative_slope' is given twice, first at line 3", None),
        ("'negative_slope' takes a number. Received: x", None),
    ]),
    ("layer {\n  §clip_param { min: 1 }\n}", [("ClipParameter needs a value of 'max'", None)]),
    ("layer < §clip_param < min: 1 > >", [("ClipParameter needs a value of 'max'", None)]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said"), FIELDS)
def test_fields(source: str, said: list[Said]) -> None:
    check(source, *said)


def test_where_a_field_of_several_messages_belongs() -> None:
    (problem,) = problems('layer {\n  name: "c"\n  kernel_size: 3\n}')
    assert problem.hint is not None
    assert problem.hint.startswith("'kernel_size' belongs in convolution_param { }, pooling_param { }")


# values


VALUES: list[tuple[str, list[Said]]] = [
    ("layer { convolution_param { num_output: §1.0 } }", [
        (f"'num_output' takes {UINT32}. Received: 1.0", "an integer has no point: num_output: 1"),
    ]),
    ("layer { convolution_param { num_output: §1.5 pad: §-1 pad: §4294967296 pad: §08 } }", [
        (f"'num_output' takes {UINT32}. Received: 1.5", None),
        (f"'pad' takes {UINT32}. Received: -1", None),
        (f"'pad' takes {UINT32}. Received: 4294967296", None),
        (f"'pad' takes {UINT32}. Received: 08", None),
    ]),
    ("input_dim: [1, §2147483648, -2147483648]", [(f"'input_dim' takes {INT32}. Received: 2147483648", None)]),
    ('layer { convolution_param { num_output: §"3" } }', [
        (f"'num_output' takes {UINT32}. Received: \"3\"", "without the quotes: num_output: 3"),
    ]),
    ("layer { relu_param { negative_slope: §0x10 } }", [("'negative_slope' takes a number. Received: 0x10", None)]),
    ("force_backward: §yes", [("'force_backward' takes true or false. Received: yes", None)]),
    ("force_backward: §2", [("'force_backward' takes true or false. Received: 2", None)]),
    ("name: §{ a: 1 }", [("'name' takes a string in quotes. Received: {", None)]),
    ("name: §3", [("'name' takes a string in quotes. Received: 3", 'strings are quoted: name: "3"')]),
    ("name: §[ 'a' ]", [("'name' takes one value, not a list", None)]),
    ("layer { type: §Convolution }", [
        ("'type' takes a string in quotes. Received: Convolution", 'strings are quoted: type: "Convolution"'),
    ]),
    ("layer { type: §CONVOLUTION }", [
        ("'type' takes a string in quotes. Received: CONVOLUTION",
         'CONVOLUTION is a type of the older layers { }; those of layer { } are quoted, like "Convolution"'),
    ]),
    ('layers { type: §"Convolution" }', [
        ("'type' takes a LayerType, such as NONE. Received: \"Convolution\"",
         "layers { } is the older format, with types like CONVOLUTION; quoted types go in layer { }"),
    ]),
    ("layer { include { phase: §TRAINING } }", [
        ("NetStateRule.phase has no value 'TRAINING'", "did you mean 'TRAIN'? The values are TRAIN, TEST"),
    ]),
    ("layer { include { phase: §2 } }", [
        ("NetStateRule.phase has no value '2'", "the values are TRAIN, TEST"),
    ]),
    ('layer { include { phase: §"TEST" } }', [
        ("'phase' takes a Phase, such as TRAIN. Received: \"TEST\"", "without the quotes: phase: TEST"),
    ]),
    ("layer { relu_param: §3 }", [("'relu_param' takes { }, a ReLUParameter. Received: 3", None)]),
    ('layer { relu_param: §"a" }', [("'relu_param' takes { }, a ReLUParameter. Received: \"a\"", None)]),
    ('name: "a§\\q"', [(r"this escape does not exist. Received: \q", r"a backslash itself is written \\")]),
    ('name: §"a\\xff"', [("this string is not UTF-8. Received: the byte 0xFF", None)]),
    ('name: "caf§\udce9" # \udce9', [
        ("this string is not UTF-8. Received: the byte 0xE9", "save the file as UTF-8"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said"), VALUES)
def test_values(source: str, said: list[Said]) -> None:
    check(source, *said)


# syntax

SYNTAX: list[tuple[str, list[Said]]] = [
    ('name: "x" §// a net\n§/* two\n lines */\nlayer { }\n', [
        ("prototxt comments begin with '#', not with '//'", None),
        ("prototxt comments begin with '#', not with '/*'", None),
    ]),
    ('name §"a"\nlayer { name §= "b" }', [
        ("expected ':' after 'name'. Received: \"a\"", None),
        ("expected ':' after 'name'. Received: =", None),
    ]),
    ('layer {\n  name\n  §type: "x"\n}', [
        ("expected ':' after 'name'. Received: type", None),
    ]),
    ("layer { relu_param §3 }", [("expected '{' after 'relu_param'. Received: 3", None)]),
    ('name: §"a\nlayer { }', [
        ("this string is not closed", 'a string ends on the line where it begins, with a "'),
    ]),
    ('layer {\n  type: §conv"\n  name: "a"\n}', [
        ("'type' takes a string in quotes. Received: conv", 'strings are quoted: type: "conv"'),
    ]),
    ("name: §\u201ca\u201d\nlayer { }", [
        ("expected a value of 'name'. Received: \u201c", "quotes are \" or ', typed plain"),
    ]),
    ('name: "a",§, layer { }', [("expected the name of a field. Received: ,", None)]),
    ("layer { relu_param { negative_slope: 0,§1 } }", [
        ("expected the name of a field. Received: 1", "a fraction is written with a point"),
    ]),
    ("input_dim: [1, 2 §3]\nname: 'a'", [("expected ',' or ']' in a list. Received: 3", None)]),
    ("input_dim: [1,§]\nname: 'a'", [("expected a value of 'input_dim'. Received: ]", None)]),
    ("§[a.b] { c: 1 }\nname: 'a'", [("extensions, [name] in brackets, are no part of Caffe's messages", None)]),
    ('name: "a"\n§\x01\nlayer { }', [("expected the name of a field. Received: U+0001", None)]),
    ("§this is no\nprototxt at all, it\nis prose.\n", [("NetParameter has no field 'this'", None)]),
    ('layer { name: "a" §3 4 5\n bottom: "x" }', [
        ("expected the name of a field. Received: 3", None),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said"), SYNTAX)
def test_syntax(source: str, said: list[Said]) -> None:
    check(source, *said)


# braces and ends


CUT: list[tuple[str, list[Said]]] = [
    ('name: "a"\nlayer {\n  name: "c§"\n', [("the file ends inside layer { opened at line 2", None)]),
    ('layer {\n  name: "c"\n  relu_param {\n    negative_sl§o', [
        ("the file ends inside relu_param { opened at line 3", None),
    ]),
    ('layer {\n  name: "§c', [("the file ends inside layer { opened at line 1", None)]),
    ("layer <\n  name§:", [("the file ends inside layer < opened at line 1", None)]),
    ("layer {\n  §what {\n  a: §1", [
        ("LayerParameter has no field 'what'", None),
        ("the file ends inside what { opened at line 2", None),
    ]),
    ("name§:\n", [("the file ends where a value of 'name' is expected", None)]),
    ("input_dim: [1§,", [("the file ends where a value of 'input_dim' is expected", None)]),
    ("input_dim: [§1", [("the file ends where a value of 'input_dim' is expected", None)]),
    ('layer {\n  include {\n    phase: TEST\n}\nname: "b§"\n', [
        ("the file ends inside layer { opened at line 1",
         "'include {' of line 2 seems to be the one that is not closed"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("source", "said"), CUT)
def test_a_file_cut_short(source: str, said: list[Said]) -> None:
    check(source, *said)


def test_a_brace_too_many() -> None:
    check(
        "layer {\n}\nlayer {\n  relu_param { }\n}\n§}\nname: 'a'\n",
        ("this '}' closes nothing", "'layer {' of line 3 was closed before"),
    )
    check("§}\nname: 'a'", ("this '}' closes nothing", None))


def test_a_missing_brace_is_found_by_the_indentation() -> None:
    check(
        'layer {\n  name: "a"\n  §relu_param {\n    negative_slope: 1\n}\nlayer {\n  name: "b"\n}\n',
        ("'relu_param {' is not closed", "a '}' is missing before line 6, where 'layer' begins"),
    )
    check(
        'layer {\n  §relu_param {\n    negative_slope: 1\n  bottom: "a"\n}\nlayer {\n  §nam: "b"\n}\n',
        ("'relu_param {' is not closed", "a '}' is missing before line 4, where 'bottom' begins"),
        ("LayerParameter has no field 'nam'", "did you mean 'name'?"),
    )


def test_braces_of_two_kinds() -> None:
    check(
        'layer < name: "x" §}\nlayer { name: "y" §>\n',
        ("'layer <' of line 1 is closed by '}'", None),
        ("'layer {' of line 2 is closed by '>'", None),
    )


# the wrong kind of file


def test_a_solver_is_no_net_and_a_net_no_solver() -> None:
    check(
        '§net: "a.prototxt"\nbase_lr: 0.1\nmax_iter: 10\n',
        ("NetParameter has no field 'net'", "'net' is a field of SolverParameter: this file is a solver, not a net"),
    )
    check(
        '§name: "a"\nlayer { name: "x" }\nlayer { }\n',
        ("SolverParameter has no field 'name'", "'name' is a field of NetParameter: this file is a net, not a solver"),
        message="SolverParameter",
    )


def test_all_problems_of_a_file_in_the_order_of_its_lines() -> None:
    check(
        'layer {\n  §clip_param { max: 1 }\n  §foo: 1\n  bottom: §3 # {\n}\nlayer { top §"a" }\n§}\n',
        ("ClipParameter needs a value of 'min'", None),
        ("LayerParameter has no field 'foo'", None),
        ("'bottom' takes a string in quotes. Received: 3", 'strings are quoted: bottom: "3"'),
        ("expected ':' after 'top'. Received: \"a\"", None),
        ("this '}' closes nothing", "'layer {' of line 6 was closed before"),
    )
