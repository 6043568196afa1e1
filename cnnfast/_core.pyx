"""The binding and nothing else: arrays in, checks, GIL released, status -> exception.

One ``def`` a primitive. Each takes outputs, then inputs, then attributes; fills the primitive's
descriptor from the arrays' shapes and strides; rechecks what C will trust; and hands it to `issue`,
which runs it now or, inside a `Recording`, runs it and appends it to the list that `replay` repeats.
No function here computes, broadcasts or allocates results: `cnnfast.functional` does.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

import math
import os
import warnings

import numpy

cimport numpy as cnp

cnp.import_array()

cdef extern from "cnnfast.h" nogil:
    ctypedef int cnf_status
    int CNF_OK, CNF_BAD_ARGUMENT, CNF_OUT_OF_MEMORY, CNF_BAD_LABEL
    int CNF_MAX_RANK
    enum: CNF_MAX_BUFFERS

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
        void *buffers[CNF_MAX_BUFFERS]
        const void *descriptor
    cnf_status cnf_execute(int primitive, void *const *buffers, const void *descriptor)
    cnf_status cnf_replay(const cnf_call *calls, size_t count)
    int cnf_primitive_buffers(int primitive)
    int cnf_primitive_written(int primitive)
    size_t cnf_primitive_descriptor_size(int primitive)
    const char *cnf_primitive_name(int primitive)


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


# ---- the machine -------------------------------------------------------------------------------


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


_forced = os.environ.get("CNNFAST_ISA")
if _forced and _forced != isa():
    warnings.warn(f"CNNFAST_ISA={_forced} is not available here; using {isa()}, "
                  f"of {cpu_info()['isas']}", RuntimeWarning)


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


# ---- arrays ------------------------------------------------------------------------------------


cdef class Buffer:
    """Memory of the engine's pool, given back when the last array over it is gone."""

    cdef void *pointer

    def __dealloc__(self):
        cnf_release(self.pointer)


cdef class Draft:
    """Memory of a recorded training step, in which next to nothing is computed.

    It comes from the system: a block of the pool would touch its first 2 MB, a huge page.
    """

    cdef void *pointer

    def __dealloc__(self):
        free(self.pointer)


cdef cnp.ndarray allocate(int rank, cnp.npy_intp *shape, cnp.npy_intp *strides, size_t count, int kind):
    cdef Buffer buffer
    cdef Draft draft
    cdef void *pointer = NULL
    cdef size_t size = 8 if kind == cnp.NPY_INT64 else 4 if kind == cnp.NPY_FLOAT32 else 1
    cdef type kind_of_array = _recording.unknown if is_recording() else None
    if kind_of_array is not None and _recording.repeated:
        base = draft = Draft.__new__(Draft)
        if posix_memalign(&draft.pointer, 64, count * size + 1) == 0:
            pointer = draft.pointer
    else:
        base = buffer = Buffer.__new__(Buffer)
        pointer = buffer.pointer = cnf_allocate(count * size if count > 0 else 1)
    if pointer == NULL:
        raise MemoryError(f"cannot allocate {count * size} bytes")
    cdef cnp.ndarray array = cnp.PyArray_New(
        kind_of_array or cnp.ndarray, rank, shape, kind, strides, pointer, 0, cnp.NPY_ARRAY_WRITEABLE, None)
    cnp.set_array_base(array, base)
    return array


_array_kinds = {"float32": cnp.NPY_FLOAT32, "int64": cnp.NPY_INT64, "uint8": cnp.NPY_UINT8}


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
    return allocate(rank, sizes, NULL, count, _array_kinds[dtype])


def empty_image(cnp.npy_intp n, cnp.npy_intp c, cnp.npy_intp h, cnp.npy_intp w):
    """Return an uninitialised float32 image tensor: logical (n, c, h, w), stored NHWC with a pitch."""
    cdef cnp.ndarray given = _recording.destination if is_recording() else None
    if given is not None and (<object>given).shape == (n, c, h, w):
        _recording.destination = None
        return given
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


# ---- running and recording ---------------------------------------------------------------------


cdef class Recording:
    """A list of primitives in the order in which they ran, to run again in one call.

    Inside ``with recording:`` each primitive of this thread runs as usual and is appended.
    `replay` repeats the list on the same arrays. The recording keeps every array alive. It belongs
    to one instruction set, since weights are packed for it.

    `destination`, unless None, is what the next `empty_image` of its shape returns, once.

    With `unknown`, a subclass of ndarray, it records without computing: inside, arrays are made of
    that class, and what reads an array that was named to `add_unknown`, or anything that follows
    from it, is appended but not run. `cnnfast.compile` makes a `Plan` of such a recording. With
    `repeated` the plan will run on the same parameters and states again and again, as a training
    step does. Then, and in every `replay`, the functions in `renewals` are called first: they write
    what is new each time (learning rates, seeds) into memory that recorded calls read.

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

    cdef cnf_call *table
    cdef size_t count, room
    cdef list kept
    cdef dict dependent
    cdef type unknown
    cdef readonly list renewals
    cdef readonly bint repeated
    cdef public cnp.ndarray destination
    cdef unsigned long owner
    cdef str isa

    def __cinit__(self, type unknown=None, bint repeated=False):
        self.kept = []
        self.dependent = {}
        self.unknown = unknown
        self.renewals = []
        self.repeated = repeated or unknown is None

    def __dealloc__(self):
        free(self.table)

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
        return [cnf_primitive_name(self.table[i].primitive).decode() for i in range(self.count)]

    @property
    def calls(self):
        """A list of (number, name, descriptor, operands, their addresses, how many are written).

        An absent operand is None and has address 0; those written are the first.
        """
        cdef list result = []
        for i in range(self.count):
            number = self.table[i].primitive
            addresses = tuple([<size_t>self.table[i].buffers[k]
                               for k in range(cnf_primitive_buffers(number))])
            result.append((number, cnf_primitive_name(number).decode(), *self.kept[i], addresses,
                           cnf_primitive_written(number)))
        return result

    def add_unknown(self, cnp.ndarray x not None):
        """Say that the values of x come later: what is computed from them is listed and not run."""
        self.dependent[id(memory_of(x))] = memory_of(x)

    def is_unknown(self, cnp.ndarray x not None):
        """Whether the memory of x holds anything that is computed from unknown values."""
        return id(memory_of(x)) in self.dependent

    def truncate(self, size_t count):
        """Forget all calls but the first `count`."""
        self.count = min(count, self.count)
        del self.kept[self.count:]

    def replay(self):
        """Run the whole list again, without the GIL."""
        cdef cnf_status status
        self.expect_isa()
        if self.unknown is not None:
            raise RuntimeError("a recording of unknown values is for a Plan, not for replay")
        for renew in self.renewals:
            renew()
        with nogil:
            status = cnf_replay(self.table, self.count)
        check(status, "replay")

    cdef int expect_isa(self) except -1:
        if self.count > 0 and self.isa != isa():
            raise RuntimeError(f"this was recorded with {self.isa} and cannot go on with {isa()}: "
                               "weights are packed for one instruction set")
        return 0

    cdef bint defers(self, int primitive, tuple arrays):
        """Whether a call reads unknown values; then what it writes is unknown, too."""
        cdef Py_ssize_t i
        if self.unknown is None:
            return False
        for i in range(len(arrays)):
            if arrays[i] is not None and self.is_unknown(arrays[i]):
                break
        else:
            return False
        for i in range(min(len(arrays), cnf_primitive_written(primitive))):
            if arrays[i] is not None:
                self.add_unknown(arrays[i])
        return True

    cdef int append(self, int primitive, void **buffers, const void *descriptor, tuple arrays) except -1:
        cdef size_t room
        cdef void *grown
        self.expect_isa()
        self.isa = isa()
        cdef bytes copy = PyBytes_FromStringAndSize(
            <const char *>descriptor, cnf_primitive_descriptor_size(primitive))
        if self.count == self.room:
            room = 2 * self.room + 16
            grown = realloc(self.table, room * sizeof(cnf_call))
            if grown == NULL:
                raise MemoryError("cannot grow the recording")
            self.table, self.room = <cnf_call *>grown, room
        cdef cnf_call *call = &self.table[self.count]
        call.primitive = primitive
        for i in range(cnf_primitive_buffers(primitive)):
            call.buffers[i] = buffers[i]
        call.descriptor = PyBytes_AS_STRING(copy)
        self.kept.append((copy, arrays))
        self.count += 1
        return 0


cdef cnp.ndarray memory_of(cnp.ndarray x):
    """The array that owns the memory of x."""
    base = cnp.get_array_base(x)
    while isinstance(base, cnp.ndarray):
        x = base
        base = cnp.get_array_base(x)
    return x


cdef Recording _recording = None


cpdef bint is_recording():
    """Whether the primitives of the calling thread are being recorded."""
    return _recording is not None and _recording.owner == PyThread_get_thread_ident()


cpdef Recording repeated_recording():
    """The recording of this thread that is to be repeated on the same arrays, or None."""
    return _recording if is_recording() and _recording.repeated else None


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
    cdef void *buffers[CNF_MAX_BUFFERS]
    cdef Py_ssize_t i, count = len(arrays)
    cdef cnf_status status
    if count != cnf_primitive_buffers(primitive):
        raise SystemError(f"{cnf_primitive_name(primitive).decode()} takes "
                          f"{cnf_primitive_buffers(primitive)} operands, got {count}")
    for i in range(count):
        buffers[i] = NULL if arrays[i] is None else cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
    if not is_recording() or not _recording.defers(primitive, arrays):
        with nogil:
            status = cnf_execute(primitive, buffers, descriptor)
        check(status, cnf_primitive_name(primitive).decode())
    if is_recording():
        _recording.append(primitive, buffers, descriptor, arrays)
    return 0


# ---- one file a topic ----------------------------------------------------------------------

include "binding/elementwise.pxi"
include "binding/reduction.pxi"
include "binding/gemm.pxi"
include "binding/conv2d.pxi"
include "binding/depthwise.pxi"
include "binding/separable.pxi"
include "binding/pool.pxi"
include "binding/norm.pxi"
include "binding/softmax.pxi"
include "binding/dropout.pxi"
include "binding/index.pxi"
include "binding/optim.pxi"
include "binding/plan.pxi"
