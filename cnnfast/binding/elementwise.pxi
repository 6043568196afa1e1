# Element-wise maps, fills, copies and casts over strided boxes.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_unary_forward, cnf_id_unary_backward, cnf_id_binary_forward
    enum: cnf_id_ternary_forward, cnf_id_fill, cnf_id_copy
    const char *cnf_unary_name(int kind)
    const char *cnf_binary_name(int kind)
    const char *cnf_ternary_name(int kind)
    int cnf_unary_by_result(int kind)
    ctypedef struct cnf_elementwise:
        int64_t kind, rank
        int64_t size[8]
        int64_t stride[4][8]
        float alpha, beta
    int CNF_FLOAT32, CNF_FLOAT64, CNF_FLOAT16
    int CNF_INT8, CNF_INT16, CNF_INT32, CNF_INT64, CNF_UINT8
    ctypedef struct cnf_copy_box:
        int64_t type, rank
        int64_t size[8]
        int64_t y_stride[8]
        int64_t x_stride[8]


cdef tuple names_of(const char *(*name)(int) noexcept nogil):
    names = []
    while name(len(names)) != NULL:
        names.append(name(len(names)).decode())
    return tuple(names)


UNARY_KINDS = names_of(cnf_unary_name)
BINARY_KINDS = names_of(cnf_binary_name)
TERNARY_KINDS = names_of(cnf_ternary_name)
_unary_number = {name: number for number, name in enumerate(UNARY_KINDS)}
UNARY_BY_RESULT = frozenset(name for name, number in _unary_number.items() if cnf_unary_by_result(number))
_binary_number = {name: number for number, name in enumerate(BINARY_KINDS)}
_ternary_number = {name: number for number, name in enumerate(TERNARY_KINDS)}


cdef int kind_number(dict numbers, str kind) except -1:
    number = numbers.get(kind)
    if number is None:
        raise ValueError(f"unknown kind {kind!r}; expected one of {', '.join(numbers)}")
    return number


cdef int fill_box(cnf_elementwise *d, cnp.ndarray y, tuple inputs, tuple names) except -1:
    """Sizes from y, strides from all operands; inputs broadcast where they have size 1."""
    cdef int axis, k
    fill_strides(y, y, d.stride[0], names[0], written=True)
    for k in range(len(inputs)):
        fill_strides(inputs[k], y, d.stride[k + 1], names[k + 1])
    d.rank = y.ndim
    for axis in range(y.ndim):
        d.size[axis] = y.shape[axis]
    return 0


def unary(str kind, cnp.ndarray y not None, cnp.ndarray x not None, float alpha=0, float beta=0):
    """y = f(x), element by element; x broadcasts to y's shape, any strides, y may be x."""
    cdef cnf_elementwise d
    d.kind, d.alpha, d.beta = kind_number(_unary_number, kind), alpha, beta
    fill_box(&d, y, (x,), ("y", "x"))
    issue(cnf_id_unary_forward, (y, x), &d)


def unary_backward(str kind, cnp.ndarray dx not None, cnp.ndarray dy not None,
                   cnp.ndarray saved not None, float alpha=0, float beta=0):
    """dx = dy * f'(x); dy and saved broadcast to dx's shape, any strides, dx may be dy or saved.

    `saved` is y for the kinds in `UNARY_BY_RESULT`, x for the others.
    """
    cdef cnf_elementwise d
    d.kind, d.alpha, d.beta = kind_number(_unary_number, kind), alpha, beta
    fill_box(&d, dx, (dy, saved), ("dx", "dy", "saved"))
    issue(cnf_id_unary_backward, (dx, dy, saved), &d)


def binary(str kind, cnp.ndarray y not None, cnp.ndarray a not None, cnp.ndarray b not None,
           float alpha=0, float beta=0):
    """y = f(a, b); inputs of y's rank broadcast to its shape, any strides, y may be an input."""
    cdef cnf_elementwise d
    d.kind, d.alpha, d.beta = kind_number(_binary_number, kind), alpha, beta
    fill_box(&d, y, (a, b), ("y", "a", "b"))
    issue(cnf_id_binary_forward, (y, a, b), &d)


def ternary(str kind, cnp.ndarray y not None, cnp.ndarray a not None, cnp.ndarray b not None,
            cnp.ndarray c not None, float alpha=0, float beta=0):
    """y = f(a, b, c); inputs of y's rank broadcast to its shape, any strides, y may be an input."""
    cdef cnf_elementwise d
    d.kind, d.alpha, d.beta = kind_number(_ternary_number, kind), alpha, beta
    fill_box(&d, y, (a, b, c), ("y", "a", "b", "c"))
    issue(cnf_id_ternary_forward, (y, a, b, c), &d)


def fill(cnp.ndarray y not None, float value):
    """y[...] = value, any strides."""
    cdef cnf_elementwise d
    d.kind, d.alpha, d.beta = 0, value, 0
    fill_box(&d, y, (), ("y",))
    issue(cnf_id_fill, (y,), &d)


cdef int source_type(cnp.ndarray x) except -1:
    cdef int kind = cnp.PyArray_TYPE(x), size = cnp.PyArray_ITEMSIZE(x)
    if kind == cnp.NPY_FLOAT32:
        return CNF_FLOAT32
    if kind == cnp.NPY_FLOAT64:
        return CNF_FLOAT64
    if kind == cnp.NPY_FLOAT16:
        return CNF_FLOAT16
    if kind == cnp.NPY_UINT8 or kind == cnp.NPY_BOOL:
        return CNF_UINT8
    if cnp.PyTypeNum_ISSIGNED(kind) and cnp.PyTypeNum_ISINTEGER(kind):
        return CNF_INT8 if size == 1 else CNF_INT16 if size == 2 else CNF_INT32 if size == 4 else CNF_INT64
    raise TypeError(f"x: expected float16/32/64, int8/16/32/64, uint8 or bool, got {describe(x)}")


def copy(cnp.ndarray y not None, cnp.ndarray x not None):
    """y[...] = x, float32 from any numeric type; x broadcasts to y's shape, any strides.

    y and x may not overlap unless they are the same elements.
    """
    cdef cnf_copy_box d
    cdef int axis, size = cnp.PyArray_ITEMSIZE(x)
    d.type, d.rank = source_type(x), y.ndim
    fill_strides(y, y, d.y_stride, "y", written=True)
    if x.ndim != y.ndim or not cnp.PyArray_ISBEHAVED_RO(x):
        raise ValueError(f"x: expected an aligned array of {y.ndim} axes in native byte order, "
                         f"got {describe(x)}")
    for axis in range(y.ndim):
        if x.shape[axis] != y.shape[axis] and x.shape[axis] != 1:
            raise ValueError(f"x: expected a shape that broadcasts to {(<object>y).shape}, got {describe(x)}")
        if x.strides[axis] % size != 0:
            raise ValueError(f"x: strides must be whole elements, got {describe(x)}")
        d.size[axis] = y.shape[axis]
        d.x_stride[axis] = 0 if x.shape[axis] == 1 else x.strides[axis] // size
    issue(cnf_id_copy, (y, x), &d)
