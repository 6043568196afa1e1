# Plans: recorded primitives whose operands lie in one arena, for any number of threads at once.

cdef extern from "cnnfast.h" nogil:
    ctypedef struct cnf_plan_call:
        int primitive
        int32_t base[CNF_MAX_BUFFERS]
        int64_t offset[CNF_MAX_BUFFERS]
        const void *descriptor
    enum: CNF_BASE_FIRST
    ctypedef struct cnf_plan:
        const cnf_plan_call *calls
        size_t count
        size_t arena
        uint64_t scratch
        int64_t parts, ends
        int64_t step[120]
    enum: CNF_MAX_ENDS
    ctypedef struct cnf_workspace:
        void *block[8]
    void cnf_workspace_clear(cnf_workspace *workspace)
    cnf_status cnf_plan_run(cnf_plan *plan, cnf_workspace *workspace, void *const *ends, int threads,
                            double *started)
    ctypedef struct cnf_model:
        pass
    enum: CNF_MESSAGE
    cnf_status cnf_model_open_bytes(cnf_model **model, const void *bytes, size_t size, char *message)
    void cnf_model_close(cnf_model *model)
    int64_t cnf_plan_version()


TYPE_NUMBERS = {
    "float32": CNF_FLOAT32, "float64": CNF_FLOAT64, "float16": CNF_FLOAT16, "int8": CNF_INT8,
    "int16": CNF_INT16, "int32": CNF_INT32, "int64": CNF_INT64, "uint8": CNF_UINT8, "bool": CNF_UINT8,
}


def plan_version():
    """Return the number of the plans that C code of this version opens."""
    return cnf_plan_version()


def check_saved(bytes data not None):
    """Raise ValueError unless C code can open the bytes of a saved model, plan and all."""
    cdef cnf_model *model = NULL
    cdef char message[256]
    cdef const char *bytes_of = PyBytes_AS_STRING(data)
    cdef size_t size = len(data)
    cdef cnf_status status
    message[0] = 0
    with nogil:
        status = cnf_model_open_bytes(&model, bytes_of, size, message)
        if status == CNF_OK:
            cnf_model_close(model)
    if status != CNF_OK:
        raise ValueError(message.decode(errors="replace"))


cdef class Workspace:
    """The memory in which plans run: grows to what the largest needs, one block a call at once."""

    cdef cnf_workspace blocks

    def __dealloc__(self):
        cnf_workspace_clear(&self.blocks)

    def clear(self):
        """Give the memory that no call is using back to the system."""
        cnf_workspace_clear(&self.blocks)


cdef struct End:  # what an input must be, or an output will be
    int kind, rank
    cnp.npy_intp shape[8]


cdef class Plan:
    """A list of primitives on arrays of fixed shapes, run in one call without the GIL.

    Parameters
    ----------
    calls : list of (number, descriptor, bases, offsets)
        Number and descriptor as in `Recording.calls`; for each operand the number of its base and
        its offset from there in bytes. Base 0 is address 0 (constants, absent operands), base 1 the
        arena, then come the inputs and the outputs.
    arena : int
        Bytes of the arena.
    inputs, outputs : tuple of (shape, dtype)
        All are C-contiguous.
    constants : object
        Kept alive.
    workspace : Workspace
        May be shared with other plans.
    threads : int
        At most so many; 0 for the usual number.
    parts : int
        The plan runs on arrays of so many times the length that `inputs` and `outputs` say, and
        computes them in parts, which share nothing, on a thread each.
    """

    cdef cnf_plan plan
    cdef End *ends
    cdef Py_ssize_t inputs, outputs
    cdef list kept
    cdef Workspace workspace
    cdef int threads
    cdef const char *isa

    def __init__(self, list calls not None, size_t arena, tuple inputs not None,
                 tuple outputs not None, constants, Workspace workspace not None, int threads=0,
                 int64_t parts=1):
        cdef cnf_plan_call *call
        cdef Py_ssize_t i, k
        cdef bytes descriptor
        if len(inputs) + len(outputs) > CNF_MAX_ENDS:
            raise ValueError(f"a plan has at most {CNF_MAX_ENDS} inputs and outputs, got "
                             f"{len(inputs)} and {len(outputs)}")
        self.kept = [calls, constants]
        self.workspace, self.threads, self.isa = workspace, threads, cnf_isa_name()
        self.plan.arena, self.plan.count = arena, len(calls)
        self.plan.parts, self.plan.ends = parts, len(inputs) + len(outputs)
        call = <cnf_plan_call *>calloc(max(len(calls), 1), sizeof(cnf_plan_call))
        self.plan.calls = call
        self.ends = <End *>calloc(len(inputs) + len(outputs) + 1, sizeof(End))
        if call == NULL or self.ends == NULL:
            raise MemoryError(f"cannot allocate a plan of {len(calls)} calls")
        for i in range(len(calls)):
            number, descriptor, bases, offsets = calls[i]
            call[i].primitive = number
            call[i].descriptor = PyBytes_AS_STRING(descriptor)
            for k in range(len(bases)):
                if bases[k] >= CNF_BASE_FIRST + len(inputs) + len(outputs):
                    raise ValueError(f"call {i}: there is no base {bases[k]}")
                call[i].base[k], call[i].offset[k] = bases[k], offsets[k]
        self.inputs, self.outputs = len(inputs), len(outputs)
        if any(dtype not in _array_kinds for _, dtype in outputs):
            raise ValueError(f"outputs: expected types {list(_array_kinds)}, got {outputs}")
        for i, (shape, dtype) in enumerate(inputs + outputs):
            fill_end(&self.ends[i], shape, dtype)
            self.plan.step[i] = math.prod(shape) * numpy.dtype(dtype).itemsize
            if parts > 1:
                self.ends[i].shape[0] *= parts

    def __dealloc__(self):
        free(<void *>self.plan.calls)
        free(self.ends)

    def __len__(self):
        return self.plan.count

    @property
    def arena(self):
        """Bytes of the arena."""
        return self.plan.arena

    @property
    def parts(self):
        """Parts in which a batch is computed."""
        return self.plan.parts

    def work(self):
        """Return for each call of a part its floating-point operations and the name of its algorithm."""
        cdef list result = []
        cdef size_t i
        for i in range(self.plan.count):
            result.append(work_of(&self.plan.calls[i]))
        return result

    def run(self, tuple arrays not None):
        """Return the list of outputs; None where the arrays or the instruction set are not the plan's."""
        return self.run_timed(arrays, NULL)

    def profile(self, tuple arrays not None):
        """Return the outputs and count + 1 times in seconds: when each call began, the last ended.

        Of several parts these are the times of one, on one thread.
        """
        cdef cnp.ndarray times = empty((2 * (self.plan.count + 1),))  # doubles in pairs of floats
        outputs = self.run_timed(arrays, <double *>cnp.PyArray_DATA(times))
        return outputs, times.view("float64")

    cdef list run_timed(self, tuple arrays, double *started):
        cdef void *ends[120]
        cdef Py_ssize_t i
        cdef cnf_status status
        cdef list results
        cdef cnp.ndarray array
        if len(arrays) != self.inputs or self.isa != cnf_isa_name():
            return None
        for i in range(self.inputs):
            if not fits(&self.ends[i], arrays[i]):
                return None
            ends[i] = cnp.PyArray_DATA(<cnp.ndarray>arrays[i])
        results = []
        for i in range(self.inputs, self.inputs + self.outputs):
            array = empty_end(&self.ends[i])
            ends[i] = cnp.PyArray_DATA(array)
            results.append(array)
        with nogil:
            status = cnf_plan_run(&self.plan, &self.workspace.blocks, ends, self.threads, started)
        check(status, "compiled model")
        return results


cdef int fill_end(End *end, tuple shape, str dtype) except -1:
    cdef int axis
    if len(shape) > CNF_MAX_RANK:
        raise ValueError(f"at most {CNF_MAX_RANK} axes are supported, got shape {shape}")
    end.kind, end.rank = numpy.dtype(dtype).num, len(shape)
    for axis in range(end.rank):
        end.shape[axis] = shape[axis]
    return 0


cdef bint fits(End *end, x) noexcept:
    """Whether x is the array that the plan reads: type, shape, C-contiguous."""
    cdef cnp.ndarray array
    cdef int axis
    if not isinstance(x, cnp.ndarray):
        return False
    array = x
    if (cnp.PyArray_TYPE(array) != end.kind or array.ndim != end.rank
            or not cnp.PyArray_ISCARRAY_RO(array)):
        return False
    for axis in range(end.rank):
        if array.shape[axis] != end.shape[axis]:
            return False
    return True


cdef cnp.ndarray empty_end(End *end):
    cdef size_t count = 1
    cdef int axis
    for axis in range(end.rank):
        count *= end.shape[axis]
    return allocate(end.rank, end.shape, NULL, count, end.kind)


cdef double flops_of_conv2d(const cnf_conv2d *d) noexcept:
    return 2.0 * d.n * d.oh * d.ow * d.co * d.kh * d.kw * d.ci / d.groups


cdef double flops_of_depthwise(const cnf_depthwise *d) noexcept:
    return 2.0 * d.n * d.oh * d.ow * d.c * d.kh * d.kw


cdef tuple work_of(const cnf_plan_call *call):
    """Multiplications and additions of a call's definition, and its algorithm where it has several."""
    cdef const cnf_conv2d *conv
    cdef const cnf_gemm *gemm
    cdef double flops
    cdef int axis
    cdef const cnf_separable *separable
    if call.primitive == cnf_id_conv2d_scaled_forward:
        conv = &(<const cnf_conv2d_scaled *>call.descriptor).conv
        return flops_of_conv2d(conv), CONV2D_ALGORITHMS[conv.algorithm]
    if call.primitive == cnf_id_conv2d_forward or call.primitive == cnf_id_conv2d_backward_input:
        conv = <const cnf_conv2d *>call.descriptor
        return flops_of_conv2d(conv), CONV2D_ALGORITHMS[conv.algorithm]
    if call.primitive == cnf_id_depthwise_forward:
        return flops_of_depthwise(<const cnf_depthwise *>call.descriptor), "depthwise"
    if call.primitive == cnf_id_separable_forward:
        separable = <const cnf_separable *>call.descriptor
        flops = flops_of_depthwise(&separable.depthwise)
        if separable.expand.co > 0:
            flops += flops_of_conv2d(&separable.expand)
        if separable.project.co > 0:
            flops += flops_of_conv2d(&separable.project)
        return flops, "separable"
    if call.primitive == cnf_id_gemm_forward:
        gemm = <const cnf_gemm *>call.descriptor
        flops = 2.0 * gemm.m * gemm.n * gemm.k
        for axis in range(gemm.rank):
            flops *= gemm.size[axis]
        return flops, ""
    return 0.0, ""
