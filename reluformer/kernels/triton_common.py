"""What the Triton kernels of pointwise attention share: places in memory, weights, dropout.

With s = q . k and z = scale s - offset, weights are P = c h(z), c = gain n^-alpha, or softmax(z)
for `softmax`, their control; what a query may not read has weight 0. `reluformer.kernels.attention`
has the gradients and the interface, `reluformer.kernels.launch` what calls the kernels of
`triton_forward` and `triton_backward`.

No kernel holds more than a tile of scores, and none adds atomically, so results repeat bit for
bit. For `relu` scale stays out of the loops: they run on x = max(s - offset / scale, 0), and
P = a x with a = c scale.

A sequence's queries and keys are aligned at their ends (bottom right), as in `Visibility`.
"""

import triton
import triton.language as tl

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
SMALLEST = tl.constexpr(2.0**-126)  # of the normal float32 numbers
INFINITY = tl.constexpr(float("inf"))


@triton.jit
def log2(x, FAST: tl.constexpr):
    """log2 of what is positive; FAST is one instruction of NVIDIA GPUs, tl.log2 is twelve."""
    if FAST:
        return tl.inline_asm_elementwise(
            "lg2.approx.ftz.f32 $0, $1;", "=f,f", [x], dtype=tl.float32, is_pure=True, pack=1
        )
    return tl.log2(x)


@triton.jit
def activated(z, ACTIVATION: tl.constexpr):
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
def shifted(s, scale, offset, ACTIVATION: tl.constexpr, CENTERED: tl.constexpr):
    """z; for relu z / scale."""
    z = s if ACTIVATION == "relu" else s * scale
    return z - offset if CENTERED else z


@triton.jit
def place_of_tile(longest, BLOCK: tl.constexpr):
    """Which tile of which head this program has; tiles of one head run next to each other."""
    num_tiles = tl.cdiv(longest, BLOCK)
    return tl.program_id(0) % num_tiles, tl.program_id(0) // num_tiles


@triton.jit
def spans(
    QUERY_STARTS, KEY_STARTS, QUERY_LENGTHS, KEY_LENGTHS, b, longest_query, longest_key,
    PACKED: tl.constexpr, QUERIES_PADDED: tl.constexpr, KEYS_PADDED: tl.constexpr,
):  # fmt: skip
    """Where the queries and the keys of sequence b begin, how many are real, how many to write.

    Rows of padding are written, as zeros. The last number is how many keys the first query may
    read if attention is causal, less one.
    """
    query_start, query_length = _span(
        QUERY_STARTS, QUERY_LENGTHS, b, longest_query, PACKED, QUERIES_PADDED
    )
    key_start, key_length = _span(KEY_STARTS, KEY_LENGTHS, b, longest_key, PACKED, KEYS_PADDED)
    num_rows = query_length if PACKED else longest_query
    num_keys = key_length if PACKED else longest_key
    shift = num_keys - num_rows
    return query_start, query_length, num_rows, key_start, key_length, num_keys, shift


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
def load_rows(pointer, stride, start, rows, wanted, HEAD_DIM: tl.constexpr):
    """Rows [BLOCK, HEAD_DIM] of one head; zeros where they are not `wanted` [BLOCK]."""
    columns = tl.arange(0, HEAD_DIM)[None, :]
    place = pointer + (start + rows)[:, None].to(tl.int64) * stride + columns
    return tl.load(place, mask=wanted[:, None], other=0.0)


@triton.jit
def store_rows(pointer, stride, start, rows, num_rows, values, HEAD_DIM: tl.constexpr):
    columns = tl.arange(0, HEAD_DIM)[None, :]
    place = pointer + (start + rows)[:, None].to(tl.int64) * stride + columns
    tl.store(place, values.to(pointer.dtype.element_ty), mask=(rows < num_rows)[:, None])


@triton.jit
def visible_keys(rows, shift, query_length, key_length, CAUSAL: tl.constexpr):
    """n of each query, 0 for padding."""
    n = tl.where(rows < query_length, key_length, 0)
    if CAUSAL:
        n = tl.maximum(tl.minimum(n, rows + 1 + shift), 0)
    return n


@triton.jit
def unmasked_keys(
    n, BLOCK_N: tl.constexpr,
    ACTIVATION: tl.constexpr, CAUSAL: tl.constexpr, CENTERED: tl.constexpr,
):  # fmt: skip
    """Up to which key, a multiple of BLOCK_N or all, a tile's scores need no mask.

    relu of a padded key, which is loaded as zeros, is 0 of itself.
    """
    full = tl.max(n)
    if CAUSAL or CENTERED or ACTIVATION != "relu":
        full = tl.min(n) // BLOCK_N * BLOCK_N
    return full


@triton.jit
def row_factors(gain, n, alpha, scale, ACTIVATION: tl.constexpr):
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
def row_offsets(OFFSET, places, n, scale, ACTIVATION: tl.constexpr, CENTERED: tl.constexpr):
    """What `shifted` takes away from each query's scores; 0 for those that see a single key."""
    offset = tl.zeros(n.shape, tl.float32)
    if CENTERED:
        offset = tl.load(OFFSET + places, mask=n > 1, other=0.0)
        offset = offset / scale if ACTIVATION == "relu" else offset
    return offset


@triton.jit
def kept_by_dropout(SEED, head, queries, keys, p):
    """Where dropout keeps a weight, by its place alone, so that all kernels and tiles agree.

    Philox's counters are the place and its key the seed; seven rounds pass BigCrush (Salmon et al.
    2011, "Parallel random numbers: as easy as 1, 2, 3", table 2).
    """
    drawn, _, _, _ = tl.philox(tl.load(SEED), keys, queries, head, 0, n_rounds=7)
    return drawn >= (tl.full([], p, tl.float32) * 4294967296.0).to(tl.uint32)
