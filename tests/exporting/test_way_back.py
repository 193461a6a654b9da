"""Weights of exported modules, back in the net: bit for bit, whichever way it was exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file, save_file

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.errors import WeightsError

from .nets import SHARED, SMALL, repeated, written


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def exported(folder: Path, text: str, *options: str, scale: float = 1.0) -> tuple[str, str, str]:
    """The paths of a prototxt, of its caffemodel, and of the safetensors beside the exported file."""
    net, weights = written(folder, text, scale)
    done = run("export", net, "--no-check", "--weights", weights, "-o", str(folder / "model.py"), *options)
    assert done.exit_code == 0, done.stderr
    return net, weights, str(folder / "model.safetensors")


@pytest.mark.parametrize("text", [SMALL, SHARED, repeated()], ids=["small", "shared", "repeated"])
@pytest.mark.parametrize("options", [[], ["--flat"], ["--phase", "TRAIN"]], ids=["folded", "flat", "train"])
def test_a_caffemodel_comes_back_byte_for_byte(tmp_path: Path, text: str, options: list[str]) -> None:
    net, weights, state = exported(tmp_path, text, *options)
    new = tmp_path / "new.caffemodel"
    done = run("import-weights", state, net, "-o", str(new), *options[options.count("--flat") :])
    assert done.exit_code == 0, done.stderr
    before, after = p2t.read_weights(weights), p2t.read_weights(str(new))
    assert before.keys() == after.keys()
    assert all(a.tobytes() == b.tobytes() for layer in before for a, b in zip(before[layer], after[layer], strict=True))


def test_the_phase_need_not_be_named(tmp_path: Path) -> None:
    net, weights, state = exported(tmp_path, SMALL, "--phase", "TRAIN", scale=7.0)
    new = str(tmp_path / "new.caffemodel")
    done = run("import-weights", state, net, "-o", new)
    assert done.exit_code == 0, done.stderr
    assert p2t.read_weights(new)["bn"][2].tolist() == [7.0]
    assert p2t.read_weights(new)["bn"][0].tobytes() == p2t.read_weights(weights)["bn"][0].tobytes()


def test_the_scale_of_statistics_becomes_one_and_the_net_computes_the_same(tmp_path: Path) -> None:
    net, weights, state = exported(tmp_path, SMALL, scale=999.98)
    new = str(tmp_path / "new.caffemodel")
    assert run("import-weights", state, net, "-o", new).exit_code == 0
    stored, module = p2t.read_weights(new)["bn"], load_file(state)
    assert stored[0].tobytes() == module["bn.running_mean"].numpy().tobytes()
    assert stored[1].tobytes() == module["bn.running_var"].numpy().tobytes()
    assert stored[2].tolist() == [1.0]
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(p2t.load(net, new)(x)["fc"], p2t.load(net, weights)(x)["fc"])


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s, "epoch": 3}], ids=["alone", "nested"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_what_torch_saves(tmp_path: Path, wrap: object, prefix: str) -> None:
    net, weights, state = exported(tmp_path, SMALL)
    assert callable(wrap)
    torch.save(wrap({prefix + key: value for key, value in load_file(state).items()}), tmp_path / "w.pt")
    new = str(tmp_path / "new.caffemodel")
    done = run("import-weights", str(tmp_path / "w.pt"), net, "-o", new)
    assert done.exit_code == 0, done.stderr
    assert p2t.read_weights(new)["conv"][0].tobytes() == p2t.read_weights(weights)["conv"][0].tobytes()


def refused(folder: Path, net: str, state: dict[str, torch.Tensor]) -> str:
    save_file(state, folder / "odd.safetensors")
    done = run("import-weights", str(folder / "odd.safetensors"), net, "-o", str(folder / "new.caffemodel"))
    assert done.exit_code == 2
    assert not (folder / "new.caffemodel").exists()
    return done.stderr


def test_keys_that_do_not_fit_are_named_with_what_was_meant(tmp_path: Path) -> None:
    net, _, file = exported(tmp_path, SMALL)
    state = load_file(file)
    state["conv.wieght"] = state.pop("conv.weight")
    said = refused(tmp_path, net, state)
    assert "it has no 'conv.weight'" in said
    assert "the net has no 'conv.wieght'; did you mean 'conv.weight'?" in said


def test_another_shape_is_named(tmp_path: Path) -> None:
    net, _, file = exported(tmp_path, SMALL)
    state = load_file(file) | {"fc.bias": torch.zeros(7)}
    assert "'fc.bias' has shape (7,) in the file and (5,) in the net" in refused(tmp_path, net, state)


def test_nothing_is_loaded_where_one_key_is_odd(tmp_path: Path) -> None:
    path, _, file = exported(tmp_path, SMALL)
    save_file(load_file(file) | {"odd": torch.zeros(1)}, tmp_path / "odd.safetensors")
    net = p2t.load(path)
    before = net.params["conv"][0].data.clone()
    with pytest.raises(WeightsError, match="the net has no 'odd'"):
        net.load_weights(tmp_path / "odd.safetensors")
    assert torch.equal(net.params["conv"][0].data, before)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "expected a state_dict as torch.save writes it"),
        (b"layer {}", "expected a state_dict as torch.save writes it"),
        (None, "cannot read it: no such file or directory"),
    ],
)
def test_what_is_no_state_dict(tmp_path: Path, content: bytes | None, says: str) -> None:
    net, _ = written(tmp_path, SMALL)
    if content is not None:
        (tmp_path / "w.pt").write_bytes(content)
    done = run("import-weights", str(tmp_path / "w.pt"), net, "-o", str(tmp_path / "new.caffemodel"))
    assert done.exit_code == 2
    assert says in done.stderr


def test_a_module_that_was_saved_whole_is_not_run(tmp_path: Path) -> None:
    net, _ = written(tmp_path, SMALL)
    torch.save(torch.nn.Linear(1, 1), tmp_path / "w.pt")
    done = run("import-weights", str(tmp_path / "w.pt"), net, "-o", str(tmp_path / "new.caffemodel"))
    assert done.exit_code == 2
    assert "torch.save(model.state_dict(), path)" in done.stderr


def test_layers_that_the_file_lacks_are_told(tmp_path: Path) -> None:
    """What reads a label is left out of an exported file, and what lies behind it."""
    data = 'layer { name: "d" type: "DummyData" top: "x" top: "y" dummy_data_param { shape { dim: 2 dim: 3 } shape { dim: 2 } } }'
    learn = "inner_product_param { num_output: 2 }"
    text = data + f'layer {{ name: "ip" type: "InnerProduct" bottom: "x" top: "ip" {learn} }}'
    text += 'layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "y" top: "acc" top: "each" }'
    text += f'layer {{ name: "odd" type: "InnerProduct" bottom: "each" top: "odd" {learn.replace("{", "{ axis: 0")} }}'
    net, _, state = exported(tmp_path, text)
    done = run("import-weights", state, net, "-o", str(tmp_path / "new.caffemodel"))
    assert done.exit_code == 0, done.stderr
    assert "odd" in done.stderr and "left as it was" in done.stderr
