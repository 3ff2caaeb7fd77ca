"""The feed-forward memories against their formulas, and what softmax does to their variance."""

import pytest
import torch
from small_models import FFN
from torch.nn import functional

from reluformer.config.groups import group_node, group_options
from reluformer.config.instantiate import instantiate
from reluformer.errors import UserError
from reluformer.model.ffn import FeedForward

M, F = 6, 10


def load_ffn(name: str, d_model: int = M, ffn_dim: int = F, **changes: object) -> FeedForward:
    node = {**group_node("ffn", name), **changes}
    return instantiate(node, d_model=d_model, ffn_dim=ffn_dim).double().eval()


def plain(ffn: FeedForward, name: str, x: torch.Tensor) -> torch.Tensor:
    keys, values = ffn.keys.weight, ffn.values.weight  # (F, M), (M, F)
    scores = x @ keys.T
    if name.startswith("softmax"):
        output = (scores.exp() / scores.exp().sum(-1, keepdim=True)) @ values.T
        if name == "softmax":
            return output
        return functional.layer_norm(output, (M,), ffn.output_norm.weight, ffn.output_norm.bias)
    activation = {"relu": functional.relu, "gelu": functional.gelu}[name]
    return activation(scores + ffn.keys.bias) @ values.T + ffn.values.bias


@pytest.mark.parametrize("name", group_options("ffn"))
def test_output_follows_the_formula_and_gradients_are_right(name: str) -> None:
    ffn = load_ffn(name)
    for parameter in ffn.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(2, 3, M, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(ffn(x), plain(ffn, name, x))
    assert torch.autograd.gradcheck(lambda x, *_: ffn(x), (x, *ffn.parameters()))


@torch.no_grad()
def variances(ffn_dim: int) -> dict[str, float]:
    x = torch.randn(1, 500, 128, dtype=torch.float64)
    names = ("relu", "softmax", "softmax_layernorm")
    return {name: float(load_ffn(name, 128, ffn_dim)(x).var()) for name in names}


def test_softmax_leaves_little_variance_and_layer_norm_restores_it() -> None:
    """The finding of Shen et al. 2023, section 3, at initialisation: worse with more slots."""
    few, many = variances(32), variances(4096)
    for found, slots in ((few, 32), (many, 4096)):
        assert found["softmax"] < 4 / slots  # scores are near 0: the output is a mean of values
        assert found["relu"] > 10 * found["softmax"]
    assert few["softmax_layernorm"] == pytest.approx(1, abs=0.01)
    # With many slots even layer norm cannot: its epsilon of 1e-5 outweighs the variance.
    assert many["softmax"] < 1e-6
    assert many["softmax_layernorm"] < 0.05


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "tanh"}, "`activation` must be one of relu, gelu, softmax, but is 'tanh'"),
        ({"initialisation": "normal"}, "`initialisation` must be xavier or he"),
    ],
)
def test_wrong_settings_are_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        instantiate({**FFN, **changes}, d_model=M, ffn_dim=F)
