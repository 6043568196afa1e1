/* optim.c: fused optimiser updates: parameter, gradient and state are dense arrays of n floats,
 * all read and written once. Called by cnnfast.optim. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

/* Floats in a task: 64 KB of each array, a multiple of every vector length. */
#define TASK_FLOATS 16384

typedef struct {
    float *param;
    float *state[3];
    const float *grad;
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
    cnf_kernel->sgd_update(u->param + i, at(u->state[0], i), u->grad + i, n, u->step);
}

cnf_status cnf_sgd_update(float *param, float *momentum_buffer, int64_t *begun, const float *grad,
                          const cnf_sgd_settings *settings, const cnf_sgd *d, void *scratch)
{
    (void)scratch;
    cnf_sgd_step step = {
        .lr = (float)settings->lr,
        .weight_decay = (float)settings->weight_decay,
        .momentum = (float)settings->momentum,
        .one_minus_dampening = (float)(1 - settings->dampening),
        .nesterov = d->nesterov != 0,
        .first = begun && *begun == 0,
    };
    if (begun)
        *begun = 1;
    update u = {param, {momentum_buffer, NULL, NULL}, grad, d->n, &step};
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
    cnf_kernel->adam_update(u->param + i, u->state[0] + i, u->state[1] + i, at(u->state[2], i),
                            u->grad + i, n, u->step);
}

cnf_status cnf_adam_update(float *param, float *exp_avg, float *exp_avg_sq, float *max_exp_avg_sq,
                           float *step, const float *grad, const cnf_adam_settings *settings,
                           const cnf_adam *d, void *scratch)
{
    (void)scratch;
    const cnf_adam_settings s = *settings;
    if (!(*step >= 0))
        return CNF_BAD_ARGUMENT;
    *step += 1;
    const int64_t steps = (int64_t)*step;
    cnf_adam_step now = {
        .param_scale = d->decoupled ? (float)(1 - s.lr * s.weight_decay) : 1.0f,
        .grad_decay = d->decoupled ? 0.0f : (float)s.weight_decay,
        .one_minus_beta1 = (float)(1 - s.beta1),
        .beta2 = (float)s.beta2,
        .one_minus_beta2 = (float)(1 - s.beta2),
        .eps = (float)s.eps,
        .root_correction2 = (float)__builtin_sqrt(1 - power(s.beta2, steps)),
        .step_size = (float)(s.lr / (1 - power(s.beta1, steps))),
    };
    update u = {param, {exp_avg, exp_avg_sq, max_exp_avg_sq}, grad, d->n, &now};
    return sweep(&u, adam_task);
}

static void rmsprop_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const update *u = context;
    int64_t n, i = begin(u, task, &n);
    cnf_kernel->rmsprop_update(u->param + i, u->state[0] + i, at(u->state[1], i),
                               at(u->state[2], i), u->grad + i, n, u->step);
}

cnf_status cnf_rmsprop_update(float *param, float *square_avg, float *momentum_buffer,
                              float *grad_avg, float *step, const float *grad,
                              const cnf_rmsprop_settings *settings, const cnf_rmsprop *d,
                              void *scratch)
{
    (void)scratch;
    *step += 1; /* as torch counts; nothing here depends on it */
    cnf_rmsprop_step now = {
        .lr = (float)settings->lr,
        .weight_decay = (float)settings->weight_decay,
        .eps = (float)settings->eps,
        .alpha = (float)settings->alpha,
        .one_minus_alpha = (float)(1 - settings->alpha),
        .momentum = (float)settings->momentum,
    };
    update u = {param, {square_avg, momentum_buffer, grad_avg}, grad, d->n, &now};
    return sweep(&u, rmsprop_task);
}
