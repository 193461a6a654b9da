"""`--memory-format` and `--plain`: what `export` prints and `show` says."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from proto2torch.cli import main

ROOT = Path(__file__).parents[2]
LENET = str(ROOT / "examples/mnist/lenet.prototxt")
LINE = "data = data.to(memory_format=torch.channels_last)"


@pytest.mark.parametrize(("asked", "laid"), [("auto", True), ("channels_last", True), ("contiguous", False)])
def test_the_memory_format_is_what_export_prints_and_show_says(asked: str, laid: bool) -> None:
    printed = CliRunner().invoke(main, ["export", LENET, "--no-check", "--memory-format", asked])
    shown = CliRunner().invoke(main, ["show", LENET, "--memory-format", asked])
    assert (printed.exit_code, shown.exit_code) == (0, 0), printed.stderr + shown.stderr
    assert (LINE in printed.stdout) == laid
    assert f"memory format  {'channels_last' if laid else 'contiguous'}\n" in shown.stdout


def test_another_memory_format_is_refused() -> None:
    done = CliRunner().invoke(main, ["export", LENET, "--memory-format", "nhwc"])
    assert done.exit_code == 2
    assert "'nhwc' is not one of 'auto', 'channels_last', 'contiguous'" in done.stderr


def test_a_command_leaves_no_style_behind() -> None:
    CliRunner().invoke(main, ["export", LENET, "--no-check", "--memory-format", "contiguous"])
    assert LINE in CliRunner().invoke(main, ["export", LENET, "--no-check"]).stdout


def test_plain_source_has_no_class_of_ours(tmp_path: Path) -> None:
    net = tmp_path / "net.prototxt"
    net.write_text(
        'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 6 dim: 5 dim: 5 } } }\n'
        'layer { name: "norm" type: "LRN" bottom: "data" top: "norm" }\n'
    )
    done = CliRunner().invoke(main, ["export", str(net), "--no-check", "--plain"])
    assert done.exit_code == 0, done.stderr
    assert "nn.LocalResponseNorm(5, alpha=1)" in done.stdout
    assert done.stdout.count("class ") == 1
