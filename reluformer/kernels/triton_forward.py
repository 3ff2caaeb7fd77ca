"""The forward kernel of pointwise attention: contexts, row sums and sums of P ln P.

`reluformer.kernels.triton_common` has the symbols and what both directions share.
"""

import triton
import triton.language as tl

from reluformer.kernels.triton_common import (
    INFINITY,
    LN_2,
    LOG2_E,
    SMALLEST,
    activated,
    kept_by_dropout,
    load_rows,
    log2,
    place_of_tile,
    row_factors,
    row_offsets,
    shifted,
    spans,
    store_rows,
    unmasked_keys,
    visible_keys,
)


@triton.jit
def _tiles(
    acc, total, logs, top, q, K, V, k_t, v_t, key_start, key_length, rows, n, offset,
    first, last, scale, SEED, head, p,
    HEAD_DIM: tl.constexpr, BLOCK_N: tl.constexpr, ACTIVATION: tl.constexpr,
    CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """One tile of queries over keys first to last: contexts and sums so far."""
    for begin in range(first, last, BLOCK_N):
        keys = begin + tl.arange(0, BLOCK_N)
        k = load_rows(K, k_t, key_start, keys, keys < key_length, HEAD_DIM)
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        seen = keys[None, :] < n[:, None]
        if ACTIVATION == "softmax":
            z = s * (scale * LOG2_E)
            if MASKED:
                z = tl.where(seen, z, -INFINITY)
            new_top = tl.maximum(top, tl.max(z, 1))
            finite = tl.where(new_top == -INFINITY, 0.0, new_top)
            x = tl.exp2(z - finite[:, None])
            shrink = tl.exp2(top - finite)
            total = total * shrink + tl.sum(x, 1)
            acc = acc * shrink[:, None]
            top = new_top
        else:
            x = activated(shifted(s, scale, offset[:, None], ACTIVATION, CENTERED), ACTIVATION)
            if MASKED:
                x = tl.where(seen, x, 0.0)
            if ROW_SUM:
                total += tl.sum(x, 1)
            if ENTROPY:
                logs += tl.sum(x * log2(tl.maximum(x, SMALLEST), FAST), 1)
        if DROPOUT:
            kept = kept_by_dropout(SEED, head, rows[:, None], keys[None, :], p)
            x = tl.where(kept, x, 0.0)
        v = load_rows(V, v_t, key_start, keys, keys < key_length, HEAD_DIM)
        acc = tl.dot(x.to(v.dtype), v, acc, input_precision=PRECISION)
    return acc, total, logs, top


@triton.jit
def forward(
    Q, K, V, GAIN, OFFSET, OUT, R, E, QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, SEED,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, o_b, o_h, o_t, r_b, r_h,
    num_heads, longest_query, longest_key, scale, alpha, p,
    HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    ACTIVATION: tl.constexpr, CAUSAL: tl.constexpr, CENTERED: tl.constexpr,
    PACKED: tl.constexpr, QUERIES_PADDED: tl.constexpr, KEYS_PADDED: tl.constexpr,
    ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """A tile of queries of one head: contexts; where wanted, sums of P and of P ln P."""
    tile, head = place_of_tile(longest_query, BLOCK_M)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length, num_rows, key_start, key_length, _, shift = spans(
        QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, b, longest_query, longest_key,
        PACKED, QUERIES_PADDED, KEYS_PADDED,
    )  # fmt: skip
    if tile * BLOCK_M >= num_rows:
        return
    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    n = visible_keys(rows, shift, query_length, key_length, CAUSAL)
    places = b * r_b + h * r_h + query_start + rows
    offset = row_offsets(OFFSET, places, n, scale, ACTIVATION, CENTERED)
    fewest = 1 if CENTERED else 0  # a query needs more keys than these for any score but 0
    q = load_rows(Q + b * q_b + h * q_h, q_t, query_start, rows, n > fewest, HEAD_DIM)
    acc = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    logs = tl.zeros([BLOCK_M], tl.float32)
    top = tl.full([BLOCK_M], -INFINITY, tl.float32)
    full = unmasked_keys(n, BLOCK_N, ACTIVATION, CAUSAL, CENTERED)
    K += b * k_b + h * k_h
    V += b * v_b + h * v_h
    acc, total, logs, top = _tiles(
        acc, total, logs, top, q, K, V, k_t, v_t, key_start, key_length, rows, n, offset,
        0, full, scale, SEED, head, p, HEAD_DIM, BLOCK_N, ACTIVATION,
        CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, False,
    )  # fmt: skip
    acc, total, logs, top = _tiles(
        acc, total, logs, top, q, K, V, k_t, v_t, key_start, key_length, rows, n, offset,
        full, tl.max(n), scale, SEED, head, p, HEAD_DIM, BLOCK_N, ACTIVATION,
        CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip

    a, _ = row_factors(tl.load(GAIN + h), n, alpha, scale, ACTIVATION)
    inside = rows < num_rows
    if ACTIVATION == "softmax":
        a = 1.0 / tl.where(total > 0, total, 1.0)
        # The base-2 logarithm of each row's sum of exponentials; of nothing, what makes P 0.
        tl.store(R + places, tl.where(total > 0, top + tl.log2(total), INFINITY), mask=inside)
    elif ROW_SUM:
        tl.store(R + places, a * total, mask=inside)
    if ENTROPY:
        log_a = tl.log2(tl.maximum(a, SMALLEST))
        tl.store(E + places, a * LN_2 * (logs + log_a * total), mask=inside)
    if DROPOUT:
        a = a / (1 - p)
    out = acc * a[:, None]
    store_rows(OUT + b * o_b + h * o_h, o_t, query_start, rows, num_rows, out, HEAD_DIM)
