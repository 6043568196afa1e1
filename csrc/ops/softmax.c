/* softmax.c: softmax and log-softmax of each row of a matrix (rows, c) with a pitch. An image's rows
 * are its pixels. Called by functional.softmax and log_softmax. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

/* Floats in a task. */
#define TASK_FLOATS 16384
/* Operations a value: the exponential and its reductions. */
#define FLOPS 30

typedef struct {
    const cnf_softmax *d;
    float *y;             /* or dx */
    const float *x, *dy;  /* in a backward x is the forward's y */
    int log;
} softmax;

static void forward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const softmax *f = context;
    const cnf_softmax *d = f->d;
    const int64_t step = cnf_max(1, TASK_FLOATS / d->c), r = task * step;
    (f->log ? cnf_kernel->log_softmax_forward : cnf_kernel->softmax_forward)(
        f->y + r * d->y_pitch, f->x + r * d->x_pitch, cnf_min(step, d->rows - r), d->c, d->y_pitch,
        d->x_pitch);
}

static void backward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const softmax *f = context;
    const cnf_softmax *d = f->d;
    const int64_t step = cnf_max(1, TASK_FLOATS / d->c), r = task * step;
    (f->log ? cnf_kernel->log_softmax_backward : cnf_kernel->softmax_backward)(
        f->y + r * d->y_pitch, f->dy + r * d->dy_pitch, f->x + r * d->x_pitch,
        cnf_min(step, d->rows - r), d->c, d->y_pitch, d->dy_pitch, d->x_pitch);
}

static cnf_status run(const softmax *f, cnf_task *task)
{
    const cnf_softmax *d = f->d;
    if (d->rows * d->c == 0)
        return CNF_OK;
    double flops = (double)(d->rows * d->c) * FLOPS;
    cnf_parallel(cnf_ceil_div(d->rows, cnf_max(1, TASK_FLOATS / d->c)), flops * CNF_NS_PER_FLOP,
                 task, f);
    return CNF_OK;
}

cnf_status cnf_softmax_forward(float *y, const float *x, const cnf_softmax *d, void *scratch)
{
    (void)scratch;
    return run(&(softmax){d, y, x, NULL, 0}, forward_task);
}

cnf_status cnf_log_softmax_forward(float *y, const float *x, const cnf_softmax *d, void *scratch)
{
    (void)scratch;
    return run(&(softmax){d, y, x, NULL, 1}, forward_task);
}

cnf_status cnf_softmax_backward(float *dx, const float *dy, const float *y, const cnf_softmax *d,
                                void *scratch)
{
    (void)scratch;
    return run(&(softmax){d, dx, y, dy, 0}, backward_task);
}

cnf_status cnf_log_softmax_backward(float *dx, const float *dy, const float *y,
                                    const cnf_softmax *d, void *scratch)
{
    (void)scratch;
    return run(&(softmax){d, dx, y, dy, 1}, backward_task);
}
