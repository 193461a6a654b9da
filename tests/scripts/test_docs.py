"""The documents say what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from proto2torch.cli import COMMANDS

ROOT = Path(__file__).parents[2]


def test_the_table_of_layers_belongs_to_the_registry() -> None:
    done = subprocess.run([sys.executable, ROOT / "scripts/build-docs", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_readme_names_every_command_and_no_other() -> None:
    rows = re.findall(r"^\| `proto2torch ([\w-]+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(COMMANDS)


def test_links_lead_somewhere() -> None:
    for document in [ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / link).exists(), f"{document}: {link}"
