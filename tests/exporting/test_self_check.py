"""The self-check: what is the same passes, what differs by a hair does not, and the file runs on its own."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

import proto2torch as p2t
from proto2torch.cli import main
from proto2torch.codegen.source import Source, generate
from proto2torch.errors import RunError
from proto2torch.exporting import self_check
from proto2torch.exporting.job import Job

from .nets import INPUT, SMALL, written


def job(folder: Path, text: str = SMALL, phase: str = "TEST") -> Job:
    return Job(written(folder, text)[0], phase)


def changed(source: Source, before: str, after: str) -> Source:
    assert before in source.text
    return replace(source, text=source.text.replace(before, after))


def export(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["export", *arguments])


def test_another_computation_is_refused_with_its_difference(tmp_path: Path) -> None:
    made = job(tmp_path)
    wrong = changed(made.source(), "return self.fc(", "return 1.01 * self.fc(")
    with pytest.raises(RunError, match=r"'fc' differs by [0-9.e-]+, and at most 1e-05 passes"):
        self_check.check(made.net(), wrong)


def test_a_file_that_needs_proto2torch_is_refused(tmp_path: Path) -> None:
    made = job(tmp_path)
    hidden = changed(made.source(), "from torch import nn", "from torch import nn\n__import__('proto2torch')")
    with pytest.raises(RunError, match="an exported file stands alone, and this one imports proto2torch"):
        self_check.check(made.net(), hidden)


def test_what_training_gathers_is_put_back(tmp_path: Path) -> None:
    loss = 'layer { name: "l" type: "Reduction" bottom: "fc" top: "l" loss_weight: 1 }'
    drop = 'layer { name: "d" type: "Dropout" bottom: "fc" top: "fc" }'
    made = job(tmp_path, SMALL + drop + loss, "TRAIN")
    net = made.net()
    before = [blob.data.clone() for blob in net.params["bn"]]
    assert self_check.check(net, made.source()) == 0
    assert all(torch.equal(a, blob.data) for a, blob in zip(before, net.params["bn"], strict=True))


def test_a_batch_size_that_is_not_free_stays() -> None:
    text = INPUT.replace("dim: 1", "dim: 4", 1) + (
        'layer { name: "r" type: "Reshape" bottom: "data" top: "r" reshape_param { shape { dim: 4 dim: 192 } } }'
    )
    net = p2t.load(text=text)
    found = self_check.reference(net, generate(net.graph))
    assert found.inputs["data"].shape == (4, 3, 8, 8)


def test_the_difference_stands_in_the_file(tmp_path: Path) -> None:
    net, _ = written(tmp_path, SMALL)
    done = export(net)
    assert done.exit_code == 0, done.stderr
    docstring = "Small, from net.prototxt, phase TEST: data (N, 3, 8, 8) -> fc (N, 5)."
    assert done.stdout.startswith(f'"""{docstring}\n\nRun beside the net it was made of: largest difference 0.\n"""\n')


def test_what_differs_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, weights = written(tmp_path, SMALL)
    right = Job.source
    monkeypatch.setattr(Job, "source", lambda self: changed(right(self), "return ", "return 2 * "))
    done = export(net, "--weights", weights, "-o", str(tmp_path / "model.py"))
    assert done.exit_code == 1
    assert "does not compute what the net computes" in done.stderr and "--no-check" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.caffemodel", "net.prototxt"]
    assert export(net, "--no-check", "-o", str(tmp_path / "model.py")).exit_code == 0


def lines_of(text: str) -> str:
    """The two lines of a docstring that load the weights."""
    docstring = eval(text[: text.index('"""', 3) + 3])
    found = re.findall(r"^    (.+)$", docstring, re.MULTILINE)
    assert len(found) == 2
    return "\n".join(found)


@pytest.mark.parametrize("name", ["model.py", 'od"d\\ """ na\'me.py'])
def test_the_two_lines_of_the_docstring_load_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    net, weights = written(tmp_path, SMALL, scale=3.0)
    done = export(net, "--no-check", "--weights", weights, "-o", str(tmp_path / name))
    assert done.exit_code == 0, done.stderr
    monkeypatch.chdir(tmp_path)
    text = Path(name).read_text()
    namespace: dict[str, object] = {}
    exec(text, namespace)
    exec(lines_of(text), namespace)
    model = namespace["model"]
    assert isinstance(model, torch.nn.Module)
    x = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = p2t.load(net, weights)(x)["fc"]
        assert torch.equal(model.eval()(x), expected)


def test_a_state_dict_for_torch_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, weights = written(tmp_path, SMALL)
    monkeypatch.chdir(tmp_path)
    done = export(net, "--no-check", "--weights", weights, "--state-dict", "w.pt")
    assert done.exit_code == 0, done.stderr
    namespace: dict[str, object] = {}
    exec(done.stdout, namespace)
    exec(lines_of(done.stdout), namespace)
    model = namespace["model"]
    assert isinstance(model, torch.nn.Module)
    assert torch.equal(model.get_parameter("conv.weight"), p2t.load(net, weights).params["conv"][0].data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["net.caffemodel", "net.prototxt", "w.pt"]
