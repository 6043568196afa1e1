# Dropout from counter-based random numbers.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_dropout_apply
    ctypedef struct cnf_dropout:
        int64_t rows, c, x_pitch, y_pitch
        double p


def dropout(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray seed not None, double p):
    """y = x * mask over (rows, c), the mask 0 with probability p, else 1 / (1 - p).

    The mask depends on the seed, one int64, and on the position r * c + i of a value, so the
    gradient's is made again by the same call on dy. y may be x.
    """
    cdef cnf_dropout d
    d.x_pitch, d.y_pitch = as_rows(x, x, "x"), as_rows(y, x, "y", written=True)
    d.rows, d.c, d.p = x.shape[0], x.shape[1], p
    expect_dense(seed, cnp.NPY_INT64, 1, "seed")
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability between 0 and 1, got {p}")
    issue(cnf_id_dropout_apply, (y, x, seed), &d)
