"""scripts/kill-test in its short form: a few random moments, both formats."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_no_snapshot_is_broken_by_a_kill():
    command = [sys.executable, str(ROOT / "scripts/kill-test"), "--moments", "16", "--every", "0"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["BINARYPROTO", "HDF5"]
    for line in lines:
        kills, some = map(int, re.findall(r"(\d+) (?:kills|with a complete)", line))
        assert kills == 8 and some >= 1 and "broken: 0" in line, line
