"""Pictures as files: by graphviz, of which a stand-in may be enough, and without it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from proto2torch.cli import main

from .nets import MNIST, hostile

LENET = str(MNIST / "lenet.prototxt")

STAND_IN = """\
#!{python}
import sys
text, output = sys.stdin.read(), sys.argv[sys.argv.index("-o") + 1]
if "break it" in text:
    sys.exit("Error: syntax error in line 1")
open(output, "w").write(sys.argv[1] + "\\n" + text)
print("Warning: it is only a stand-in", file=sys.stderr)
"""


def draw(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["draw", *arguments])


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program `dot` that writes what it was told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "dot"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    return tmp_path


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_graphviz_gets_the_text_and_writes_the_file(kind: str, stand_in: Path) -> None:
    output = stand_in / f"net.{kind}"
    done = draw(LENET, "-o", str(output), "--rankdir", "LR")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines() == ["Warning: it is only a stand-in", f"{output}: written"]
    first, text = output.read_text().split("\n", 1)
    assert first == f"-T{kind}"
    assert text.startswith("digraph net {")
    assert "rankdir=LR" in text


def test_where_graphviz_fails_nothing_is_written(stand_in: Path) -> None:
    (stand_in / "net.prototxt").write_text('name: "break it" ' + Path(LENET).read_text().replace('name: "LeNet"', ""))
    done = draw(str(stand_in / "net.prototxt"), "-o", str(stand_in / "net.svg"))
    assert done.exit_code == 1
    assert "graphviz failed. Received: Error: syntax error in line 1" in done.stderr
    assert sorted(os.listdir(stand_in)) == ["bin", "net.prototxt"]


def test_without_graphviz_one_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    done = draw(LENET, "-o", str(tmp_path / "net.svg"))
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "dot is not installed" in line
    assert "apt install graphviz" in line
    assert "-o net.html" in line
    assert os.listdir(tmp_path) == []
    for kind in ("html", "dot"):
        assert draw(LENET, "-o", str(tmp_path / f"net.{kind}")).exit_code == 0


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz, which draws the pictures, is not installed")
def test_graphviz_itself_takes_hostile_names(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(hostile())
    for kind in ("svg", "png"):
        done = draw(str(tmp_path / "net.prototxt"), "-o", str(tmp_path / f"net.{kind}"))
        assert done.exit_code == 0, done.stderr
        assert "rror" not in done.stderr
    svg = (tmp_path / "net.svg").read_text()
    assert "<script" not in svg
    assert "<img" not in svg
    assert "&lt;/script&gt;" in svg
    with Image.open(tmp_path / "net.png") as picture:
        assert min(picture.size) > 100


def test_folded_draws_blocks_as_boxes(tmp_path: Path) -> None:
    layers = [
        'name: "rows" layer { name: "in" type: "Input" top: "x0" input_param { shape { dim: 1 dim: 8 dim: 9 dim: 9 } } }'
    ]
    for i in range(4):
        x, y = f"x{i}", f"x{i + 1}"
        conv = "convolution_param { num_output: 8 kernel_size: 3 pad: 1 }"
        for a, b in ((x, f"a{i}"), (f"a{i}", f"b{i}"), (f"b{i}", f"c{i}")):
            layers.append(f'layer {{ name: "block{i}/{b[0]}" type: "Convolution" bottom: "{a}" top: "{b}" {conv} }}')
        layers.append(f'layer {{ name: "block{i}/sum" type: "Eltwise" bottom: "{x}" bottom: "c{i}" top: "{y}" }}')
    (tmp_path / "net.prototxt").write_text("\n".join(layers))
    for name, boxes, clusters in (("whole", 17, 5), ("folded", 2, 0)):
        output = tmp_path / f"{name}.dot"
        done = draw(str(tmp_path / "net.prototxt"), "-o", str(output), *["--folded"] * (name == "folded"))
        assert done.exit_code == 0, done.stderr
        assert (output.read_text().count("<table"), output.read_text().count("subgraph")) == (boxes, clusters)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((LENET, "-o", "net.jpeg"), "the ending of a picture must be one of svg, png, pdf, dot, html. Received: jpeg"),
        ((LENET, "-o", "net"), "Received: none"),
        ((LENET, "-o", "no_such_folder/net.html"), "no_such_folder/net.html: cannot write it"),
        ((LENET,), "Missing option '-o'"),
        ((LENET, "-o", "net.html", "--rankdir", "UP"), "'UP' is not one of"),
        (("no.prototxt", "-o", "net.html"), "no.prototxt: cannot read it"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = draw(*arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert os.listdir(tmp_path) == []


def test_torch_is_not_imported(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom proto2torch.cli import main\n"
        f"main(['draw', {LENET!r}, '-o', 'net.html'], standalone_mode=False)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
