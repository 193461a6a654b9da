"""Whatever is wrong with a file is one clear error: its name, what was expected, exit status 2 (1 where the work had
begun), no traceback, nothing half written.
"""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests/golden/data"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2

DATA_LAYER = """
layer {{ name: "data" type: "Data" top: "data" top: "label" data_param {{ source: "{}" batch_size: 2 backend: LMDB }} }}
layer {{ name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param {{ num_output: 2 }} }}
"""
INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'


def run(folder: Path, *arguments: str, before: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, in `folder`."""
    return subprocess.run(
        [sys.executable, "-m", "proto2torch", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=before,
        timeout=120,
    )


def refused(done: subprocess.CompletedProcess[str], *messages: str, status: int = 2) -> None:
    """The command said why and nothing else."""
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    for message in messages:
        assert message in done.stderr


def bound_by_permissions() -> None:
    """In the child: let file permissions hold for root too."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


# Files that cannot be read


@pytest.mark.parametrize("command", [["train"], ["export"], ["test", "--weights", "w.caffemodel"]])
@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("missing.prototxt", None, "no such file or directory"),
        ("empty.prototxt", b"", "it is empty"),
        ("blank.prototxt", b" \n# nothing\n", "blank.prototxt"),
        ("folder", "folder", "is a directory"),
        ("image.prototxt", b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "image.prototxt"),
        ("cut.prototxt", b'name: "a"\nlayer { name: "b', "cut.prototxt:2"),
    ],
)
def test_a_prototxt(tmp_path: Path, command: list[str], name: str, contents: bytes | str | None, message: str) -> None:
    if contents == "folder":
        (tmp_path / name).mkdir()
    elif isinstance(contents, bytes):
        (tmp_path / name).write_bytes(contents)
    before = sorted(os.listdir(tmp_path))
    done = run(tmp_path, command[0], name, *command[1:])
    refused(done, f"{name}", message)
    assert done.stdout == ""
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("command", [["train"], ["export"]])
def test_a_prototxt_without_read_permission(tmp_path: Path, command: list[str]) -> None:
    path = tmp_path / "secret.prototxt"
    path.write_text(INPUT)
    path.chmod(0)
    refused(run(tmp_path, *command, path.name, before=bound_by_permissions), "secret.prototxt", "permission denied")


@pytest.mark.parametrize(
    ("name", "contents", "message"),
    [
        ("missing.caffemodel", None, "no such file or directory"),
        ("empty.caffemodel", b"", "empty"),
        ("text.caffemodel", b"these are no weights\n", "text.caffemodel"),
        ("cut.caffemodel", "cut", "cut short"),
    ],
)
def test_weights(tmp_path: Path, name: str, contents: bytes | str | None, message: str) -> None:
    if contents == "cut":
        (tmp_path / name).write_bytes((DATA / "tools/net.caffemodel").read_bytes()[:-100])
    elif isinstance(contents, bytes):
        (tmp_path / name).write_bytes(contents)
    done = run(tmp_path, "test", str(DATA / "tools/net.prototxt"), "--weights", name)
    refused(done, name, message)


def test_weights_of_another_shape(tmp_path: Path) -> None:
    net = (DATA / "tools/net.prototxt").read_text().replace("num_output: 5 ", "num_output: 6 ")
    net = net.replace('"lmdb_raw"', f'"{DATA}/tools/lmdb_raw"').replace('"mean.bin', f'"{DATA}/tools/mean.bin')
    (tmp_path / "net.prototxt").write_text(net)
    done = run(tmp_path, "test", "net.prototxt", "--weights", str(DATA / "tools/net.caffemodel"))
    refused(done, "net.caffemodel", "  conv   5x3x5x5 + 5  6x3x5x5 + 6", "another shape")


# Nets that cannot be


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        (
            'layer { name: "r" type: "ReLU" bottom: "dat" top: "r" }',
            ["net.prototxt:2", "'dat'", "did you mean 'data'?"],
        ),
        (
            'layer { name: "a" type: "ReLU" bottom: "data" top: "x" }\n'
            'layer { name: "b" type: "ReLU" bottom: "data" top: "x" }',
            ["net.prototxt:3", "layer 'b'", "'x'"],
        ),
        (
            'layer { name: "c" type: "Convolution" bottom: "data" top: "c" '
            "convolution_param { num_output: 1 kernel_size: 9 } }",
            ["net.prototxt:2", "layer 'c' (Convolution)"],
        ),
        ('layer { name: "c" type: "Convolushun" bottom: "data" top: "c" }', ["net.prototxt:2", "'Convolution'"]),
        (
            'layer { name: "p" type: "Pooling" bottom: "data" top: "p" pooling_param { pol: MAX } }',
            ["net.prototxt:2", "PoolingParameter has no field 'pol'", "did you mean 'pool'?"],
        ),
    ],
)
def test_a_net(tmp_path: Path, text: str, messages: list[str]) -> None:
    (tmp_path / "net.prototxt").write_text(INPUT + text + "\n")
    done = run(tmp_path, "export", "net.prototxt", "-o", "model.py")
    refused(done, *messages)
    assert os.listdir(tmp_path) == ["net.prototxt"]


def test_all_problems_are_shown(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(INPUT + "nane: 'x'\nlayer { tipe: 'ReLU' }\n")
    done = run(tmp_path, "export", "net.prototxt")
    refused(done, "net.prototxt:2:1", "net.prototxt:3:9", "2 problems")


# Databases


@pytest.mark.parametrize("command", [["export", "net.prototxt"], ["train", "solver.prototxt"]])
@pytest.mark.parametrize("kind", ["absent", "empty folder", "garbage", "file"])
def test_a_database(tmp_path: Path, command: list[str], kind: str) -> None:
    source = tmp_path / "some_lmdb"
    if kind == "file":
        source.write_bytes(b"no database")
    elif kind != "absent":
        source.mkdir()
    if kind == "garbage":
        (source / "data.mdb").write_bytes(os.urandom(8192))
    (tmp_path / "net.prototxt").write_text(DATA_LAYER.format("some_lmdb"))
    (tmp_path / "solver.prototxt").write_text('net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 1\n')
    before = sorted(os.listdir(tmp_path))
    refused(run(tmp_path, *command), "some_lmdb")
    assert sorted(os.listdir(tmp_path)) == before


# Disks


def small_files() -> None:
    """In the child: no file may grow beyond 2,000 bytes, as on a disk that is full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))


def test_a_snapshot_that_cannot_be_written(tmp_path: Path) -> None:
    for name in ("solver.prototxt", "train.prototxt", "train.h5", "train_h5.txt"):
        shutil.copy(DATA / "solvers/00-SGD-fixed" / name, tmp_path)
    before = sorted(os.listdir(tmp_path))
    done = run(tmp_path, "train", "solver.prototxt", "--set", "display=0", before=small_files)
    refused(done, "snap_iter_10.caffemodel: cannot write it", status=1)
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "snap_run"])


def test_a_record_of_figures_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    for name in ("solver.prototxt", "train.prototxt", "train.h5", "train_h5.txt"):
        shutil.copy(DATA / "solvers/00-SGD-fixed" / name, tmp_path)
    done = run(tmp_path, "train", "solver.prototxt", "--set", "snapshot=0", "--max-iter", "500", before=small_files)
    refused(done, "snap_run/log.csv: cannot write it: file too large", status=1)


def test_a_folder_for_snapshots_that_is_not_there_is_said_before_the_work(tmp_path: Path) -> None:
    for name in ("solver.prototxt", "train.prototxt", "train.h5", "train_h5.txt"):
        shutil.copy(DATA / "solvers/00-SGD-fixed" / name, tmp_path)
    done = run(tmp_path, "train", "solver.prototxt", "--set", "snapshot_prefix=nowhere/snap")
    refused(done, "nowhere/snap", "mkdir -p nowhere")
    assert "Iteration" not in done.stderr


def test_a_database_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    digits = ROOT / "examples/digits"
    files = [str(digits / f"t10k-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
    done = run(tmp_path, "convert", "mnist", *files, "db", before=small_files)
    refused(done, "db", "cannot write", status=1)
    assert os.listdir(tmp_path) == []


# Names that are no identifiers

NAMES = ["conv1/7x7_s2", "class", "1", "fc-8", "x; import os", "quo'te\"s\nand lines", "fc_8", "self", "torch", "ü"]


def test_odd_layer_names_never_become_code(tmp_path: Path) -> None:
    lines, bottom = [INPUT], "data"
    for name in NAMES:
        quoted = '"' + name.replace('"', '\\"').replace("\n", "\\n") + '"'
        lines.append(
            f'layer {{ name: {quoted} type: "Convolution" bottom: "{bottom}" top: {quoted}'
            " convolution_param { num_output: 3 kernel_size: 1 } }\n"
        )
        bottom = quoted[1:-1]
    (tmp_path / "net.prototxt").write_text("".join(lines))
    done = run(tmp_path, "export", "net.prototxt")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("= nn.Conv2d(") == len(NAMES)
    code = compile(done.stdout, "model.py", "exec")
    assert "os" not in code.co_names
    namespace: dict[str, object] = {}
    exec(code, namespace)
    (model,) = (v for v in namespace.values() if isinstance(v, type) and issubclass(v, torch.nn.Module))
    assert model()(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
