"""Max pooling by way of channels_last against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from proto2torch.runtime.pool import max_pool2d

WINDOWS = [  # kernel, stride, padding, ceil_mode
    (3, 2, 0, True),
    (2, None, 0, False),
    (3, 1, 1, False),
    ((3, 5), (2, 1), (1, 2), True),
]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(2, 16, 9, 11), (1, 1, 5, 5), (3, 20, 7, 6)])
def test_values_and_gradients_are_those_of_torch(window, shape):
    draw = torch.Generator().manual_seed(5)
    x = torch.randint(-3, 4, shape, generator=draw).float()  # few values: most windows have several maxima
    x[0, 0, 0, 0] = float("nan")
    kernel, stride, padding, ceil_mode = window
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y = max_pool2d(ours, *window)
    expected = F.max_pool2d(theirs, kernel, stride, padding, ceil_mode=ceil_mode)
    assert torch.equal(y.nan_to_num(99), expected.nan_to_num(99)) and y.is_contiguous()
    dy = torch.randn(y.shape, generator=draw)
    y.backward(dy)
    expected.backward(dy)
    assert torch.equal(ours.grad, theirs.grad) and ours.grad.is_contiguous()
    with torch.no_grad():
        assert torch.equal(max_pool2d(x, *window).nan_to_num(99), expected.nan_to_num(99))


def test_it_has_a_second_derivative():
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda v: max_pool2d(v, 3, 2, 0, True).square(), x)


def test_the_planes_are_pooled_channels_last(monkeypatch):
    layouts = []
    plain = F.max_pool2d
    monkeypatch.setattr(
        F,
        "max_pool2d",
        lambda x, *window: layouts.append(x.is_contiguous(memory_format=torch.channels_last)) or plain(x, *window),
    )
    max_pool2d(torch.zeros(2, 16, 6, 6), 3, 2)
    assert layouts == [True]


def test_torch_export_writes_the_operator():
    class Net(torch.nn.Module):
        def forward(self, x):
            return max_pool2d(x, 3, stride=2, ceil_mode=True)

    program = torch.export.export(Net(), (torch.zeros(2, 16, 6, 6),))
    assert [node.name for node in program.graph.nodes if node.op == "call_function"] == ["max_pool2d"]


@pytest.mark.filterwarnings("ignore:.torch.jit.trace")
def test_the_tools_of_torch_that_trace_meet_the_operator():
    class Net(torch.nn.Module):
        def forward(self, x):
            return max_pool2d(x, 3, stride=2, ceil_mode=True)

    x = torch.randn(2, 16, 6, 6, generator=torch.Generator().manual_seed(2))
    expected = F.max_pool2d(x, 3, 2, ceil_mode=True)
    traced = torch.jit.trace(Net(), x.clone().requires_grad_())
    assert torch.equal(traced(x), expected) and "aten::max_pool2d" in str(traced.graph)
    assert F.max_pool2d in [node.target for node in torch.fx.symbolic_trace(Net()).graph.nodes]
    assert torch.func.grad(lambda v: Net()(v).sum())(x).sum() == expected.numel()
