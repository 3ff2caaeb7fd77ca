"""Batches of small products: right in any layout, PyTorch's where they do not suit NumPy."""

import pytest
import torch

from reluformer.kernels import products
from reluformer.kernels.products import SMALL, batched_product


@pytest.fixture
def counted(monkeypatch):
    """How often NumPy multiplied; this CPU passes for one with AVX-512."""
    calls = []
    matmul = products.np.matmul
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: True)
    monkeypatch.setattr(products, "numpy_threads", lambda: 2)
    monkeypatch.setattr(
        products.np, "matmul", lambda *given, **named: calls.append(1) or matmul(*given, **named)
    )
    return calls


@pytest.mark.parametrize("shape", [(6, 5, 8, 7), (3, 1, 16, 1), (1, 27, 128, 30)])
@pytest.mark.parametrize("transposed", [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("heads", [None, 3])
def test_any_layout(shape, transposed, heads, counted):
    batch, rows, inner, columns = shape
    sizes = (rows, inner), (inner, columns)
    leading = (batch,) if heads is None else (batch, heads)
    left, right = (
        torch.randn(*leading, *(size[::-1] if swapped else size)).transpose(-2, -1)
        if swapped
        else torch.randn(*leading, *size)
        for size, swapped in zip(sizes, transposed, strict=True)
    )
    expected = (left.double() @ right.double()).float()
    torch.testing.assert_close(batched_product(left, right), expected)
    room = torch.full((*leading, rows + 2, columns), torch.nan)[..., 1:-1, :]
    assert batched_product(left, right, out=room) is room
    torch.testing.assert_close(room, expected)
    assert len(counted) == 2


@pytest.mark.parametrize(("length", "threads"), [(3, 2), (70, 2), (70, 1), (70, 0)])
def test_heads_inside_positions(length, threads, counted, monkeypatch):
    """Large ones are PyTorch's, sentence by sentence, unless NumPy keeps to one thread."""
    monkeypatch.setattr(products, "numpy_threads", lambda: threads)
    q, k, v = torch.randn(3, 5, length, 2, 64).transpose(2, 3)
    scores = batched_product(q, k.transpose(2, 3))
    torch.testing.assert_close(scores, q.contiguous() @ k.contiguous().transpose(2, 3))
    room = torch.empty(5, length, 2, 64).transpose(1, 2)
    batched_product(scores, v, out=room)
    torch.testing.assert_close(room, scores @ v.contiguous())
    assert len(counted) == (2 if length == 3 or threads == 1 else 0)


def test_large_ones_whose_rows_repeat_or_are_torn_are_pytorchs(counted, monkeypatch):
    """NumPy before 2.3 does not hand them to its BLAS."""
    monkeypatch.setattr(products, "numpy_threads", lambda: 1)
    left, right = torch.randn(1, 64, 64), torch.randn(1, 64, 100)
    assert batched_product(left, right).shape == (1, 64, 100)
    assert len(counted) == 1
    for torn in (torch.randn(1, 1, 64).expand(1, 64, 64), torch.randn(1, 128, 128)[:, ::2, ::2]):
        torch.testing.assert_close(batched_product(torn, right), torn.contiguous() @ right)
    room = torch.empty(1, 64, 200)[..., ::2]
    torch.testing.assert_close(batched_product(left, right, out=room), left @ right)
    assert len(counted) == 1


def test_without_avx_512_they_are_pytorchs(counted, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_supported", lambda: False)
    left, right = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    batched_product(left, right)
    assert not counted
    assert products.reads_views(left, right)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert not products.reads_views(left, right)


def test_slices_and_repeated_rows(counted):
    wide = torch.randn(4, 9, 20)
    left, right = wide[:, 2:5, 3:10], torch.randn(1, 7, 6).expand(4, -1, -1)
    torch.testing.assert_close(batched_product(left, right), left.contiguous() @ right.contiguous())
    assert counted


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (torch.ones(2, 3, 4).double(), torch.ones(2, 4, 5).double()),
        (torch.ones(2, 3, 4).bfloat16(), torch.ones(2, 4, 5).bfloat16()),
        (torch.ones(3, 4), torch.ones(4, 5)),
        (torch.ones(2, 3, 4), torch.ones(4, 5)),
        (torch.ones(2, 0, 4), torch.ones(2, 4, 5)),
        (torch.ones(2, 3, 0), torch.ones(2, 0, 5)),
        (torch.ones(0, 3, 4), torch.ones(0, 4, 5)),
        (torch.ones(2, 64, 64), torch.ones(2, 64, SMALL // 64**2 + 1)),
    ],
    ids=["float64", "bfloat16", "matrices", "broadcast", "rows", "inner", "batch", "large"],
)
def test_what_does_not_suit_numpy(left, right, counted):
    assert torch.equal(batched_product(left, right), left @ right)
    assert len(counted) <= (len(left) == 0)  # nothing to multiply is nobody's harm


def test_gradients_are_pytorchs(counted):
    left, right = torch.randn(2, 3, 4, requires_grad=True), torch.randn(2, 4, 5)
    batched_product(left, right).sum().backward()
    torch.testing.assert_close(left.grad, right.sum(-1)[:, None].expand(-1, 3, -1))
    assert not counted
    with torch.no_grad():
        batched_product(left, right)
    assert counted


@pytest.mark.parametrize(
    ("threads", "length", "numpys"), [(1, 70, 1), (2, 3, 1), (2, 70, 0), (3, 3, 0)]
)
def test_several_threads_are_pytorchs(threads, length, numpys, counted, monkeypatch):
    """But small products on two."""
    monkeypatch.setattr(products, "numpy_threads", lambda: 1)
    left, right = torch.randn(2, length, 64), torch.randn(2, 64, length)
    torch.set_num_threads(threads)
    try:
        found = batched_product(left, right)
    finally:
        torch.set_num_threads(1)
    torch.testing.assert_close(found, left @ right)
    assert len(counted) == numpys
