"""The documents say what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proto2torch.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]


def test_the_table_of_layers_belongs_to_the_registry() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/build-docs", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = re.findall(r"^\| `proto2torch ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(set(rows)) == sorted(COMMANDS)


def test_what_the_readme_shows_of_the_demo_is_what_export_prints() -> None:
    text = (ROOT / "README.md").read_text()
    shown = text.partition("export examples/digits/lenet_train_test.prototxt > demo-output/model.py\n")[2].partition(
        "```"
    )[0]
    net = str(ROOT / "examples/digits/lenet_train_test.prototxt")
    done = CliRunner().invoke(main, ["export", net, "--shape", "data=60,1,28,28"])  # its database may not be there yet
    assert done.exit_code == 0
    parts = shown.split("...\n")
    assert len(parts) == 2
    assert done.stdout.startswith(parts[0])
    assert done.stdout.endswith(parts[1])


def test_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document}: {link}"


def test_training_in_python_runs_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = tmp_path / "case"
    shutil.copytree(ROOT / "tests/golden/data/solvers/00-SGD-fixed", case, ignore=shutil.ignore_patterns("snap_*"))
    monkeypatch.chdir(case)
    known: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/training.md").read_text(), re.DOTALL)
    for block in blocks:
        exec(block, known)
    assert len(blocks) == 4
    assert capsys.readouterr().out.startswith("0 train {'smoothed_loss': 1.54")
    assert sorted(path.name for path in case.glob("snap_iter_*.solverstate")) == [
        "snap_iter_10.solverstate",
        "snap_iter_20.solverstate",
    ]
    assert (case / "log.jsonl").is_file() and (case / "snap_run/log.csv").is_file()
