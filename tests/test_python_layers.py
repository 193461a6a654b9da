"""Python layers: refused unless allowed; their shapes, values, gradients, blobs and errors where they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import proto2torch as p2t
from proto2torch.errors import NetError, RunError, UnsupportedError

MODULE = '''
import caffe
import numpy as np


class Euclidean(caffe.Layer):
    """The example that comes with Caffe, in the words of its users."""

    def setup(self, bottom, top):
        if len(bottom) != 2:
            raise Exception("Need two inputs to compute distance.")

    def reshape(self, bottom, top):
        if bottom[0].count != bottom[1].count:
            raise Exception("Inputs must have the same dimension.")
        self.diff = np.zeros_like(bottom[0].data, dtype=np.float32)
        top[0].reshape(1)

    def forward(self, bottom, top):
        self.diff[...] = bottom[0].data - bottom[1].data
        top[0].data[...] = np.sum(self.diff**2) / bottom[0].num / 2.

    def backward(self, top, propagate_down, bottom):
        self.asked = list(propagate_down)
        for i in range(2):
            if not propagate_down[i]:
                continue
            sign = 1 if i == 0 else -1
            bottom[i].diff[...] = sign * self.diff / bottom[i].num * top[0].diff[0]


class Linear(caffe.Layer):
    def setup(self, bottom, top):
        self.size = eval(self.param_str)["size"]
        self.blobs.add_blob(self.size, bottom[0].channels)
        self.blobs[0].data[...] = 0.5

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].num, self.size)
        top[1].reshape(1)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data @ self.blobs[0].data.T
        top[1].data[...] = self.phase

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += top[0].diff.T @ bottom[0].data
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff @ self.blobs[0].data


class Images(caffe.Layer):
    """A data layer whose images have sizes of their own."""

    count = 0

    def setup(self, bottom, top):
        self.index = 0
        Images.count += 1

    def reshape(self, bottom, top):
        top[0].reshape(1, 1, 4, 4 + self.index)

    def forward(self, bottom, top):
        top[0].data[...] = self.index
        self.index += 1


class Proposals(caffe.Layer):
    """As many rows as the first bottom holds."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1, 5)

    def forward(self, bottom, top):
        top[0].reshape(int(bottom[0].data.sum()), self.width)
        top[0].data[...] = 7

    width = 5

    def backward(self, top, propagate_down, bottom):
        pass


class Counter(caffe.Layer):
    def setup(self, bottom, top):
        self.blobs.add_blob(1)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].shape)

    def forward(self, bottom, top):
        self.blobs[0].data[...] += 1
        top[0].data[...] = bottom[0].data + self.blobs[0].data


class Broken(caffe.Layer):
    def setup(self, bottom, top):
        if self.param_str == "setup":
            raise ValueError("not so")

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        if self.param_str == "forward":
            return 1 / 0
        if self.param_str == "numpy":
            np.linalg.inv(np.zeros((2, 2)))

    def backward(self, top, propagate_down, bottom):
        raise KeyError("no way back")


class Printer(caffe.Layer):
    """A sink: it has no top."""

    seen = []

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        pass

    def forward(self, bottom, top):
        self.seen.append(bottom[0].data.copy())


class NoLayer:
    pass
'''
INPUTS = 'layer { name: "in" type: "Input" top: "x" top: "y" input_param { shape { dim: 2 dim: 3 } shape { dim: 2 dim: 4 } } }'


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a fresh module of the user's, in the working directory."""
    name = f"layers_of_{os.path.basename(tmp_path).replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return name


def python(module: str, layer: str, bottoms: str = "x", tops: str = "t", more: str = "", string: str = "") -> str:
    names = [f'bottom: "{b}"' for b in bottoms.split()] + [f'top: "{t}"' for t in tops.split()]
    fields = f'module: "{module}" layer: "{layer}" param_str: "{string}"'
    return f'\nlayer {{ name: "{layer}" type: "Python" {" ".join(names)} python_param {{ {fields} }} {more} }}'


def load(text: str, phase: str = "TRAIN") -> p2t.net.Net:
    return p2t.load(text=text, phase=phase, allow_python_layers=True)


def test_it_is_refused_and_nothing_is_imported_unless_allowed(module: str) -> None:
    with pytest.raises(UnsupportedError, match="would run 'Euclidean' of the Python module") as caught:
        p2t.load(text=INPUTS + python(module, "Euclidean", "x x"))
    assert "--allow-python-layers" in str(caught.value) and caught.value.exit_status == 2
    assert caught.value.line == 2 and "<" not in str(caught.value)
    assert module not in sys.modules


def test_a_loss_and_a_layer_that_learns(module: str) -> None:
    text = INPUTS + python(module, "Linear", "x", "z phase", string="{'size': 4}")
    net = load(text + python(module, "Euclidean", "z y", "loss", "loss_weight: 2"))
    x, y = np.random.default_rng(0).normal(size=(2, 3)), np.random.default_rng(1).normal(size=(2, 4))
    weight = torch.full((4, 3), 0.5, dtype=torch.float64, requires_grad=True)
    expected = ((torch.from_numpy(x) @ weight.T - torch.from_numpy(y)) ** 2).sum() / 4
    (2 * expected).backward()

    outputs = net(x=x, y=y)
    assert outputs["loss"].shape == (1,)
    assert outputs["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert net.loss.item() == pytest.approx(2 * expected.item(), rel=1e-5)
    assert outputs["phase"].item() == 0
    net.loss.backward()
    (blob,) = net.params["Linear"]
    assert blob.shape == (4, 3) and blob.grad is not None and weight.grad is not None
    np.testing.assert_allclose(blob.grad.numpy(), weight.grad.numpy(), rtol=1e-5)
    net(x=x, y=y)
    net.loss.backward()
    np.testing.assert_allclose(blob.grad.numpy(), 2 * weight.grad.numpy(), rtol=1e-5)
    assert net.module.get_submodule("Euclidean").user.asked == [True, False]


def test_gradients_reach_every_bottom_that_wants_one(module: str) -> None:
    text = INPUTS + python(module, "Euclidean", "y y2", "loss", "loss_weight: 1")
    net = load(
        'force_backward: true layer { name: "i" type: "Input" top: "y2" input_param { shape { dim: 2 dim: 4 } } }'
        + text
    )
    a, b = torch.randn(2, 4, requires_grad=True), torch.randn(2, 4, requires_grad=True)
    net(x=torch.zeros(2, 3), y=a, y2=b)
    net.loss.backward()
    assert a.grad is not None and b.grad is not None
    torch.testing.assert_close(a.grad, (a - b).detach() / 2)
    torch.testing.assert_close(b.grad, (b - a).detach() / 2)


def test_each_backward_is_that_of_its_own_forward(module: str) -> None:
    text = INPUTS + python(module, "Linear", "x", "z p", "loss_weight: 1 loss_weight: 0", "{'size': 2}")
    net = load(text)
    first, second = torch.randn(5, 3), torch.randn(2, 3)
    losses = []
    for x in (first, second):
        net(x=x, y=torch.zeros(len(x), 4))
        losses.append(net.loss)
    losses[0].backward()
    grad = net.params["Linear"][0].grad
    assert grad is not None
    torch.testing.assert_close(grad, first.sum(0).expand(2, 3))


def test_the_source_says_what_runs_and_runs_alone(module: str, tmp_path: Path) -> None:
    text = INPUTS + python(module, "Linear", "x", "z phase", string="{'size': 4}")
    net = load(text, phase="TEST")
    assert "from proto2torch.python_layers import PythonLayer\nfrom torch import nn\n" in net.source
    (tmp_path / "model.py").write_text(net.source)
    check = "import torch, model; m = model.Net(); m.Linear.blob_0.data.fill_(2); o = m(torch.ones(5, 3), torch.ones(5, 4)); "
    check += "print(o['z'].shape, o['z'].mean().item(), o['phase'].item())"
    folder = str(Path(p2t.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": folder + os.pathsep + str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, env=environment, check=False)
    assert result.stdout.split("\n")[0] == "torch.Size([5, 4]) 6.0 1.0", result.stderr


def test_weights_are_loaded_and_saved_as_any_others(module: str, tmp_path: Path) -> None:
    text = INPUTS + python(module, "Linear", "x", "z phase", string="{'size': 4}")
    net = load(text)
    net.load_weights({"Linear": [np.arange(12).reshape(4, 3)]})
    net.save(str(tmp_path / "w.caffemodel"))
    other = load(text)
    other.load_weights(str(tmp_path / "w.caffemodel"))
    x = torch.ones(1, 3)
    np.testing.assert_array_equal(other(x=x, y=torch.zeros(1, 4))["z"].detach().numpy(), [[3, 12, 21, 30]])


def test_a_layer_without_bottoms_is_a_data_layer_of_any_size(module: str) -> None:
    pool = (
        'layer { name: "p" type: "Pooling" bottom: "d" top: "p" pooling_param { pool: MAX kernel_size: 4 stride: 2 } }'
    )
    net = load(python(module, "Images", "", "d") + pool, phase="TEST")
    assert net.inputs == {"d": (1, 1, 4, 4)}
    shapes = [tuple(net()["p"].shape) for _ in range(4)]
    assert shapes == [(1, 1, 1, 1), (1, 1, 1, 2), (1, 1, 1, 2), (1, 1, 1, 3)]
    assert float(net()["p"].min()) == 4
    assert sys.modules[module].Images.count == 1  # one instance, whatever is laid out anew
    assert float(net(d=torch.full((1, 1, 4, 4), 9.0))["p"]) == 9  # it does not run when its top is given
    assert float(net()["p"].min()) == 5


def test_the_first_extent_of_a_top_is_free_and_no_other(module: str) -> None:
    net = load(INPUTS + python(module, "Proposals", "x", "rois"), phase="TEST")
    inputs = {"x": torch.full((2, 3), 0.5), "y": torch.zeros(2, 4)}
    assert tuple(net(**inputs)["rois"].shape) == (3, 5)
    net.module.get_submodule("Proposals").user.width = 6
    with pytest.raises(RunError, match=r"Proposals may change the first extent of its tops alone"):
        net(**inputs)


def test_a_forward_may_write_into_its_blob(module: str) -> None:
    net = load(INPUTS + python(module, "Counter", "x", "t", "param { lr_mult: 0 }"), phase="TEST")
    for n in (1, 2, 3):
        assert float(net(x=torch.zeros(2, 3), y=torch.zeros(2, 4))["t"].mean()) == n
    assert float(net.params["Counter"][0].data) == 3


def test_a_layer_without_tops_runs_with_the_net(module: str) -> None:
    net = load(INPUTS + python(module, "Printer", "x", ""), phase="TEST")
    x = torch.randn(2, 3)
    net(x=x, y=torch.zeros(2, 4))
    net(x=2 * x, y=torch.zeros(2, 4))
    np.testing.assert_array_equal(sys.modules[module].Printer.seen, [x.numpy(), 2 * x.numpy()])
    with pytest.raises(NetError, match="needs a bottom or a top"):
        load(INPUTS + python(module, "Printer", "", ""))


def test_a_module_beside_the_prototxt_is_found(module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.prototxt").write_text(INPUTS + python(module, "Euclidean", "x x"))
    monkeypatch.chdir("/")
    net = p2t.load(str(tmp_path / "net.prototxt"), allow_python_layers=True)
    assert float(net(x=torch.ones(2, 3), y=torch.ones(2, 4))["t"]) == 0


@pytest.mark.parametrize(
    ("layer", "bottoms", "string", "kind", "message"),
    [
        ("Broken", "x", "setup", NetError, r"Broken.setup failed: ValueError: not so \(\S*layers_of_\w+.py:\d+\)"),
        ("Broken", "x", "forward", RunError, r"Broken.forward failed: ZeroDivisionError: division by zero"),
        ("Broken", "x", "numpy", RunError, r"Broken.forward failed: LinAlgError: .* \(\S*layers_of_\w+.py:\d+\)"),
        ("Broken", "x", "", RunError, r"Broken.backward failed: KeyError: 'no way back'"),
        ("Euclidean", "x", "", NetError, "Euclidean.setup failed: Exception: Need two inputs to compute distance."),
        ("Euclidean", "x y", "", NetError, "Euclidean.reshape failed: Exception: Inputs must have the same dimension."),
        ("Missing", "x", "", NetError, "cannot import 'Missing' from 'layers_of_"),
        ("NoLayer", "x", "", NetError, r"layers_of_\w+.NoLayer must be a subclass of caffe.Layer. Received: a "),
        ("", "x", "", NetError, "needs python_param.layer"),
    ],
)
def test_what_goes_wrong_names_the_layer_and_the_line(  # type: ignore[no-untyped-def]
    module: str, layer: str, bottoms: str, string: str, kind, message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        net = load("force_backward: true " + INPUTS + python(module, layer, bottoms, "t", "loss_weight: 1", string))
        net(x=torch.zeros(2, 3, requires_grad=True), y=torch.zeros(2, 4))
        net.loss.backward()
    assert caught.value.line == 2 and "<" not in str(caught.value)


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(NetError, match="cannot import 'A' from 'no_such_module_at_all': ModuleNotFoundError"):
        load(INPUTS + python("no_such_module_at_all", "A"))
