"""Pointwise attention, ReLU attention above all, as Triton kernels; and softmax as their control.

With s = q . k and z = scale s - offset, weights are P = c h(z), c = gain n^-alpha, or softmax(z)
for `softmax`; what a query may not read has weight 0. `reluformer.kernels.attention` has the
gradients and the interface, `reluformer.kernels.launch` what calls these.

No kernel holds more than a tile of scores, and none adds atomically, so results repeat bit for
bit. For `relu` scale stays out of the loops: they run on x = max(s - offset / scale, 0), and
P = a x with a = c scale. The products with transposed scores, which dK and dV need, are computed
as such (k . q): some versions of Triton compile the transpose of an accumulator wrongly for Hopper.

A sequence's queries and keys are aligned at their ends (bottom right), as in `Visibility`.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
SMALLEST = tl.constexpr(2.0**-126)  # of the normal float32 numbers
INFINITY = tl.constexpr(float("inf"))


@triton.jit
def _log2(x, FAST: tl.constexpr):
    """log2 of what is positive; FAST is one instruction of NVIDIA GPUs, tl.log2 is twelve."""
    if FAST:
        return tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return tl.log2(x)


@triton.jit
def _activated(z, ACTIVATION: tl.constexpr):
    """h(z)"""
    if ACTIVATION == "relu":
        y = tl.maximum(z, 0.0)
    elif ACTIVATION == "relu_squared":
        y = tl.maximum(z, 0.0) * tl.maximum(z, 0.0)
    elif ACTIVATION == "gelu":
        y = 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))
    elif ACTIVATION == "softplus":
        y = tl.maximum(z, 0.0) + tl.log(1.0 + tl.exp(-tl.abs(z)))
    elif ACTIVATION == "sigmoid":
        y = tl.sigmoid(z)
    else:
        tl.static_assert(ACTIVATION == "identity")
        y = z
    return y


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
def _place(longest, BLOCK: tl.constexpr):
    """Which tile of which head this program has; tiles of one head run next to each other."""
    num_tiles = tl.cdiv(longest, BLOCK)
    return tl.program_id(0) % num_tiles, tl.program_id(0) // num_tiles


@triton.jit
def _span(STARTS, LENGTHS, b, full, PACKED: tl.constexpr, PADDED: tl.constexpr):
    """The row that sequence b begins at, and how many it has."""
    if PACKED:
        start = tl.load(STARTS + b).to(tl.int32)
        length = tl.load(STARTS + b + 1).to(tl.int32) - start
    elif PADDED:
        start = 0
        length = tl.load(LENGTHS + b).to(tl.int32)
    else:
        start = 0
        length = full
    return start, length


@triton.jit
def _load(pointer, stride, start, rows, num_rows, HEAD_DIM: tl.constexpr):
    """Rows [BLOCK, HEAD_DIM] of one head; zeros behind the last."""
    columns = tl.arange(0, HEAD_DIM)[None, :]
    place = pointer + (start + rows)[:, None].to(tl.int64) * stride + columns
    return tl.load(place, mask=(rows < num_rows)[:, None], other=0.0)


@triton.jit
def _load_queries(pointer, stride, start, rows, n, HEAD_DIM: tl.constexpr, CENTERED: tl.constexpr):
    """Zeros for queries that see nothing, or where scores are centred, a single key."""
    columns = tl.arange(0, HEAD_DIM)[None, :]
    place = pointer + (start + rows)[:, None].to(tl.int64) * stride + columns
    return tl.load(place, mask=(n > (1 if CENTERED else 0))[:, None], other=0.0)


@triton.jit
def _store(pointer, stride, start, rows, num_rows, values, HEAD_DIM: tl.constexpr):
    columns = tl.arange(0, HEAD_DIM)[None, :]
    place = pointer + (start + rows)[:, None].to(tl.int64) * stride + columns
    tl.store(place, values.to(pointer.dtype.element_ty), mask=(rows < num_rows)[:, None])


@triton.jit
def _visible_keys(rows, shift, query_length, key_length, CAUSAL: tl.constexpr):
    """n of each query, 0 for padding."""
    n = tl.where(rows < query_length, key_length, 0)
    if CAUSAL:
        n = tl.maximum(tl.minimum(n, rows + 1 + shift), 0)
    return n


@triton.jit
def _row_factors(gain, n, alpha, scale, ACTIVATION: tl.constexpr):
    """c and a = c scale: what weights are h times, and what dL/ds is dL/dh times.

    relu has a twice, as its loops run on x = z / scale; softmax has 1 and scale.
    """
    if ACTIVATION == "softmax":
        c = tl.full(n.shape, 1.0, tl.float32)
    else:
        c = gain * tl.exp2(-alpha * tl.log2(tl.maximum(n, 1).to(tl.float32)))
    a = c * scale
    return (a, a) if ACTIVATION == "relu" else (c, a)


@triton.jit
def _kept(SEED, head, queries, keys, longest_key, p):
    """Where dropout keeps a weight, by its place alone, so that all kernels and tiles agree."""
    seed = tl.load(SEED)
    return tl.rand(seed + head * 7919, queries * longest_key + keys) >= p


@triton.jit
def _forward_tiles(
    acc, total, logs, top, q, K, V, k_t, v_t, key_start, key_length, rows, n, offset,
    first, last, scale, SEED, head, longest_key, p,
    HEAD_DIM: tl.constexpr, BLOCK_N: tl.constexpr, ACTIVATION: tl.constexpr,
    CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """One tile of queries over keys first to last: contexts and sums so far."""
    for begin in range(first, last, BLOCK_N):
        keys = begin + tl.arange(0, BLOCK_N)
        k = _load(K, k_t, key_start, keys, key_length, HEAD_DIM)
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
            if ACTIVATION == "relu":
                z = s - offset[:, None] if CENTERED else s
            else:
                z = s * scale - offset[:, None] if CENTERED else s * scale
            x = _activated(z, ACTIVATION)
            if MASKED:
                x = tl.where(seen, x, 0.0)
            if ROW_SUM:
                total += tl.sum(x, 1)
            if ENTROPY:
                logs += tl.sum(x * _log2(tl.maximum(x, SMALLEST), FAST), 1)
        if DROPOUT:
            x = tl.where(_kept(SEED, head, rows[:, None], keys[None, :], longest_key, p), x, 0.0)
        v = _load(V, v_t, key_start, keys, key_length, HEAD_DIM)
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
    tile, head = _place(longest_query, BLOCK_M)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length = _span(
        QUERY_STARTS, QUERY_LENGTHS, b, longest_query, PACKED, QUERIES_PADDED
    )
    key_start, key_length = _span(KEY_STARTS, KEY_LENGTHS, b, longest_key, PACKED, KEYS_PADDED)
    num_rows = query_length if PACKED else longest_query  # rows of padding become zeros
    if tile * BLOCK_M >= num_rows:
        return
    shift = key_length - query_length if PACKED else longest_key - longest_query
    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    n = _visible_keys(rows, shift, query_length, key_length, CAUSAL)
    sums = b * r_b + h * r_h + query_start + rows
    offset = tl.zeros([BLOCK_M], tl.float32)
    if CENTERED:
        offset = tl.load(OFFSET + sums, mask=n > 1, other=0.0)
        offset = offset / scale if ACTIVATION == "relu" else offset

    q = _load_queries(Q + b * q_b + h * q_h, q_t, query_start, rows, n, HEAD_DIM, CENTERED)
    acc = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    total = tl.zeros([BLOCK_M], tl.float32)
    logs = tl.zeros([BLOCK_M], tl.float32)
    top = tl.full([BLOCK_M], -INFINITY, tl.float32)
    last = tl.max(n)
    full = last  # up to here nothing is masked: relu of a padded key, a row of zeros, is 0
    if CAUSAL or CENTERED or ACTIVATION != "relu":
        full = tl.min(n) // BLOCK_N * BLOCK_N
    K += b * k_b + h * k_h
    V += b * v_b + h * v_h
    acc, total, logs, top = _forward_tiles(
        acc, total, logs, top, q, K, V, k_t, v_t, key_start, key_length, rows, n, offset,
        0, full, scale, SEED, head, longest_key, p, HEAD_DIM, BLOCK_N, ACTIVATION,
        CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, False,
    )  # fmt: skip
    acc, total, logs, top = _forward_tiles(
        acc, total, logs, top, q, K, V, k_t, v_t, key_start, key_length, rows, n, offset,
        full, last, scale, SEED, head, longest_key, p, HEAD_DIM, BLOCK_N, ACTIVATION,
        CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip

    a, _ = _row_factors(tl.load(GAIN + h), n, alpha, scale, ACTIVATION)
    inside = rows < num_rows
    if ACTIVATION == "softmax":
        a = 1.0 / tl.where(total > 0, total, 1.0)
        # The base-2 logarithm of each row's sum of exponentials; of nothing, what makes P 0.
        tl.store(R + sums, tl.where(total > 0, top + tl.log2(total), INFINITY), mask=inside)
    elif ROW_SUM:
        tl.store(R + sums, a * total, mask=inside)
    if ENTROPY:
        log_a = tl.log2(tl.maximum(a, SMALLEST))
        tl.store(E + sums, a * LN_2 * (logs + log_a * total), mask=inside)
    if DROPOUT:
        a = a / (1 - p)
    _store(OUT + b * o_b + h * o_h, o_t, query_start, rows, num_rows, acc * a[:, None], HEAD_DIM)


@triton.jit
def _score_gradient(
    s, dp, seen, kept, c, a, offset, rho, eps, log_sum, delta, scale, p,
    ACTIVATION: tl.constexpr, CENTERED: tl.constexpr, ROW_SUM: tl.constexpr,
    ENTROPY: tl.constexpr, DROPOUT: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """The weights after dropout, and dL/ds, from s and dp = dO . v.

    c and a: what h (for relu x) and what dL/dh are multiplied by, see `_row_factors`. All row
    vectors come ready to broadcast, so that either orientation is served.
    """
    if DROPOUT:
        dp = tl.where(kept, dp / (1 - p), 0.0)
    if ACTIVATION == "softmax":
        weights = tl.exp2(s * (scale * LOG2_E) - log_sum)
        ds = weights * (dp - delta) * a
    else:
        if ACTIVATION == "relu":
            z = s - offset if CENTERED else s
        else:
            z = s * scale - offset if CENTERED else s * scale
        weights = _activated(z, ACTIVATION) * c
        if ROW_SUM:
            dp += rho
        if ENTROPY:
            dp += eps * (1.0 + LN_2 * _log2(tl.maximum(weights, SMALLEST), FAST))
        dp = dp * a
        ds = tl.where(z > 0, dp, 0.0) if ACTIVATION == "relu" else _slope(z, ACTIVATION) * dp
    if MASKED:
        weights = tl.where(seen, weights, 0.0)
        ds = tl.where(seen, ds, 0.0)
    if DROPOUT:
        weights = tl.where(kept, weights / (1 - p), 0.0)
    return weights, ds


@triton.jit
def _row_values(
    GAIN, OFFSET, RHO, EPS, R, DELTA, sums, rows, n, query_length, h, alpha, scale,
    ACTIVATION: tl.constexpr, CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
):  # fmt: skip
    """All that a tile's queries have one number of: factors, offset, upstream gradients."""
    real = rows < query_length
    c, a = _row_factors(tl.load(GAIN + h), n, alpha, scale, ACTIVATION)
    offset = tl.zeros(rows.shape, tl.float32)
    rho = tl.zeros(rows.shape, tl.float32)
    eps = tl.zeros(rows.shape, tl.float32)
    log_sum = tl.zeros(rows.shape, tl.float32)
    delta = tl.zeros(rows.shape, tl.float32)
    if CENTERED:
        offset = tl.load(OFFSET + sums, mask=n > 1, other=0.0)
        offset = offset / scale if ACTIVATION == "relu" else offset
    if ACTIVATION == "softmax":
        log_sum = tl.load(R + sums, mask=real, other=INFINITY)
        delta = tl.load(DELTA + sums, mask=real, other=0.0)
    if ROW_SUM:
        rho = tl.load(RHO + sums, mask=real, other=0.0)
    if ENTROPY:
        eps = tl.load(EPS + sums, mask=real, other=0.0)
    return c, a, offset, rho, eps, log_sum, delta


@triton.jit
def _query_gradient_tiles(
    dq, d_offset, q, do, K, V, k_t, v_t, key_start, key_length, rows, n, c, a, offset, rho, eps,
    log_sum, delta, first, last, scale, SEED, head, longest_key, p,
    HEAD_DIM: tl.constexpr, BLOCK_N: tl.constexpr, ACTIVATION: tl.constexpr,
    CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """dQ of one tile of queries from keys first to last."""
    for begin in range(first, last, BLOCK_N):
        keys = begin + tl.arange(0, BLOCK_N)
        k = _load(K, k_t, key_start, keys, key_length, HEAD_DIM)
        v = _load(V, v_t, key_start, keys, key_length, HEAD_DIM)
        s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
        dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
        seen = keys[None, :] < n[:, None]
        kept = seen
        if DROPOUT:
            kept = _kept(SEED, head, rows[:, None], keys[None, :], longest_key, p)
        _, ds = _score_gradient(
            s, dp, seen, kept, c[:, None], a[:, None], offset[:, None], rho[:, None], eps[:, None],
            log_sum[:, None], delta[:, None], scale, p,
            ACTIVATION, CENTERED, ROW_SUM, ENTROPY, DROPOUT, FAST, MASKED,
        )  # fmt: skip
        if CENTERED:
            d_offset -= tl.sum(ds, 1)
        dq = tl.dot(ds.to(k.dtype), k, dq, input_precision=PRECISION)
    return dq, d_offset


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
    tile, head = _place(longest_query, BLOCK_M)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length = _span(
        QUERY_STARTS, QUERY_LENGTHS, b, longest_query, PACKED, QUERIES_PADDED
    )
    key_start, key_length = _span(KEY_STARTS, KEY_LENGTHS, b, longest_key, PACKED, KEYS_PADDED)
    num_rows = query_length if PACKED else longest_query
    if tile * BLOCK_M >= num_rows:
        return
    shift = key_length - query_length if PACKED else longest_key - longest_query
    rows = tile * BLOCK_M + tl.arange(0, BLOCK_M)
    n = _visible_keys(rows, shift, query_length, key_length, CAUSAL)
    sums = b * r_b + h * r_h + query_start + rows
    c, a, offset, rho, eps, log_sum, delta = _row_values(
        GAIN, OFFSET, RHO, EPS, R, DELTA, sums, rows, n, query_length, h, alpha, scale,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY,
    )  # fmt: skip
    q = _load_queries(Q + b * q_b + h * q_h, q_t, query_start, rows, n, HEAD_DIM, CENTERED)
    do = _load(DO + b * o_b + h * o_h, o_t, query_start, rows, query_length, HEAD_DIM)
    dq = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    d_offset = tl.zeros([BLOCK_M], tl.float32)
    last = tl.max(n)
    full = last
    if CAUSAL or CENTERED or ACTIVATION != "relu":
        full = tl.min(n) // BLOCK_N * BLOCK_N
    K += b * k_b + h * k_h
    V += b * v_b + h * v_h
    dq, d_offset = _query_gradient_tiles(
        dq, d_offset, q, do, K, V, k_t, v_t, key_start, key_length, rows, n, c, a, offset, rho, eps,
        log_sum, delta, 0, full, scale, SEED, head, longest_key, p, HEAD_DIM, BLOCK_N,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, False,
    )  # fmt: skip
    dq, d_offset = _query_gradient_tiles(
        dq, d_offset, q, do, K, V, k_t, v_t, key_start, key_length, rows, n, c, a, offset, rho, eps,
        log_sum, delta, full, last, scale, SEED, head, longest_key, p, HEAD_DIM, BLOCK_N,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip
    if CENTERED:
        dq = tl.where((n > 1)[:, None], dq, 0.0)
        d_offset = tl.where(n > 1, d_offset / scale, 0.0)
        tl.store(D_OFFSET + sums, d_offset, mask=rows < num_rows)
    _store(DQ + b * dq_b + h * dq_h, dq_t, query_start, rows, num_rows, dq, HEAD_DIM)


@triton.jit
def _key_gradient_tiles(
    dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, sums, query_start,
    query_length, key_length, keys, shift, h, first, last, scale, alpha, SEED, head, longest_key, p,
    HEAD_DIM: tl.constexpr, BLOCK_M: tl.constexpr, ACTIVATION: tl.constexpr,
    CAUSAL: tl.constexpr, CENTERED: tl.constexpr, ROW_SUM: tl.constexpr, ENTROPY: tl.constexpr,
    DROPOUT: tl.constexpr, PRECISION: tl.constexpr, FAST: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """dK and dV of one tile of keys from queries first to last, keys along the first axis."""
    for begin in range(first, last, BLOCK_M):
        rows = begin + tl.arange(0, BLOCK_M)
        n = _visible_keys(rows, shift, query_length, key_length, CAUSAL)
        c, a, offset, rho, eps, log_sum, delta = _row_values(
            GAIN, OFFSET, RHO, EPS, R, DELTA, sums + rows, rows, n, query_length, h, alpha, scale,
            ACTIVATION, CENTERED, ROW_SUM, ENTROPY,
        )  # fmt: skip
        q = _load_queries(Q, q_t, query_start, rows, n, HEAD_DIM, CENTERED)
        do = _load(DO, o_t, query_start, rows, query_length, HEAD_DIM)
        s = tl.dot(k, tl.trans(q), input_precision=PRECISION)
        dp = tl.dot(v, tl.trans(do), input_precision=PRECISION)
        seen = keys[:, None] < n[None, :]
        kept = seen
        if DROPOUT:
            kept = _kept(SEED, head, rows[None, :], keys[:, None], longest_key, p)
        x, ds = _score_gradient(
            s, dp, seen, kept, c[None, :], a[None, :], offset[None, :], rho[None, :], eps[None, :],
            log_sum[None, :], delta[None, :], scale, p,
            ACTIVATION, CENTERED, ROW_SUM, ENTROPY, DROPOUT, FAST, MASKED,
        )  # fmt: skip
        dv = tl.dot(x.to(do.dtype), do, dv, input_precision=PRECISION)
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
    tile, head = _place(longest_key, BLOCK_N)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length = _span(
        QUERY_STARTS, QUERY_LENGTHS, b, longest_query, PACKED, QUERIES_PADDED
    )
    key_start, key_length = _span(KEY_STARTS, KEY_LENGTHS, b, longest_key, PACKED, KEYS_PADDED)
    num_keys = key_length if PACKED else longest_key
    begin = tile * BLOCK_N
    if begin >= num_keys:
        return
    shift = key_length - query_length if PACKED else longest_key - longest_query
    keys = begin + tl.arange(0, BLOCK_N)
    k = _load(K + b * k_b + h * k_h, k_t, key_start, keys, key_length, HEAD_DIM)
    v = _load(V + b * v_b + h * v_h, v_t, key_start, keys, key_length, HEAD_DIM)
    dk = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    dv = tl.zeros([BLOCK_N, HEAD_DIM], tl.float32)
    first, full = 0, 0  # from here on nothing is masked: padding is made 0 at the end
    if CAUSAL:
        first = tl.maximum(begin - shift, 0) // BLOCK_M * BLOCK_M
        full = tl.cdiv(tl.maximum(begin + BLOCK_N - 1 - shift, 0), BLOCK_M) * BLOCK_M
    last = tl.where(begin < key_length, query_length, 0)
    Q += b * q_b + h * q_h
    DO += b * o_b + h * o_h
    sums = b * r_b + h * r_h + query_start
    dk, dv = _key_gradient_tiles(
        dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, sums, query_start,
        query_length, key_length, keys, shift, h, first, tl.minimum(full, last), scale, alpha,
        SEED, head, longest_key, p, HEAD_DIM, BLOCK_M, ACTIVATION, CAUSAL, CENTERED, ROW_SUM,
        ENTROPY, DROPOUT, PRECISION, FAST, True,
    )  # fmt: skip
    dk, dv = _key_gradient_tiles(
        dk, dv, k, v, Q, DO, q_t, o_t, GAIN, OFFSET, RHO, EPS, R, DELTA, sums, query_start,
        query_length, key_length, keys, shift, h, full, last, scale, alpha,
        SEED, head, longest_key, p, HEAD_DIM, BLOCK_M, ACTIVATION, CAUSAL, CENTERED, ROW_SUM,
        ENTROPY, DROPOUT, PRECISION, FAST, False,
    )  # fmt: skip
    real = (keys < key_length)[:, None]
    _store(
        DK + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, tl.where(real, dk, 0.0), HEAD_DIM
    )
    _store(
        DV + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, tl.where(real, dv, 0.0), HEAD_DIM
    )


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
    """All gradients of one head of a sequence that fits into one tile each way."""
    head = tl.program_id(0)
    b, h = (head // num_heads).to(tl.int64), (head % num_heads).to(tl.int64)
    query_start, query_length = _span(
        QUERY_STARTS, QUERY_LENGTHS, b, longest_query, PACKED, QUERIES_PADDED
    )
    key_start, key_length = _span(KEY_STARTS, KEY_LENGTHS, b, longest_key, PACKED, KEYS_PADDED)
    num_rows = query_length if PACKED else longest_query
    num_keys = key_length if PACKED else longest_key
    shift = key_length - query_length if PACKED else longest_key - longest_query
    rows, keys = tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N)
    n = _visible_keys(rows, shift, query_length, key_length, CAUSAL)
    sums = b * r_b + h * r_h + query_start + rows
    c, a, offset, rho, eps, log_sum, delta = _row_values(
        GAIN, OFFSET, RHO, EPS, R, DELTA, sums, rows, n, query_length, h, alpha, scale,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY,
    )  # fmt: skip
    q = _load_queries(Q + b * q_b + h * q_h, q_t, query_start, rows, n, HEAD_DIM, CENTERED)
    do = _load(DO + b * o_b + h * o_h, o_t, query_start, rows, query_length, HEAD_DIM)
    k = _load(K + b * k_b + h * k_h, k_t, key_start, keys, key_length, HEAD_DIM)
    v = _load(V + b * v_b + h * v_h, v_t, key_start, keys, key_length, HEAD_DIM)

    s = tl.dot(q, tl.trans(k), input_precision=PRECISION)
    dp = tl.dot(do, tl.trans(v), input_precision=PRECISION)
    seen = keys[None, :] < n[:, None]
    kept = seen
    if DROPOUT:
        kept = _kept(SEED, head, rows[:, None], keys[None, :], longest_key, p)
    _, ds = _score_gradient(
        s, dp, seen, kept, c[:, None], a[:, None], offset[:, None], rho[:, None], eps[:, None],
        log_sum[:, None], delta[:, None], scale, p,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY, DROPOUT, FAST, True,
    )  # fmt: skip
    dq = tl.dot(ds.to(k.dtype), k, input_precision=PRECISION)
    if CENTERED:
        dq = tl.where((n > 1)[:, None], dq, 0.0)
        d_offset = tl.where(n > 1, -tl.sum(ds, 1) / scale, 0.0)
        tl.store(D_OFFSET + sums, d_offset, mask=rows < num_rows)
    _store(DQ + b * dq_b + h * dq_h, dq_t, query_start, rows, num_rows, dq, HEAD_DIM)

    s = tl.dot(k, tl.trans(q), input_precision=PRECISION)
    dp = tl.dot(v, tl.trans(do), input_precision=PRECISION)
    seen = keys[:, None] < n[None, :]
    kept = seen
    if DROPOUT:
        kept = _kept(SEED, head, rows[None, :], keys[:, None], longest_key, p)
    x, ds = _score_gradient(
        s, dp, seen, kept, c[None, :], a[None, :], offset[None, :], rho[None, :], eps[None, :],
        log_sum[None, :], delta[None, :], scale, p,
        ACTIVATION, CENTERED, ROW_SUM, ENTROPY, DROPOUT, FAST, True,
    )  # fmt: skip
    dv = tl.dot(x.to(do.dtype), do, input_precision=PRECISION)
    dk = tl.dot(ds.to(q.dtype), q, input_precision=PRECISION)
    _store(DK + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, dk, HEAD_DIM)
    _store(DV + b * dk_b + h * dk_h, dk_t, key_start, keys, num_keys, dv, HEAD_DIM)
