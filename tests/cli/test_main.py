"""The command's outer shell: what it imports, how it answers, and how every error ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import proto2torch
from proto2torch.cli import COMMANDS, group, main
from proto2torch.errors import RunError, WeightsError, Where

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "numpy", "scipy", "google.protobuf", "h5py", "lmdb", "safetensors"}

LOADED = """
import atexit, json, sys
atexit.register(lambda: print("LOADED " + json.dumps(sorted(sys.modules)), file=sys.stderr))
from proto2torch.cli import main
main(prog_name="proto2torch")
"""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "proto2torch", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=120,
    )


def loaded(*arguments: str, **environment: str) -> tuple[set[str], str]:
    """The modules that the command has imported when it ends, and its stdout."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        timeout=120,
    )
    listing = next(line for line in done.stderr.splitlines() if line.startswith("LOADED "))
    return set(json.loads(listing.removeprefix("LOADED "))), done.stdout


@pytest.fixture
def raising(monkeypatch: pytest.MonkeyPatch):
    """Call a command, `fails`, that raises the given error."""

    def call(error: BaseException, *arguments: str):
        @click.command()
        def fails() -> None:
            raise error

        monkeypatch.setattr(group, "import_module", lambda name: type("module", (), {"fails": fails}))
        monkeypatch.setitem(main.table, "fails", ("anywhere:fails", "It fails."))
        return CliRunner().invoke(main, arguments or ["fails"])

    return call


# What is imported


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_and_version_import_nothing_heavy(arguments: list[str]) -> None:
    modules, stdout = loaded(*arguments)
    assert stdout
    assert not modules & HEAVY


def test_the_listing_imports_no_command() -> None:
    modules, stdout = loaded("--help")
    assert all(name in stdout for name in COMMANDS)
    assert not {f"proto2torch.cli.{name}" for name in COMMANDS} & modules


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("proto2torch tr", ["train"]),
        ("proto2torch convert m", ["mnist"]),
        ("proto2torch export --form", ["--format"]),
        ("proto2torch --ver", ["--version"]),
    ],
)
def test_completion(words: str, expected: list[str]) -> None:
    number = str(len(words.split()) - 1)
    modules, stdout = loaded(_PROTO2TORCH_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=number)
    assert [line.split(",")[1] for line in stdout.splitlines()] == expected
    assert not modules & HEAVY


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, proto2torch; dir(proto2torch); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert not set(done.stdout.split()) & HEAVY


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]])
def test_answers_within_a_third_of_a_second(arguments: list[str]) -> None:
    def once() -> float:
        start = time.perf_counter()
        assert run(*arguments).returncode == 0
        return time.perf_counter() - start

    assert min(once() for _ in range(5)) < 0.3


# The package


def test_exports_what_the_interface_names() -> None:
    assert set(proto2torch.__all__) == {
        "Preprocessor", "Proto2TorchError", "Solver", "__version__", "data", "load", "read_blob", "read_weights",
        "verify",
    }  # fmt: skip
    for name in proto2torch.__all__:
        assert getattr(proto2torch, name)
        assert name in dir(proto2torch)
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = proto2torch.lode


def test_the_version_is_that_of_the_packaging() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert proto2torch.__version__ == version
    assert run("--version").stdout == f"proto2torch {version}\n"


# Usage


def test_every_command_explains_itself_with_an_example() -> None:
    for name, (_, short) in COMMANDS.items():
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0
        assert f"proto2torch {name}" in result.stdout.split("Example:")[1]
        assert short.endswith(".")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "error: there is no command 'trian'; did you mean 'train'?"),
        (["convert", "mnits"], "error: there is no command 'mnits'; did you mean 'mnist'?"),
        (["xyzzy"], "error: there is no command 'xyzzy'\n"),
        (["devices", "--jsn"], "--json"),
        (["test", "net.prototxt"], "--weights"),
        (["train"], "SOLVER"),
        (["export", "net.prototxt", "--phase", "BOTH"], "'BOTH'"),
        (["test", "n.prototxt", "--weights", "w", "--iterations", "0"], "0 is not in the range"),
    ],
)
def test_wrong_usage_is_said_and_ends_with_2(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


# How errors end


def test_a_users_error_is_printed_without_a_traceback(raising) -> None:
    result = raising(WeightsError("it is cut short", where=Where(file="w.caffemodel"), hint="copy it again"))
    assert result.exit_code == 2
    assert result.stderr == "error: w.caffemodel: it is cut short\n  copy it again\n"


def test_work_that_failed_ends_with_1(raising) -> None:
    result = raising(RunError("the loss is not finite"))
    assert result.exit_code == 1
    assert result.stderr == "error: the loss is not finite\n"


def test_an_error_of_our_own_is_one_line(raising) -> None:
    result = raising(ZeroDivisionError("over\nnothing"))
    assert result.exit_code == 1
    assert result.stderr == "internal error: ZeroDivisionError: over nothing (run again with --debug)\n"


def test_an_end_of_file_is_no_interrupt(raising) -> None:
    assert raising(EOFError("cut short")).exit_code == 1


@pytest.mark.parametrize("arguments", [["--debug", "fails"], ["fails", "--debug"]])
def test_debug_shows_the_traceback_wherever_it_stands(raising, arguments: list[str]) -> None:
    result = raising(RunError("the loss is not finite"), *arguments)
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: the loss is not finite\n")


def test_an_interrupt_ends_with_130(raising) -> None:
    result = raising(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr.strip() == "interrupted"


def test_memory_that_does_not_suffice_is_said(raising) -> None:
    result = raising(MemoryError())
    assert result.exit_code == 1
    assert result.stderr == "error: out of memory.\n"


@pytest.mark.parametrize("arguments", [["devices"], ["--help"]])
def test_a_reader_that_goes_away_leaves_no_traceback(arguments: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        command = [sys.executable, "-m", "proto2torch", *arguments]
        done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=120)
    finally:
        os.close(writer)
    assert done.returncode == 1
    assert done.stderr == ""


@pytest.mark.parametrize("arguments", [["devices"], ["--help"]])
def test_a_full_disk_behind_stdout_is_said(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "proto2torch", *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == 1
    assert done.stderr == "error: no space left on device\n"
