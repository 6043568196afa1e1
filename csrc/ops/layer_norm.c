/* layer_norm.c: layer norm over the rows of a matrix (rows, c) with a pitch; weight, bias, dweight,
 * dbias (c); mean, invstd (rows). Called by functional.layer_norm. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "chunks.h"
#include "ops.h"

#include <string.h>

/* Floats in a task of whole rows. */
#define TASK_FLOATS 16384

typedef struct {
    const cnf_layer_norm *d;
    float *y; /* or dx */
    float *mean, *invstd;
    const float *x, *dy, *weight, *bias;
    double *sums; /* (chunks, 2, c): dbias and dweight of each chunk of rows */
    int64_t chunk_rows, chunks, slabs;
} layer;

static int64_t task_rows(const cnf_layer_norm *d) { return cnf_max(1, TASK_FLOATS / d->c); }

static void run_rows(const layer *f, cnf_task *task, int arrays)
{
    const cnf_layer_norm *d = f->d;
    double bytes = (double)(d->rows * d->c) * arrays * sizeof(float);
    cnf_parallel(cnf_ceil_div(d->rows, task_rows(d)), bytes * CNF_NS_PER_BYTE, task, f);
}

static void forward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const layer *f = context;
    const cnf_layer_norm *d = f->d;
    const int64_t r = task * task_rows(d), rows = cnf_min(task_rows(d), d->rows - r);
    cnf_kernel->layer_norm_forward(f->y + r * d->y_pitch, f->mean + r, f->invstd + r,
                                   f->x + r * d->x_pitch, f->weight, f->bias, rows, d->c,
                                   d->y_pitch, d->x_pitch, d->eps);
}

cnf_status cnf_layer_norm_forward(float *y, float *mean, float *invstd, const float *x,
                                  const float *weight, const float *bias, const cnf_layer_norm *d,
                                  void *scratch)
{
    (void)scratch;
    if (d->rows * d->c == 0)
        return CNF_OK;
    layer f = {.d = d, .y = y, .mean = mean, .invstd = invstd, .x = x, .weight = weight,
               .bias = bias};
    run_rows(&f, forward_task, 4);
    return CNF_OK;
}

static void backward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const layer *f = context;
    const cnf_layer_norm *d = f->d;
    const int64_t r = task * task_rows(d), rows = cnf_min(task_rows(d), d->rows - r);
    cnf_kernel->layer_norm_backward(f->y + r * d->y_pitch, f->dy + r * d->dy_pitch,
                                    f->x + r * d->x_pitch, f->mean + r, f->invstd + r, f->weight,
                                    rows, d->c, d->y_pitch, d->dy_pitch, d->x_pitch);
}

static void columns_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const layer *f = context;
    const cnf_layer_norm *d = f->d;
    const int64_t column = task % f->slabs * SLAB, chunk = task / f->slabs;
    const int64_t width = cnf_min(SLAB, d->c - column);
    const int64_t end = cnf_min((chunk + 1) * f->chunk_rows, d->rows);
    double *sums = f->sums + chunk * 2 * d->c + column, *products = sums + d->c;
    float sum[SLAB], product[SLAB];
    memset(sums, 0, (size_t)width * sizeof(double));
    memset(products, 0, (size_t)width * sizeof(double));
    for (int64_t r = chunk * f->chunk_rows; r < end; r += BLOCK_ROWS) {
        cnf_kernel->layer_norm_columns(sum, product, f->dy + r * d->dy_pitch + column,
                                       f->x + r * d->x_pitch + column, f->mean + r, f->invstd + r,
                                       cnf_min(BLOCK_ROWS, end - r), width, d->dy_pitch,
                                       d->x_pitch);
        for (int64_t c = 0; c < width; c++) {
            sums[c] += sum[c];
            products[c] += product[c];
        }
    }
}

size_t cnf_layer_norm_scratch(const cnf_layer_norm *d)
{
    if (d->rows * d->c == 0)
        return 0;
    int64_t chunks = cnf_ceil_div(d->rows, cnf_chunk_rows(d->rows, d->c));
    return (size_t)(chunks * 2 * d->c) * sizeof(double);
}

/* Add up the chunks, in order. */
static void join_chunks(const layer *f, float *dweight, float *dbias)
{
    const int64_t width = f->d->c;
    for (int64_t c = 0; c < width; c++) {
        double sum = 0, product = 0;
        for (int64_t chunk = 0; chunk < f->chunks; chunk++) {
            sum += f->sums[chunk * 2 * width + c];
            product += f->sums[(chunk * 2 + 1) * width + c];
        }
        if (dweight)
            dweight[c] = (float)product;
        if (dbias)
            dbias[c] = (float)sum;
    }
}

cnf_status cnf_layer_norm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                   const float *x, const float *mean, const float *invstd,
                                   const float *weight, const cnf_layer_norm *d, void *scratch)
{
    layer f = {.d = d, .y = dx, .mean = (float *)mean, .invstd = (float *)invstd, .x = x,
               .dy = dy, .weight = weight, .sums = scratch};
    if (d->rows * d->c > 0) {
        f.chunk_rows = cnf_chunk_rows(d->rows, d->c);
        f.chunks = cnf_ceil_div(d->rows, f.chunk_rows);
        f.slabs = cnf_ceil_div(d->c, SLAB);
        if (dx)
            run_rows(&f, backward_task, 4);
    }
    if (dweight || dbias) {
        double bytes = (double)(d->rows * d->c) * 2 * sizeof(float);
        cnf_parallel(f.chunks * f.slabs, bytes * CNF_NS_PER_BYTE, columns_task, &f);
        join_chunks(&f, dweight, dbias);
    }
    return CNF_OK;
}
