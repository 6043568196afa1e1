# Reading and adding at flat positions.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_take, cnf_id_add_at
    ctypedef struct cnf_index:
        int64_t count, rows, inner


cdef int issue_index(int primitive, cnp.ndarray few, cnp.ndarray table, cnp.ndarray index,
                     cnp.ndarray written) except -1:
    """Check few (count, inner), table (rows, inner) and index (count,), all dense."""
    cdef cnf_index d
    if few.ndim != 2 or table.ndim != 2 or few.shape[1] != table.shape[1]:
        raise ValueError(f"expected (count, inner) and (rows, inner), got {describe(few)} and {describe(table)}")
    d.count, d.rows, d.inner = few.shape[0], table.shape[0], table.shape[1]
    expect_dense(few, cnp.NPY_FLOAT32, d.count * d.inner, "(count, inner)", few is written)
    expect_dense(table, cnp.NPY_FLOAT32, d.rows * d.inner, "(rows, inner)", table is written)
    expect_dense(index, cnp.NPY_INT64, d.count, "index")
    issue(primitive, (few, table, index) if few is written else (table, few, index), &d)
    return 0


def take(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray index not None):
    """y[i] = x[index[i]]: y (count, inner), x (rows, inner), index (count,) int64 in [0, rows)."""
    issue_index(cnf_id_take, y, x, index, y)


def add_at(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray index not None):
    """dx[index[i]] += dy[i] in order of i; shapes as in `take`, dx is the table."""
    issue_index(cnf_id_add_at, dy, dx, index, dx)
