# Softmax and the losses over classes.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_softmax_forward, cnf_id_softmax_backward
    enum: cnf_id_log_softmax_forward, cnf_id_log_softmax_backward
    ctypedef struct cnf_softmax:
        int64_t rows, c, x_pitch, y_pitch, dy_pitch
    enum: cnf_id_cross_entropy_forward, cnf_id_cross_entropy_backward
    enum: cnf_id_nll_forward, cnf_id_nll_backward
    int CNF_REDUCTION_NONE, CNF_REDUCTION_MEAN, CNF_REDUCTION_SUM
    ctypedef struct cnf_cross_entropy:
        int64_t rows, c, x_pitch, dx_pitch, ignore_index, reduction
        double label_smoothing


cdef int fill_softmax(cnf_softmax *d, cnp.ndarray y, cnp.ndarray x, cnp.ndarray dy) except -1:
    d.x_pitch, d.y_pitch = as_rows(x, x, "x"), as_rows(y, x, "y", written=True)
    d.dy_pitch = d.x_pitch if dy is None else as_rows(dy, x, "dy")
    d.rows, d.c = x.shape[0], x.shape[1]
    return 0


def softmax_forward(cnp.ndarray y not None, cnp.ndarray x not None, bint log):
    """y = softmax of each row of x (rows, c), or its logarithm."""
    cdef cnf_softmax d
    fill_softmax(&d, y, x, None)
    issue(cnf_id_log_softmax_forward if log else cnf_id_softmax_forward, (y, x), &d)


def softmax_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray y not None,
                     bint log):
    """Gradient of softmax_forward from its result y."""
    cdef cnf_softmax d
    fill_softmax(&d, dx, y, dy)
    issue(cnf_id_log_softmax_backward if log else cnf_id_softmax_backward, (dx, dy, y), &d)


_reduction_number = {"none": CNF_REDUCTION_NONE, "mean": CNF_REDUCTION_MEAN,
                     "sum": CNF_REDUCTION_SUM}


cdef int fill_cross_entropy(cnf_cross_entropy *d, cnp.ndarray x, cnp.ndarray target,
                            cnp.ndarray weight, int64_t ignore_index, str reduction,
                            double label_smoothing) except -1:
    d.x_pitch = d.dx_pitch = as_rows(x, x, "x")
    d.rows, d.c = x.shape[0], x.shape[1]
    d.ignore_index, d.label_smoothing = ignore_index, label_smoothing
    d.reduction = kind_number(_reduction_number, reduction)
    expect_dense(target, cnp.NPY_INT64, d.rows, "target")
    expect_vectors(d.c, "weight", (weight,))
    return 0


cdef int issue_labelled(int primitive, tuple arrays, cnp.ndarray target, cnf_cross_entropy *d) except -1:
    """As `issue`, but an error names the target that is no class."""
    cdef int64_t row, value
    cdef const int64_t *values = <const int64_t *>cnp.PyArray_DATA(target)
    try:
        return issue(primitive, arrays, d)
    except IndexError:
        for row in range(d.rows):
            value = values[row]
            if value != d.ignore_index and (value < 0 or value >= d.c):
                raise IndexError(
                    f"target {value} at position {row} is not one of the {d.c} classes "
                    f"0..{d.c - 1} (nor ignore_index {d.ignore_index})") from None
        raise


cdef int64_t losses(cnf_cross_entropy *d) noexcept:
    return d.rows if d.reduction == CNF_REDUCTION_NONE else 1


def cross_entropy_forward(cnp.ndarray loss not None, cnp.ndarray stats not None,
                          cnp.ndarray weight_sum not None, cnp.ndarray x not None,
                          cnp.ndarray target not None, cnp.ndarray weight, int64_t ignore_index,
                          str reduction, double label_smoothing):
    """Loss of logits x (rows, c) for classes target (rows): one a row, or one number if reduced.

    stats (rows, 2) and weight_sum (one number) keep what the gradient needs.
    """
    cdef cnf_cross_entropy d
    fill_cross_entropy(&d, x, target, weight, ignore_index, reduction, label_smoothing)
    expect_vectors(losses(&d), "loss", (loss,), written=True)
    expect_vectors(2 * d.rows, "stats", (stats,), written=True)
    expect_vectors(1, "weight_sum", (weight_sum,), written=True)
    issue_labelled(cnf_id_cross_entropy_forward, (loss, stats, weight_sum, x, target, weight),
                   target, &d)


def cross_entropy_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray x not None,
                           cnp.ndarray stats not None, cnp.ndarray weight_sum not None,
                           cnp.ndarray target not None, cnp.ndarray weight, int64_t ignore_index,
                           str reduction, double label_smoothing):
    """Gradient of cross_entropy_forward; dy one a row, or one number if reduced."""
    cdef cnf_cross_entropy d
    fill_cross_entropy(&d, x, target, weight, ignore_index, reduction, label_smoothing)
    d.dx_pitch = as_rows(dx, x, "dx", written=True)
    expect_vectors(losses(&d), "dy", (dy,))
    expect_vectors(2 * d.rows, "stats", (stats,))
    expect_vectors(1, "weight_sum", (weight_sum,))
    issue_labelled(cnf_id_cross_entropy_backward, (dx, dy, x, stats, weight_sum, target, weight),
                   target, &d)


def nll_forward(cnp.ndarray loss not None, cnp.ndarray weight_sum not None,
                cnp.ndarray x not None, cnp.ndarray target not None, cnp.ndarray weight,
                int64_t ignore_index, str reduction):
    """As cross_entropy_forward, but x holds log-probabilities."""
    cdef cnf_cross_entropy d
    fill_cross_entropy(&d, x, target, weight, ignore_index, reduction, 0)
    expect_vectors(losses(&d), "loss", (loss,), written=True)
    expect_vectors(1, "weight_sum", (weight_sum,), written=True)
    issue_labelled(cnf_id_nll_forward, (loss, weight_sum, x, target, weight), target, &d)


def nll_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray weight_sum not None,
                 cnp.ndarray target not None, cnp.ndarray weight, int64_t ignore_index,
                 str reduction):
    """Gradient of nll_forward."""
    cdef cnf_cross_entropy d
    fill_cross_entropy(&d, dx, target, weight, ignore_index, reduction, 0)
    d.dx_pitch = as_rows(dx, dx, "dx", written=True)
    expect_vectors(losses(&d), "dy", (dy,))
    expect_vectors(1, "weight_sum", (weight_sum,))
    issue_labelled(cnf_id_nll_backward, (dx, dy, weight_sum, target, weight), target, &d)
