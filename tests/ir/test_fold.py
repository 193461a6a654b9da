"""What repeats in a sequence of steps, on sequences small enough to see by eye."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proto2torch.ir import fold
from proto2torch.ir.graph import Value


@dataclass(frozen=True)
class Step:
    type: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    module: str | None
    leads: bool
    foldable: bool = True

    @property
    def label(self) -> str:
        return self.type

    @property
    def keeps_shape(self) -> bool:
        return self.type in ("bn", "relu")


def line(text: str, *returned: str) -> fold.Line:
    """Steps from `kind bottoms > top` each; conv and fc lead and learn, bn learns, what starts with ! is not foldable."""
    steps = []
    for part in text.split(";"):
        left, top = part.split(">")
        kind, *bottoms = left.split()
        fixed, kind = kind.startswith("!"), kind.lstrip("!")
        learns = kind in ("conv", "fc", "bn", "dw")
        steps.append(
            Step(
                kind,
                tuple(Value(b, 0, (1,)) for b in bottoms),
                tuple(Value(t, 0, (1,)) for t in top.split()),
                f"{kind}()" if learns else None,
                learns and kind != "bn",
                not fixed,
            )
        )
    return fold.Line(steps, [Value(r, 0, (1,)) for r in returned])


def residual(i: int, before: str) -> str:
    return f"conv {before}>a{i};bn a{i}>b{i};relu b{i}>c{i};conv c{i}>d{i};bn d{i}>e{i};sum {before} e{i}>s{i};relu s{i}>x{i}"


RESIDUAL = ";".join(["pool data>x0", *(residual(i, f"x{i - 1}") for i in range(1, 6)), "fc x5>out"])
BLOCKS = [range(7 * i - 6, 7 * i + 1) for i in range(1, 6)]
WITHOUT_SECOND = [BLOCKS[0], *BLOCKS[2:]]


def test_a_segment_takes_in_the_rectifier_behind_it() -> None:
    assert fold.segments(line(RESIDUAL, "out")) == [BLOCKS]


def test_few_small_blocks_save_no_line() -> None:
    """Three blocks of 7 lines: 21 as they are; a class of 7 and 9 around it, and 2 for each of three."""
    text = ";".join([*(residual(i, f"x{i - 1}") for i in range(1, 4)), "fc x3>out"])
    assert fold.segments(line(text, "out")) == []


def test_a_value_that_is_returned_stays_outside() -> None:
    """The block whose inner value is asked for would have to give two."""
    assert fold.segments(line(RESIDUAL, "out", "c2")) == [WITHOUT_SECOND]


def test_what_must_not_move_is_in_no_block() -> None:
    text = RESIDUAL.replace("conv c2>d2", "!conv c2>d2")
    assert fold.segments(line(text, "out")) == [WITHOUT_SECOND]


def test_other_wiring_is_another_block() -> None:
    """The same layers, but the sum adds the inner value of another branch."""
    text = RESIDUAL.replace("sum x1 e2", "sum b2 e2")
    assert fold.segments(line(text, "out")) == [WITHOUT_SECOND]


def test_a_block_is_found_between_others_of_a_longer_segment() -> None:
    """The second block's input is read by an auxiliary head as well, so no single value is alive before it."""
    text = RESIDUAL.replace("conv x1>a2", "fc x1>aux;conv x1>a2")
    assert fold.segments(line(text, "out", "aux")) == [
        [BLOCKS[0], *(range(b.start + 1, b.stop + 1) for b in BLOCKS[1:])]
    ]


def test_normalising_before_the_branch_belongs_to_the_block() -> None:
    def before(i: int, x: str) -> str:
        return f"bn {x}>n{i};conv n{i}>a{i};bn a{i}>b{i};conv b{i}>c{i};conv n{i}>p{i};sum c{i} p{i}>x{i}"

    text = ";".join(["conv data>x0", *(before(i, f"x{i - 1}") for i in (1, 2, 3, 4)), "fc x4>out"])
    assert fold.segments(line(text, "out")) == [[range(1, 7), range(7, 13), range(13, 19), range(19, 25)]]


def test_units_are_layers_with_what_follows_them() -> None:
    count = 14
    text = ";".join(f"conv x{i}>a{i};bn a{i}>b{i};relu b{i}>x{i + 1}" for i in range(count))
    assert fold.units(line(text, f"x{count}")) == [[range(3 * i, 3 * i + 3) for i in range(count)]]
    few = ";".join(f"conv x{i}>a{i};bn a{i}>b{i};relu b{i}>x{i + 1}" for i in range(3))
    assert fold.units(line(few, "x3")) == []


def test_a_unit_ends_where_its_value_is_read_twice() -> None:
    text = ";".join(f"conv x{i}>a{i};bn a{i}>b{i};relu b{i}>c{i};sum b{i} c{i}>x{i + 1}" for i in range(14))
    assert fold.units(line(text, "x14")) == [[range(4 * i, 4 * i + 2) for i in range(14)]]


WORDS = ";".join(
    ["conv data>x0", *(f"dw x{i}>a{i};bn a{i}>b{i};conv b{i}>c{i};bn c{i}>x{i + 1}" for i in range(9)), "fc x9>out"]
)


def test_the_word_that_saves_most() -> None:
    found = fold.word(line(WORDS, "out"), lambda span: True)
    assert found == [range(1 + 4 * i, 5 + 4 * i) for i in range(9)]


def test_a_word_must_read_as_one() -> None:
    assert fold.word(line(WORDS, "out"), lambda span: False) == []


@pytest.mark.parametrize("count", [2, 4, 6])
def test_a_word_is_not_a_shorter_word_repeated(count: int) -> None:
    text = ";".join(f"conv x{i}>x{i + 1}" for i in range(24))
    found = fold.word(line(text, "x24"), lambda span: len(span) == count)
    assert found == []


def test_a_long_connection_does_not_hide_blocks() -> None:
    """A value from the start that is read far behind: the blocks between are found all the same."""
    blocks = [residual(i, f"x{i - 1}") for i in range(1, 14)]
    text = ";".join(["pool data>x0", *blocks, "concat x13 data>y", "fc y>out"])
    (found,) = fold.segments(line(text, "out"))
    assert found == [range(1 + 7 * i, 8 + 7 * i) for i in range(13)]
