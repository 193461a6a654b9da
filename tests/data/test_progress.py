from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from proto2torch.cli import main
from proto2torch.data import progress
from proto2torch.data.progress import Progress

from .records import GOLDEN, datum, pictures, write_lmdb


def idx(folder: Path) -> list[str]:
    (folder / "images").write_bytes(struct.pack(">4I", 2051, 3, 2, 2) + bytes(12))
    (folder / "labels").write_bytes(struct.pack(">2I", 2049, 3) + bytes(3))
    return ["convert", "mnist", f"{folder}/images", f"{folder}/labels", f"{folder}/db"]


def cifar10(folder: Path) -> list[str]:
    for name in (*(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin"):
        (folder / name).write_bytes(bytes(3073))
    return ["convert", "cifar10", str(folder), str(folder)]


def classes(folder: Path) -> list[str]:
    (folder / "root" / "cats").mkdir(parents=True)
    for name in "abc":
        Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(folder / "root" / "cats" / f"{name}.png")
    return ["convert", "folder", f"{folder}/root", f"{folder}/db"]


def imageset(folder: Path) -> list[str]:
    return ["convert", "imageset", f"{GOLDEN}/tools/images/", f"{GOLDEN}/tools/list.txt", f"{folder}/db"]


def database(folder: Path) -> str:
    return write_lmdb(folder / "db", [datum(image) for image in pictures(3)])


COMMANDS: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "convert imageset": (imageset, "12 of 12 images"),
    "convert folder": (classes, "3 of 3 images"),
    "convert mnist": (idx, "3 of 3 images"),
    "convert cifar10": (cifar10, "5 of 5 images"),
    "mean": (lambda folder: ["mean", database(folder)], "3 of 3 images"),
    "db info": (lambda folder: ["db", "info", database(folder)], "3 of 3 records"),
    "db copy": (lambda folder: ["db", "copy", database(folder), f"{folder}/copy"], "3 of 3 records"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("terminal", [True, False])
def test_every_command_has_a_bar_with_a_rate_on_a_terminal_alone(
    tmp_path: Path,
    command: str,
    terminal: bool,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    prepare, count = COMMANDS[command]
    arguments = prepare(tmp_path)
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    monkeypatch.setattr(progress, "_EVERY", 0)
    main(arguments, standalone_mode=False)
    shown = capsys.readouterr().err
    assert bool(re.search(rf"\r\[#{{24}}\] {count}, \d+ a second *\n", shown)) == terminal
    assert bool(re.search(r"\r\[#{8}-{16}\] \d+ of \d+ \w+, \d+ a second, \d+ s left", shown)) == (
        terminal and "cifar10" not in command
    )


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (5900, "98 min"), (7200, "2 h")]
)
def test_how_long_is_left(seconds: float, text: str) -> None:
    assert progress._left(seconds) == text


def test_a_run_that_ends_early_leaves_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr(progress, "_EVERY", 0)
    with pytest.raises(ValueError), Progress(10) as bar:
        bar.step(4)
        bar.note("left out: one")
        raise ValueError
    lines = capsys.readouterr().err.split("\r")
    assert lines[1].startswith("[#########---------------] 4 of 10 images, ")
    assert lines[2].startswith("left out: one ") and lines[2].endswith("\n\n")
