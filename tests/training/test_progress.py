"""The two lines below the log."""

from __future__ import annotations

import io
import re

import pytest

from proto2torch.training.log import Log
from proto2torch.training.progress import Progress, clock
from proto2torch.training.solver import Solver

from .cases import RUNS, enter


def screen(text: str) -> list[str]:
    """What stands on a terminal after `text`, as far as cursor moves and clearing go."""
    lines, at = [""], 0
    for part in re.split(r"(\x1b\[\d+A\r|\x1b\[J|\n)", text):
        if part == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif part == "\x1b[J":
            lines = [*lines[:at], ""]
        elif part.startswith("\x1b["):
            at -= int(part[2:-2])
        else:
            lines[at] += part
    return lines


def test_it_stays_below_the_log_and_goes_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("proto2torch.training.progress._EVERY", 0.0)
    monkeypatch.setenv("COLUMNS", "150")
    for name in ("digits_train_lmdb", "digits_test_lmdb"):
        (tmp_path / name).symlink_to(RUNS / name)
    folder = enter(RUNS / "bn-step", tmp_path, monkeypatch)
    stream = io.StringIO()
    ours = Solver(folder / "solver.prototxt", log=Log(stream), callbacks=[Progress(stream)])
    ours.step(10)
    *log, bar, test, _ = screen(stream.getvalue())
    assert re.fullmatch(r"\[##\.{22}\] 10/100  loss \d\.\d+  lr 0\.05  \d+ images/s  \d+:\d\d left", bar), bar
    assert re.fullmatch(r"test #0 after 0: accuracy 0\.111111, loss 77\.63\d+", test), test
    assert not any("images/s" in line for line in log) and any(line.startswith("Iteration 0 (") for line in log)
    ours.callbacks.end(ours)
    assert not any("images/s" in line for line in screen(stream.getvalue()))


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (61.4, "1:01"), (3723, "1:02:03"), (-5, "0:00")])
def test_clock(seconds, text):
    assert clock(seconds) == text
