# Reductions over axes.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_reduce, cnf_id_arg_extreme
    int CNF_SUM, CNF_SUM_SQUARE, CNF_PROD, CNF_MAX, CNF_MIN
    ctypedef struct cnf_reduce_box:
        int64_t kind, rank
        int64_t size[8]
        int64_t kept[8]
        int64_t y_stride[8]
        int64_t x_stride[8]
        double scale
    ctypedef struct cnf_arg_box:
        int64_t kind, rank, axis
        int64_t size[8]
        int64_t y_stride[8]
        int64_t x_stride[8]


_reduce_number = {"sum": CNF_SUM, "mean": CNF_SUM, "sum_square": CNF_SUM_SQUARE, "prod": CNF_PROD,
                  "max": CNF_MAX, "min": CNF_MIN}


def reduce(str kind, cnp.ndarray y not None, cnp.ndarray x not None):
    """y = sum, mean, sum_square, prod, max or min of x over the axes where y has size 1.

    y has x's rank; any strides. The same bits for any number of threads. Sums are accurate to a few
    units in the last place of the sum of magnitudes; a NaN makes the result NaN. Over no elements
    sums are 0, products 1, means NaN, max -inf and min inf.
    """
    cdef cnf_reduce_box d
    cdef int axis
    cdef double length = 1
    d.kind, d.rank = kind_number(_reduce_number, kind), x.ndim
    fill_strides(y, y, d.y_stride, "y", written=True)
    fill_strides(x, x, d.x_stride, "x")
    if x.ndim != y.ndim:
        raise ValueError(f"y: expected {x.ndim} axes, got {describe(y)}")
    for axis in range(x.ndim):
        if y.shape[axis] != x.shape[axis] and y.shape[axis] != 1:
            raise ValueError(f"y: expected x's size {x.shape[axis]} or 1 on axis {axis}, got {describe(y)}")
        d.size[axis] = x.shape[axis]
        d.kept[axis] = y.shape[axis] == x.shape[axis]
        if not d.kept[axis]:
            length *= x.shape[axis]
    d.scale = 1.0
    if kind == "mean":
        d.scale = 1.0 / length if length > 0 else float("nan")
    issue(cnf_id_reduce, (y, x), &d)


cdef int issue_arg(int64_t kind, cnp.ndarray y, cnp.ndarray x, int axis) except -1:
    cdef cnf_arg_box d
    cdef int i
    fill_strides(x, x, d.x_stride, "x")
    if axis < 0 or axis >= x.ndim or x.shape[axis] == 0:
        raise ValueError(f"axis: expected one of x's {x.ndim} axes with at least one element, "
                         f"got {axis} for {describe(x)}")
    if y.ndim != x.ndim or cnp.PyArray_TYPE(y) != cnp.NPY_INT64 or not cnp.PyArray_ISBEHAVED(y):
        raise TypeError(f"y: expected a writeable int64 array of {x.ndim} axes, got {describe(y)}")
    d.kind, d.rank, d.axis = kind, x.ndim, axis
    for i in range(x.ndim):
        if y.shape[i] != (1 if i == axis else x.shape[i]) or y.strides[i] % 8 != 0:
            raise ValueError(f"y: expected x's shape {(<object>x).shape} with size 1 on axis {axis}, "
                             f"got {describe(y)}")
        d.size[i], d.y_stride[i] = x.shape[i], y.strides[i] // 8
    issue(cnf_id_arg_extreme, (y, x), &d)
    return 0


def argmax(cnp.ndarray y not None, cnp.ndarray x not None, int axis):
    """y (int64, size 1 on `axis`) = the first index of the largest x along `axis`; NaN is largest."""
    issue_arg(CNF_MAX, y, x, axis)


def argmin(cnp.ndarray y not None, cnp.ndarray x not None, int axis):
    """y (int64, size 1 on `axis`) = the first index of the smallest x along `axis`; NaN is smallest."""
    issue_arg(CNF_MIN, y, x, axis)
