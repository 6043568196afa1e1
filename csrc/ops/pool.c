/* pool.c: max pooling with any windows, and its gradient.
 *
 * x (n, h, w, c) and y (n, oh, ow, c) are images; index is dense (n, oh, ow, c): which tap of its
 * window an output came from, the sum of the row tap's and the column tap's weight. Called through
 * plan/primitives.c; average pooling is a resampling (resample.c). */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

typedef struct {
    float *result;
    const float *source;
    void *index; /* written by the forward pass, read by the backward pass */
    const int32_t *rows, *cols;
    const cnf_gather *d;
    cnf_gather_cut cut;
} pool_job;

static void *index_at(const pool_job *job, int64_t element)
{
    return job->index ? (char *)job->index + element * (job->d->wide_index ? 4 : 1) : NULL;
}

static void forward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const pool_job *job = context;
    const cnf_gather *d = job->d;
    const cnf_gather_part part = cnf_gather_part_of(&job->cut, d, task);
    const cnf_tap *taps = cnf_taps(job->rows, d->oh);
    for (int64_t row = part.row; row < part.end; row++) {
        int64_t n = row / d->oh, oy = row % d->oh;
        cnf_kernel->max_pool_row(job->result + row * d->ow * d->y_pitch + part.c,
                                 index_at(job, row * d->ow * d->c + part.c),
                                 job->source + n * d->h * d->w * d->x_pitch + part.c,
                                 taps + job->rows[oy], job->rows[oy + 1] - job->rows[oy],
                                 job->cols, d, part.channels);
    }
}

cnf_status cnf_max_pool2d_forward(float *y, void *index, const float *x, const int32_t *rows,
                                  const int32_t *cols, const cnf_gather *d, void *scratch)
{
    (void)scratch;
    pool_job job = {y, x, index, rows, cols, d, cnf_cut_gather(d)};
    cnf_parallel(job.cut.tasks, (double)job.cut.bytes * CNF_NS_PER_BYTE, forward_task, &job);
    return CNF_OK;
}

/* The result is dx (oh, ow of the descriptor), what is read dy and index (h, w). */
static void backward_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const pool_job *job = context;
    const cnf_gather *d = job->d;
    const cnf_gather_part part = cnf_gather_part_of(&job->cut, d, task);
    const cnf_tap *taps = cnf_taps(job->rows, d->oh);
    for (int64_t row = part.row; row < part.end; row++) {
        int64_t image = row / d->oh * d->h * d->w, oy = row % d->oh;
        cnf_kernel->max_unpool_row(job->result + row * d->ow * d->y_pitch + part.c,
                                   job->source + image * d->x_pitch + part.c,
                                   index_at(job, image * d->c + part.c),
                                   taps + job->rows[oy], job->rows[oy + 1] - job->rows[oy],
                                   job->cols, d, part.channels);
    }
}

cnf_status cnf_max_pool2d_backward(float *dx, const float *dy, const void *index,
                                   const int32_t *rows, const int32_t *cols, const cnf_gather *d,
                                   void *scratch)
{
    (void)scratch;
    pool_job job = {dx, dy, (void *)index, rows, cols, d, cnf_cut_gather(d)};
    cnf_parallel(job.cut.tasks, (double)job.cut.bytes * CNF_NS_PER_BYTE, backward_task, &job);
    return CNF_OK;
}
