"""`_core.gemm`: any strides, batches, empty sizes, on each instruction set."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st
from rounding import assert_rounded, uniform, whole

import cnnfast
from cnnfast import _core

Shape = tuple[int, ...]
Layout = Callable[[np.ndarray], np.ndarray]

# Around the tiles (4, 6, 14 rows), lanes and panels (4 to 32 columns), blocks of rows (224),
# columns and depth (256).
SIZES = (1, 3, 4, 5, 6, 7, 8, 9, 13, 14, 15, 16, 17, 31, 32, 33, 223, 224, 225, 255, 256, 257)

LAYOUTS: dict[str, Layout] = {
    "rows": np.ascontiguousarray,
    "columns": lambda x: np.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2),
    "wider rows": lambda x: np.pad(x, [(0, 0)] * (x.ndim - 1) + [(2, 3)])[..., 2:-3],
    "wider columns": lambda x: np.pad(
        x.swapaxes(-1, -2), [(0, 0)] * (x.ndim - 1) + [(2, 3)])[..., 2:-3].swapaxes(-1, -2),
    "every third element": lambda x: np.repeat(x, 3, -1)[..., ::3],
    "backwards": lambda x: np.ascontiguousarray(x[..., ::-1])[..., ::-1],
    "upside down": lambda x: np.ascontiguousarray(x[..., ::-1, :])[..., ::-1, :],
}  # fmt: skip


def product(a: np.ndarray, b: np.ndarray, layout: Layout = np.ascontiguousarray) -> np.ndarray:
    """A @ B by the engine into an array of NaNs of the given layout."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = layout(np.full((*batch, a.shape[-2], b.shape[-1]), np.nan, np.float32))
    _core.gemm(c, a, b)
    return c


@pytest.mark.parametrize("size", SIZES)
def test_whole_numbers_are_exact(isa: str, size: int) -> None:
    for m, n, k in ((size, 5, 7), (5, size, 7), (5, 7, size), (size, size, 3), (1, size, size)):
        a, b = whole(m, k), whole(k, n, seed=1)
        np.testing.assert_array_equal(product(a, b), reference.matmul(a, b))


@pytest.mark.parametrize("layout_b", LAYOUTS)
@pytest.mark.parametrize("layout_a", LAYOUTS)
def test_any_strides(isa: str, layout_a: str, layout_b: str) -> None:
    for m, n, k in ((9, 17, 5), (230, 33, 270), (1, 3, 1), (1, 40, 3), (5, 1, 300)):
        a, b = whole(m, k), whole(k, n, seed=1)
        c = product(LAYOUTS[layout_a](a), LAYOUTS[layout_b](b))
        np.testing.assert_array_equal(c, reference.matmul(a, b))


@pytest.mark.parametrize("layout_a", ["rows", "every third element", "backwards"])
@pytest.mark.parametrize("m, n, k", [(460, 600, 270), (460, 300, 512), (5, 520, 4400)])
def test_rows_that_are_kept_for_other_columns(
    isa: str, layout_a: str, m: int, n: int, k: int
) -> None:
    a, b = whole(m, k), whole(k, n, seed=1)
    np.testing.assert_array_equal(product(LAYOUTS[layout_a](a), b), reference.matmul(a, b))


@pytest.mark.parametrize("layout", ["rows", "wider rows", "upside down"])
def test_strides_of_the_result(isa: str, layout: str) -> None:
    a, b = whole(2, 30, 9), whole(2, 9, 35, seed=1)
    c = product(a, b, LAYOUTS[layout])
    np.testing.assert_array_equal(c, reference.matmul(a, b))
    if layout == "wider rows":
        assert not c.base[..., :2].any() and not c.base[..., -3:].any()  # the padding's zeros


BATCHES: list[tuple[Shape, Shape]] = [
    ((3,), (3,)), ((3,), (1,)), ((1,), (3,)), ((2, 3), (2, 3)), ((2, 1), (1, 3)), ((0,), (1,)),
    ((2, 0, 3), (2, 1, 3)), ((2, 1, 3, 1, 2, 2), (1, 2, 3, 1, 1, 2)), ((500,), (500,)),
]  # fmt: skip


@pytest.mark.parametrize("batches", BATCHES, ids=str)
def test_batch_axes_broadcast(isa: str, batches: tuple[Shape, Shape]) -> None:
    a, b = whole(*batches[0], 3, 4), whole(*batches[1], 4, 5, seed=1)
    np.testing.assert_array_equal(product(a, b), reference.matmul(a, b))


def test_batch_axes_in_any_order() -> None:
    a, b = whole(2, 3, 4, 5), whole(2, 3, 5, 6, seed=1)
    c = np.full((3, 2, 4, 6), np.nan, np.float32).transpose(1, 0, 2, 3)
    _core.gemm(c, a[::-1], b.copy(order="F"))
    np.testing.assert_array_equal(c, reference.matmul(a[::-1], b))


def test_operands_of_stride_zero(isa: str) -> None:
    row, one = np.broadcast_to(whole(1, 6), (40, 6)), np.broadcast_to(np.float32(3), (6, 50))
    np.testing.assert_array_equal(product(row, one), reference.matmul(row, one))
    np.testing.assert_array_equal(product(one.T, row.T), reference.matmul(one.T, row.T))


@pytest.mark.parametrize("m, n, k", [(0, 5, 3), (5, 0, 3), (0, 0, 0), (5, 3, 0), (300, 300, 0)])
def test_empty_sizes(isa: str, m: int, n: int, k: int) -> None:
    a, b = np.ones((2, m, k), np.float32), np.ones((2, k, n), np.float32)
    np.testing.assert_array_equal(product(a, b), np.zeros((2, m, n)))


@pytest.mark.parametrize("m, n, k", [(40, 50, 2000), (1, 300, 700), (230, 3, 260)])
def test_fractions_are_within_rounding(isa: str, m: int, n: int, k: int) -> None:
    a, b = uniform(m, k), uniform(k, n, seed=1)
    for left, right in ((a, b), (np.asfortranarray(a), np.asfortranarray(b))):
        c = product(left, right)
        assert_rounded(c, reference.matmul(a, b), reference.matmul(abs(a), abs(b)), k)


@pytest.mark.parametrize("layout", ["rows", "columns", "every third element"])
@pytest.mark.parametrize("a, b", [
    ((500, 300), (300, 17)), ((3, 900), (900, 700)), ((9, 60, 70), (9, 70, 80)),
], ids=str)  # fmt: skip
def test_same_bits_on_any_number_of_threads(
    isa: str, same_bits: Callable[..., np.ndarray], a: Shape, b: Shape, layout: str
) -> None:
    left, right = LAYOUTS[layout](uniform(*a)), LAYOUTS[layout](uniform(*b))
    assert np.isfinite(same_bits(lambda: product(left, right))).all()


@pytest.mark.parametrize("before", [False, True], ids=["after", "before"])
@pytest.mark.parametrize("layout", ["rows", "columns", "wider rows", "every third element"])
@pytest.mark.parametrize("size", [1, 5, 17, 33])
def test_nothing_is_touched_outside_of_the_operands(
    isa: str, guarded: Callable[..., np.ndarray], size: int, layout: str, before: bool
) -> None:
    for m, n, k in ((size, 9, 5), (9, size, 5), (9, 5, size)):
        a, b = whole(2, m, k), whole(2, k, n, seed=1)
        left, right = (guarded(LAYOUTS[layout](x), before=before) for x in (a, b))
        c = guarded(LAYOUTS["wider rows"](np.full((2, m, n), np.nan, np.float32)), before=before)
        _core.gemm(c, left, right)
        np.testing.assert_array_equal(c, reference.matmul(a, b))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_not_a_number_and_infinity_stay_in_their_row_and_column(isa: str, value: float) -> None:
    a, b = whole(15, 20), whole(20, 35, seed=1)
    a[7, 3], b[19, 34] = value, value
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(product(a, b), reference.matmul(a, b))


@pytest.mark.parametrize("threads", [1, 2])
def test_denormals_count_as_zero_inside_and_live_on_outside(isa: str, threads: int) -> None:
    cnnfast.set_num_threads(threads)
    tiny, huge = np.full((300, 40), 1e-39, np.float32), np.full((40, 200), 1e30, np.float32)
    assert not product(tiny, huge).any()
    assert not product(np.full((300, 1), 1e-20, np.float32), np.full((1, 200), 1e-20, "f4")).any()
    assert (tiny * np.float32(0.5) > 0).all()


C, A, B = (np.zeros(shape, np.float32) for shape in ((2, 4, 6), (2, 4, 5), (2, 5, 6)))
REFUSED: dict[str, tuple[tuple[np.ndarray, ...], str]] = {
    "inner sizes": ((C, A, B[:, 1:]), "does not give"),
    "rows": ((C[:, 1:], A, B), "does not give"),
    "columns": ((C[..., 1:], A, B), "does not give"),
    "ranks": ((C, A[0], B), "expected equal ranks"),
    "vectors": ((C[0, 0], A[0, 0], B[0, 0]), "expected equal ranks"),
    "batches": ((C, A[[0, 1, 0]], B), "batch axes"),
    "broadcast result": ((C[:1], A, B), "batch axes"),
    "strided columns": ((np.zeros((2, 4, 12), np.float32)[..., ::2], A, B), "contiguous rows"),
    "double": ((C, A.astype(np.float64), B), "expected a float32 array"),
    "byte order": ((C, A.astype(">f4"), B), "native byte order"),
    "read-only": ((np.broadcast_to(C, C.shape), A, B), "read-only"),
    "nine axes": (tuple(x.reshape((1,) * 6 + x.shape) for x in (C, A, B)), "ranks from 2 to 8"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_errors_name_the_operand_and_the_rule(case: str) -> None:
    operands, message = REFUSED[case]
    with pytest.raises((ValueError, TypeError), match=message):
        _core.gemm(*operands)


dimension = st.one_of(st.integers(0, 70), st.sampled_from(SIZES))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    st.tuples(dimension, dimension, dimension),
    st.lists(st.sampled_from([(1, 1), (2, 1), (1, 3), (3, 3)]), max_size=3),
    st.sampled_from(sorted(LAYOUTS)), st.sampled_from(sorted(LAYOUTS)),
)  # fmt: skip
def test_any_problem(
    sizes: tuple[int, int, int], batch: list[tuple[int, int]], layout_a: str, layout_b: str
) -> None:
    m, n, k = sizes
    a = whole(*(one for one, _ in batch), m, k)
    b = whole(*(other for _, other in batch), k, n, seed=1)
    c = product(LAYOUTS[layout_a](a), LAYOUTS[layout_b](b))
    np.testing.assert_array_equal(c, reference.matmul(a, b))
