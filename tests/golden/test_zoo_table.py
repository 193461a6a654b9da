"""Every published prototxt loads, or is refused for a reason that is true: zoo_table.tsv says which.

A row is a file and the state it is built in (`solver` for a solver); the shapes that stand in for databases that nobody
here has; and the answer: `loaded`, or every message. The prototxts are other people's and not copied here: they are read
from `../shared/zoo`, and where that folder is absent these tests say so. Run as a script, this file writes the answers
anew, for a person to read the difference.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import pytest

from proto2torch.codegen.export import export
from proto2torch.errors import DataError, Proto2TorchError
from proto2torch.ir.graph import Shape
from proto2torch.prototxt.document import LayerDefinition
from proto2torch.prototxt.read import read_net, read_solver
from proto2torch.solvers.definition import read as read_definition

TABLE = Path(__file__).with_name("zoo_table.tsv")
ZOO = Path(__file__).resolve().parents[3] / "shared" / "zoo"
HEAD = ("file", "state", "given", "answer")


class Row(NamedTuple):
    file: str
    state: str
    """`solver`, or a phase and, behind a colon, stages."""
    given: str
    """`data=1,3,227,227` by spaces, or `-`."""
    answer: str

    @property
    def shapes(self) -> dict[str, Shape]:
        pairs = [part.split("=") for part in self.given.split() if part != "-"]
        return {name: tuple(map(int, dims.split(","))) for name, dims in pairs}


def rows() -> list[Row]:
    with TABLE.open(newline="") as file:
        head, *lines = csv.reader(file, delimiter="\t")
    assert tuple(head) == HEAD
    return [Row(*line) for line in lines]


def build(row: Row, shapes: dict[str, Shape]) -> None:
    path = str(ZOO / row.file)
    if row.state == "solver":
        read_definition(read_solver(path))
        return
    phase, _, stages = row.state.partition(":")
    export(read_net(path), _from_the_database, phase=phase, stages=stages.split(","), shapes=shapes)


def _from_the_database(layer: LayerDefinition, phase: str) -> list[Shape]:
    from proto2torch import data

    feed = data.open(layer, phase)
    feed.close()
    return list(feed.shapes)


def answer(row: Row) -> str:
    """What a row's file is answered with, now."""
    try:
        build(row, row.shapes)
    except Proto2TorchError as error:
        problems = getattr(error, "problems", (error,))
        return "; ".join(dict.fromkeys(problem.message for problem in problems))
    return "loaded"


absent = pytest.mark.skipif(not ZOO.is_dir(), reason="../shared/zoo, with the published prototxts, is absent")


@absent
@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row.file} {row.state}")
def test_the_answer_is_that_of_the_table(row: Row) -> None:
    assert answer(row) == row.answer


@absent
@pytest.mark.parametrize(
    "row", [r for r in rows() if r.given != "-" and r.answer == "loaded"], ids=lambda row: f"{row.file} {row.state}"
)
def test_without_its_database_a_net_says_what_is_missing_and_what_stands_in_for_it(row: Row) -> None:
    with pytest.raises(DataError) as caught:
        build(row, {})
    assert "no such file" in str(caught.value) or "no database is there" in str(caught.value)
    assert "--shape" in str(caught.value)
    assert caught.value.line is not None


@absent
def test_every_prototxt_has_a_row() -> None:
    there = {str(path.relative_to(ZOO)) for path in ZOO.rglob("*.prototxt")}
    assert there == {row.file for row in rows()}


def main() -> None:
    """Write the answers anew."""
    answered = [row._replace(answer=answer(row)) for row in rows()]
    with TABLE.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([HEAD, *answered])


if __name__ == "__main__":
    main()
