"""The names of snapshots, which is the newest, and where they go."""

from __future__ import annotations

import re

import pytest
import torch

from proto2torch.checking import check
from proto2torch.errors import SolverError
from proto2torch.training import snapshot

from .cases import SOLVERS, enter, solver


def test_names_are_caffes():
    assert snapshot.names("a/b", 500, False) == snapshot.Names(
        "a/b_iter_500.caffemodel", "a/b_iter_500.solverstate", "a/b_iter_500.resume"
    )
    assert snapshot.names("b", 20, True) == snapshot.Names(
        "b_iter_20.caffemodel.h5", "b_iter_20.solverstate.h5", "b_iter_20.resume"
    )


def test_complete_snapshots_are_listed_the_newest_last(tmp_path):
    prefix = str(tmp_path / "net")
    for name in (
        *("net_iter_9.caffemodel", "net_iter_9.solverstate"),
        *("net_iter_10.caffemodel.h5", "net_iter_10.solverstate.h5"),
        "net_iter_20.solverstate",
        *("other_iter_30.caffemodel", "other_iter_30.solverstate"),
        *("net_iter_40.caffemodel", "net_iter_x.solverstate"),
    ):
        (tmp_path / name).touch()
    assert snapshot.listed(prefix) == [(9, f"{prefix}_iter_9.solverstate"), (10, f"{prefix}_iter_10.solverstate.h5")]
    assert snapshot.listed(str(tmp_path / "none")) == []


def test_the_newest_snapshot_that_can_be_read_is_found(tmp_path):
    case = SOLVERS / "00-SGD-fixed"
    prefix, said = str(tmp_path / "snap"), []
    for iteration, cut in ((10, None), (30, "solverstate"), (40, "caffemodel")):
        for kind in ("caffemodel", "solverstate"):
            content = (case / f"snap_iter_10.{kind}").read_bytes()
            (tmp_path / f"snap_iter_{iteration}.{kind}").write_bytes(content[:-7] if kind == cut else content)
    assert snapshot.newest(prefix, said.append) == f"{prefix}_iter_10.solverstate"
    assert [line.split(": ")[0] for line in said] == [f"passing over {prefix}_iter_{i}.solverstate" for i in (40, 30)]
    assert snapshot.newest(str(tmp_path / "none")) is None


def test_removing_a_snapshot_leaves_the_others(tmp_path):
    for name in ("a_iter_1.caffemodel.h5", "a_iter_1.solverstate.h5", "a_iter_1.resume", "a_iter_2.solverstate"):
        (tmp_path / name).touch()
    snapshot.remove(str(tmp_path / "a_iter_1.solverstate.h5"))
    assert [path.name for path in tmp_path.iterdir()] == ["a_iter_2.solverstate"]


def test_a_resume_file_of_another_iteration_is_refused(tmp_path):
    torch.save({"iter": 3}, tmp_path / "a.resume")
    assert snapshot.read_resume(str(tmp_path / "a.solverstate"), 3) == {"iter": 3}
    assert snapshot.read_resume(str(tmp_path / "b.solverstate"), 3) is None
    with pytest.raises(SolverError, match=r"expected the state of iteration 4. Received: 3"):
        snapshot.read_resume(str(tmp_path / "a.solverstate.h5"), 4)


def test_a_broken_resume_file_is_refused(tmp_path):
    (tmp_path / "a.resume").write_bytes(b"no such thing")
    with pytest.raises(SolverError, match="cannot read it: it is cut short or damaged") as caught:
        snapshot.read_resume(str(tmp_path / "a.solverstate"), 4)
    assert caught.value.file == str(tmp_path / "a.resume")


@pytest.mark.parametrize(
    "old, new, at, reason",
    [
        (
            'name: "ip1"',
            'name: "fc/1"',
            r"layer 'fc/1' \(InnerProduct\), train.prototxt:7:9",
            "a layer of this name.*'fc/1'",
        ),
        ('name: "ip2"', 'name: "ip1"', r"layer 'ip1' \(InnerProduct\), train.prototxt:10:9", "two layers of one name"),
    ],
)
def test_names_that_hdf5_cannot_hold_are_refused_before_the_start(old, new, at, reason, tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    net = folder / "train.prototxt"
    net.write_text(net.read_text().replace(old, new))
    says = rf"^{at}: snapshot_format HDF5: HDF5 cannot hold {reason}"
    with pytest.raises(SolverError, match=says):
        solver(folder, overrides={"snapshot_format": "HDF5"})
    later, _ = solver(folder, overrides={"snapshot_format": "HDF5", "snapshot": 0})
    with pytest.raises(SolverError, match=says):
        later.solve()
    assert later.iter == 0
    with open(folder / "solver.prototxt", "a") as file:
        file.write("snapshot_format: HDF5\n")
    (error,) = check("solver.prototxt").errors
    assert re.match(says, str(error))
