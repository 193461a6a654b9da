"""The exported files that docs/export.md shows are what `export` writes today.

Run as a script, this file writes them anew: python tests/codegen/test_exported.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from proto2torch.cli import main as command

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT.parent / "shared" / "zoo"
FOLDER = ROOT / "docs" / "exported"

NETS = {
    "lenet.py": ROOT / "examples/mnist/lenet.prototxt",
    "googlenet.py": ZOO / "BVLC+caffe/models/bvlc_googlenet/deploy.prototxt",
    "resnet50.py": ZOO / "KaimingHe+deep-residual-networks/prototxt/ResNet-50-deploy.prototxt",
}


def exported(net: Path) -> str:
    """What `proto2torch export` prints of a net."""
    done = CliRunner().invoke(command, ["export", str(net), "--no-check"])
    assert done.exit_code == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NETS)
def test_the_example_is_current(name: str) -> None:
    if not NETS[name].is_file():
        pytest.skip("../shared/zoo, with the published prototxts, is absent")
    same = (FOLDER / name).read_text(encoding="utf-8") == exported(NETS[name])
    assert same, f"docs/exported/{name} is stale: python {Path(__file__).relative_to(ROOT)}"


def test_every_example_is_named_in_the_docs() -> None:
    text = (ROOT / "docs/export.md").read_text(encoding="utf-8")
    assert {path.name for path in FOLDER.glob("*.py")} == set(NETS)
    assert all(f"(exported/{name})" in text for name in NETS)


def test_lenets_is_in_the_docs_as_it_is() -> None:
    assert f"```python\n{exported(NETS['lenet.py'])}```\n" in (ROOT / "docs/export.md").read_text(encoding="utf-8")


def test_the_examples_pass_ruff() -> None:
    for check in (["check", "--isolated"], ["format", "--isolated", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *check, str(FOLDER)], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def write() -> None:
    """Write the examples anew, and LeNet into the docs."""
    for name, net in NETS.items():
        if net.is_file():
            (FOLDER / name).write_text(exported(net), encoding="utf-8")
    page = ROOT / "docs/export.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("```python\n")
    _, _, behind = rest.partition("```\n")
    page.write_text(f"{before}```python\n{exported(NETS['lenet.py'])}```\n{behind}", encoding="utf-8")


if __name__ == "__main__":
    write()
