/* dropout.c: dropout of a matrix (rows, c) with a pitch: an image's rows are its pixels, a dense array
 * is one row. The position of value (r, i) in the mask is r * c + i. Forward and backward are the same
 * function: y = x * mask and dx = dy * mask, the mask made anew from the seed. Called by
 * functional.dropout. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

/* Floats in a task; a multiple of the 64 positions that are drawn at once. */
#define TASK_FLOATS 16384
/* Operations a value: 10 rounds of 8 operations for 4 numbers, and the product. */
#define FLOPS 24

typedef struct {
    cnf_dropout d;
    float *y;
    const float *x;
    uint64_t seed;
    uint32_t threshold;
    float scale;
} dropout;

/* A piece of one long row. */
static void piece_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const dropout *f = context;
    const int64_t at = task * TASK_FLOATS;
    cnf_kernel->dropout_apply(f->y + at, f->x + at, cnf_min(TASK_FLOATS, f->d.c - at), at,
                              f->seed, f->threshold, f->scale);
}

static void rows_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const dropout *f = context;
    const cnf_dropout *d = &f->d;
    const int64_t step = cnf_max(1, TASK_FLOATS / d->c);
    const int64_t end = cnf_min(d->rows, (task + 1) * step);
    for (int64_t r = task * step; r < end; r++)
        cnf_kernel->dropout_apply(f->y + r * d->y_pitch, f->x + r * d->x_pitch, d->c, r * d->c,
                                  f->seed, f->threshold, f->scale);
}

cnf_status cnf_dropout_apply(float *y, const float *x, const int64_t *seed, const cnf_dropout *d,
                             void *scratch)
{
    (void)scratch;
    if (!(d->p >= 0 && d->p <= 1))
        return CNF_BAD_ARGUMENT;
    if (d->rows * d->c == 0)
        return CNF_OK;
    const double limit = d->p * 4294967296.0; /* of 2^32 numbers */
    dropout f = {*d, y, x, (uint64_t)*seed, limit < 4294967295.0 ? (uint32_t)limit : UINT32_MAX,
                 d->p < 1 ? (float)(1 / (1 - d->p)) : 0.0f};
    const double work = (double)(d->rows * d->c) * FLOPS * CNF_NS_PER_FLOP;
    if (d->x_pitch == d->c && d->y_pitch == d->c) {
        f.d.c = d->rows * d->c;
        cnf_parallel(cnf_ceil_div(f.d.c, TASK_FLOATS), work, piece_task, &f);
    } else {
        cnf_parallel(cnf_ceil_div(d->rows, cnf_max(1, TASK_FLOATS / d->c)), work, rows_task, &f);
    }
    return CNF_OK;
}
