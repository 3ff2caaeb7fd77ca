"""Cross-entropy in the logits' memory: by PyTorch, and by the kernel in Triton's interpreter."""

from importlib.util import find_spec

import pytest
import torch
from torch import Tensor

from reluformer.kernels import cross_entropy

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="needs Triton")
ENGINES = ["pytorch", pytest.param("triton", marks=needs_triton)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def compute(
    engine: str, logits: Tensor, target: Tensor, smoothing: float, with_gradient: bool = True
) -> tuple[Tensor, Tensor, Tensor]:
    """Losses, nlls, and what is then in the logits' place."""
    other = smoothing / (logits.shape[1] - 1)
    place = logits.clone().to(DEVICE)
    by = getattr(cross_entropy, f"by_{engine}")
    loss, nll = by(place, target.to(DEVICE), 1 - smoothing - other, other, with_gradient)
    return loss.cpu(), nll.cpu(), place.cpu()


def formula(logits: Tensor, target: Tensor, smoothing: float) -> tuple[Tensor, Tensor, Tensor]:
    """The same by PyTorch's loss with the shares of all types, in float64."""
    wide = logits.double().requires_grad_()
    shares = torch.full_like(wide, smoothing / (logits.shape[1] - 1))
    shares = shares.scatter(1, target[:, None], 1 - smoothing).detach()
    loss = torch.nn.functional.cross_entropy(wide, shares, reduction="none")
    nll = torch.nn.functional.cross_entropy(wide, target, reduction="none")
    return loss.detach(), nll.detach(), torch.autograd.grad(loss.sum(), wide)[0]


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found.double() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocab_size", [2, 15, 16, 17, 100])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_formula(
    engine: str,
    dtype: torch.dtype,
    vocab_size: int,
    smoothing: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rounded once, at the end, whatever the blocks that the kernel takes types in."""
    monkeypatch.setattr(cross_entropy, "BLOCK", 16)
    logits = (3 * torch.randn(9, vocab_size)).to(dtype)
    target = torch.arange(9) % vocab_size
    found, wanted = (
        compute(engine, logits, target, smoothing),
        formula(logits, target, smoothing),
    )
    for ours, right in zip(found[:2], wanted[:2], strict=True):
        assert ours.dtype == torch.float32
        assert distance(ours, right) < 1e-6
    assert found[2].dtype == dtype
    assert distance(found[2], wanted[2]) < max(torch.finfo(dtype).eps, 1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_vocabulary_of_usual_size(engine: str) -> None:
    logits, target = 5 * torch.randn(3, 10_000), torch.tensor([0, 4096, 9_999])
    found, wanted = compute(engine, logits, target, 0.1), formula(logits, target, 0.1)
    assert all(distance(ours, right) < 1e-5 for ours, right in zip(found, wanted, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_losses_alone(engine: str) -> None:
    logits, target = torch.randn(5, 30), torch.randint(30, (5,))
    with_one, without = (compute(engine, logits, target, 0.1, one) for one in (True, False))
    assert torch.equal(with_one[0], without[0])
    assert torch.equal(with_one[1], without[1])


@needs_triton
def test_a_target_that_is_no_type_is_seen() -> None:
    logits, target = torch.randn(4, 7), torch.tensor([6, 7, -1, 0])
    loss, nll, _ = compute("triton", logits, target, 0.1)
    assert loss.isnan().tolist() == nll.isnan().tolist() == [False, True, True, False]


@pytest.mark.parametrize("engine", ENGINES)
def test_targets_anywhere_in_memory(engine: str) -> None:
    logits, targets = torch.randn(4, 7), torch.randint(7, (4, 3))
    found = compute(engine, logits, targets[:, 1], 0.1)
    wanted = formula(logits, targets[:, 1], 0.1)
    assert all(distance(ours, right) < 1e-5 for ours, right in zip(found, wanted, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_no_tokens(engine: str) -> None:
    loss, nll, _ = compute(engine, torch.zeros(0, 30), torch.zeros(0, dtype=torch.long), 0.1)
    assert loss.shape == nll.shape == (0,)


@pytest.mark.parametrize("engine", ENGINES)
def test_huge_logits_are_finite_and_a_nan_is_seen(engine: str) -> None:
    logits = torch.tensor([[3e4, -3e4, 0.0], [0.0, torch.nan, 1.0]])
    loss, nll, gradient = compute(engine, logits, torch.tensor([1, 0]), 0.1)
    assert nll[0] == 6e4
    assert gradient[0].isfinite().all()
    assert loss[1].isnan()
    assert nll[1].isnan()


@pytest.mark.skipif(DEVICE == "cuda", reason="there it is the kernel")
def test_what_training_calls_is_pytorch_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cross_entropy, "by_triton")
    logits, target = torch.randn(4, 7), torch.randint(7, (4,))
    place = logits.clone()
    found = (*cross_entropy.cross_entropy_(place, target, 0.2, True), place)
    wanted = compute("pytorch", logits, target, 0.2)
    assert all(map(torch.equal, found, wanted))
