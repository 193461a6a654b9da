"""`export --format prototxt`: the newest format, which means the same net, with the shapes of tops where asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from proto2torch.cli import main
from proto2torch.codegen.formats import prototxt
from proto2torch.prototxt import upgrade
from proto2torch.prototxt.read import read_net

from .nets import SMALL

NETS = Path(__file__).parents[1] / "golden" / "data" / "nets"


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


@pytest.mark.parametrize("path", sorted(NETS.glob("*-0.prototxt")), ids=lambda p: p.stem)
def test_what_is_written_is_the_same_net(path: Path) -> None:
    definition = read_net(str(path))
    text = prototxt.write(definition)
    again = read_net(text=text)
    assert upgrade.message(again) == upgrade.message(definition)
    assert prototxt.write(again) == text


def test_old_formats_become_the_newest(tmp_path: Path) -> None:
    done = export(str(NETS / "v0-padding-0.prototxt"), "--format", "prototxt")
    assert done.exit_code == 0, done.stderr
    assert "layers" not in done.stdout and 'type: "Convolution"' in done.stdout


def test_shapes_stand_above_their_layers(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(SMALL)
    plain = export(str(tmp_path / "net.prototxt"), "--format", "prototxt").stdout
    shown = export(str(tmp_path / "net.prototxt"), "--shapes", "-o", str(tmp_path / "out.prototxt"))
    assert shown.exit_code == 0, shown.stderr
    text = (tmp_path / "out.prototxt").read_text()
    assert "".join(line for line in text.splitlines(True) if not line.startswith("#")) == plain
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# data (1, 3, 8, 8)",
        "# conv (1, 4, 6, 6)",
        "# conv (1, 4, 6, 6)",
        "# conv (1, 4, 6, 6)",
        "# fc (1, 5)",
    ]
    assert '# fc (1, 5)\nlayer {\n  name: "fc"\n' in text


def test_layers_of_the_other_phase_stay_without_shapes(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        SMALL + 'layer { name: "loss" type: "Reduction" bottom: "fc" top: "loss" include { phase: TRAIN } }'
    )
    for phase, shaped in (("TEST", False), ("TRAIN", True)):
        done = export(str(path), "--format", "prototxt", "--shapes", "--phase", phase)
        assert done.exit_code == 0, done.stderr
        assert 'name: "loss"' in done.stdout
        assert ("# loss ()" in done.stdout) == shaped


def test_a_name_does_not_leave_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text('layer { name: "i" type: "Input" top: "a\\nlayer { }" input_param { shape { dim: 2 } } }')
    done = export(str(path), "--format", "prototxt", "--shapes")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith("# a?layer { } (2,)\nlayer {\n")
