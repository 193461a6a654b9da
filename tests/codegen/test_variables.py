"""Which variable holds which value, and for how long."""

from __future__ import annotations

from proto2torch.codegen.variables import Statement, Variables, assign
from proto2torch.ir.graph import Value


def value(name: str) -> Value:
    return Value(name, 0, (1,))


def names(text: str, arguments: str = "data", in_block: bool = False) -> tuple[dict[str, str], Variables]:
    """The variables of lines `targets = reads`, the last one `return`."""
    statements = []
    for line in text.strip().splitlines():
        left, right = line.split("=")
        targets = [] if left.strip() == "return" else left.split()
        reads = right.replace("{", "").replace("}", "").split()
        text = "return {" if "{" in right else "return" if not targets else ""
        statements.append(Statement(tuple(map(value, targets)), text, tuple(map(value, reads))))
    every = {v for s in statements for v in (*s.targets, *s.reads)}
    found = assign(statements, [value(a) for a in arguments.split()], {v: v.blob for v in every}, set(), in_block)
    return {v.blob: name for v, name in found.names.items()}, found


def test_a_chain_is_x() -> None:
    given, found = names("pool1 = data\npool2 = pool1\nip1 = pool2\nreturn = ip1")
    assert given == {"data": "data", "pool1": "x", "pool2": "x", "ip1": "x"}
    assert found.dead == {}


def test_a_value_alone_keeps_its_name() -> None:
    given, _ = names("a = data\nreturn = a")
    assert given["a"] == "a"


def test_a_shortcut_and_its_branch() -> None:
    given, found = names("a = data\nb = a\nc1 = b\nc2 = c1\nd = b c2\ne = d\nreturn = e")
    assert [given[k] for k in "abde"] == ["x"] * 4
    assert given["c1"] == given["c2"] == "c"
    assert found.dead == {4: ["c"]}


def test_what_branched_off_long_before_keeps_its_name() -> None:
    chain = "\n".join(f"p{i + 1} = p{i}" for i in range(20))
    given, found = names(f"side = data\np0 = side\n{chain}\nhead = side\ntail = p20 head\nlast = tail\nreturn = last")
    assert (given["side"], given["head"]) == ("side", "head")
    assert found.dead == {22: ["side"], 23: ["head"]}


def test_nothing_is_deleted_before_the_return() -> None:
    _, found = names("a = data\nb = data\nc = a b\nreturn = c")
    assert found.dead == {}


def test_what_a_dict_returns_keeps_its_name() -> None:
    given, _ = names("a = data\nb = a\naccuracy = b\nloss = b\nreturn = {accuracy loss}")
    assert (given["b"], given["accuracy"], given["loss"]) == ("x", "accuracy", "loss")


def test_within_a_block_the_input_goes_on_only_in_a_chain() -> None:
    given, _ = names("a = x\nb = a\nreturn = b", "x", in_block=True)
    assert given == {"x": "x", "a": "x", "b": "x"}
    given, found = names("a = x\nb = a\nreturn = x b", "x", in_block=True)
    assert (given["x"], given["a"], given["b"]) == ("x", "b", "b")
    assert found.dead == {}


def test_one_title_twice_at_a_time_makes_two_names() -> None:
    statements = [
        Statement((value("a"),), "", (value("data"),)),
        Statement((value("b"),), "", (value("data"),)),
        Statement((), "return", (value("a"), value("b"))),
    ]
    found = assign(statements, [value("data")], {value("data"): "data", value("a"): "t", value("b"): "t"}, set(), False)
    assert found.names[value("a")] == "t"
    assert found.names[value("b")] == "t_2"
