"""Which nets a solver builds: inline ones, states, weights to start from, what test nets share."""

from __future__ import annotations

import pytest
import torch

from proto2torch.errors import NetError

from .cases import SOLVERS, enter, solver

NET = """
name: "small"
layer { name: "data" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y"
  inner_product_param { num_output: 4 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "deep" type: "InnerProduct" bottom: "y" top: "z" include { min_level: 1 stage: "deep" }
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
layer { name: "tested" type: "InnerProduct" bottom: "y" top: "t" include { phase: TEST }
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 1 } } }
"""
LEAST = 'lr_policy: "fixed" snapshot_after_train: false\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    return tmp_path


def built(folder, text, **arguments):
    (folder / "solver.prototxt").write_text(LEAST + text)
    return solver(folder, **arguments)


def names(net):
    return [layer.name for layer in net.layers]


def inline(name, text=NET):
    return f"{name} {{ {text} }}\n"


def test_nets_in_the_solvers_own_text(folder):
    text = inline("train_net_param") + inline("test_net_param") + "test_iter: 1 test_interval: 1"
    trained, log = built(folder, text)
    assert names(trained.net) == ["data", "ip"]
    assert [names(net) for net in trained.test_nets] == [["data", "ip", "tested"]]
    assert "Creating training net from train_net_param." in log.lines()
    assert "Creating test net (#0) specified by test_net_param." in log.lines()


def test_an_error_of_an_inline_net_is_at_its_line_of_the_solver(folder):
    with pytest.raises(NetError) as caught:
        built(folder, "\n\n" + inline("net_param", NET.replace('bottom: "x"', 'bottom: "nothing"')))
    assert caught.value.file.endswith("solver.prototxt")
    assert 'bottom: "nothing"' in (folder / "solver.prototxt").read_text().splitlines()[caught.value.line - 1]


def test_states_choose_the_layers(folder):
    text = (
        'net: "net.prototxt" test_iter: 1 test_iter: 1 test_interval: 1 train_state { level: 1 stage: "deep" } '
        'test_state { } test_state { level: 2 stage: "deep" }'
    )
    trained, _ = built(folder, text)
    assert names(trained.net) == ["data", "ip", "deep"]
    assert [names(net) for net in trained.test_nets] == [["data", "ip", "tested"], ["data", "ip", "deep", "tested"]]


def test_the_nets_own_state_comes_before_the_solvers(folder):
    (folder / "net.prototxt").write_text('state { level: 3 stage: "deep" }' + NET)
    assert names(built(folder, 'net: "net.prototxt"')[0].net) == ["data", "ip", "deep"]
    assert names(built(folder, 'net: "net.prototxt" train_state { level: 0 }')[0].net) == ["data", "ip"]


def test_level_and_stages_from_outside_go_to_the_train_net_alone(folder):
    text = 'net: "net.prototxt" test_iter: 1 test_interval: 1 train_state { level: 1 }'
    trained, _ = built(folder, text, level=2, stages=("deep",))
    assert names(trained.net) == ["data", "ip", "deep"]
    assert names(trained.test_nets[0]) == ["data", "ip", "tested"]
    assert names(built(folder, text, level=0, stages=("deep",))[0].net) == ["data", "ip"]


def test_test_nets_use_the_train_nets_weights_and_draw_their_own_after_it(folder):
    text = 'net: "net.prototxt" random_seed: 3 test_iter: 1 test_interval: 1'
    trained, _ = built(folder, text)
    trained.net.params["ip"][0].data.fill_(7)
    assert torch.all(trained.test_nets[0].params["ip"][0].data == 7)
    again, _ = built(folder, text)
    own = trained.test_nets[0].params["tested"][0].data
    assert torch.equal(own, again.test_nets[0].params["tested"][0].data) and own.abs().sum() > 0


def test_weights_are_loaded_into_the_train_net_and_the_test_nets(folder):
    text = 'net: "net.prototxt" test_iter: 1 test_interval: 1'
    first, _ = built(folder, text)
    first.test_nets[0].save("start.caffemodel")
    for arguments, more in (({"weights": "start.caffemodel"}, ""), ({}, ' weights: "start.caffemodel"')):
        trained, log = built(folder, text + more, **arguments)
        for layer in ("ip", "tested"):
            ours, theirs = (s.test_nets[0].params[layer][0].data for s in (trained, first))
            assert torch.equal(ours, theirs)
        assert torch.equal(trained.net.params["ip"][0].data, first.net.params["ip"][0].data)
        assert "Finetuning from start.caffemodel" in log.text.getvalue().splitlines()
        assert "Ignoring source layer tested" in log.text.getvalue().splitlines()


def test_a_net_beside_the_solver_is_found_from_elsewhere(folder, tmp_path_factory, monkeypatch):
    (folder / "solver.prototxt").write_text(LEAST + 'net: "net.prototxt"')
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert names(solver(folder)[0].net) == ["data", "ip"]


def test_rows_of_hdf5_are_shuffled_by_the_seed(tmp_path, monkeypatch):
    folder = enter(SOLVERS / "00-SGD-fixed", tmp_path, monkeypatch)
    unshuffled = solver(folder, overrides={"random_seed": 3})[0].net.params
    net = (folder / "train.prototxt").read_text()
    (folder / "train.prototxt").write_text(net.replace("batch_size: 8", "batch_size: 8 shuffle: true"))

    def rows(seed):
        made = solver(folder, overrides={"random_seed": seed})[0].net
        return made, torch.cat([feed.next()[0] for feed in made.feeds.values() for _ in range(4)])

    (first, once), (_, again), (_, other) = rows(3), rows(3), rows(4)
    assert torch.equal(once, again) and not torch.equal(once, other)
    for name, blobs in unshuffled.items():
        assert all(torch.equal(a.data, b.data) for a, b in zip(blobs, first.params[name], strict=True))
