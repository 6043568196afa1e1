/* optim.c: fused optimiser updates: parameter, gradient and state are dense arrays of n floats,
 * all read and written once. Called by cnnfast.optim. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

/* Floats in a task: 64 KB of each array, a multiple of every vector length. */
#define TASK_FLOATS 16384

typedef struct {
    float *param;
    const float *grad;
    float *state[3];
    int64_t n;
    const void *step;
} update;

static int64_t begin(const update *u, int64_t task, int64_t *count)
{
    int64_t first = task * TASK_FLOATS;
    *count = cnf_min(TASK_FLOATS, u->n - first);
    return first;
}

static float *at(float *state, int64_t offset) { return state ? state + offset : NULL; }

/* Every optimiser reads and writes the parameter and each state, and reads the gradient. */
static cnf_status sweep(const update *u, cnf_task *task)
{
    int arrays = 1 + (u->state[0] != NULL) + (u->state[1] != NULL) + (u->state[2] != NULL);
    double bytes = (double)u->n * (2 * arrays + 1) * sizeof(float);
    cnf_parallel(cnf_ceil_div(u->n, TASK_FLOATS), bytes * CNF_NS_PER_BYTE, task, u);
    return CNF_OK;
}

static void sgd_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const update *u = context;
    int64_t n, i = begin(u, task, &n);
    cnf_kernel->sgd_update(u->param + i, u->grad + i, at(u->state[0], i), n, u->step);
}

cnf_status cnf_sgd_update(float *param, const float *grad, float *momentum_buffer,
                          const cnf_sgd *d, void *scratch)
{
    (void)scratch;
    cnf_sgd_step step = {
        .lr = (float)d->lr,
        .weight_decay = (float)d->weight_decay,
        .momentum = (float)d->momentum,
        .one_minus_dampening = (float)(1 - d->dampening),
        .nesterov = d->nesterov != 0,
        .first = d->first != 0,
    };
    update u = {param, grad, {momentum_buffer, NULL, NULL}, d->n, &step};
    return sweep(&u, sgd_task);
}

/* base^exponent for exponent >= 0, by squaring. */
static double power(double base, int64_t exponent)
{
    double result = 1;
    for (; exponent > 0; exponent >>= 1, base *= base)
        if (exponent & 1)
            result *= base;
    return result;
}

static void adam_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const update *u = context;
    int64_t n, i = begin(u, task, &n);
    cnf_kernel->adam_update(u->param + i, u->grad + i, u->state[0] + i, u->state[1] + i, n,
                            u->step);
}

cnf_status cnf_adam_update(float *param, const float *grad, float *exp_avg, float *exp_avg_sq,
                           const cnf_adam *d, void *scratch)
{
    (void)scratch;
    if (d->step < 1)
        return CNF_BAD_ARGUMENT;
    cnf_adam_step step = {
        .param_scale = d->decoupled ? (float)(1 - d->lr * d->weight_decay) : 1.0f,
        .grad_decay = d->decoupled ? 0.0f : (float)d->weight_decay,
        .one_minus_beta1 = (float)(1 - d->beta1),
        .beta2 = (float)d->beta2,
        .one_minus_beta2 = (float)(1 - d->beta2),
        .eps = (float)d->eps,
        .root_correction2 = (float)__builtin_sqrt(1 - power(d->beta2, d->step)),
        .step_size = (float)(d->lr / (1 - power(d->beta1, d->step))),
    };
    update u = {param, grad, {exp_avg, exp_avg_sq, NULL}, d->n, &step};
    return sweep(&u, adam_task);
}

static void rmsprop_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const update *u = context;
    int64_t n, i = begin(u, task, &n);
    cnf_kernel->rmsprop_update(u->param + i, u->grad + i, u->state[0] + i, at(u->state[1], i),
                               at(u->state[2], i), n, u->step);
}

cnf_status cnf_rmsprop_update(float *param, const float *grad, float *square_avg,
                              float *momentum_buffer, float *grad_avg, const cnf_rmsprop *d,
                              void *scratch)
{
    (void)scratch;
    cnf_rmsprop_step step = {
        .lr = (float)d->lr,
        .weight_decay = (float)d->weight_decay,
        .eps = (float)d->eps,
        .alpha = (float)d->alpha,
        .one_minus_alpha = (float)(1 - d->alpha),
        .momentum = (float)d->momentum,
    };
    update u = {param, grad, {square_avg, momentum_buffer, grad_avg}, d->n, &step};
    return sweep(&u, rmsprop_task);
}
