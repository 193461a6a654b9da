"""LSTM, RNN and LSTMUnit step by step in numpy; the state between forwards; the order of the random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from proto2torch.errors import NetError, UnsupportedError
from proto2torch.net import Net, load_definition
from proto2torch.prototxt.read import read_net
from proto2torch.weights.random import Stream

from .nets import Case

RANDOM = np.random.default_rng(11)
T, N, D, H = 3, 2, 4, 3
FILL = 'weight_filler { type: "uniform" min: -1 max: 1 } bias_filler { type: "uniform" min: -1 max: 1 }'
X = RANDOM.normal(size=(T, N, D)).astype(np.float32)
CONT = np.array([[0, 1], [1, 1], [1, 0]], np.float32)


def case(kind: str, *more: tuple[int, ...], fields: str = FILL, tops: int = 1, phase: str = "TRAIN") -> Case:
    return Case(kind, f"recurrent_param {{ num_output: {H} {fields} }}", ((T, N, D), (T, N), *more), tops, phase)


def blobs(net: Net) -> list[np.ndarray]:
    return [blob.data.numpy() for blob in net.params["layer"]]


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(x, cont, w, h, c, extra=0.0):  # type: ignore[no-untyped-def]
    w_x, b, w_h = w
    out = []
    for step, keep in zip(x, cont[..., None], strict=True):
        i, f, o, g = np.split(step @ w_x.T + b + extra + (keep * h) @ w_h.T, 4, axis=1)
        c = keep * sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        out.append(h)
    return np.stack(out), h, c


def rnn(x, cont, w, h, extra=0.0):  # type: ignore[no-untyped-def]
    w_x, b, w_h, w_o, b_o = w
    out = []
    for step, keep in zip(x, cont[..., None], strict=True):
        h = np.tanh((keep * h) @ w_h.T + step @ w_x.T + b + extra)
        out.append(np.tanh(h @ w_o.T + b_o))
    return np.stack(out), h


def close(ours: torch.Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours.detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_an_lstm_goes_on_where_the_last_forward_ended() -> None:
    net = case("LSTM").net()
    h = c = np.zeros((N, H))
    for _ in range(3):
        expected, h, c = lstm(X, CONT, blobs(net), h, c)
        close(net(b0=X, b1=CONT)["t0"], expected)


def test_an_rnn_goes_on_where_the_last_forward_ended() -> None:
    net = case("RNN").net()
    h = np.zeros((N, H))
    for _ in range(3):
        expected, h = rnn(X, CONT, blobs(net), h)
        close(net(b0=X, b1=CONT)["t0"], expected)


def test_features_go_on_with_the_same_state() -> None:
    net = case("LSTM").net()
    expected, h, c = lstm(X, CONT, blobs(net), np.zeros((N, H)), np.zeros((N, H)))
    close(net.features("t0", b0=X, b1=CONT)["t0"], expected)
    close(net(b0=X, b1=CONT)["t0"], lstm(X, CONT, blobs(net), h, c)[0])


def test_a_larger_batch_begins_at_zero_and_a_smaller_one_keeps_its_first_states() -> None:
    net, ones = case("RNN").net(), np.ones((T, N), np.float32)
    net(b0=X, b1=ones)
    _, h = rnn(X, ones, blobs(net), np.zeros((N, H)))
    first, h_first = rnn(X[:, :1], ones[:, :1], blobs(net), h[:1])
    close(net(b0=X[:, :1], b1=ones[:, :1])["t0"], first)
    expected, _ = rnn(X, ones, blobs(net), np.concatenate([h_first, h[1:]]))
    close(net(b0=X, b1=ones)["t0"], expected)
    wide, more = np.concatenate([X, X], 1), np.ones((T, 2 * N), np.float32)
    close(net(b0=wide, b1=more)["t0"], rnn(wide, more, blobs(net), np.zeros((2 * N, H)))[0])


def test_cont_multiplies_and_the_forget_gate_has_caffes_gradient() -> None:
    c_prev, gates = (torch.tensor(RANDOM.normal(size=(1, N, n * H)), dtype=torch.float32) for n in (1, 4))
    cont = torch.tensor([[0.3, 0.0]])
    inputs = {"b0": c_prev.requires_grad_(), "b1": gates.requires_grad_(), "b2": cont}
    tops = Case("LSTMUnit", "", ((1, N, H), (1, N, 4 * H), (1, N)), 2, "TRAIN").net()(**inputs)
    i, f, o, g = np.split(gates.detach().numpy(), 4, axis=2)
    f = cont.numpy()[..., None] * sigmoid(f)
    close(tops["t0"], f * c_prev.detach().numpy() + sigmoid(i) * np.tanh(g))
    close(tops["t1"], sigmoid(o) * np.tanh(tops["t0"].detach().numpy()))
    tops["t0"].sum().backward()
    assert gates.grad is not None and c_prev.grad is not None
    close(gates.grad[..., H : 2 * H], c_prev.detach().numpy() * f * (1 - f))
    close(c_prev.grad, f)


def test_a_static_bottom_joins_every_step() -> None:
    static = RANDOM.normal(size=(N, 5)).astype(np.float32)
    for kind, run in (("LSTM", lambda *a: lstm(*a)[0]), ("RNN", lambda *a: rnn(*a)[0])):
        net = case(kind, (N, 5)).net()
        w_x, b, w_s, *rest = blobs(net)
        zeros = [np.zeros((N, H))] * (2 if kind == "LSTM" else 1)
        close(net(b0=X, b1=CONT, b2=static)["t0"], run(X, CONT, (w_x, b, *rest), *zeros, static @ w_s.T))


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
def test_exposed_states_pass_no_gradient_and_are_not_carried(kind: str) -> None:
    states = 2 if kind == "LSTM" else 1
    net = case(kind, *[(1, N, H)] * states, fields=f"{FILL} expose_hidden: true", tops=1 + states).net()
    given = [torch.tensor(RANDOM.normal(size=(1, N, H)), dtype=torch.float32).requires_grad_() for _ in range(states)]
    inputs = {"b0": X, "b1": CONT, **{f"b{i}": g for i, g in enumerate(given, 2)}}
    for _ in range(2):
        tops = net(**inputs)
        expected = (lstm if kind == "LSTM" else rnn)(X, CONT, blobs(net), *[g.detach().numpy()[0] for g in given])
        for i in range(1 + states):
            close(tops[f"t{i}"], expected[i] if i == 0 else expected[i][None])
    assert not any(tops[f"t{i}"].requires_grad for i in range(1, 1 + states))
    tops["t0"].sum().backward()
    assert all(g.grad is None for g in given)


def test_no_gradient_crosses_two_forwards() -> None:
    net = case("LSTM").net()
    first = torch.from_numpy(X).requires_grad_()
    net(b0=first, b1=CONT)
    net(b0=X, b1=np.ones_like(CONT))["t0"].sum().backward()
    assert first.grad is None


@pytest.mark.parametrize("static", [False, True])
def test_the_weights_of_the_steps_are_filled_once_a_step_and_the_first_stay(static: bool) -> None:
    follow = 'layer { name: "f" type: "InnerProduct" bottom: "t0" top: "f" inner_product_param { num_output: 2 axis: 2'
    follow += ' weight_filler { type: "uniform" min: -1 max: 1 } } }'
    for kind, extents in (("LSTM", [(4 * H, H)]), ("RNN", [(H, H), (H, H), (H,)])):
        text = case(kind, *[(N, 5)] * static).text + follow
        net = load_definition(read_net(text=text), phase="TRAIN", stream=Stream(7))
        stream, rows = Stream(7), 4 * H if kind == "LSTM" else H

        def draw(shape: tuple[int, ...], stream: Stream = stream) -> np.ndarray:
            return np.asarray(stream.uniform(-1, 1, int(np.prod(shape)))).reshape(shape)

        expected = [draw(shape) for shape in [(rows, D), (rows,), (rows, 5)][: 2 + static]]
        steps = [[draw(shape) for shape in extents] for _ in range(T)]
        for ours, theirs in zip(blobs(net), expected + steps[0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        np.testing.assert_array_equal(net.params["f"][0].data.numpy(), draw((2, H)))


def test_two_layers_that_share_their_blobs_keep_their_own_states() -> None:
    shared = " ".join(f'param {{ name: "w{i}" }}' for i in range(3))
    one = case("LSTM").text.replace("recurrent_param", f"{shared} recurrent_param")
    other = one.splitlines()[-1].replace('"layer"', '"other"').replace('"t0"', '"u0"').replace('"b0"', '"t0"')
    text = one.replace(f"dim: {D}", f"dim: {H}") + "\n" + other
    net = load_definition(read_net(text=text), phase="TRAIN")
    x, h = X[..., :H], [np.zeros((N, H))] * 4
    for _ in range(2):
        first, h[0], h[1] = lstm(x, CONT, blobs(net), h[0], h[1])
        second, h[2], h[3] = lstm(first, CONT, blobs(net), h[2], h[3])
        close(net(b0=x, b1=CONT)["u0"], second)


REFUSED = [
    ("LSTM", ((T, N), (T, N)), 1, "", r"needs sequences of shape \(T, N, …\). Received: \(3, 2\)"),
    ("LSTM", ((T, N, D), (T, N, 1)), 1, "", r"cont must have shape \(3, 2\)"),
    ("RNN", ((T, N, D), (N, T)), 1, "", r"cont must have shape \(3, 2\), a value for each step. Received: \(2, 3\)"),
    ("RNN", ((T, N, D), (T, N), (3, 5)), 1, "", r"the static bottom must have 2 items. Received: \(3, 5\)"),
    ("RNN", ((T, N, D), (T, N), (N,)), 1, "", r"the static bottom must have 2 items. Received: \(2,\)"),
    ("LSTM", ((T, N, D), (T, N), (N, 1), (N, 1)), 1, "", "takes 2 or 3 bottoms. Received: 4"),
    ("LSTM", ((T, N, D), (T, N), (1, N, H)), 3, "expose_hidden: true", "takes 4 or 5 bottoms with expose_hidden"),
    ("RNN", ((T, N, D), (T, N), (1, N, H)), 1, "expose_hidden: true", "makes 2 tops with expose_hidden. Received: 1"),
    (
        "RNN",
        ((T, N, D), (T, N), (1, N, 9)),
        2,
        "expose_hidden: true",
        r"must have shape \(1, 2, 3\). Received: \(1, 2, 9\)",
    ),
    (
        "LSTMUnit",
        ((2, N, H), (1, N, 4 * H), (1, N)),
        2,
        None,
        r"needs a state of shape \(1, N, H\). Received: \(2, 2, 3\)",
    ),
    ("LSTMUnit", ((1, N, H), (1, N, H), (1, N)), 2, None, r"must have shape \(1, 2, 12\). Received: \(1, 2, 3\)"),
    ("LSTMUnit", ((1, N, H), (1, N, 4 * H), (N,)), 2, None, r"must have shape \(1, 2\). Received: \(2,\)"),
]


@pytest.mark.parametrize(("kind", "bottoms", "tops", "fields", "message"), REFUSED)
def test_what_caffe_refuses(kind, bottoms, tops, fields, message) -> None:  # type: ignore[no-untyped-def]
    text = "" if fields is None else f"recurrent_param {{ num_output: {H} {fields} }}"
    with pytest.raises(NetError, match=message):
        Case(kind, text, bottoms, tops).graph()


def test_fields_that_are_missing_or_not_taken() -> None:
    with pytest.raises(NetError, match="needs num_output greater than zero"):
        Case("LSTM", "", ((T, N, D), (T, N))).graph()
    with pytest.raises(UnsupportedError, match="Caffe does not take blobs for it from a prototxt"):
        Case("RNN", f"recurrent_param {{ num_output: {H} }} blobs {{ }}", ((T, N, D), (T, N))).graph()


def test_cont_cannot_learn() -> None:
    scale = 'layer { name: "s" type: "Scale" bottom: "b1" top: "c" }'
    lines = case("LSTM").text.splitlines()
    lines[-1:] = [scale, lines[-1].replace('"b1"', '"c"').replace("recurrent_param", "loss_weight: 1 recurrent_param")]
    with pytest.raises(NetError, match=r"cannot back-propagate to bottom 1 \('c'\)"):
        load_definition(read_net(text="\n".join(lines)), phase="TRAIN")
