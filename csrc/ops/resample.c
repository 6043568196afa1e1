/* resample.c: y[oy, ox] = sum over the taps (iy, wy) of row oy and (ix, wx) of column ox of
 * wy * wx * x[iy, ix], for each channel.
 *
 * Average pooling, nearest and bilinear resizing, reflected and replicated padding, and all their
 * gradients: they differ in their tables alone (cnnfast/taps.py). x (n, h, w, c) and
 * y (n, oh, ow, c) are images. Called through plan/primitives.c. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

typedef struct {
    float *y;
    const float *x;
    const int32_t *rows, *cols;
    const cnf_gather *d;
    cnf_gather_cut cut;
} resample_job;

static void resample_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const resample_job *job = context;
    const cnf_gather *d = job->d;
    const cnf_gather_part part = cnf_gather_part_of(&job->cut, d, task);
    const cnf_tap *taps = cnf_taps(job->rows, d->oh);
    for (int64_t row = part.row; row < part.end; row++) {
        int64_t n = row / d->oh, oy = row % d->oh;
        cnf_kernel->resample_row(job->y + row * d->ow * d->y_pitch + part.c,
                                 job->x + n * d->h * d->w * d->x_pitch + part.c,
                                 taps + job->rows[oy], job->rows[oy + 1] - job->rows[oy],
                                 job->cols, d, part.channels);
    }
}

cnf_status cnf_resample(float *y, const float *x, const int32_t *rows, const int32_t *cols,
                        const cnf_gather *d, void *scratch)
{
    (void)scratch;
    resample_job job = {y, x, rows, cols, d, cnf_cut_gather(d)};
    cnf_parallel(job.cut.tasks, (double)job.cut.bytes * CNF_NS_PER_BYTE, resample_task, &job);
    return CNF_OK;
}
