"""The documents say what is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from proto2torch.cli import COMMANDS

ROOT = Path(__file__).parents[2]


def test_the_table_of_layers_belongs_to_the_registry() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/build-docs", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = re.findall(r"^\| `proto2torch ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(set(rows)) == sorted(COMMANDS)


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
