"""Every mechanism on adversarial input, in every precision: finite wherever the exact result is."""

from collections.abc import Callable

import pytest
import torch
from checks import Trials
from mechanisms import MECHANISMS, load_mechanism
from torch import Tensor

from reluformer.attention.base import Attention
from reluformer.visibility import Visibility

B, H, D = 2, 2, 8
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
Inputs = tuple[Tensor, Tensor, Tensor, Visibility]


def drawn(n: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(B, H, n, D, generator=generator).double() for _ in range(3))
    return q, k, v


def lengths(*values: int) -> Tensor:
    return torch.tensor(values)


def padding_but_one() -> Inputs:
    return *drawn(40), Visibility(40, 40, lengths(1, 40), lengths(1, 40), causal=True)


def all_equal() -> Inputs:
    q, k, v = drawn(1)
    alike = (x.expand(B, H, 40, D).contiguous() for x in (q, k, v))
    return *alike, Visibility(40, 40)


def one_position() -> Inputs:
    return *drawn(1), Visibility(1, 1, causal=True)


def longest() -> Inputs:
    return *drawn(130), Visibility(130, 130, causal=True)


def huge_scores() -> Inputs:
    """Up to 1e4, of both signs."""
    q, k, v = drawn(9)
    factor = (1e4 * D**0.5 / (q @ k.mT).abs().amax()).sqrt()
    return q * factor, k * factor, v, Visibility(9, 9)


def dead_rows() -> Inputs:
    """No key of any row has a positive score."""
    q, k, v = drawn(40)
    return q.abs(), -k.abs(), v, Visibility(40, 40)


def nothing_visible() -> Inputs:
    return *drawn(12), Visibility(12, 12, lengths(0, 12), lengths(0, 12))


CASES: list[Callable[[], Inputs]] = [
    padding_but_one,
    all_equal,
    one_position,
    longest,
    huge_scores,
    dead_rows,
    nothing_visible,
]


def results(mechanism: Attention, inputs: Inputs, dtype: torch.dtype) -> list[Tensor]:
    """The context, the penalty's terms and the gradients of both by q, k and v."""
    q, k, v = (x.to(dtype).requires_grad_() for x in inputs[:3])
    context, penalty = mechanism.to(dtype)(q, k, v, inputs[3], with_penalty=True)
    real = context * inputs[3].query_is_real[..., None]
    terms = [term for term in penalty or () if term is not None]
    total = real.sum() + sum(terms, torch.zeros((), dtype=dtype))
    gradients = torch.autograd.grad(total, (q, k, v))
    return [real.detach(), *(term.detach() for term in terms), *gradients]


@pytest.mark.check("precision")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", MECHANISMS)
def test_what_is_finite_stays_finite(name: str, case: Callable[[], Inputs], trials: Trials) -> None:
    """Half of what the type can hold at most is asked for; more may overflow."""
    trials(len(DTYPES), len(DTYPES))
    torch.manual_seed(0)
    mechanism = load_mechanism(name, H, D)
    inputs = case()
    exact = results(mechanism, inputs, torch.float64)
    assert all(torch.isfinite(truth).all() for truth in exact)
    for dtype in DTYPES:
        largest = torch.finfo(dtype).max / 2
        for value, truth in zip(results(mechanism, inputs, dtype), exact, strict=True):
            assert torch.isfinite(value[truth.abs() < largest]).all(), dtype
