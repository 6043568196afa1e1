/* local_norm.c: local response norm over the channels of NHWC pixels: x, y, dx, dy (rows, c) with a
 * pitch. Krizhevsky et al., ImageNet classification with deep CNNs, 2012, with torch's alpha / size.
 * Called by functional.local_response_norm. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

/* Floats in a task. */
#define TASK_FLOATS 16384
/* The widest vector: a window's load may reach this far beyond the last channel. */
#define MAX_LANES 16

typedef struct {
    const cnf_local_norm *d;
    float *y; /* or dx */
    const float *x, *dy;
    float *scratch; /* per thread: two padded rows of channels */
} local;

static int64_t row_floats(const cnf_local_norm *d)
{
    return cnf_round_up(2 * (d->c + d->size + MAX_LANES), CNF_CACHE_LINE / (int64_t)sizeof(float));
}

size_t cnf_local_norm_scratch(const cnf_local_norm *d)
{
    return (size_t)(cnf_threads() * row_floats(d)) * sizeof(float);
}

static void forward_task(const void *context, int64_t task, int thread)
{
    const local *f = context;
    const cnf_local_norm *d = f->d;
    const int64_t step = cnf_max(1, TASK_FLOATS / d->c), r = task * step;
    cnf_kernel->local_norm_forward(f->y + r * d->y_pitch, f->x + r * d->x_pitch,
                                   f->scratch + thread * row_floats(d),
                                   cnf_min(step, d->rows - r), d->c, d->y_pitch, d->x_pitch,
                                   d->size, d->alpha, d->beta, d->k);
}

static void backward_task(const void *context, int64_t task, int thread)
{
    const local *f = context;
    const cnf_local_norm *d = f->d;
    const int64_t step = cnf_max(1, TASK_FLOATS / d->c), r = task * step;
    cnf_kernel->local_norm_backward(f->y + r * d->y_pitch, f->dy + r * d->dy_pitch,
                                    f->x + r * d->x_pitch, f->scratch + thread * row_floats(d),
                                    cnf_min(step, d->rows - r), d->c, d->y_pitch, d->dy_pitch,
                                    d->x_pitch, d->size, d->alpha, d->beta, d->k);
}

/* About 40 operations a value for the power, 3 a window's place. */
static cnf_status run(const local *f, cnf_task *task)
{
    const cnf_local_norm *d = f->d;
    if (d->size < 1)
        return CNF_BAD_ARGUMENT;
    if (d->rows * d->c == 0)
        return CNF_OK;
    double flops = (double)(d->rows * d->c) * (double)(40 + 3 * d->size);
    cnf_parallel(cnf_ceil_div(d->rows, cnf_max(1, TASK_FLOATS / d->c)), flops * CNF_NS_PER_FLOP,
                 task, f);
    return CNF_OK;
}

cnf_status cnf_local_norm_forward(float *y, const float *x, const cnf_local_norm *d, void *scratch)
{
    local f = {.d = d, .y = y, .x = x, .scratch = scratch};
    return run(&f, forward_task);
}

cnf_status cnf_local_norm_backward(float *dx, const float *dy, const float *x,
                                   const cnf_local_norm *d, void *scratch)
{
    local f = {.d = d, .y = dx, .x = x, .dy = dy, .scratch = scratch};
    return run(&f, backward_task);
}
