"""Solver states: Caffe's own snapshots, written back the same, and broken ones."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proto2torch.errors import SolverError
from proto2torch.weights import solverstate
from proto2torch.weights.solverstate import SolverState

from .golden import SOLVERS, parsed

BINARY = [path for folder in SOLVERS for path in folder.glob("*.solverstate")]
HDF5 = [path for folder in SOLVERS for path in folder.glob("*.solverstate.h5")]
SHAPES = [(4, 1, 3, 3), (4,), (12, 48), (12,), (5, 12), (5,)]


def test_caffe_wrote_both_kinds() -> None:
    assert (len(BINARY), len(HDF5)) == (12, 2)


@pytest.mark.parametrize("path", BINARY, ids=lambda p: p.parent.name)
def test_a_binary_state_is_read_and_written_back_byte_for_byte(path: Path, tmp_path: Path) -> None:
    state, message = solverstate.read(str(path)), parsed(path, "SolverState")
    assert (state.iter, state.learned_net) == (10, "snap_iter_10.caffemodel")
    assert state.current_step == message.current_step
    two = "Ada" in path.parent.name and "AdaGrad" not in path.parent.name
    assert [entry.shape for entry in state.history] == SHAPES * (2 if two else 1)
    for have, want in zip(state.history, message.history, strict=True):
        assert np.array_equal(have.ravel(), np.array(want.data, np.float32))
    copy = tmp_path / "copy.solverstate"
    solverstate.write(str(copy), state)
    assert copy.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("path", HDF5, ids=lambda p: p.parent.name)
def test_an_hdf5_state_is_read_and_written_back_the_same(path: Path, tmp_path: Path) -> None:
    state = solverstate.read(str(path))
    assert (state.iter, state.learned_net) == (10, "snap_iter_10.caffemodel.h5")
    assert [entry.shape for entry in state.history] == SHAPES
    copy = tmp_path / "copy.solverstate.h5"
    solverstate.write(str(copy), state)
    with h5py.File(path) as theirs, h5py.File(copy) as ours:
        assert sorted(ours) == sorted(theirs)
        for name in ("iter", "current_step", "learned_net", *(f"history/{i}" for i in range(6))):
            assert ours[name].id.get_type().equal(theirs[name].id.get_type()), name
            assert ours[name].shape == theirs[name].shape
            assert np.array_equal(ours[name][()], theirs[name][()])


@pytest.mark.parametrize("ending", ["solverstate", "solverstate.h5"])
def test_a_state_goes_there_and_back(tmp_path: Path, ending: str) -> None:
    path = str(tmp_path / f"x.{ending}")
    state = SolverState(2**31 - 1, "models/gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n", [np.array(3, np.float32)], 7)
    solverstate.write(path, state)
    again = solverstate.read(path)
    assert (again.iter, again.learned_net, again.current_step) == (state.iter, state.learned_net, 7)
    assert [(entry.shape, entry.tolist()) for entry in again.history] == [((), 3)]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "the file is empty"),
        (b"iter: 3\n", "Received: text"),
        (b"\x0a\x01n\xa2\x06\x03\x0a\x01a", "iter must be coded as a varint. Received: a length and bytes"),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "iter must lie in"),
        (b"\x08\x01\x1a\x05", "field 3 has 5 bytes, but 0 are left"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.solverstate"
    path.write_bytes(content)
    with pytest.raises(SolverError) as raised:
        solverstate.read(str(path))
    assert message in raised.value.message
    assert raised.value.file == str(path)


def test_weights_are_no_state() -> None:
    with pytest.raises(SolverError, match="no 'history'"):
        solverstate.read(str(HDF5[0].with_name("snap_iter_10.caffemodel.h5")))


def test_an_hdf5_state_whose_iteration_is_no_number(tmp_path: Path) -> None:
    path = str(tmp_path / "x.h5")
    with h5py.File(path, "w") as file:
        file.create_group("history")
        file["iter"] = "ten"
    with pytest.raises(SolverError, match="expected one value of a fitting type in 'iter'"):
        solverstate.read(path)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2865), st.integers(0, 255), st.integers(0, 2866))
def test_a_mutated_state_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, value: int, end: int
) -> None:
    content = bytearray(BINARY[0].read_bytes())
    content[at] = value
    path = tmp_path_factory.getbasetemp() / "mutated.solverstate"
    path.write_bytes(content[:end] if value % 2 else content)
    try:
        state = solverstate.read(str(path))
    except SolverError:
        return
    assert sum(entry.nbytes for entry in state.history) <= len(content)
