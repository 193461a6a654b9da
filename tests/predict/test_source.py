"""What is done to a pixel, saved with an export: the module gives what the Preprocessor gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from proto2torch.cli import main
from proto2torch.errors import DataError
from proto2torch.predict import source
from proto2torch.predict.preprocess import Preprocessor
from proto2torch.prototxt.read import read_net

TOOLS = Path(__file__).parents[1] / "golden/data/tools"
TEXT = '"""A net."""\n\nimport torch\nfrom torch import nn\n\n\nclass N(nn.Module):\n    pass\n'


def built(prepare: Preprocessor, text: str = TEXT) -> torch.nn.Module:
    names: dict[str, Any] = {}
    exec(source.with_module(text, prepare), names)
    module: torch.nn.Module = names["Prepare"]()
    return module


@pytest.mark.parametrize(
    "prepare, extent, levels",
    [
        (Preprocessor((3, 20, 24), mean=(104, 117, 123), scale=0.5), (33, 41), 0),
        (Preprocessor((3, 20, 24), scale=0.00390625), (20, 24), 0),
        (Preprocessor((1, 20, 24), mean=33.3), (22, 27), 0),
        (Preprocessor((3, 20, 24)), (21, 24), 0),
        (Preprocessor((3, 20, 24), size=(20, 24), mean=(1, 2, 3)), (20, 24), 0),
        (Preprocessor((3, 20, 24), size=(32, 32), mean=(1, 2, 3)), (57, 44), 1),
        (Preprocessor((1, 20, 24), size=(64, 60)), (57, 44), 1),
        (Preprocessor((3, 20, 24), rgb=True, mean=(1, 2, 3)), (33, 41), 0),
    ],
)
def test_the_module_gives_what_the_preprocessor_gives(
    prepare: Preprocessor, extent: tuple[int, int], levels: int
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (prepare.shape[0], *extent), np.uint8)  # blue before red
    ours = built(prepare)(torch.from_numpy(pixels[::-1].copy())[None])[0].numpy()
    theirs = prepare(pixels)
    assert ours.shape == theirs.shape and ours.dtype == np.float32
    gap = np.abs(ours - theirs)
    assert gap.max() <= levels * prepare.scale
    assert (gap > 0).mean() < 0.2


def test_a_mean_image_lies_in_a_file_beside(tmp_path: Path) -> None:
    mean = np.random.default_rng(2).uniform(0, 255, (3, 32, 30)).astype(np.float32)
    prepare = Preprocessor((3, 20, 24), size=(32, 30), mean=mean)
    paths = source.write(tmp_path / "model", prepare)
    assert [path.name for path in paths] == ["model.preprocess.json", "model.preprocess.safetensors"]
    said = json.loads(paths[0].read_text())
    assert said["mean_image"] == [32, 30] and said["order"] == "BGR" and said["crop"] == [20, 24]
    assert said["steps"] == prepare.lines()
    module = built(prepare)
    module.load_state_dict(load_file(paths[1]))
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 30), np.uint8)
    ours = module(torch.from_numpy(pixels[::-1].copy())[None])[0].numpy()
    np.testing.assert_array_equal(ours, prepare(pixels))
    module, plain = built(Preprocessor((3, 4, 4))), source.write(tmp_path / "plain", Preprocessor((3, 4, 4)))
    assert [path.name for path in plain] == ["plain.preprocess.json"] and not module.state_dict()


def test_what_a_data_layer_does_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOOLS)
    prepare = source.of_net(read_net("net.prototxt"))
    assert prepare is not None
    assert source.note(prepare).startswith("Images before it, as its data layer makes them: decode to 8 bits")
    assert source.of_net(read_net(text='layer { name: "i" type: "Input" top: "d" }')) is None
    missing = """layer { name: "d" type: "Data" top: "data" top: "label" transform_param { mean_file: "nowhere" crop_size: 4 }
        data_param { source: "nowhere" batch_size: 1 } }"""
    assert source.of_net(read_net(text=missing)) is None


def test_floats_are_refused() -> None:
    with pytest.raises(DataError, match="only what a data layer does can become a module"):
        source.module(Preprocessor.of_transformer((3, 4, 4), raw_scale=255.0))


def test_export_saves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOOLS)
    model, weights = tmp_path / "model.py", TOOLS / "net.caffemodel"
    arguments = ["export", "net.prototxt", "--weights", str(weights), "-o", str(model)]
    result = CliRunner().invoke(main, [*arguments, "--with-preprocess"])
    assert result.exit_code == 0, result.output
    names: dict[str, Any] = {}
    exec(model.read_text(), names)
    assert "Images before it, as its data layer makes them: decode to 8 bits" in names["__doc__"]
    prepare = names["Prepare"]()
    kept = tmp_path / "model.preprocess.safetensors"
    if kept.exists():
        prepare.load_state_dict(load_file(kept))
    own = source.of_net(read_net("net.prototxt"))
    assert own is not None
    pixels = np.random.default_rng(3).integers(0, 256, (3, *(own.size or own.shape[1:])), np.uint8)
    theirs = own(pixels)
    np.testing.assert_array_equal(prepare(torch.from_numpy(pixels[::-1].copy())[None])[0].numpy(), theirs)
    assert json.loads((tmp_path / "model.preprocess.json").read_text())["steps"] == own.lines()
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert "class Prepare" not in model.read_text() and "Images before it" in model.read_text()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["net.prototxt"], "give -o FILE"),
        (["net.prototxt", "-o", "x.prototxt"], "another format than prototxt"),
        (["net.prototxt", "-o", "x.py", "--phase", "TRAIN"], "no data layer says what is done to an image"),
    ],
)
def test_export_refuses_what_cannot_be(arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOOLS)
    result = CliRunner().invoke(main, ["export", *arguments, "--with-preprocess"])
    assert result.exit_code == 2 and message in result.output
    assert not (TOOLS / "x.py").exists()
