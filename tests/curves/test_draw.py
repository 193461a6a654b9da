"""The picture: its panels and lines, its formats, and matplotlib's absence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from proto2torch.curves.draw import _panels, draw
from proto2torch.curves.log_file import read
from proto2torch.errors import Proto2TorchError

RUNS = Path(__file__).parents[1] / "golden" / "data" / "runs"
LOGS = [str(RUNS / name / "log.txt") for name in ("bn-step", "lenet-adam")]


def test_panels_of_one_log():
    panels = dict(_panels([read(LOGS[0])]))
    assert list(panels) == ["loss", "accuracy", "learning rate"]
    assert [line[0] for _, line in panels["loss"]] == ["train (smoothed)", "test #0 loss"]
    assert panels["accuracy"][0][1][1][-1] == (100, 0.597222)


def test_logs_of_one_name_are_told_apart_by_their_paths():
    panels = dict(_panels([read(path) for path in LOGS]))
    assert [line[0] for _, line in panels["learning rate"]] == [f"{path}: lr" for path in LOGS]


@pytest.mark.parametrize("ending, magic", [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_formats(ending, magic, tmp_path):
    path = tmp_path / f"curve.{ending}"
    draw([read(path) for path in LOGS], str(path))
    assert path.read_bytes().startswith(magic)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(Proto2TorchError, match=r"curve\.pgn: the ending of a picture must .*Received: pgn\n.*'png'"):
        draw([read(LOGS[0])], str(tmp_path / "curve.pgn"))


def test_absence_of_matplotlib_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(Proto2TorchError) as caught:
        draw([read(LOGS[0])], str(tmp_path / "curve.png"))
    assert str(caught.value) == "plot needs the package matplotlib: pip install 'proto2torch[plot]'"
