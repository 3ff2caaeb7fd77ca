"""Label-smoothed cross-entropy and its gradient, over the logits' own memory."""

import triton
import triton.language as tl


@triton.jit
def cross_entropy(
    LOGITS, TARGET, LOSS, NLL, vocab_size, true_share, other_share,
    GRADIENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row, BLOCK types at a time: what is wide is this many numbers, never the logits.

    The logits are read once for the highest of them, once for the sums and once for the gradient,
    which replaces them; from the second time on they are in a cache.
    """
    row = tl.program_id(0).to(tl.int64)
    LOGITS += row * vocab_size
    target = tl.load(TARGET + row)
    columns = tl.arange(0, BLOCK)
    highest = tl.full([BLOCK], float("-inf"), tl.float32)
    for first in range(0, vocab_size, BLOCK):
        types = first + columns
        x = tl.load(LOGITS + types, mask=types < vocab_size, other=float("-inf"))
        highest = tl.maximum(highest, x.to(tl.float32))
    top = tl.max(highest, 0)
    odds = tl.zeros([BLOCK], tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    true = tl.zeros([BLOCK], tl.float32)
    for first in range(0, vocab_size, BLOCK):
        types = first + columns
        x = tl.load(LOGITS + types, mask=types < vocab_size, other=0.0).to(tl.float32)
        odds += tl.where(types < vocab_size, tl.exp(x - top), 0.0)
        total += x
        true += tl.where(types == target, x, 0.0)
    log_z = top + tl.log(tl.sum(odds, 0))
    nll = log_z - tl.sum(true, 0)
    nll = tl.where((target >= 0) & (target < vocab_size), nll, float("nan"))  # for all to see
    tl.store(NLL + row, nll)
    tl.store(LOSS + row, true_share * nll + other_share * (vocab_size * log_z - tl.sum(total, 0)))
    if GRADIENT:
        for first in range(0, vocab_size, BLOCK):
            types = first + columns
            x = tl.load(LOGITS + types, mask=types < vocab_size, other=0.0).to(tl.float32)
            gradient = tl.exp(x - log_z) - other_share
            gradient -= tl.where(types == target, true_share, 0.0)
            gradient = gradient.to(LOGITS.dtype.element_ty)
            tl.store(LOGITS + types, gradient, mask=types < vocab_size)
