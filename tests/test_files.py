"""Files are written whole or not at all, and found as Caffe finds them."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from proto2torch import files
from proto2torch.errors import Proto2TorchError, RunError


def test_a_file_is_there_only_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "w.caffemodel"
    target.write_bytes(b"old")
    with files.atomic(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == tmp_path
        assert target.read_bytes() == b"old"
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["w.caffemodel"]


@pytest.mark.parametrize("failure", [ValueError("no"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing_behind(tmp_path: Path, failure: BaseException) -> None:
    target = tmp_path / "w.caffemodel"
    target.write_bytes(b"old")
    with pytest.raises(type(failure)), files.atomic(target) as temporary:
        temporary.write_bytes(b"half")
        raise failure
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["w.caffemodel"]


def test_a_full_disk_is_a_run_error_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    target = str(tmp_path / "w.caffemodel")
    with pytest.raises(RunError) as raised, files.atomic(target) as temporary:
        temporary.write_bytes(b"half")
    assert raised.value.message == "cannot write it: no space left on device"
    assert str(raised.value) == f"{target}: cannot write it: no space left on device"
    assert raised.value.exit_status == 1
    assert os.listdir(tmp_path) == []


def test_a_size_limit_of_the_system_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "w.bin"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    program = (
        "from proto2torch import errors, files\n"
        "try:\n"
        f"    with files.atomic({str(target)!r}) as temporary:\n"
        "        temporary.write_bytes(bytes(5000))\n"
        "except errors.RunError as error:\n"
        "    print(error)\n"
    )
    run = subprocess.run([sys.executable, "-B", "-c", program], preexec_fn=limit, capture_output=True, text=True)
    assert run.stdout == f"{target}: cannot write it: file too large\n", run.stderr
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(Proto2TorchError, match="no such file or directory") as raised,
        files.atomic(tmp_path / "no" / "w"),
    ):
        raise AssertionError("nothing can be written there")
    assert raised.value.hint == f"the folder {tmp_path / 'no'} does not exist: create it first"
    assert raised.value.exit_status == 2


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(Proto2TorchError, match="is a directory"), files.atomic(tmp_path):
        raise AssertionError("nothing can be written there")


def test_an_error_about_another_file_passes(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), files.atomic(tmp_path / "w"):
        (tmp_path / "other").read_bytes()
    assert os.listdir(tmp_path) == []


def test_permissions_are_those_of_a_new_file_or_of_the_one_replaced(tmp_path: Path) -> None:
    plain, target = tmp_path / "plain", tmp_path / "w"
    plain.touch()
    with files.atomic(target) as temporary:
        temporary.write_bytes(b"1")
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
    target.chmod(0o640)
    with files.atomic(target) as temporary:
        temporary.write_bytes(b"2")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "w", tmp_path / "latest"
    target.write_bytes(b"old")
    link.symlink_to(target)
    with files.atomic(link) as temporary:
        temporary.write_bytes(b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_device_is_written_directly() -> None:
    with files.atomic("/dev/null") as temporary:
        assert temporary == Path("/dev/null")
        temporary.write_bytes(b"gone")
    assert not Path("/dev/null").is_file()


def test_a_name_as_long_as_the_file_system_allows(tmp_path: Path) -> None:
    target = tmp_path / ("\N{GREEK SMALL LETTER ALPHA}" * 127)
    with files.atomic(target) as temporary:
        temporary.write_bytes(b"1")
    assert target.read_bytes() == b"1"


def test_a_relative_path_is_sought_in_the_working_directory_then_beside_the_prototxt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nets, work = tmp_path / "nets", tmp_path / "work"
    nets.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    prototxt = str(nets / "net.prototxt")
    assert files.resolve("list.txt", prototxt) == "list.txt"
    (nets / "list.txt").touch()
    assert files.resolve("list.txt", prototxt) == str(nets / "list.txt")
    assert files.resolve("list.txt", None) == "list.txt"
    (work / "list.txt").touch()
    assert files.resolve("list.txt", prototxt) == "list.txt"
    assert files.resolve("/nowhere/list.txt", prototxt) == "/nowhere/list.txt"
