# Matrix products.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_gemm_forward
    ctypedef struct cnf_gemm:
        int64_t m, n, k, a_row, a_col, b_row, b_col, c_row, rank
        int64_t size[8]
        int64_t a_batch[8]
        int64_t b_batch[8]
        int64_t c_batch[8]


def gemm(cnp.ndarray c not None, cnp.ndarray a not None, cnp.ndarray b not None):
    """c = a @ b over the last two axes; batch axes of equal rank, size 1 broadcasts in a and b."""
    cdef cnf_gemm d
    cdef int64_t strides[8]
    cdef int rank = c.ndim - 2, axis
    if rank < 0 or rank > 6 or a.ndim != c.ndim or b.ndim != c.ndim:
        raise ValueError(f"gemm: expected equal ranks from 2 to 8, got {describe(c)}, {describe(a)}, {describe(b)}")
    d.m, d.n, d.k, d.rank = c.shape[rank], c.shape[rank + 1], a.shape[rank + 1], rank
    if a.shape[rank] != d.m or b.shape[rank] != d.k or b.shape[rank + 1] != d.n:
        raise ValueError(f"gemm: {describe(a)} times {describe(b)} does not give {describe(c)}")
    fill_strides(c, c, strides, "c", written=True)
    d.c_row = strides[rank]
    if d.n > 1 and c.size > 0 and strides[rank + 1] != 1:
        raise ValueError(f"gemm: expected c with contiguous rows, got {describe(c)}")
    for axis in range(rank):
        d.size[axis], d.c_batch[axis] = c.shape[axis], strides[axis]
    matrix_strides(a, c, d.a_batch, &d.a_row, &d.a_col, "a")
    matrix_strides(b, c, d.b_batch, &d.b_row, &d.b_col, "b")
    issue(cnf_id_gemm_forward, (c, a, b), &d)


cdef int matrix_strides(cnp.ndarray x, cnp.ndarray c, int64_t *batch, int64_t *row, int64_t *col,
                        str name) except -1:
    """Strides of a batch of matrices, in elements; 0 where a batch axis is broadcast."""
    cdef int64_t strides[8]
    cdef int axis
    fill_strides(x, x, strides, name)
    for axis in range(c.ndim - 2):
        if x.shape[axis] != c.shape[axis] and x.shape[axis] != 1:
            raise ValueError(f"{name}: batch axes of {describe(x)} do not broadcast to {describe(c)}")
        batch[axis] = strides[axis]
    row[0], col[0] = strides[c.ndim - 2], strides[c.ndim - 1]
    return 0
