# Tables of taps; max pooling; resampling, which is average pooling, resizing and mirrored padding.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_max_pool2d_forward, cnf_id_max_pool2d_backward
    ctypedef struct cnf_tap:
        int32_t at
        float weight
    ctypedef struct cnf_gather:
        int64_t n, c, h, w, x_pitch, oh, ow, y_pitch, col_taps, wide_index
    enum: cnf_id_resample


cdef class Taps:
    """Which inputs each output reads along one axis, and with what weight; immutable.

    Parameters
    ----------
    inputs : int
        Positions that may be read.
    first : int32 array (outputs + 1,)
        Output o has taps ``first[o]`` up to ``first[o + 1]``.
    at : int32 array (taps,)
        The position that each tap reads.
    weight : float32 array (taps,)
        Its factor, or for max pooling its number in the window.
    """

    cdef readonly int64_t inputs, outputs, uniform
    cdef cnp.ndarray table

    def __init__(self, int64_t inputs, cnp.ndarray first not None, cnp.ndarray at not None,
                 cnp.ndarray weight not None):
        cdef int64_t outputs = first.size - 1, taps = at.size, i
        expect_dense(first, cnp.NPY_INT32, first.size, "first")
        expect_dense(at, cnp.NPY_INT32, taps, "at")
        expect_dense(weight, cnp.NPY_FLOAT32, taps, "weight")
        cdef int32_t *starts = <int32_t *>cnp.PyArray_DATA(first)
        cdef int32_t *positions = <int32_t *>cnp.PyArray_DATA(at)
        cdef float *weights = <float *>cnp.PyArray_DATA(weight)
        if outputs < 1 or starts[0] != 0 or starts[outputs] != taps:
            raise ValueError(f"first: expected 0, ..., {taps} for at least one output, got {first!r}")
        cdef cnp.npy_intp words = (outputs + 2) // 2 * 2 + 2 * taps
        cdef cnp.ndarray table = allocate(1, &words, NULL, words, cnp.NPY_FLOAT32)
        cdef int32_t *start = <int32_t *>cnp.PyArray_DATA(table)
        cdef cnf_tap *tap = <cnf_tap *>(start + (outputs + 2) // 2 * 2)
        self.inputs, self.outputs, self.uniform = inputs, outputs, starts[1]
        for i in range(outputs):
            if starts[i + 1] < starts[i]:
                raise ValueError(f"first: expected values that never fall, got {first!r}")
            if starts[i + 1] - starts[i] != self.uniform:
                self.uniform = 0
            start[i] = starts[i]
        start[outputs] = starts[outputs]
        for i in range(taps):
            if positions[i] < 0 or positions[i] >= inputs:
                raise ValueError(f"at: expected positions in [0, {inputs}), got {positions[i]}")
            tap[i].at, tap[i].weight = positions[i], weights[i]
        self.table = table


cdef int fill_gather(cnf_gather *d, cnp.ndarray y, cnp.ndarray x, Taps rows, Taps cols, str names) except -1:
    """Check that the tables lead from image x to image y; `names` are theirs."""
    cdef Image to, source
    name_y, name_x = names.split()
    as_image(y, &to, name_y, written=True)
    as_image(x, &source, name_x)
    if to.n != source.n or to.c != source.c:
        raise ValueError(f"{name_y} and {name_x} must have the same batch and channels, got "
                         f"{describe(y)} and {describe(x)}")
    if (rows.inputs != source.h or cols.inputs != source.w
            or rows.outputs != to.h or cols.outputs != to.w):
        raise ValueError(f"the taps lead from {rows.inputs} x {cols.inputs} to {rows.outputs} x "
                         f"{cols.outputs} pixels, {name_x} is {describe(x)} and {name_y} {describe(y)}")
    d.n, d.c, d.h, d.w, d.x_pitch = source.n, source.c, source.h, source.w, source.pitch
    d.oh, d.ow, d.y_pitch = to.h, to.w, to.pitch
    d.col_taps, d.wide_index = cols.uniform, 0
    return 0


cdef int expect_index(cnf_gather *d, cnp.ndarray index, int64_t count, bint written) except -1:
    """index: uint8, or float32 for windows of more than 256 taps."""
    d.wide_index = index is not None and cnp.PyArray_TYPE(index) == cnp.NPY_FLOAT32
    expect_dense(index, cnp.NPY_FLOAT32 if d.wide_index else cnp.NPY_UINT8, count, "index", written)
    return 0


def max_pool2d_forward(cnp.ndarray y not None, cnp.ndarray index, cnp.ndarray x not None,
                       Taps rows not None, Taps cols not None):
    """y = the largest of each window of x; index, unless None, says which tap it was.

    index is dense (N, OH, OW, C); it takes the sum of the row tap's and the column tap's weight,
    as uint8, or as float32 where that may exceed 255.
    """
    cdef cnf_gather d
    fill_gather(&d, y, x, rows, cols, "y x")
    if index is not None:
        expect_index(&d, index, d.n * d.oh * d.ow * d.c, True)
    issue(cnf_id_max_pool2d_forward, (y, index, x, rows.table, cols.table), &d)


def max_pool2d_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray index not None,
                        Taps rows not None, Taps cols not None):
    """dx = the sum of dy over the windows that chose it; rows and cols lead from y to x."""
    cdef cnf_gather d
    fill_gather(&d, dx, dy, rows, cols, "dx dy")
    expect_index(&d, index, d.n * d.h * d.w * d.c, False)
    issue(cnf_id_max_pool2d_backward, (dx, dy, index, rows.table, cols.table), &d)


def resample(cnp.ndarray y not None, cnp.ndarray x not None, Taps rows not None, Taps cols not None):
    """y[oy, ox] = sum of the row tap's weight * the column tap's * x[iy, ix], for each channel.

    Average pooling, resizing, mirrored padding and their gradients.
    """
    cdef cnf_gather d
    fill_gather(&d, y, x, rows, cols, "y x")
    issue(cnf_id_resample, (y, x, rows.table, cols.table), &d)
