"""Mechanisms as conf/attention describes them."""

from reluformer.attention.base import Attention
from reluformer.config.groups import group_node, group_options
from reluformer.config.instantiate import instantiate

MECHANISMS = group_options("attention")


def load_mechanism(name: str, num_heads: int, head_dim: int, **changes: object) -> Attention:
    """The mechanism of conf/attention/<name>.yaml with other settings, in float64."""
    node = {**group_node("attention", name), **changes}
    return instantiate(node, num_heads=num_heads, head_dim=head_dim).double()
