"""Attention and what stands around it: each function is the standard's operator of its name.

The same lines run on Tensors (float32, products in the engine) and on arrays (other types). Shapes
inside are (batch, heads, steps, size of a head).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .activation import Softmax, Swish, Tanh
from .arithmetic import Add, Mul, Sub
from .creation import cast, element_type
from .linear import product
from .logic import Where
from .registry import operator
from .shaping import Concat, Expand, Transpose
from .values import Value, array, integers, wrapped

SWAP = (0, 2, 1, 3)


def _heads(x: Value, count: int | None) -> Value:
    """Return (batch, steps, heads * size) as (batch, heads, steps, size)."""
    if x.ndim == 4:
        return x
    if not count or x.ndim != 3 or x.shape[2] % count:
        raise ValueError(f"cannot cut {tuple(x.shape)} into {count} heads")
    return Transpose(x.reshape((*x.shape[:2], count, x.shape[2] // count)), perm=SWAP)


def _shared(x: Value, heads: int) -> Value:
    """Return keys or values with each head repeated for the queries' heads that share it."""
    batch, own, steps, size = x.shape
    if own == heads:
        return x
    if heads % own:
        raise ValueError(f"{heads} heads of queries cannot share {own} heads of keys")
    wide = Expand(x.reshape((batch, own, 1, steps, size)),
                  np.array([batch, own, heads // own, steps, size]))
    return wide.reshape((batch, heads, steps, size))


def _like(number: float, x: Value) -> Value:
    """Return a number in the type of x."""
    return wrapped(np.asarray(number, x.dtype))


def _mask(mask: Value, keys: int) -> tuple[np.ndarray | None, Value]:
    """Return which keys a mask allows, and what it adds to scores, as long as the keys."""
    if mask is None:
        return None, None
    host = array(mask)
    missing = [(0, 0)] * (host.ndim - 1) + [(0, keys - host.shape[-1])]
    if host.dtype == np.bool_:
        return np.pad(host, missing), None
    if keys > host.shape[-1]:
        host = np.pad(host, missing, constant_values=host.dtype.type(-np.inf))
        mask = wrapped(host)
    return ~np.isneginf(host.astype(np.float32)), mask


def _allowed(
    queries: int, keys: int, before: np.ndarray, lengths: list[int] | None, causal: int,
    window: tuple[int, int],
) -> np.ndarray:
    """Return (batch or 1, 1, queries, keys): which keys a query may see.

    `before` counts the keys that precede the first query.
    """
    ahead = np.arange(keys) - (np.arange(queries)[:, None] + before.reshape(-1, 1, 1))
    allowed = np.ones(ahead.shape, bool)
    if causal:
        allowed &= ahead <= 0
    if window[0] >= 0:
        allowed &= -ahead <= window[0]
    if window[1] >= 0:
        allowed &= ahead <= window[1]
    if lengths is not None:
        allowed = allowed & (np.arange(keys) < np.array(lengths)[:, None, None])
    return allowed[:, None]


@operator()
def Attention(
    q: Value, k: Value, v: Value, mask: Value = None, past_key: Value = None,
    past_value: Value = None, nonpad_kv_seqlen: Value = None,
    *, is_causal: int = 0, kv_num_heads: int | None = None, left_window_size: int = -1,
    q_num_heads: int | None = None, qk_matmul_output_mode: int = 0,
    right_window_size: int = -1, scale: float | None = None, softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> tuple[Value, ...]:
    """Return softmax(q k^T scale + mask) v, the keys and values with those of the past, scores.

    A query that may see no key gives zeros.
    """
    flat = q.ndim == 3
    q, k, v = _heads(q, q_num_heads), _heads(k, kv_num_heads), _heads(v, kv_num_heads)
    keys = k if past_key is None else Concat(past_key, k, axis=2)
    values = v if past_value is None else Concat(past_value, v, axis=2)
    count, seen = q.shape[2], keys.shape[2]
    lengths = None if nonpad_kv_seqlen is None else integers(nonpad_kv_seqlen)
    if past_key is None and lengths is not None:
        before = np.array(lengths) - count
    else:
        before = np.array([0 if past_key is None else past_key.shape[2]])
    window = (left_window_size, right_window_size)
    allowed = _allowed(count, seen, before, lengths, is_causal, window)
    given, added = _mask(mask, seen)
    if given is not None:
        allowed = allowed & given
    root = _like(math.sqrt(1 / math.sqrt(q.shape[3]) if scale is None else scale), q)
    turned = Transpose(_shared(keys, q.shape[1]), perm=(0, 1, 3, 2))
    scores = [product(Mul(q, root), Mul(turned, root))]
    y, shown = _attended(scores, allowed, added, softcap, softmax_precision)
    scores += shown
    y = product(cast(y, q.dtype), _shared(values, q.shape[1]))
    if flat:
        y = Transpose(y, perm=SWAP)
        y = y.reshape((*y.shape[:2], y.shape[2] * y.shape[3]))
    return y, keys, values, cast(scores[qk_matmul_output_mode], q.dtype)


def _attended(
    scores: list[Value], allowed: np.ndarray, added: Value, softcap: float, precision: int | None
) -> tuple[Value, list[Value]]:
    """Return the weights of the keys, and the scores after each step that leads to them."""
    x = scores[0]
    if softcap > 0:
        limit = _like(softcap, x)
        x = Mul(Tanh(x / limit), limit)
    capped = x
    if added is not None:
        x = Add(x, added)
    everywhere = np.broadcast_to(allowed, x.shape)
    if not allowed.all():
        x = Where(everywhere, x, _like(-np.inf, x))
    biased = x
    if precision is not None:
        x = cast(x, element_type(precision))
    weights = Softmax(x, axis=-1, opset=13)
    lost = ~allowed.any(-1, keepdims=True)
    if lost.any():
        weights = Where(np.broadcast_to(lost, x.shape), _like(0, weights), weights)
    return weights, [capped, biased, weights]


@operator()
def RotaryEmbedding(
    x: Value, cos: Value, sin: Value, positions: Value = None,
    *, interleaved: int = 0, num_heads: int = 0, rotary_embedding_dim: int = 0,
) -> Value:
    """Turn pairs of elements by an angle that grows with the position (Su et al. 2021)."""
    shape = tuple(x.shape)
    if x.ndim == 4:
        x = Transpose(x, perm=SWAP)
    else:
        x = x.reshape((*shape[:2], num_heads, shape[2] // num_heads))
    size = rotary_embedding_dim or x.shape[3]
    if positions is not None:
        at = array(positions).astype(np.int64)
        cos, sin = (wrapped(array(table)[at]) for table in (cos, sin))
    if cos.shape[-1] * 2 != size:
        raise ValueError(f"tables of {cos.shape[-1]} angles do not fit {size} elements")
    cos, sin = (t.reshape((*t.shape[:-1], 1, t.shape[-1])) for t in (cos, sin))
    turned, rest = x[..., :size], x[..., size:]
    if interleaved:
        first, second = turned[..., 0::2], turned[..., 1::2]
    else:
        first, second = turned[..., : size // 2], turned[..., size // 2 :]
    real = Sub(Mul(cos, first), Mul(sin, second))
    imaginary = Add(Mul(sin, first), Mul(cos, second))
    if interleaved:
        pairs = [part.reshape((*part.shape, 1)) for part in (real, imaginary)]
        turned = Concat(*pairs, axis=-1).reshape(turned.shape)
    else:
        turned = Concat(real, imaginary, axis=-1)
    y = Concat(turned, rest, axis=-1) if rest.shape[3] else turned
    return Transpose(y, perm=SWAP) if len(shape) == 4 else y.reshape(shape)


@operator()
def SwiGLU(a: Value, b: Value, *, alpha: float = 1.0) -> Any:
    """Return swish(a) * b for operands of one shape."""
    if a.shape != b.shape:
        raise ValueError(f"expected equal shapes, got {tuple(a.shape)} and {tuple(b.shape)}")
    return Mul(Swish(a, alpha=alpha), b)
