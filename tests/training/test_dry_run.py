"""A rehearsal: everything once, nothing left behind."""

from __future__ import annotations

import lmdb
import pytest

from proto2torch.errors import DataError, SolverError
from proto2torch.prototxt import schema
from proto2torch.training.dry_run import rehearse

from .cases import RUNS, SOLVERS, enter, solver


@pytest.mark.parametrize("kept", ["BINARYPROTO", "HDF5"])
def test_it_does_everything_and_leaves_nothing(kept, tmp_path, monkeypatch):
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    folder = enter(RUNS / "bn-step", tmp_path, monkeypatch)
    before = sorted(path.name for path in folder.iterdir())
    ours, log = solver(folder, overrides={"snapshot_format": kept})
    found = rehearse(ours)
    assert ours.iter == 2
    assert sorted(path.name for path in folder.iterdir()) == before
    assert found.memory_bytes > 50e6 and found.snapshot_bytes > 4 * sum(b.tensor.numel() for b in ours.net.learned)
    lines = [line for line in log.lines() if line.startswith("dry run: ")]
    parts = ["a batch of each data layer", "a train step", "a batch of test net #0"]
    assert [line.split(",")[0] for line in lines[:3]] == [f"dry run: {part}" for part in parts]
    assert "restored" in lines[3] and lines[4].startswith("dry run: done in ")


def test_a_record_that_does_not_fit_shows_before_the_first_step(tmp_path, monkeypatch):
    (tmp_path / "digits_train_lmdb").symlink_to(RUNS / "digits_train_lmdb")
    (tmp_path / "digits_test_lmdb").mkdir()
    with lmdb.open(str(tmp_path / "digits_test_lmdb")) as records, records.begin(write=True) as write:
        for i in range(40):
            width = 27 if i == 30 else 28  # in the first batch, of 60
            datum = schema.message_class("Datum")(channels=1, height=28, width=width, data=bytes(28 * width))
            write.put(b"%08d" % i, datum.SerializeToString())
    ours, log = solver(enter(RUNS / "bn-step", tmp_path, monkeypatch))
    with pytest.raises(DataError, match="00000030"):
        rehearse(ours)
    assert ours.iter == 0 and not [line for line in log.lines() if line.startswith("dry run")]


def test_a_folder_that_is_not_there_shows_at_once(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    ours, _ = solver(folder, overrides={"snapshot": 0, "snapshot_prefix": "none/snap"})
    with pytest.raises(SolverError, match="snapshots cannot be written to 'none/snap'"):
        rehearse(ours)
