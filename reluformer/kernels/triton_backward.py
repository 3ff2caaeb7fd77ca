"""The backward kernels of pointwise attention: dQ, then dK and dV; or all of a short sequence.

`reluformer.kernels.triton_common` has the symbols and what both directions share. The products
with transposed scores, which dK and dV need, are computed as such (k . q): some versions of Triton
compile the transpose of an accumulator wrongly for Hopper.
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
def _slope(z, ACTIVATION: tl.constexpr):
    """h'(z)"""
    if ACTIVATION == "relu":
        y = tl.where(z > 0, 1.0, 0.0)
    elif ACTIVATION == "relu_squared":
        y = 2.0 * tl.maximum(z, 0.0)
    elif ACTIVATION == "gelu":
        bell = 0.3989422804014327 * tl.exp(-0.5 * z * z)
        y = 0.5 * (1.0 + tl.erf(z * 0.7071067811865476)) + z * bell
    elif ACTIVATION == "softplus":
        y = tl.sigmoid(z)
    elif ACTIVATION == "sigmoid":
        y = tl.sigmoid(z) * (1.0 - tl.sigmoid(z))
    else:
        y = tl.full(z.shape, 1.0, tl.float32)
    return y


@triton.jit
def _row_values(
    GAIN, OFFSET, RHO, EPS, R, DELTA, places, rows, n, query_length, h, alpha, scale,
    ACTIVATION: tl.constexpr, CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
):  # fmt: skip
    """All that a tile's queries have one number of: factors, offset, upstream gradients."""
    real = rows < query_length
    c, a = row_factors(tl.load(GAIN + h), n, alpha, scale, ACTIVATION)
    offset = row_offsets(OFFSET, places, n, scale, ACTIVATION, CENTERED)
    rho = tl.zeros(rows.shape, tl.float32)
    eps = tl.zeros(rows.shape, tl.float32)
    log_sum = tl.zeros(rows.shape, tl.float32)
    delta = tl.zeros(rows.shape, tl.float32)
    if ACTIVATION == "softmax":
        log_sum = tl.load(R + places, mask=real, other=INFINITY)
        delta = tl.load(DELTA + places, mask=real, other=0.0)
    if ROW_SUM:
        rho = tl.load(RHO + places, mask=real, other=0.0)
    if ENTROPY:
        eps = tl.load(EPS + places, mask=real, other=0.0)
    return c, a, offset, rho, eps, log_sum, delta


@triton.jit
def _along(row_values, AXIS: tl.constexpr):
    """A number for each query, ready to be broadcast along that axis of a tile of scores."""
    return tl.expand_dims(row_values, 1 - AXIS)


@triton.jit
def _score_gradients(
    q, k, v, do, rows, keys, n, values, scale, SEED, head, p,
    ACTIVATION: tl.constexpr, CENTERED: tl.constexpr, ROW_SUM: tl.constexpr,
    ENTROPY: tl.constexpr, DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr,
    MASKED: tl.constexpr, QUERY_AXIS: tl.constexpr,
):  # fmt: skip
    """The weights after dropout and dL/ds of one tile, queries along QUERY_AXIS.

    `values` are those of `_row_values`.
    """
    if QUERY_AXIS == 0:
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
    else:
        s = tl.dot(k, tl.trans(q), input_precision=PRECISION)
        dp = tl.dot(v, tl.trans(do), input_precision=PRECISION)
    c, a, offset, rho, eps, log_sum, delta = values
    c, a = _along(c, QUERY_AXIS), _along(a, QUERY_AXIS)
    keys = tl.expand_dims(keys, QUERY_AXIS)
    if DROPOUT:
        queries = _along(rows, QUERY_AXIS)
        kept = kept_by_dropout(SEED, head, queries, keys, p)
        larger = 1.0 / (1.0 - p)
        dp = tl.where(kept, dp * larger, 0.0)
    if ACTIVATION == "softmax":
        weights = tl.exp2(s * (scale * LOG2_E) - _along(log_sum, QUERY_AXIS))
        ds = weights * (dp - _along(delta, QUERY_AXIS)) * a
    else:
        z = shifted(s, scale, _along(offset, QUERY_AXIS), ACTIVATION, CENTERED)
        weights = activated(z, ACTIVATION) * c
        if ROW_SUM:
            dp += _along(rho, QUERY_AXIS)
        if ENTROPY:
            logs = LN_2 * log2(tl.maximum(weights, SMALLEST), FAST)
            dp += _along(eps, QUERY_AXIS) * (1.0 + logs)
        dp = dp * a
        ds = tl.where(z > 0, dp, 0.0) if ACTIVATION == "relu" else _slope(z, ACTIVATION) * dp
    if MASKED:
        seen = keys < _along(n, QUERY_AXIS)
        weights = tl.where(seen, weights, 0.0)
        ds = tl.where(seen, ds, 0.0)
    if DROPOUT:
        weights = tl.where(kept, weights * larger, 0.0)
    return weights, ds


@triton.jit
def _store_offset_gradient(D_OFFSET, places, ds_sum, n, scale, inside):
    tl.store(D_OFFSET + places, tl.where(n > 1, -ds_sum / scale, 0.0), mask=inside)


@triton.jit
def _query_tiles(
    dq, ds_sum, q, do, K, V, k_t, v_t, key_start, key_length, rows, n, values, first, last, scale,
    SEED, head, p,
    HEAD_DIM: tl.constexpr, BLOCK_N: tl.constexpr, ACTIVATION: tl.constexpr,
    CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """dQ of one tile of queries from keys first to last."""
    for begin in range(first, last, BLOCK_N):
        keys = begin + tl.arange(0, BLOCK_N)
        k = load_rows(K, k_t, key_start, keys, keys < key_length, HEAD_DIM)
        v = load_rows(V, v_t, key_start, keys, keys < key_length, HEAD_DIM)
        _, ds = _score_gradients(
            q, k, v, do, rows, keys, n, values, scale, SEED, head, p, ACTIVATION,
            CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, MASKED, 0,
        )  # fmt: skip
        if CENTERED:
            ds_sum += tl.sum(ds, 1)
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq, ds_sum


@triton.jit
def query_gradient(
    Q, K, V, GAIN, OFFSET, DO, RHO, EPS, R, DELTA, DQ, D_OFFSET,
    QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, SEED,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, o_b, o_h, o_t, r_b, r_h, dq_b, dq_h, dq_t,
    num_heads, longest_query, longest_key, scale, alpha, p,
    HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    ACTIVATION: tl.constexpr, CAUSAL: tl.constexpr, CENTERED: tl.constexpr,
    PACKED: tl.constexpr, QUERIES_PADDED: tl.constexpr, KEYS_PADDED: tl.constexpr,
    ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """dQ of a tile of queries, and the gradient of their offsets."""
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
    values = _row_values(
        GAIN, OFFSET, RHO, EPS, R, DELTA, places, rows, n, query_length, h, alpha, scale,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY,
    )  # fmt: skip
    fewest = 1 if CENTERED else 0
    q = load_rows(Q + b * q_b + h * q_h, q_t, query_start, rows, n > fewest, HEAD_DIM)
    do = load_rows(DO + b * o_b + h * o_h, o_t, query_start, rows, rows < query_length, HEAD_DIM)
    dq = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    ds_sum = tl.zeros([BLOCK_M], tl.float32)
    full = unmasked_keys(n, BLOCK_N, ACTIVATION, CAUSAL, CENTERED)
    K += b * k_b + h * k_h
    V += b * v_b + h * v_h
    dq, ds_sum = _query_tiles(
        dq, ds_sum, q, do, K, V, k_t, v_t, key_start, key_length, rows, n, values,
        0, full, scale, SEED, head, p, HEAD_DIM, BLOCK_N, ACTIVATION,
        CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, False,
    )  # fmt: skip
    dq, ds_sum = _query_tiles(
        dq, ds_sum, q, do, K, V, k_t, v_t, key_start, key_length, rows, n, values,
        full, tl.max(n), scale, SEED, head, p, HEAD_DIM, BLOCK_N, ACTIVATION,
        CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip
    if CENTERED:
        dq = tl.where((n > 1)[:, None], dq, 0.0)
        _store_offset_gradient(D_OFFSET, places, ds_sum, n, scale, rows < num_rows)
    store_rows(DQ + b * dq_b + h * dq_h, dq_t, query_start, rows, num_rows, dq, HEAD_DIM)


@triton.jit
def _key_tiles(
    dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, places, query_start,
    query_length, key_length, keys, shift, h, first, last, scale, alpha, SEED, head, p,
    HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, ACTIVATION: tl.constexpr,
    CAUSAL: tl.constexpr, CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """dK and dV of one tile of keys from queries first to last, keys along the first axis."""
    for begin in range(first, last, BLOCK_M):
        rows = begin + tl.arange(0, BLOCK_M)
        n = visible_keys(rows, shift, query_length, key_length, CAUSAL)
        values = _row_values(
            GAIN, OFFSET, RHO, EPS, R, DELTA, places + rows, rows, n, query_length, h, alpha, scale,
            ACTIVATION, CENTERED, ROW_SUM, ENTROPY,
        )  # fmt: skip
        q = load_rows(Q, q_t, query_start, rows, n > (1 if CENTERED else 0), HEAD_DIM)
        do = load_rows(DO, o_t, query_start, rows, rows < query_length, HEAD_DIM)
        weights, ds = _score_gradients(
            q, k, v, do, rows, keys, n, values, scale, SEED, head, p, ACTIVATION,
            CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, MASKED, 1,
        )  # fmt: skip
        dv = tl.dot(weights.to(do.dtype), do, dv, input_precision=PRECISION)
        dk = tl.dot(ds.to(q.dtype), q, dk, input_precision=PRECISION)
    return dk, dv


@triton.jit
def key_gradient(
    Q, K, V, GAIN, OFFSET, DO, RHO, EPS, R, DELTA, DK, DV,
    QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, SEED,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, o_b, o_h, o_t, r_b, r_h, dk_b, dk_h, dk_t,
    num_heads, longest_query, longest_key, scale, alpha, p,
    HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    ACTIVATION: tl.constexpr, CAUSAL: tl.constexpr, CENTERED: tl.constexpr,
    PACKED: tl.constexpr, QUERIES_PADDED: tl.constexpr, KEYS_PADDED: tl.constexpr,
    ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """dK and dV of a tile of keys; 0 for padded ones."""
    tile, head = place_of_tile(longest_key, BLOCK_N)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length, _, key_start, key_length, num_keys, shift = spans(
        QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, b, longest_query, longest_key,
        PACKED, QUERIES_PADDED, KEYS_PADDED,
    )  # fmt: skip
    begin = tile * BLOCK_N
    if begin >= num_keys:
        return
    keys = begin + tl.arange(0, BLOCK_N)
    real = keys < key_length
    k = load_rows(K + b * k_b + h * k_h, k_t, key_start, keys, real, HEAD_DIM)
    v = load_rows(V + b * v_b + h * v_h, v_t, key_start, keys, real, HEAD_DIM)
    dk = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    dv = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    first, full = 0, 0  # from here on nothing is masked: padding is made 0 at the end
    if CAUSAL:
        first = tl.maximum(begin - shift, 0) // BLOCK_M * BLOCK_M
        full = tl.cdiv(tl.maximum(begin + BLOCK_N - 1 - shift, 0), BLOCK_M) * BLOCK_M
    last = tl.where(begin < key_length, query_length, 0)
    Q += b * q_b + h * q_h
    DO += b * o_b + h * o_h
    places = b * r_b + h * r_h + query_start
    dk, dv = _key_tiles(
        dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, places, query_start,
        query_length, key_length, keys, shift, h, first, tl.minimum(full, last), scale, alpha,
        SEED, head, p, HEAD_DIM, BLOCK_M, ACTIVATION, CAUSAL, CENTERED, ROW_SUM,
        ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip
    dk, dv = _key_tiles(
        dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, places, query_start,
        query_length, key_length, keys, shift, h, full, last, scale, alpha,
        SEED, head, p, HEAD_DIM, BLOCK_M, ACTIVATION, CAUSAL, CENTERED, ROW_SUM,
        ENTROPY, DROPOUT, PRECISION, FAST, False,
    )  # fmt: skip
    dk, dv = tl.where(real[:, None], dk, 0.0), tl.where(real[:, None], dv, 0.0)
    store_rows(DK + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, dk, HEAD_DIM)
    store_rows(DV + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, dv, HEAD_DIM)


@triton.jit
def short_gradient(
    Q, K, V, GAIN, OFFSET, DO, RHO, EPS, R, DELTA, DQ, DK, DV, D_OFFSET,
    QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, SEED,
    q_b, q_h, q_t, k_b, k_h, k_t, v_b, v_h, v_t, o_b, o_h, o_t, r_b, r_h,
    dq_b, dq_h, dq_t, dk_b, dk_h, dk_t,
    num_heads, longest_query, longest_key, scale, alpha, p,
    HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
    ACTIVATION: tl.constexpr, CAUSAL: tl.constexpr, CENTERED: tl.constexpr,
    PACKED: tl.constexpr, QUERIES_PADDED: tl.constexpr, KEYS_PADDED: tl.constexpr,
    ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr, DROPOUT: tl.constexpr,
    PRECISION: tl.constexpr, FAST: tl.constexpr,
):  # fmt: skip
    """All gradients of one head of a sequence whose keys fit into one tile.

    So a tile of queries has its whole dQ at once; dK and dV add up over tiles. Both at once would
    want more registers than there are.
    """
    head = tl.program_id(0)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length, num_rows, key_start, key_length, num_keys, shift = spans(
        QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, b, longest_query, longest_key,
        PACKED, QUERIES_PADDED, KEYS_PADDED,
    )  # fmt: skip
    keys = tl.arange(0, BLOCK_N)
    k = load_rows(K + b * k_b + h * k_h, k_t, key_start, keys, keys < key_length, HEAD_DIM)
    v = load_rows(V + b * v_b + h * v_h, v_t, key_start, keys, keys < key_length, HEAD_DIM)
    Q += b * q_b + h * q_h
    DO += b * o_b + h * o_h
    DQ += b * dq_b + h * dq_h
    places = b * r_b + h * r_h + query_start
    for begin in range(0, num_rows, BLOCK_M):
        rows = begin + tl.arange(0, BLOCK_M)
        n = visible_keys(rows, shift, query_length, key_length, CAUSAL)
        values = _row_values(
            GAIN, OFFSET, RHO, EPS, R, DELTA, places + rows, rows, n, query_length, h, alpha, scale,
            ACTIVATION, CENTERED, ROW_SUM, ENTROPY,
        )  # fmt: skip
        q = load_rows(Q, q_t, query_start, rows, n > (1 if CENTERED else 0), HEAD_DIM)
        do = load_rows(DO, o_t, query_start, rows, rows < query_length, HEAD_DIM)
        _, ds = _score_gradients(
            q, k, v, do, rows, keys, n, values, scale, SEED, head, p, ACTIVATION,
            CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, True, 0,
        )  # fmt: skip
        dq = tl.dot(ds.to(k.dtype), k, input_precision=PRECISION)
        if CENTERED:
            dq = tl.where((n > 1)[:, None], dq, 0.0)
            _store_offset_gradient(
                D_OFFSET, places + rows, tl.sum(ds, 1), n, scale, rows < num_rows
            )
        store_rows(DQ, dq_t, query_start, rows, num_rows, dq, HEAD_DIM)

    dk = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    dv = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    dk, dv = _key_tiles(
        dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, places, query_start,
        query_length, key_length, keys, shift, h, 0, query_length, scale, alpha,
        SEED, head, p, HEAD_DIM, BLOCK_M, ACTIVATION, CAUSAL, CENTERED, ROW_SUM,
        ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip
    store_rows(DK + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, dk, HEAD_DIM)
    store_rows(DV + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, dv, HEAD_DIM)
