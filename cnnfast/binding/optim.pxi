# Fused updates of the optimisers.

cdef extern from "cnnfast.h" nogil:
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
