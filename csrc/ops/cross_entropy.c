/* cross_entropy.c: losses of class targets, from logits (cross-entropy) or from log-probabilities
 * (negative log-likelihood), and their gradients.
 *
 * x, dx (rows, c) with a pitch: an image's rows are its pixels; target (rows), int64; weight (c) or
 * NULL; loss (rows) or, reduced, one number; weight_sum: one number, the targets' weights' sum;
 * stats (rows, 2): each row's largest logit and the log of its sum of exponentials. Targets are
 * checked before anything else, also in a backward and in a replay. Called by
 * functional.cross_entropy and nll_loss. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

#include <string.h>

/* Floats in a task. */
#define TASK_FLOATS 16384
/* Operations a value: the exponential and its reductions. */
#define FLOPS 30

typedef struct {
    const cnf_cross_entropy *d;
    cnf_target_rule rule;
    float *loss, *stats, *dx; /* loss NULL where it is reduced */
    double *sums;             /* (tasks, 2): losses and weights */
    const float *x, *dy, *weight;
    const int64_t *target;
    int64_t dy_step;
    double scale;
} entropy;

static int64_t task_rows(const cnf_cross_entropy *d) { return cnf_max(1, TASK_FLOATS / (d->c + 1)); }

static int64_t task_count(const cnf_cross_entropy *d) { return cnf_ceil_div(d->rows, task_rows(d)); }

size_t cnf_cross_entropy_scratch(const cnf_cross_entropy *d)
{
    return (size_t)task_count(d) * 2 * sizeof(double);
}

static int targets_fit(const int64_t *target, const cnf_cross_entropy *d)
{
    int fit = 1;
    for (int64_t r = 0; r < d->rows; r++)
        fit &= target[r] == d->ignore_index || (target[r] >= 0 && target[r] < d->c);
    return fit;
}

static cnf_target_rule make_rule(const cnf_cross_entropy *d, const float *weight)
{
    cnf_target_rule rule = {d->ignore_index, 1 - d->label_smoothing,
                            d->c > 0 ? d->label_smoothing / (double)d->c : 0, (double)d->c};
    if (weight) {
        rule.weights = 0;
        for (int64_t c = 0; c < d->c; c++)
            rule.weights += weight[c];
    }
    return rule;
}

/* Sums of the tasks, in order; the reduced loss. */
static void finish(const entropy *f, float *loss, float *weight_sum)
{
    double sum = 0, weights = 0;
    for (int64_t task = 0; task < task_count(f->d); task++) {
        sum += f->sums[2 * task];
        weights += f->sums[2 * task + 1];
    }
    *weight_sum = (float)weights;
    if (f->d->reduction == CNF_REDUCTION_MEAN)
        *loss = (float)(sum / weights);
    else if (f->d->reduction == CNF_REDUCTION_SUM)
        *loss = (float)sum;
}

static cnf_status forward(entropy *f, float *loss, float *weight_sum, cnf_task *task, double flops)
{
    const cnf_cross_entropy *d = f->d;
    if (!targets_fit(f->target, d))
        return CNF_BAD_LABEL;
    f->loss = d->reduction == CNF_REDUCTION_NONE ? loss : NULL;
    cnf_parallel(task_count(d), (double)d->rows * flops * CNF_NS_PER_FLOP, task, f);
    finish(f, loss, weight_sum);
    return CNF_OK;
}

static cnf_status backward(entropy *f, const float *weight_sum, cnf_task *task, double flops)
{
    const cnf_cross_entropy *d = f->d;
    if (!targets_fit(f->target, d))
        return CNF_BAD_LABEL;
    f->dy_step = d->reduction == CNF_REDUCTION_NONE;
    f->scale = d->reduction == CNF_REDUCTION_MEAN ? 1 / (double)*weight_sum : 1;
    cnf_parallel(task_count(d), (double)d->rows * flops * CNF_NS_PER_FLOP, task, f);
    return CNF_OK;
}

/* ---- from logits ----------------------------------------------------------------------------- */

static void cross_entropy_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const entropy *f = context;
    const cnf_cross_entropy *d = f->d;
    const int64_t r = task * task_rows(d);
    f->sums[2 * task] = f->sums[2 * task + 1] = 0;
    cnf_kernel->cross_entropy_forward(f->loss ? f->loss + r : NULL, f->stats + 2 * r,
                                      f->sums + 2 * task, f->x + r * d->x_pitch, f->target + r,
                                      f->weight, cnf_min(task_rows(d), d->rows - r), d->c,
                                      d->x_pitch, &f->rule);
}

cnf_status cnf_cross_entropy_forward(float *loss, float *stats, float *weight_sum, const float *x,
                                     const int64_t *target, const float *weight,
                                     const cnf_cross_entropy *d, void *scratch)
{
    entropy f = {.d = d, .rule = make_rule(d, weight), .stats = stats, .sums = scratch, .x = x,
                 .weight = weight, .target = target};
    return forward(&f, loss, weight_sum, cross_entropy_task, FLOPS * (double)d->c);
}

static void cross_entropy_backward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const entropy *f = context;
    const cnf_cross_entropy *d = f->d;
    const int64_t r = task * task_rows(d);
    cnf_kernel->cross_entropy_backward(f->dx + r * d->dx_pitch, f->dy + r * f->dy_step, f->dy_step,
                                       f->scale, f->x + r * d->x_pitch, f->stats + 2 * r,
                                       f->target + r, f->weight,
                                       cnf_min(task_rows(d), d->rows - r), d->c, d->dx_pitch,
                                       d->x_pitch, &f->rule);
}

cnf_status cnf_cross_entropy_backward(float *dx, const float *dy, const float *x,
                                      const float *stats, const float *weight_sum,
                                      const int64_t *target, const float *weight,
                                      const cnf_cross_entropy *d, void *scratch)
{
    (void)scratch;
    entropy f = {.d = d, .rule = make_rule(d, weight), .stats = (float *)stats, .dx = dx, .x = x,
                 .dy = dy, .weight = weight, .target = target};
    return backward(&f, weight_sum, cross_entropy_backward_task, FLOPS * (double)d->c);
}

/* ---- from log-probabilities ------------------------------------------------------------------ */

static void nll_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const entropy *f = context;
    const cnf_cross_entropy *d = f->d;
    const int64_t first = task * task_rows(d), end = cnf_min(first + task_rows(d), d->rows);
    double sum = 0, weights = 0;
    for (int64_t r = first; r < end; r++) {
        float loss = 0;
        const int64_t t = f->target[r];
        if (t != d->ignore_index) {
            const float weight = f->weight ? f->weight[t] : 1.0f;
            loss = -weight * f->x[r * d->x_pitch + t];
            weights += weight;
        }
        sum += loss;
        if (f->loss)
            f->loss[r] = loss;
    }
    f->sums[2 * task] = sum;
    f->sums[2 * task + 1] = weights;
}

cnf_status cnf_nll_forward(float *loss, float *weight_sum, const float *x, const int64_t *target,
                           const float *weight, const cnf_cross_entropy *d, void *scratch)
{
    entropy f = {.d = d, .sums = scratch, .x = x, .weight = weight, .target = target};
    return forward(&f, loss, weight_sum, nll_task, 2);
}

static void nll_backward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const entropy *f = context;
    const cnf_cross_entropy *d = f->d;
    const int64_t first = task * task_rows(d), end = cnf_min(first + task_rows(d), d->rows);
    for (int64_t r = first; r < end; r++) {
        float *dx = f->dx + r * d->dx_pitch;
        const int64_t t = f->target[r];
        memset(dx, 0, (size_t)d->c * sizeof(float));
        if (t != d->ignore_index)
            dx[t] = (float)(-f->dy[r * f->dy_step] * f->scale * (f->weight ? f->weight[t] : 1.0f));
    }
}

cnf_status cnf_nll_backward(float *dx, const float *dy, const float *weight_sum,
                            const int64_t *target, const float *weight, const cnf_cross_entropy *d,
                            void *scratch)
{
    (void)scratch;
    entropy f = {.d = d, .dx = dx, .dy = dy, .weight = weight, .target = target};
    return backward(&f, weight_sum, nll_backward_task, (double)d->c);
}
