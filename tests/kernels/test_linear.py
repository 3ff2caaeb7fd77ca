"""Linear layers by oneDNN, held to PyTorch's own."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from reluformer.kernels.linear import Linear, OneDnnLinear, linear


@pytest.fixture
def counted(monkeypatch):
    """How often oneDNN was called."""
    calls = []
    apply = OneDnnLinear.apply
    monkeypatch.setattr(OneDnnLinear, "apply", lambda *given: calls.append(1) or apply(*given))
    return calls


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 24), (7, 24), (3, 5, 24), (2, 3, 4, 24)])
def test_outputs_and_gradients(with_bias, shape, counted):
    torch.manual_seed(1)
    layer = Linear(24, 40, bias=with_bias)
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(*shape[:-1], 40)
    inputs = [x, *layer.parameters()]
    found = torch.autograd.grad(layer(x), inputs, upstream)
    assert len(counted) == 2  # forward, and for the gradient of the input
    wide = [tensor.detach().double().requires_grad_() for tensor in inputs]
    output = functional.linear(*wide)
    torch.testing.assert_close(layer(x), output.float())
    expected = torch.autograd.grad(output, wide, upstream.double())
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other.float())


def test_a_part_is_those_columns():
    layer = Linear(16, 12)
    x = torch.randn(5, 16)
    torch.testing.assert_close(layer.part(x, 3, 7), layer(x)[:, 3:7])


def test_views_with_strides_one_vector_and_a_batch_of_none():
    layer, x = Linear(16, 12), torch.randn(16, 9)
    torch.testing.assert_close(layer(x[:, 0]), layer(x.t())[0])
    found = linear(torch.zeros(1, 4), torch.zeros(4, 4), torch.arange(8.0)[::2])
    assert found.tolist() == [[0, 2, 4, 6]]
    torch.testing.assert_close(layer(x.t()), functional.linear(x.t(), layer.weight, layer.bias))
    assert layer(torch.randn(0, 4, 16)).shape == (0, 4, 12)


def test_second_derivatives():
    found, expected = [], []
    x, weight = torch.randn(3, 8, requires_grad=True), torch.randn(5, 8, requires_grad=True)
    for apply, seconds in ((linear, found), (functional.linear, expected)):
        loss = apply(x, weight, None).square().sum()
        (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
        seconds += torch.autograd.grad(gradient.square().sum(), (x, weight))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["double", "autocast"])
def test_what_is_not_float32_is_left_to_pytorch(kind, counted):
    x, weight = torch.randn(3, 8), torch.randn(5, 8)
    if kind == "double":
        assert linear(x.double(), weight.double(), None).dtype == torch.float64
    else:
        with torch.autocast("cpu", torch.bfloat16):
            assert linear(x, weight, None).dtype == torch.bfloat16
    assert not counted


def test_new_shapes_take_no_more_memory():
    """Thousands of them come in a training; each would leave 0.4 MB behind."""
    layer = Linear(32, 32)
    pages = []
    for rows in range(1, 901):
        layer(torch.zeros(rows, 32))
        if rows % 300 == 0:
            pages.append(int(Path("/proc/self/statm").read_text().split()[1]))
    assert (pages[2] - pages[1]) * os.sysconf("SC_PAGE_SIZE") < 30e6
