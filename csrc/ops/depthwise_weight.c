/* depthwise_weight.c: the weight gradient of a convolution with one filter a channel.
 *
 * x (n, h, w, c), dy (n, oh, ow, c) are images, dw dense (c, 1, kh, kw). A task is a chunk of the
 * output's rows by a block of channels; how many chunks there are depends on the shape alone, and
 * they are added up in order, so that the thread count changes no bit. Called through
 * plan/primitives.c. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "depthwise.h"
#include "ops.h"

#include <string.h>

#define MOST_CHUNKS 16     /* enough for 16 threads, cheap to add up */
#define CHUNK_PIXELS 256   /* at least: their work hides what a chunk's sum costs */
#define ENOUGH_PIXELS 8192

typedef struct {
    float *dw;
    const float *x, *dy;
    const cnf_depthwise *d;
    cnf_depthwise_cut cut;
    float *partial; /* [blocks][chunks][kh * kw][block] */
    int64_t chunks;
} weight_job;

static int64_t filter_floats(const cnf_depthwise *d, int64_t block)
{
    return d->kh * d->kw * block;
}

static int64_t most_chunks(const cnf_depthwise *d)
{
    int64_t pixels = d->n * d->oh * d->ow;
    return cnf_max(1, cnf_min(cnf_min(MOST_CHUNKS, d->n * d->oh), pixels / CHUNK_PIXELS));
}

/* Rows [row, end) of all images' rows. */
static void weight_rows(const weight_job *job, float *partial, int64_t index, int64_t row,
                        int64_t end)
{
    const cnf_depthwise_cut *cut = &job->cut;
    const int64_t oh = cut->rows.positions, n = row / oh, c = index * cut->block;
    cnf_depthwise_piece piece = cnf_depthwise_rows(cut, row % oh, end - n * oh, index);
    const float *dy = job->dy + row * piece.y_row + c;
    const float *x = job->x + n * cut->rows.inputs * piece.x_row + c;
    for (int64_t i = 0; i < cut->col_count; i++) {
        cnf_depthwise_offset at = cnf_depthwise_columns(&piece, cut, &cut->col_spans[i]);
        if (cut->tiled)
            cnf_kernel->depthwise_weight_tile(partial + at.w, x + at.x, dy + at.y, &piece);
        else
            cnf_kernel->depthwise_weight_span(partial + at.w, x + at.x, dy + at.y, &piece);
    }
}

/* One block: add the chunks up, in their order, in double. */
static void add_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const weight_job *job = context;
    const int64_t block = job->cut.block, taps = job->d->kh * job->d->kw, step = taps * block;
    const float *partial = job->partial + index * job->chunks * step;
    const int64_t count = cnf_min(block, job->d->c - index * block);
    float *dw = job->dw + index * block * taps;
    for (int64_t c = 0; c < count; c++) {
        for (int64_t tap = 0; tap < taps; tap++) {
            double sum = partial[tap * block + c];
            for (int64_t chunk = 1; chunk < job->chunks; chunk++)
                sum += partial[chunk * step + tap * block + c];
            dw[c * taps + tap] = (float)sum;
        }
    }
}

static void weight_task(const void *context, int64_t task, int thread)
{
    const weight_job *job = context;
    const int64_t oh = job->d->oh, rows = job->d->n * oh;
    const int64_t floats = filter_floats(job->d, job->cut.block);
    const int64_t chunk = task / job->cut.blocks, index = task % job->cut.blocks;
    const int64_t last = rows * (chunk + 1) / job->chunks;
    float *partial = job->partial + (index * job->chunks + chunk) * floats;
    memset(partial, 0, sizeof(float) * (size_t)floats);
    for (int64_t row = rows * chunk / job->chunks; row < last;) {
        int64_t end = cnf_min(cnf_min(row + job->cut.band, (row / oh + 1) * oh), last);
        weight_rows(job, partial, index, row, end);
        row = end;
    }
    if (job->chunks == 1)
        add_task(context, index, thread);
}

size_t cnf_depthwise_backward_weight_scratch(const cnf_depthwise *d)
{
    /* Blocks are equal, rounded up to whole vectors: less than twice the channels. */
    const int64_t channels = cnf_round_up(d->c, CNF_WHOLE_VECTORS) * 2;
    return cnf_depthwise_cut_scratch(d)
           + sizeof(float) * (size_t)(most_chunks(d) * filter_floats(d, channels));
}

cnf_status cnf_depthwise_backward_weight(float *dw, const float *x, const float *dy,
                                         const cnf_depthwise *d, void *scratch)
{
    const int64_t pixels = d->n * d->oh * d->ow;
    if (pixels * d->c == 0) {
        memset(dw, 0, sizeof(float) * (size_t)(d->c * d->kh * d->kw));
        return CNF_OK;
    }
    weight_job job = {.dw = dw, .x = x, .dy = dy, .d = d};
    job.cut = cnf_depthwise_cut_up(d, CNF_DEPTHWISE_WEIGHT, pixels >= ENOUGH_PIXELS);
    cnf_depthwise_cut_spans(&job.cut, scratch);
    job.partial = (float *)((char *)scratch + cnf_depthwise_cut_scratch(d));
    job.chunks = cnf_min(most_chunks(d), cnf_ceil_div(MOST_CHUNKS, job.cut.blocks));
    double work = 2.0 * (double)(pixels * d->c * d->kh * d->kw) * CNF_NS_PER_FLOP;
    cnf_parallel(job.cut.blocks * job.chunks, work, weight_task, &job);
    double adds = (double)(job.chunks * d->c * d->kh * d->kw);
    if (job.chunks > 1)
        cnf_parallel(job.cut.blocks, adds, add_task, &job); /* about 1 ns each */
    return CNF_OK;
}
