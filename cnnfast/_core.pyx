"""The binding and nothing else: arrays in, checks, GIL released, status -> exception.

One ``def`` a primitive. Each takes outputs, then inputs, then attributes; fills the primitive's
descriptor from the arrays' shapes and strides; rechecks what C will trust; and hands it to `issue`,
which runs it now or, inside a `Recording`, runs it and appends it to the list that `replay` repeats.
No function here computes, broadcasts or allocates results: `cnnfast.functional` does.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, realloc

import warnings

cimport numpy as cnp

cnp.import_array()


cdef extern from "cnnfast.h" nogil:
    ctypedef int cnf_status
    int CNF_OK, CNF_BAD_ARGUMENT, CNF_OUT_OF_MEMORY, CNF_BAD_LABEL
    int CNF_MAX_RANK, CNF_MAX_BUFFERS

    const char *cnf_cpu_name()
    const char *cnf_isa_name()
    int cnf_isa_count()
    const char *cnf_isa_available(int index)
    cnf_status cnf_set_isa(const char *name)
    int cnf_has_openmp()
    int cnf_get_threads()
    int cnf_set_threads(int threads)
    void *cnf_allocate(size_t size)
    void cnf_release(void *pointer)
    size_t cnf_memory_trim(size_t keep)
    size_t cnf_pitch(size_t channels)

    ctypedef struct cnf_call:
        int primitive
        void *buffers[8]
        const void *descriptor
    cnf_status cnf_execute(int primitive, void *const *buffers, const void *descriptor)
    cnf_status cnf_replay(const cnf_call *calls, size_t count)
    int cnf_primitive_buffers(int primitive)
    size_t cnf_primitive_descriptor_size(int primitive)
    const char *cnf_primitive_name(int primitive)

    # element-wise
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

    # reduction
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

    # gemm
    enum: cnf_id_gemm_forward
    ctypedef struct cnf_gemm:
        int64_t m, n, k, a_row, a_col, b_row, b_col, c_row, rank
        int64_t size[8]
        int64_t a_batch[8]
        int64_t b_batch[8]
        int64_t c_batch[8]

    # conv2d
    enum: cnf_id_conv2d_pack_forward, cnf_id_conv2d_pack_backward, cnf_id_conv2d_forward
    enum: cnf_id_conv2d_backward_input, cnf_id_conv2d_backward_weight
    ctypedef struct cnf_conv2d:
        int64_t n, h, w, ci, x_pitch
        int64_t oh, ow, co, y_pitch
        int64_t kh, kw, stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w, groups
        int64_t algorithm
    int CNF_CONV2D_FORWARD, CNF_CONV2D_BACKWARD_INPUT, CNF_CONV2D_BACKWARD_WEIGHT
    int64_t cnf_conv2d_choose(const cnf_conv2d *d, int direction)
    int cnf_conv2d_accepts(const cnf_conv2d *d)
    size_t cnf_conv2d_packed_size(const cnf_conv2d *d, int backward)

    # depthwise
    enum: cnf_id_depthwise_forward, cnf_id_depthwise_backward_input
    enum: cnf_id_depthwise_backward_weight
    ctypedef struct cnf_depthwise:
        int64_t n, c, h, w, x_pitch, oh, ow, y_pitch, kh, kw
        int64_t stride_h, stride_w, pad_top, pad_left, dilation_h, dilation_w

    # pool
    enum: cnf_id_max_pool2d_forward, cnf_id_max_pool2d_backward
    ctypedef struct cnf_tap:
        int32_t at
        float weight
    ctypedef struct cnf_gather:
        int64_t n, c, h, w, x_pitch, oh, ow, y_pitch, col_taps, wide_index

    # norm
    enum: cnf_id_norm_forward, cnf_id_norm_backward, cnf_id_norm_evaluate
    enum: cnf_id_norm_evaluate_backward
    ctypedef struct cnf_norm:
        int64_t segments, rows, c, groups, x_pitch, y_pitch, dy_pitch
        double eps, momentum
    enum: cnf_id_layer_norm_forward, cnf_id_layer_norm_backward
    ctypedef struct cnf_layer_norm:
        int64_t rows, c, x_pitch, y_pitch, dy_pitch
        double eps
    enum: cnf_id_local_norm_forward, cnf_id_local_norm_backward
    ctypedef struct cnf_local_norm:
        int64_t rows, c, x_pitch, y_pitch, dy_pitch, size
        float alpha, beta, k

    # softmax
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

    # dropout
    enum: cnf_id_dropout_apply
    ctypedef struct cnf_dropout:
        int64_t rows, c, x_pitch, y_pitch, seed
        double p

    # resize
    enum: cnf_id_resample

    # pad

    # index
    enum: cnf_id_take, cnf_id_add_at
    ctypedef struct cnf_index:
        int64_t count, rows, inner

    # optim
    enum: cnf_id_sgd_update, cnf_id_adam_update, cnf_id_rmsprop_update
    ctypedef struct cnf_sgd:
        int64_t n
        double lr, momentum, dampening, weight_decay
        int64_t nesterov, first
    ctypedef struct cnf_adam:
        int64_t n
        double lr, beta1, beta2, eps, weight_decay
        int64_t decoupled, step
    ctypedef struct cnf_rmsprop:
        int64_t n
        double lr, alpha, eps, weight_decay, momentum


cdef extern from *:
    """
    #if defined(__clang__)
    #define CNF_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define CNF_COMPILER "gcc " __VERSION__
    #else
    #define CNF_COMPILER "unknown"
    #endif
    """
    const char *CNF_COMPILER


# ---- the machine ---------------------------------------------------------------------------


def cpu_info():
    """Return what the engine found and chose: CPU, instruction sets, threads, OpenMP, compiler."""
    return {
        "cpu": cnf_cpu_name().decode().strip(),
        "isa": isa(),
        "isas": [cnf_isa_available(i).decode() for i in range(cnf_isa_count())],
        "threads": cnf_get_threads(),
        "openmp": bool(cnf_has_openmp()),
        "compiler": CNF_COMPILER.decode(),
    }


def isa():
    """Return the name of the instruction set in use."""
    return cnf_isa_name().decode()


def set_isa(str name not None):
    """Use the instruction set `name`; ValueError if this machine does not have it."""
    if cnf_set_isa(name.encode()) != CNF_OK:
        raise ValueError(f"instruction set {name!r} is not available here; choose one of {cpu_info()['isas']}")


def get_num_threads():
    """Return how many threads a call may use."""
    return cnf_get_threads()


def set_num_threads(int threads):
    """Use up to `threads` threads from now on; 0 returns to the machine's default."""
    if threads < 0:
        raise ValueError(f"expected a number of threads of 0 (the default) or more, got {threads}")
    cnf_set_threads(threads)


def memory_trim(size_t keep=0):
    """Give cached buffers back to the system until at most `keep` bytes wait; return what is left."""
    return cnf_memory_trim(keep)


# ---- arrays --------------------------------------------------------------------------------


cdef class Buffer:
    """Memory of the engine's pool, given back when the last array over it is gone."""

    cdef void *pointer

    def __dealloc__(self):
        cnf_release(self.pointer)


cdef cnp.ndarray allocate(int rank, cnp.npy_intp *shape, cnp.npy_intp *strides, size_t count, int kind):
    cdef Buffer buffer = Buffer.__new__(Buffer)
    cdef size_t size = 8 if kind == cnp.NPY_INT64 else 4 if kind == cnp.NPY_FLOAT32 else 1
    buffer.pointer = cnf_allocate(count * size if count > 0 else 1)
    if buffer.pointer == NULL:
        raise MemoryError(f"cannot allocate {count * size} bytes")
    cdef cnp.ndarray array = cnp.PyArray_New(
        cnp.ndarray, rank, shape, kind, strides, buffer.pointer, 0, cnp.NPY_ARRAY_WRITEABLE, None)
    cnp.set_array_base(array, buffer)
    return array


def empty(shape, str dtype="float32"):
    """Return an uninitialised C-contiguous array of `shape`; dtype float32, int64 or uint8."""
    cdef cnp.npy_intp sizes[8]
    cdef int rank = len(shape), i
    cdef size_t count = 1
    if rank > CNF_MAX_RANK:
        raise ValueError(f"at most {CNF_MAX_RANK} axes are supported, got shape {tuple(shape)}")
    for i in range(rank):
        sizes[i] = shape[i]
        count *= sizes[i]
    cdef int kind = {"float32": cnp.NPY_FLOAT32, "int64": cnp.NPY_INT64, "uint8": cnp.NPY_UINT8}[dtype]
    return allocate(rank, sizes, NULL, count, kind)


def empty_image(cnp.npy_intp n, cnp.npy_intp c, cnp.npy_intp h, cnp.npy_intp w):
    """Return an uninitialised float32 image tensor: logical (n, c, h, w), stored NHWC with a pitch."""
    cdef cnp.npy_intp pitch = cnf_pitch(c)
    cdef cnp.npy_intp *shape = [n, c, h, w]
    cdef cnp.npy_intp *strides = [h * w * pitch * 4, 4, w * pitch * 4, pitch * 4]
    return allocate(4, shape, strides, n * h * w * pitch, cnp.NPY_FLOAT32)


def empty_like(cnp.ndarray x not None):
    """Return an uninitialised float32 array of x's shape whose axes are stored in x's order.

    What is stored as an image stays one; for anything else the result is dense.
    """
    cdef cnp.npy_intp strides[8]
    cdef cnp.npy_intp step = 4
    cdef int rank = x.ndim, i, j, axis
    cdef int order[8]
    cdef size_t count = 1
    if rank > CNF_MAX_RANK:
        raise ValueError(f"at most {CNF_MAX_RANK} axes are supported, got {rank}")
    if is_image(x):
        return empty_image(x.shape[0], x.shape[1], x.shape[2], x.shape[3])
    for i in range(rank):  # insertion sort of the axes, innermost first
        j = i
        axis = rank - 1 - i
        while j > 0 and abs(x.strides[order[j - 1]]) > abs(x.strides[axis]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = axis
    for i in range(rank):
        strides[order[i]] = step
        step *= max(x.shape[order[i]], 1)
        count *= x.shape[order[i]]
    return allocate(rank, x.shape, strides, count, cnp.NPY_FLOAT32)


cdef struct Image:
    float *data
    int64_t n, c, h, w, pitch


cdef bint image_strides(cnp.ndarray x, int64_t *pitch) noexcept:
    """Whether x is stored as an NHWC image; axes of size 1 may have any stride."""
    cdef int64_t n = x.shape[0], c = x.shape[1], h = x.shape[2], w = x.shape[3]
    cdef int64_t p
    if not cnp.PyArray_ISBEHAVED_RO(x):  # misaligned, or bytes in the other order
        return False
    if w > 1:
        p = x.strides[3]
    elif h > 1:
        p = x.strides[2]
    elif n > 1:
        p = x.strides[0]
    else:
        p = c * 4
    pitch[0] = p // 4
    if n * c * h * w == 0:
        pitch[0] = max(c, 1)
        return True
    return (p >= c * 4 and p % 4 == 0 and (c == 1 or x.strides[1] == 4)
            and (h == 1 or x.strides[2] == w * p) and (n == 1 or x.strides[0] == h * w * p))


cpdef bint is_image(cnp.ndarray x):
    """Whether x is a float32 array that kernels can read as an NHWC image with a pitch."""
    cdef int64_t pitch
    return x.ndim == 4 and cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32 and image_strides(x, &pitch)


cdef int as_image(cnp.ndarray x, Image *image, str name, bint written=False) except -1:
    """Fill `image` from x, or say what x should have been."""
    if x is None or x.ndim != 4 or cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT32:
        raise TypeError(f"{name}: expected a float32 array of 4 axes, got {describe(x)}")
    if not image_strides(x, &image.pitch):
        raise ValueError(f"{name}: expected an NHWC image, got {describe(x)}")
    if written and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"{name}: the array is read-only")
    image.data = <float *>cnp.PyArray_DATA(x)
    image.n, image.c, image.h, image.w = x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    return 0


cdef int expect_dense(cnp.ndarray x, int kind, int64_t count, str name, bint written=False) except -1:
    """Check that x is C-contiguous, of numpy type number `kind`, with `count` elements."""
    if (x is None or cnp.PyArray_TYPE(x) != kind or not cnp.PyArray_IS_C_CONTIGUOUS(x)
            or not cnp.PyArray_ISBEHAVED_RO(x) or x.size != count):
        raise ValueError(f"{name}: expected {count} contiguous elements of type number {kind}, got {describe(x)}")
    if written and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"{name}: the array is read-only")
    return 0


cdef int fill_strides(cnp.ndarray x, cnp.ndarray box, int64_t *strides, str name, bint written=False) except -1:
    """Strides of float32 x over the axes of `box`, in elements; 0 where x's axis is broadcast."""
    cdef int axis
    if x is None or x.ndim != box.ndim or cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT32:
        raise TypeError(f"{name}: expected a float32 array of {box.ndim} axes, got {describe(x)}")
    if x.ndim > CNF_MAX_RANK or not cnp.PyArray_ISBEHAVED_RO(x):
        raise ValueError(f"{name}: expected at most {CNF_MAX_RANK} axes, aligned and in native byte "
                         f"order, got {describe(x)}")
    if written and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"{name}: the array is read-only")
    for axis in range(box.ndim):
        if x.shape[axis] != box.shape[axis] and (written or x.shape[axis] != 1):
            raise ValueError(f"{name}: expected a shape that broadcasts to "
                             f"{(<object>box).shape}, got {describe(x)}")
        if x.strides[axis] % 4 != 0:
            raise ValueError(f"{name}: strides must be whole elements, got {describe(x)}")
        strides[axis] = 0 if x.shape[axis] == 1 else x.strides[axis] // 4
    return 0


cdef str describe(cnp.ndarray x):
    if x is None:
        return "None"
    return f"{(<object>x).dtype} of shape {(<object>x).shape} with strides {(<object>x).strides}"


# ---- running and recording -----------------------------------------------------------------


cdef class Recording:
    """A list of primitives in the order in which they ran, to run again in one call.

    Inside ``with recording:`` each primitive of this thread runs as usual and is appended.
    `replay` repeats the list on the same arrays. The recording keeps every array alive. It belongs
    to one instruction set, since weights are packed for it.

    Examples
    --------
    >>> import numpy as np
    >>> from cnnfast import _core
    >>> x, y = np.float32([-1, 2]), np.empty(2, np.float32)
    >>> with _core.Recording() as recording:
    ...     _core.unary("relu", y, x)
    >>> x[:] = [3, -4]
    >>> recording.replay()
    >>> y
    array([3., 0.], dtype=float32)
    """

    cdef cnf_call *calls
    cdef size_t count, room
    cdef list kept
    cdef unsigned long owner
    cdef str isa

    def __cinit__(self):
        self.kept = []

    def __dealloc__(self):
        free(self.calls)

    def __len__(self):
        return self.count

    def __enter__(self):
        global _recording
        if _recording is not None:
            raise RuntimeError("another recording is in progress; recordings do not nest")
        self.owner = PyThread_get_thread_ident()
        _recording = self
        return self

    def __exit__(self, *exception):
        global _recording
        _recording = None

    @property
    def names(self):
        """The primitives' names, in order."""
        return [cnf_primitive_name(self.calls[i].primitive).decode() for i in range(self.count)]

    def replay(self):
        """Run the whole list again, without the GIL."""
        cdef cnf_status status
        self.expect_isa()
        with nogil:
            status = cnf_replay(self.calls, self.count)
        check(status, "replay")

    cdef int expect_isa(self) except -1:
        if self.count > 0 and self.isa != isa():
            raise RuntimeError(f"this was recorded with {self.isa} and cannot go on with {isa()}: "
                               "weights are packed for one instruction set")
        return 0

    cdef int append(self, int primitive, void **buffers, const void *descriptor, tuple arrays) except -1:
        cdef size_t room
        cdef void *grown
        self.expect_isa()
        self.isa = isa()
        cdef bytes copy = PyBytes_FromStringAndSize(
            <const char *>descriptor, cnf_primitive_descriptor_size(primitive))
        if self.count == self.room:
            room = 2 * self.room + 16
            grown = realloc(self.calls, room * sizeof(cnf_call))
            if grown == NULL:
                raise MemoryError("cannot grow the recording")
            self.calls, self.room = <cnf_call *>grown, room
        cdef cnf_call *call = &self.calls[self.count]
        call.primitive = primitive
        for i in range(cnf_primitive_buffers(primitive)):
            call.buffers[i] = buffers[i]
        call.descriptor = PyBytes_AS_STRING(copy)
        self.kept.append((copy, arrays))
        self.count += 1
        return 0


cdef Recording _recording = None


cpdef bint is_recording():
    """Whether the primitives of the calling thread are being recorded."""
    return _recording is not None and _recording.owner == PyThread_get_thread_ident()


cdef int check(cnf_status status, str what) except -1:
    if status == CNF_OK:
        return 0
    if status == CNF_OUT_OF_MEMORY:
        raise MemoryError(f"{what}: not enough memory for scratch")
    if status == CNF_BAD_LABEL:
        raise IndexError(f"{what}: a target is not one of the classes")
    raise ValueError(f"{what}: the engine does not accept these sizes or attributes")


cdef int issue(int primitive, tuple arrays, const void *descriptor) except -1:
    """Run a primitive on `arrays` (None: absent operand) and record it where a recording is on."""
    cdef void *buffers[8]
    cdef Py_ssize_t i, count = len(arrays)
    cdef cnf_status status
    if count != cnf_primitive_buffers(primitive):
        raise SystemError(f"{cnf_primitive_name(primitive).decode()} takes "
                          f"{cnf_primitive_buffers(primitive)} operands, got {count}")
    for i in range(count):
        buffers[i] = NULL if arrays[i] is None else cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
    with nogil:
        status = cnf_execute(primitive, buffers, descriptor)
    check(status, cnf_primitive_name(primitive).decode())
    if is_recording():
        _recording.append(primitive, buffers, descriptor, arrays)
    return 0


# ---- element-wise --------------------------------------------------------------------------


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


# ---- reduction -----------------------------------------------------------------------------

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


# ---- gemm ----------------------------------------------------------------------------------


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


# ---- conv2d --------------------------------------------------------------------------------

# No allocation is larger (memory.c); below it, C's 64-bit sizes and offsets cannot overflow.
cdef double MOST_FLOATS = 2.0**44
cdef double MOST_PHASES = 2.0**24


CONV2D_ALGORITHMS = ("direct", "winograd")
CONV2D_DIRECTIONS = ("forward", "backward_input", "backward_weight")


cdef int fill_conv2d(cnf_conv2d *d, weight, stride, padding, dilation, int64_t groups,
                     str algorithm) except -1:
    """The descriptor's part that does not depend on the images: weight shape and attributes."""
    cdef double floats
    d.co, d.ci, d.kh, d.kw = weight
    floats = <double>d.co * d.ci * groups * d.kh * d.kw
    d.ci *= groups
    d.stride_h, d.stride_w = stride
    d.pad_top, d.pad_left = padding
    d.dilation_h, d.dilation_w = dilation
    d.groups = groups
    d.algorithm = CONV2D_ALGORITHMS.index(algorithm)
    d.n = d.h = d.w = d.oh = d.ow = 1
    d.x_pitch, d.y_pitch = d.ci, d.co
    if (min(d.kh, d.kw, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w, groups) < 1
            or d.co % groups or min(d.pad_top, d.pad_left, d.co, d.ci) < 0
            or not cnf_conv2d_accepts(d)):
        raise ValueError(f"conv2d: weight {weight}, stride {stride}, padding {padding}, dilation "
                         f"{dilation}, groups {groups} do not make a {algorithm} convolution")
    # The input gradient visits every phase of the stride, so its count is bounded too.
    if floats > MOST_FLOATS or <double>d.stride_h * d.stride_w > MOST_PHASES:
        raise ValueError(f"conv2d: weight {weight} or stride {stride} is too large to compute with")
    return 0


cdef double extent(double size, double out, double kernel, double stride, double pad,
                   double dilation) noexcept:
    """A bound of every pixel coordinate along one axis, in double so that it cannot overflow."""
    return size + pad + out * stride + kernel * dilation


cdef int fill_conv2d_images(cnf_conv2d *d, cnp.ndarray y, cnp.ndarray x, bint y_written,
                            bint x_written) except -1:
    """The descriptor's images, checked against its weight."""
    cdef Image image
    as_image(x, &image, "x", x_written)
    d.n, d.h, d.w, d.x_pitch = image.n, image.h, image.w, image.pitch
    if image.c != d.ci:
        raise ValueError(f"conv2d: expected {d.ci} input channels, got {describe(x)}")
    as_image(y, &image, "y", y_written)
    d.oh, d.ow, d.y_pitch = image.h, image.w, image.pitch
    if image.c != d.co or image.n != d.n:
        raise ValueError(f"conv2d: expected {d.n} images of {d.co} channels, got {describe(y)}")
    cdef double rows = extent(d.h, d.oh, d.kh, d.stride_h, d.pad_top, d.dilation_h)
    cdef double cols = extent(d.w, d.ow, d.kw, d.stride_w, d.pad_left, d.dilation_w)
    if rows * cols * (<double>d.ci + d.co) > MOST_FLOATS:
        raise ValueError(f"conv2d: an image of {rows:.0f} x {cols:.0f} pixels with its padding is "
                         "too large: check stride, padding and dilation")
    return 0


def conv2d_choose(cnp.ndarray y, cnp.ndarray x, weight, stride, padding, dilation, int64_t groups,
                  str direction):
    """Return the name of the algorithm estimated to be fastest; direction as in `CONV2D_DIRECTIONS`."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, "direct")
    fill_conv2d_images(&d, y, x, False, False)
    return CONV2D_ALGORITHMS[cnf_conv2d_choose(&d, CONV2D_DIRECTIONS.index(direction))]


def conv2d_packed_size(weight, stride, padding, dilation, int64_t groups, bint backward, str algorithm="direct"):
    """Return how many floats the packed form of a weight of shape (O, I, kh, kw) takes."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, algorithm)
    return cnf_conv2d_packed_size(&d, backward)


def conv2d_pack(cnp.ndarray packed not None, cnp.ndarray weight not None, stride, padding, dilation,
                int64_t groups, bint backward, str algorithm="direct"):
    """packed = weight (O, I, kh, kw) in the order that the forward or the input gradient's kernel reads."""
    cdef cnf_conv2d d
    if weight.ndim != 4:
        raise ValueError(f"weight: expected 4 axes, got {describe(weight)}")
    fill_conv2d(&d, (<object>weight).shape, stride, padding, dilation, groups, algorithm)
    expect_dense(weight, cnp.NPY_FLOAT32, weight.size, "weight")
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d, backward), "packed", written=True)
    issue(cnf_id_conv2d_pack_backward if backward else cnf_id_conv2d_pack_forward, (packed, weight), &d)


def conv2d_forward(cnp.ndarray y, cnp.ndarray x, cnp.ndarray packed not None, cnp.ndarray bias,
                   weight, stride, padding, dilation, int64_t groups, str algorithm="direct"):
    """y = convolution of x; `weight` is the shape of what `conv2d_pack` packed, padding (top, left)."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, algorithm)
    fill_conv2d_images(&d, y, x, True, False)
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d, 0), "packed")
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.co, "bias")
    issue(cnf_id_conv2d_forward, (y, x, packed, bias), &d)


def conv2d_backward_input(cnp.ndarray dx, cnp.ndarray dy, cnp.ndarray packed not None, cnp.ndarray bias,
                          weight, stride, padding, dilation, int64_t groups, str algorithm="direct"):
    """dx = gradient of a convolution's input; with `bias`, the transposed convolution of dy."""
    cdef cnf_conv2d d
    fill_conv2d(&d, weight, stride, padding, dilation, groups, algorithm)
    fill_conv2d_images(&d, dy, dx, False, True)
    expect_dense(packed, cnp.NPY_FLOAT32, cnf_conv2d_packed_size(&d, 1), "packed")
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.ci, "bias")
    issue(cnf_id_conv2d_backward_input, (dx, dy, packed, bias), &d)


def conv2d_backward_weight(cnp.ndarray dw not None, cnp.ndarray x, cnp.ndarray dy, stride, padding,
                           dilation, int64_t groups, str algorithm="direct"):
    """dw = gradient of a convolution's weight (O, I, kh, kw), dense."""
    cdef cnf_conv2d d
    if dw.ndim != 4:
        raise ValueError(f"dw: expected 4 axes, got {describe(dw)}")
    fill_conv2d(&d, (<object>dw).shape, stride, padding, dilation, groups, algorithm)
    fill_conv2d_images(&d, dy, x, False, False)
    expect_dense(dw, cnp.NPY_FLOAT32, dw.size, "dw", written=True)
    issue(cnf_id_conv2d_backward_weight, (dw, x, dy), &d)


# ---- depthwise -----------------------------------------------------------------------------


cdef int fill_depthwise(cnf_depthwise *d, cnp.ndarray x, cnp.ndarray y, cnp.ndarray weight, stride,
                        padding, dilation, int written) except -1:
    """Check the operands of a depthwise convolution; number `written` of x, y, weight is written."""
    cdef Image image_x, image_y
    as_image(x, &image_x, "x or dx", written == 0)
    as_image(y, &image_y, "y or dy", written == 1)
    if weight is None or weight.ndim != 4 or weight.shape[1] != 1:
        raise ValueError(f"weight: expected shape (C, 1, kh, kw), got {describe(weight)}")
    d.n, d.c, d.h, d.w, d.x_pitch = image_x.n, image_x.c, image_x.h, image_x.w, image_x.pitch
    d.oh, d.ow, d.y_pitch = image_y.h, image_y.w, image_y.pitch
    d.kh, d.kw = weight.shape[2], weight.shape[3]
    expect_dense(weight, cnp.NPY_FLOAT32, d.c * d.kh * d.kw, "weight", written == 2)
    d.stride_h, d.stride_w = stride
    d.pad_top, d.pad_left = padding
    d.dilation_h, d.dilation_w = dilation
    if image_y.n != d.n or image_y.c != d.c or weight.shape[0] != d.c:
        raise ValueError(f"a depthwise convolution keeps the batch and the channels: x {describe(x)}, "
                         f"y {describe(y)}, weight {describe(weight)}")
    if min(d.h, d.w, d.oh, d.ow, d.kh, d.kw, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w) < 1:
        raise ValueError("image sizes, kernel, stride and dilation must be at least 1")
    if (max(d.h, d.w, d.oh, d.ow) >= 1 << 31
            or max(d.kh, d.kw, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w) >= 1 << 20
            or max(abs(d.pad_top), abs(d.pad_left)) >= 1 << 40):
        raise ValueError("image sizes must be below 2^31, kernel, stride and dilation below 2^20")
    return 0


def depthwise_forward(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray weight not None,
                      cnp.ndarray bias, stride, padding, dilation):
    """Convolve each channel of x with its filter in weight (C, 1, kh, kw); bias (C,) or None.

    padding is (top, left); what lies below and to the right follows from y's size.
    """
    cdef cnf_depthwise d
    fill_depthwise(&d, x, y, weight, stride, padding, dilation, 1)
    if bias is not None:
        expect_dense(bias, cnp.NPY_FLOAT32, d.c, "bias")
    issue(cnf_id_depthwise_forward, (y, x, weight, bias), &d)


def depthwise_backward_input(cnp.ndarray dx not None, cnp.ndarray dy not None,
                             cnp.ndarray weight not None, stride, padding, dilation):
    """dx from dy, with `depthwise_forward`'s attributes."""
    cdef cnf_depthwise d
    fill_depthwise(&d, dx, dy, weight, stride, padding, dilation, 0)
    issue(cnf_id_depthwise_backward_input, (dx, dy, weight), &d)


def depthwise_backward_weight(cnp.ndarray dw not None, cnp.ndarray x not None,
                              cnp.ndarray dy not None, stride, padding, dilation):
    """dw (C, 1, kh, kw) from x and dy, with `depthwise_forward`'s attributes."""
    cdef cnf_depthwise d
    fill_depthwise(&d, x, dy, dw, stride, padding, dilation, 2)
    issue(cnf_id_depthwise_backward_weight, (dw, x, dy), &d)


# ---- pool ----------------------------------------------------------------------------------


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


# ---- norm ----------------------------------------------------------------------------------


cdef int fill_norm(cnf_norm *d, cnp.ndarray y, cnp.ndarray x, cnp.ndarray dy, bint per_sample,
                   int64_t groups, double eps) except -1:
    """Geometry of a norm of images x, y (None: not wanted) and dy (None: forward)."""
    cdef Image image, other
    as_image(x, &image, "x")
    d.segments, d.rows, d.c = (image.n if per_sample else 1), image.h * image.w, image.c
    if not per_sample:
        d.rows *= image.n
    if groups < 1 or image.c % groups != 0:
        raise ValueError(f"groups: expected a divisor of the {image.c} channels, got {groups}")
    d.groups, d.eps, d.momentum = groups, eps, 0
    d.x_pitch = d.y_pitch = d.dy_pitch = image.pitch
    if y is not None:
        as_image(y, &other, "y", written=True)
        expect_same_image(&other, &image, "y")
        d.y_pitch = other.pitch
    if dy is not None:
        as_image(dy, &other, "dy")
        expect_same_image(&other, &image, "dy")
        d.dy_pitch = other.pitch
    return 0


cdef int expect_same_image(Image *image, Image *wanted, str name) except -1:
    if (image.n, image.c, image.h, image.w) != (wanted.n, wanted.c, wanted.h, wanted.w):
        raise ValueError(f"{name}: expected shape {(wanted.n, wanted.c, wanted.h, wanted.w)}, "
                         f"got {(image.n, image.c, image.h, image.w)}")
    return 0


cdef int expect_vectors(int64_t count, str names, tuple arrays, bint written=False) except -1:
    """Check that each array is absent or dense float32 with `count` elements."""
    for name, array in zip(names.split(), arrays):
        if array is not None:
            expect_dense(array, cnp.NPY_FLOAT32, count, name, written)
    return 0


def norm_forward(cnp.ndarray y not None, cnp.ndarray mean not None, cnp.ndarray invstd not None,
                 cnp.ndarray running_mean, cnp.ndarray running_var, cnp.ndarray x not None,
                 cnp.ndarray weight, cnp.ndarray bias, bint per_sample, int64_t groups,
                 double momentum, double eps):
    """Normalise image x by its own statistics: batch norm, or per_sample group and instance norm.

    mean and invstd (samples or 1, groups) keep them; the running ones (C) are blended in place.
    """
    cdef cnf_norm d
    fill_norm(&d, y, x, None, per_sample, groups, eps)
    d.momentum = momentum
    expect_vectors(d.segments * groups, "mean invstd", (mean, invstd), written=True)
    expect_vectors(d.c, "running_mean running_var", (running_mean, running_var), written=True)
    expect_vectors(d.c, "weight bias", (weight, bias))
    if groups != d.c and not (running_mean is None and running_var is None):
        raise ValueError("running statistics need groups of one channel")
    issue(cnf_id_norm_forward,
          (y, mean, invstd, running_mean, running_var, x, weight, bias), &d)


def norm_backward(cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias, cnp.ndarray dy not None,
                  cnp.ndarray x not None, cnp.ndarray mean not None, cnp.ndarray invstd not None,
                  cnp.ndarray weight, bint per_sample, int64_t groups):
    """Gradients of norm_forward, any of dx, dweight, dbias None; mean and invstd as it left them."""
    cdef cnf_norm d
    fill_norm(&d, dx, x, dy, per_sample, groups, 0)
    expect_vectors(d.segments * groups, "mean invstd", (mean, invstd))
    expect_vectors(d.c, "dweight dbias", (dweight, dbias), written=True)
    expect_vectors(d.c, "weight", (weight,))
    issue(cnf_id_norm_backward, (dx, dweight, dbias, dy, x, mean, invstd, weight), &d)


def norm_evaluate(cnp.ndarray y not None, cnp.ndarray x not None, cnp.ndarray running_mean not None,
                  cnp.ndarray running_var not None, cnp.ndarray weight, cnp.ndarray bias,
                  double eps):
    """Normalise image x by given statistics (C) a channel."""
    cdef cnf_norm d
    fill_norm(&d, y, x, None, False, max(x.shape[1], 1), eps)
    expect_vectors(d.c, "running_mean running_var weight bias",
                   (running_mean, running_var, weight, bias))
    issue(cnf_id_norm_evaluate, (y, x, running_mean, running_var, weight, bias), &d)


def norm_evaluate_backward(cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias,
                           cnp.ndarray dy not None, cnp.ndarray x not None,
                           cnp.ndarray running_mean not None, cnp.ndarray running_var not None,
                           cnp.ndarray weight, double eps):
    """Gradients of norm_evaluate, any of dx, dweight, dbias None."""
    cdef cnf_norm d
    fill_norm(&d, dx, x, dy, False, max(x.shape[1], 1), eps)
    expect_vectors(d.c, "dweight dbias", (dweight, dbias), written=True)
    expect_vectors(d.c, "running_mean running_var weight", (running_mean, running_var, weight))
    issue(cnf_id_norm_evaluate_backward,
          (dx, dweight, dbias, dy, x, running_mean, running_var, weight), &d)


cdef int64_t as_rows(cnp.ndarray x, cnp.ndarray wanted, str name, bint written=False) except -1:
    """Return the pitch of float32 matrix x (rows, c) of the shape of `wanted`."""
    if x.ndim != 2 or cnp.PyArray_TYPE(x) != cnp.NPY_FLOAT32:
        raise TypeError(f"{name}: expected a float32 matrix, got {describe(x)}")
    cdef int64_t rows = x.shape[0], c = x.shape[1]
    if rows != wanted.shape[0] or c != wanted.shape[1]:
        raise ValueError(f"{name}: expected shape {(<object>wanted).shape}, got {describe(x)}")
    if written and not cnp.PyArray_ISWRITEABLE(x):
        raise ValueError(f"{name}: the array is read-only")
    if rows <= 1 or c == 0:
        if c > 1 and rows == 1 and x.strides[1] != 4:
            raise ValueError(f"{name}: expected contiguous rows, got {describe(x)}")
        return c
    if x.strides[0] < c * 4 or x.strides[0] % 4 != 0 or (c > 1 and x.strides[1] != 4):
        raise ValueError(f"{name}: expected contiguous rows, got {describe(x)}")
    return x.strides[0] // 4


def layer_norm_forward(cnp.ndarray y not None, cnp.ndarray mean not None,
                       cnp.ndarray invstd not None, cnp.ndarray x not None, cnp.ndarray weight,
                       cnp.ndarray bias, double eps):
    """Normalise each row of x (rows, c); weight and bias (c); mean and invstd (rows) keep it."""
    cdef cnf_layer_norm d
    d.x_pitch, d.y_pitch = as_rows(x, x, "x"), as_rows(y, x, "y", written=True)
    d.rows, d.c, d.eps, d.dy_pitch = x.shape[0], x.shape[1], eps, 0
    expect_vectors(d.rows, "mean invstd", (mean, invstd), written=True)
    expect_vectors(d.c, "weight bias", (weight, bias))
    issue(cnf_id_layer_norm_forward, (y, mean, invstd, x, weight, bias), &d)


def layer_norm_backward(cnp.ndarray dx, cnp.ndarray dweight, cnp.ndarray dbias,
                        cnp.ndarray dy not None, cnp.ndarray x not None, cnp.ndarray mean not None,
                        cnp.ndarray invstd not None, cnp.ndarray weight):
    """Gradients of layer_norm_forward, any of dx, dweight, dbias None."""
    cdef cnf_layer_norm d
    d.x_pitch, d.dy_pitch = as_rows(x, x, "x"), as_rows(dy, x, "dy")
    d.rows, d.c, d.eps = x.shape[0], x.shape[1], 0
    d.y_pitch = 0 if dx is None else as_rows(dx, x, "dx", written=True)
    expect_vectors(d.rows, "mean invstd", (mean, invstd))
    expect_vectors(d.c, "dweight dbias", (dweight, dbias), written=True)
    expect_vectors(d.c, "weight", (weight,))
    issue(cnf_id_layer_norm_backward, (dx, dweight, dbias, dy, x, mean, invstd, weight), &d)


cdef int fill_local_norm(cnf_local_norm *d, cnp.ndarray y, cnp.ndarray x, cnp.ndarray dy,
                         int64_t size, float alpha, float beta, float k) except -1:
    cdef Image image, other
    as_image(x, &image, "x")
    as_image(y, &other, "y", written=True)
    expect_same_image(&other, &image, "y")
    d.rows, d.c, d.x_pitch = image.n * image.h * image.w, image.c, image.pitch
    d.y_pitch = d.dy_pitch = other.pitch
    if dy is not None:
        as_image(dy, &other, "dy")
        expect_same_image(&other, &image, "dy")
        d.dy_pitch = other.pitch
    if size < 1 or size > 1 << 20:
        raise ValueError(f"size: expected a window of 1 to {1 << 20} channels, got {size}")
    d.size, d.alpha, d.beta, d.k = size, alpha, beta, k
    return 0


def local_norm_forward(cnp.ndarray y not None, cnp.ndarray x not None, int64_t size, float alpha,
                       float beta, float k):
    """y = x / (k + alpha * mean of x**2 over a window of `size` channels) ** beta."""
    cdef cnf_local_norm d
    fill_local_norm(&d, y, x, None, size, alpha, beta, k)
    issue(cnf_id_local_norm_forward, (y, x), &d)


def local_norm_backward(cnp.ndarray dx not None, cnp.ndarray dy not None, cnp.ndarray x not None,
                        int64_t size, float alpha, float beta, float k):
    """Gradient of local_norm_forward."""
    cdef cnf_local_norm d
    fill_local_norm(&d, dx, x, dy, size, alpha, beta, k)
    issue(cnf_id_local_norm_backward, (dx, dy, x), &d)


# ---- softmax -------------------------------------------------------------------------------


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


# ---- dropout -------------------------------------------------------------------------------


def dropout(cnp.ndarray y not None, cnp.ndarray x not None, double p, int64_t seed):
    """y = x * mask over (rows, c), the mask 0 with probability p, else 1 / (1 - p).

    The mask depends on the seed and on the position r * c + i of a value, so the gradient's is made
    again by the same call on dy. y may be x.
    """
    cdef cnf_dropout d
    d.x_pitch, d.y_pitch = as_rows(x, x, "x"), as_rows(y, x, "y", written=True)
    d.rows, d.c, d.p, d.seed = x.shape[0], x.shape[1], p, seed
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability between 0 and 1, got {p}")
    issue(cnf_id_dropout_apply, (y, x), &d)


# ---- resize --------------------------------------------------------------------------------


def resample(cnp.ndarray y not None, cnp.ndarray x not None, Taps rows not None, Taps cols not None):
    """y[oy, ox] = sum of the row tap's weight * the column tap's * x[iy, ix], for each channel.

    Average pooling, resizing, mirrored padding and their gradients.
    """
    cdef cnf_gather d
    fill_gather(&d, y, x, rows, cols, "y x")
    issue(cnf_id_resample, (y, x, rows.table, cols.table), &d)


# ---- pad -----------------------------------------------------------------------------------


# ---- index ---------------------------------------------------------------------------------


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


# ---- optim ---------------------------------------------------------------------------------


cdef int64_t expect_states(cnp.ndarray param, cnp.ndarray grad, tuple names, tuple states) except -1:
    """Check that a parameter, its gradient and its states are dense and of one size; return it."""
    cdef int64_t n = param.size
    expect_dense(param, cnp.NPY_FLOAT32, n, "param", written=True)
    expect_dense(grad, cnp.NPY_FLOAT32, n, "grad")
    for name, state in zip(names, states):
        if state is not None:
            expect_dense(state, cnp.NPY_FLOAT32, n, name, written=True)
    return n


def sgd_update(cnp.ndarray param not None, cnp.ndarray grad not None, cnp.ndarray momentum_buffer,
               double lr, double momentum, double dampening, double weight_decay, bint nesterov,
               bint first):
    """One step of SGD in place; `first`: momentum_buffer is written without being read."""
    cdef cnf_sgd d
    d.n = expect_states(param, grad, ("momentum_buffer",), (momentum_buffer,))
    d.lr, d.momentum, d.dampening, d.weight_decay = lr, momentum, dampening, weight_decay
    d.nesterov, d.first = nesterov, first
    issue(cnf_id_sgd_update, (param, grad, momentum_buffer), &d)


def adam_update(cnp.ndarray param not None, cnp.ndarray grad not None, cnp.ndarray exp_avg not None,
                cnp.ndarray exp_avg_sq not None, double lr, double beta1, double beta2, double eps,
                double weight_decay, bint decoupled, int64_t step):
    """One step of Adam (decoupled: AdamW) in place; `step` counts from 1."""
    cdef cnf_adam d
    d.n = expect_states(param, grad, ("exp_avg", "exp_avg_sq"), (exp_avg, exp_avg_sq))
    d.lr, d.beta1, d.beta2, d.eps, d.weight_decay = lr, beta1, beta2, eps, weight_decay
    d.decoupled, d.step = decoupled, step
    if step < 1:
        raise ValueError(f"expected a step that counts from 1, got {step}")
    issue(cnf_id_adam_update, (param, grad, exp_avg, exp_avg_sq), &d)


def rmsprop_update(cnp.ndarray param not None, cnp.ndarray grad not None,
                   cnp.ndarray square_avg not None, cnp.ndarray momentum_buffer,
                   cnp.ndarray grad_avg, double lr, double alpha, double eps, double weight_decay,
                   double momentum, bint centered):
    """One step of RMSprop in place; grad_avg is None unless centered."""
    cdef cnf_rmsprop d
    if centered != (grad_avg is not None):
        raise ValueError("grad_avg: expected an array where centered is true and None otherwise")
    d.n = expect_states(param, grad, ("square_avg", "momentum_buffer", "grad_avg"),
                        (square_avg, momentum_buffer, grad_avg))
    d.lr, d.alpha, d.eps, d.weight_decay, d.momentum = lr, alpha, eps, weight_decay, momentum
    issue(cnf_id_rmsprop_update, (param, grad, square_avg, momentum_buffer, grad_avg), &d)
