"""Every mechanism against something that this project did not write, forward and backward.

References see one sentence at a time, without padding, in float64: PyTorch's own attention, the
entmax package, or the published formula written out row by row. What is compared is the layer's
merged heads, in a padded batch, at all three sites, and the gradients by queries, keys, values and
the mechanism's parameters.

`pytest tests/attention/test_references.py --error-table FILE` writes the errors as a table.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import entmax
import pytest
import torch
from mechanisms import load_mechanism
from torch import Tensor
from torch.nn import functional

from reluformer.attention.base import Attention
from reluformer.visibility import Visibility

H, D = 2, 4
M = H * D
SOURCE, TARGET = (7, 4, 1), (6, 2, 5)
TOLERANCE = 1e-12

# (mechanism, q, k, v of one sentence [H, T or S, D], causal, x [T, M]) -> merged heads [T, M]
Reference = Callable[[Attention, Tensor, Tensor, Tensor, bool, Tensor], Tensor]


def merged(heads: list[Tensor]) -> Tensor:
    return torch.cat(heads, dim=-1)


def by_rows(row: Callable[[Attention, int, Tensor, int], Tensor]) -> Reference:
    """A reference from a rule for one row: (mechanism, head, visible scores, n) -> its weights."""

    def reference(m, q, k, v, causal, x):
        heads = []
        for h in range(H):
            contexts = []
            for t in range(q.shape[1]):
                n = t + 1 if causal else k.shape[1]
                scores = torch.stack([q[h, t].dot(k[h, j]) for j in range(n)]) / math.sqrt(D)
                contexts.append(row(m, h, scores, n) @ v[h, :n])
            heads.append(torch.stack(contexts))
        return merged(heads)

    return reference


def sdpa(m, q, k, v, causal, x):
    context = functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=causal)
    return merged(list(context[0]))


def relu_row(m, h, scores, n):
    if m.center == "row":
        scores = scores - scores.sum() / n if n > 1 else scores * 0
    factor = math.exp(float(m.log_gamma.detach()[h])) * math.sqrt(n / 2)
    # The parameter itself takes part, so that its gradient is compared too.
    ratio = torch.exp(m.log_gamma[h] - m.log_gamma.detach()[h])
    return torch.where(scores > 0, scores, 0.0) / (factor * ratio)


def pointwise_row(m, h, scores, n):
    activations = {
        "relu": lambda s: torch.where(s > 0, s, 0.0),
        "relu_squared": lambda s: torch.where(s > 0, s * s, 0.0),
        "gelu": lambda s: s * 0.5 * (1 + torch.erf(s / math.sqrt(2))),
        "softplus": lambda s: torch.log(1 + torch.exp(s)),
        "identity": lambda s: s,
        "sigmoid": lambda s: 1 / (1 + torch.exp(-s)),
    }
    return activations[m.activation](scores) / n**m.alpha


def pointwise(m, q, k, v, causal, x):
    def standardised(y, norm):
        deviation = ((y - y.mean(-1, keepdim=True)) ** 2).mean(-1, keepdim=True)
        return (y - y.mean(-1, keepdim=True)) / (deviation + 1e-5).sqrt() * norm.weight + norm.bias

    if isinstance(m.query_norm, torch.nn.LayerNorm):
        q, k = standardised(q, m.query_norm), standardised(k, m.key_norm)
    z = by_rows(pointwise_row)(m, q, k, v, causal, x)
    return z if m.gate is None else z * (x @ m.gate.weight.T + m.gate.bias)


def rela(m, q, k, v, causal, x):
    z = by_rows(lambda m, h, scores, n: torch.where(scores > 0, scores, 0.0))(m, q, k, v, causal, x)
    normed = m.gain * z / ((z**2).sum(-1, keepdim=True) / M + 1e-8).sqrt()
    return normed if m.gate_weight is None else normed / (1 + torch.exp(-m.gate_weight * z))


def sima(keys_first: bool) -> Reference:
    """In one order or the other; q is divided here too, over earlier positions in a decoder."""

    def reference(m, q, k, v, causal, x):
        ordered = causal or q.shape[1] in TARGET
        heads = []
        for h in range(H):
            if not ordered:
                q_h = q[h] / q[h].abs().sum(0)
            else:
                q_h = torch.stack([q[h, t] / q[h, : t + 1].abs().sum(0) for t in range(len(q[h]))])
            contexts = []
            for t in range(len(q_h)):
                n = t + 1 if causal else k.shape[1]
                k_h = k[h, :n] / k[h, :n].abs().sum(0)
                if keys_first:
                    contexts.append(q_h[t] @ (k_h.T @ v[h, :n]))
                else:
                    contexts.append((q_h[t] @ k_h.T) @ v[h, :n])
            heads.append(torch.stack(contexts))
        return merged(heads)

    return reference


def package(function: Callable[[Tensor], Tensor]) -> Reference:
    return by_rows(lambda m, h, scores, n: function(scores))


def learned_alpha(m, h, scores, n):
    alpha = 1.01 + 0.99 * torch.sigmoid(m.alpha_logit[h])
    return entmax.entmax_bisect(scores, alpha, dim=-1)


@dataclass(frozen=True)
class Case:
    mechanism: str
    outside: str
    reference: Reference
    changes: dict[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = ", ".join(f"{key} {value}" for key, value in self.changes.items())
        return f"{self.mechanism} ({settings})" if settings else self.mechanism


PLAIN = {"qk_norm": False}
CASES = [
    Case("softmax", "PyTorch scaled_dot_product_attention", sdpa),
    Case("sparsemax", "entmax package, sorting", package(lambda s: entmax.sparsemax(s, dim=-1))),
    Case(
        "sparsemax",
        "entmax package, bisection",
        package(lambda s: entmax.sparsemax_bisect(s, dim=-1, n_iter=60)),
    ),
    Case("entmax15", "entmax package, sorting", package(lambda s: entmax.entmax15(s, dim=-1))),
    Case(
        "entmax15",
        "entmax package, bisection",
        package(lambda s: entmax.entmax_bisect(s, 1.5, dim=-1, n_iter=60)),
    ),
    Case("entmax", "entmax package, bisection", by_rows(learned_alpha)),
    Case("relu", "formula (Shen et al., equations 5-6)", by_rows(relu_row)),
    Case("relu_centered", "formula, scores less their mean", by_rows(relu_row)),
    Case("rela_i", "formula (Zhang et al., section 3)", rela),
    Case("rela_g", "formula (Zhang et al., section 3)", rela),
    *(
        Case(
            "pointwise",
            "formula (Wortsman et al.)",
            pointwise,
            {"activation": activation, "alpha": alpha, **PLAIN},
        )
        for activation in ("relu", "relu_squared", "gelu", "softplus", "identity", "sigmoid")
        for alpha in (0.5, 1.0)
    ),
    Case("pointwise", "formula (Wortsman et al.)", pointwise, {"qk_norm": True, "gate": True}),
    Case("sima", "formula, (Q K) V", sima(keys_first=False)),
    Case("sima", "formula, Q (K V)", sima(keys_first=True)),
]


def random_inputs(num_queries: int, num_keys: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    sizes = (num_queries, num_keys, num_keys)
    return tuple(torch.randn(3, H, n, D, dtype=torch.float64, generator=generator) for n in sizes)


SITES = {
    "encoder_self_attention": (SOURCE, SOURCE, {}),
    "decoder_self_attention": (TARGET, TARGET, {"causal": True}),
    "cross_attention": (TARGET, SOURCE, {"ordered": True}),
}


def largest_errors(case: Case, site: str) -> tuple[float, float]:
    """Of merged heads, and of any gradient, relative to the largest value that is compared."""
    mechanism = load_mechanism(case.mechanism, H, D, **case.changes).eval()
    queries, keys, order = SITES[site]
    q, k, v = (x.requires_grad_() for x in random_inputs(max(queries), max(keys)))
    x = torch.randn(3, max(queries), M, dtype=torch.float64)
    visibility = Visibility(
        max(queries), max(keys), torch.tensor(keys), torch.tensor(queries), **order
    )
    prepared, _ = mechanism.prepare_queries(q, visibility)
    ours = mechanism.merge_heads(mechanism(prepared, k, v, visibility)[0], x)
    values = []
    for b, (t, s) in enumerate(zip(queries, keys, strict=True)):
        theirs = case.reference(
            mechanism, q[b, :, :t], k[b, :, :s], v[b, :, :s], bool(order.get("causal")), x[b, :t]
        )
        values.append((ours[b, :t], theirs))
    inputs = [q, k, v, *mechanism.parameters()]
    upstream = [torch.randn_like(mine) for mine, _ in values]
    both = [
        torch.autograd.grad(list(side), inputs, upstream, allow_unused=True, retain_graph=True)
        for side in zip(*values, strict=True)
    ]
    gradients = [(a, b) for a, b in zip(*both, strict=True) if a is not None or b is not None]
    return relative_error(values), relative_error(gradients)


def relative_error(pairs: list[tuple[Tensor, Tensor]]) -> float:
    scale = max(float(theirs.detach().abs().max()) for _, theirs in pairs)
    return max(float((mine - theirs).detach().abs().max()) for mine, theirs in pairs) / scale


@pytest.fixture(scope="module")
def errors(request: pytest.FixtureRequest) -> Iterator[dict[str, list[str]]]:
    """Rows of the table by case, written at the end where --error-table asks for it."""
    rows: dict[str, list[str]] = {}
    yield rows
    path = request.config.getoption("--error-table")
    if path:
        columns = ["mechanism", "outside reference", "forward", "backward"]
        table = [columns, ["---", "---", "---:", "---:"], *rows.values()]
        lines = [f"| {' | '.join(row)} |" for row in table]
        Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case}: {case.outside}")
def test_mechanism_agrees_with_its_reference(case: Case, errors: dict[str, list[str]]) -> None:
    forward, backward = map(max, zip(*(largest_errors(case, site) for site in SITES), strict=True))
    name = str(case)
    errors[name + case.outside] = [name, case.outside, f"{forward:.1e}", f"{backward:.1e}"]
    assert forward < TOLERANCE
    assert backward < TOLERANCE


def test_sima_orders_agree_where_either_is_cheaper() -> None:
    """Four positions take (Q K) V, forty take Q (K V): both equal weights times values."""
    mechanism = load_mechanism("sima", H, D)
    for n, keys_first in ((3, False), (40, True)):
        q, k, v = random_inputs(n, n)
        visibility = Visibility(n, n)
        q, _ = mechanism.prepare_queries(q, visibility)
        assert mechanism._keys_first(q, k) == keys_first
        plain = mechanism.weights(q, k, visibility) @ v
        torch.testing.assert_close(mechanism(q, k, v, visibility)[0], plain)
