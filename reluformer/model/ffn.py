"""The feed-forward network as a key-value memory of `ffn_dim` slots."""

from jaxtyping import Float
from torch import Tensor, nn

from reluformer.model.dropout import dropout


class ReluFFN(nn.Module):
    """V^T relu(K x + b1) + b2: the standard feed-forward network.

    Rows of the first matrix are keys, columns of the second are values. Source: Vaswani et al.
    2017, section 3.3; read as a memory by Shen et al. 2023, section 3. Differs from it in: nothing.

    `initialisation`: `xavier` (uniform, fairseq's) or `he` (normal with variance 2 / fan-in,
    He et al. 2015, equation 10, which keeps the variance through a ReLU).
    """

    def __init__(self, d_model: int, ffn_dim: int, initialisation: str, dropout: float = 0.0):
        super().__init__()
        self.keys = nn.Linear(d_model, ffn_dim)
        self.values = nn.Linear(ffn_dim, d_model)
        self.dropout = dropout
        for linear in (self.keys, self.values):
            if initialisation == "he":
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            else:
                nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Float[Tensor, "B T M"]) -> Float[Tensor, "B T M"]:
        slots = nn.functional.relu(self.keys(x), inplace=True)
        return self.values(dropout(slots, self.dropout, self.training))
