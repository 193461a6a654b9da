"""LRN across channels against torch's own, its gradient against finite differences."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from proto2torch.runtime import lrn

CASES = [  # size, alpha, beta, k
    (5, 1e-1, 0.75, 1.0),
    (3, 2.0, 0.5, 2.0),
    (1, 1.0, 0.75, 1.0),
    (15, 0.3, 1.25, 0.5),
]


def drawn(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("shape", [(2, 6, 3, 4), (3, 1, 2, 2), (1, 16, 1, 1)])
def test_values_are_those_of_torch_and_gradients_their_derivative(case, shape):
    size, alpha, beta, k = case
    x = drawn(*shape).requires_grad_()
    expected = F.local_response_norm(x, size, alpha, beta, k)
    assert torch.allclose(lrn.across_channels_lrn(x, *case), expected, rtol=1e-12, atol=0)
    assert torch.autograd.gradcheck(lambda v: lrn.across_channels_lrn(v, *case), x)


def test_a_batch_is_normalised_alike_part_by_part_and_at_once(monkeypatch):
    x, dy = drawn(4, 7, 5, 3), drawn(5, 3, 4, 7).permute(2, 3, 0, 1)  # a gradient that lies otherwise in memory
    results = []
    for at_once in (False, True):
        if at_once:
            monkeypatch.setattr(lrn, "parts", lambda *tensors: [tensors])
        leaf = x.clone().requires_grad_()
        y = lrn.across_channels_lrn(leaf, 3, 0.5)
        y.backward(dy)
        results.append((y.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


def test_it_keeps_two_tensors_for_the_gradient():
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape), lambda t: t):
        lrn.across_channels_lrn(drawn(2, 6, 3, 4).requires_grad_(), 5)
    assert kept == [(2, 6, 3, 4)] * 2


def test_the_layout_is_kept():
    x = drawn(2, 6, 3, 4).to(memory_format=torch.channels_last).requires_grad_()
    y = lrn.across_channels_lrn(x, 5)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert dx.is_contiguous(memory_format=torch.channels_last)
    plain = x.detach().contiguous().requires_grad_()
    expected = F.local_response_norm(plain, 5, 1.0, 0.75, 1.0)
    assert torch.allclose(y, expected, rtol=1e-12, atol=0)
    assert torch.allclose(dx, torch.autograd.grad(expected.sum(), plain)[0], rtol=1e-12, atol=1e-14)


def test_channels_last_goes_in_parts_that_a_cache_holds():
    x = torch.empty(3, 96, 55, 55).to(memory_format=torch.channels_last)
    found = [part for (part,) in lrn.parts(x)]
    assert all(part.numel() <= 2**16 + 96 and part.is_contiguous() for part in found)
    assert sum(part.numel() for part in found) == x.numel()
    assert {part.untyped_storage().data_ptr() for part in found} == {x.untyped_storage().data_ptr()}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(dtype):
    x = (drawn(2, 6, 3, 4) * 4).to(dtype)
    expected = F.local_response_norm(x.double(), 5, 0.5, 0.75, 1.0).to(dtype)
    assert torch.equal(lrn.across_channels_lrn(x, 5, 0.5), expected)


def test_torch_export_leaves_the_batch_free():
    class Net(torch.nn.Module):
        def forward(self, x):
            return lrn.across_channels_lrn(x, 5)

    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(Net(), (drawn(2, 6, 3, 4),), dynamic_shapes=({0: batch},))
    x = drawn(7, 6, 3, 4)
    assert torch.allclose(program.module()(x), F.local_response_norm(x, 5, 1.0, 0.75, 1.0), rtol=1e-12, atol=0)
