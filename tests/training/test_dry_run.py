"""A rehearsal: everything once, nothing left behind."""

from __future__ import annotations

import pytest

from proto2torch.errors import SolverError
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
    assert [line.split(",")[0] for line in lines[:2]] == ["dry run: a train step", "dry run: a batch of test net #0"]
    assert "restored" in lines[2] and lines[3].startswith("dry run: done in ")


def test_a_folder_that_is_not_there_shows_at_once(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    ours, _ = solver(folder, overrides={"snapshot": 0, "snapshot_prefix": "none/snap"})
    with pytest.raises(SolverError, match="snapshots cannot be written to 'none/snap'"):
        rehearse(ours)
