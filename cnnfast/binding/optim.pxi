# Fused updates of the optimisers, whose settings are read from memory, and counters.

cdef extern from "cnnfast.h" nogil:
    enum: cnf_id_sgd_update, cnf_id_adam_update, cnf_id_rmsprop_update, cnf_id_counter_add
    ctypedef struct cnf_sgd:
        int64_t n, nesterov
    ctypedef struct cnf_adam:
        int64_t n, decoupled
    ctypedef struct cnf_rmsprop:
        int64_t n
    ctypedef struct cnf_counter:
        int64_t by


cdef int64_t expect_states(cnp.ndarray param, cnp.ndarray grad, tuple names, tuple states,
                           cnp.ndarray settings, int count) except -1:
    """Check that parameter, gradient and states are dense and of one size, and the settings `count`."""
    cdef int64_t n = param.size
    expect_dense(param, cnp.NPY_FLOAT32, n, "param", written=True)
    expect_dense(grad, cnp.NPY_FLOAT32, n, "grad")
    for name, state in zip(names, states):
        if state is not None:
            expect_dense(state, cnp.NPY_FLOAT32, n, name, written=True)
    expect_dense(settings, cnp.NPY_FLOAT64, count, "settings")
    return n


cdef int expect_step(cnp.ndarray step) except -1:
    expect_dense(step, cnp.NPY_FLOAT32, 1, "step", written=True)
    if not (<float *>cnp.PyArray_DATA(step))[0] >= 0:
        raise ValueError(f"step: expected the number of steps so far, got {step}")
    return 0


def sgd_update(cnp.ndarray param not None, cnp.ndarray momentum_buffer, cnp.ndarray begun,
               cnp.ndarray grad not None, cnp.ndarray settings not None, bint nesterov):
    """One step of SGD in place. Where `begun`, one int64, is 0, momentum_buffer is not read.

    settings: float64 lr, momentum, dampening, weight_decay.
    """
    cdef cnf_sgd d
    d.n = expect_states(param, grad, ("momentum_buffer",), (momentum_buffer,), settings, 4)
    d.nesterov = nesterov
    if begun is not None:
        expect_dense(begun, cnp.NPY_INT64, 1, "begun", written=True)
    issue(cnf_id_sgd_update, (param, momentum_buffer, begun, grad, settings), &d)


def adam_update(cnp.ndarray param not None, cnp.ndarray exp_avg not None,
                cnp.ndarray exp_avg_sq not None, cnp.ndarray max_exp_avg_sq,
                cnp.ndarray step not None, cnp.ndarray grad not None,
                cnp.ndarray settings not None, bint decoupled):
    """One step of Adam (decoupled: AdamW) in place; `step`, one float32, grows by 1.

    With max_exp_avg_sq it is amsgrad. settings: float64 lr, beta1, beta2, eps, weight_decay.
    """
    cdef cnf_adam d
    d.n = expect_states(param, grad, ("exp_avg", "exp_avg_sq", "max_exp_avg_sq"),
                        (exp_avg, exp_avg_sq, max_exp_avg_sq), settings, 5)
    d.decoupled = decoupled
    expect_step(step)
    issue(cnf_id_adam_update, (param, exp_avg, exp_avg_sq, max_exp_avg_sq, step, grad, settings), &d)


def rmsprop_update(cnp.ndarray param not None, cnp.ndarray square_avg not None,
                   cnp.ndarray momentum_buffer, cnp.ndarray grad_avg, cnp.ndarray step not None,
                   cnp.ndarray grad not None, cnp.ndarray settings not None):
    """One step of RMSprop in place, centred with grad_avg; `step`, one float32, grows by 1.

    settings: float64 lr, alpha, eps, weight_decay, momentum.
    """
    cdef cnf_rmsprop d
    d.n = expect_states(param, grad, ("square_avg", "momentum_buffer", "grad_avg"),
                        (square_avg, momentum_buffer, grad_avg), settings, 5)
    expect_step(step)
    issue(cnf_id_rmsprop_update,
          (param, square_avg, momentum_buffer, grad_avg, step, grad, settings), &d)


def counter_add(cnp.ndarray y not None, cnp.ndarray x not None, int64_t by):
    """y = x + by, of one int64 each; y may be x."""
    cdef cnf_counter d
    expect_dense(y, cnp.NPY_INT64, 1, "y", written=True)
    expect_dense(x, cnp.NPY_INT64, 1, "x")
    d.by = by
    issue(cnf_id_counter_add, (y, x), &d)
