"""What a call of the fused attention computes, apart from its tensors of numbers."""

from dataclasses import dataclass, fields

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Problem:
    """Options of `reluformer.kernels.attention`, in the order of its operator's arguments.

    Padded sequences have lengths (None: all positions are real), packed ones starts [B + 1] in
    int32, the last of which is their total; `longest_*` bound them all. `keep_weights` is for relu
    on padded sequences by blocks of PyTorch, in float32 or float64.
    """

    activation: str
    causal: bool
    scale: float
    alpha: float
    row_sums: bool
    entropies: bool
    dropout: float
    longest_query: int
    longest_key: int
    query_lengths: Tensor | None = None
    key_lengths: Tensor | None = None
    query_starts: Tensor | None = None
    key_starts: Tensor | None = None
    seed: Tensor | None = None
    keep_weights: bool = False

    def __post_init__(self) -> None:
        assert self.row_sums or not self.entropies, "entropies come with row sums"
        assert self.activation == "relu" or not self.keep_weights

    @property
    def packed(self) -> bool:
        return self.query_starts is not None

    @property
    def longest(self) -> int:
        return max(self.longest_query, self.longest_key)


OPTIONS = tuple(field.name for field in fields(Problem))
SCHEMA = (
    "str activation, bool causal, float scale, float alpha, bool row_sums, bool entropies, "
    "float dropout, SymInt longest_query, SymInt longest_key, Tensor? query_lengths, "
    "Tensor? key_lengths, Tensor? query_starts, Tensor? key_starts, Tensor? seed, "
    "bool keep_weights"
)


def empty_heads(like: Float[Tensor, "B H T D"]) -> Float[Tensor, "B H T D"]:
    """Room for a result that lies in memory as [B, T, H, D], as the next projection reads it.

    Wherever `like` lies: torch.compile may lay it out anew, but not what an operator returns.
    """
    batch, heads, rows, head_dim = like.shape
    return like.new_empty(batch, rows, heads, head_dim).transpose(1, 2)
