/* winograd_backward.c: the weight gradient of a 3x3 convolution in the domain of F(4x4, 3x3).
 *
 *     dW = G^T [ sum over tiles of (B^T d B) . (A dY A^T) ] G
 *
 * For each of the 36 points the sum over tiles is a matrix product,
 *     V[t][tiles, channels]^T * D[t][tiles, panel] -> dU[t][channels, panel],
 * and both factors are stored tile by tile as the micro-kernel reads them: no transposition. The
 * tiles are cut into chunks by the shape alone and the chunks' sums added in order, so the bits do
 * not depend on the threads. */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "winograd.h"

#define POINTS CNF_WINOGRAD_POINTS
/* A task's dU is 36 x 64 channels x 2 panels: 576 KiB with AVX-512. */
#define CHANNEL_BLOCK 64
#define TASK_PANELS 2
/* Tiles of a block: V and D of 32 tiles are 360 and 288 KiB beside it. */
#define TILE_BLOCK 32
#define WANTED_TASKS 16

typedef struct {
    const cnf_conv2d *d;
    const float *x, *dy;
    float *dw;
    cnf_tiling tiling;
    int64_t panel, panels, column_blocks, channel_blocks, chunks, blocks;
    int64_t rows; /* channels of a block */
    int64_t v_pitch, v_stride, d_stride;
    float *partial; /* [chunks][channel blocks][panels][36][rows][panel] */
    float *scratch; /* per thread: V, then D of each panel */
    size_t thread_floats, floats;
} gradient_job;

static int64_t partial_floats(const gradient_job *job) { return POINTS * job->rows * job->panel; }

static void plan(gradient_job *job, const cnf_conv2d *d)
{
    *job = (gradient_job){.d = d, .tiling = cnf_tiling_of(d->n, d->oh, d->ow)};
    job->panel = cnf_kernel->panel;
    job->panels = cnf_ceil_div(d->co, job->panel);
    job->column_blocks = cnf_ceil_div(job->panels, TASK_PANELS);
    job->channel_blocks = cnf_ceil_div(d->ci, CHANNEL_BLOCK);
    job->rows = cnf_min(d->ci, CHANNEL_BLOCK);
    job->blocks = cnf_ceil_div(job->tiling.count, TILE_BLOCK);
    int64_t tasks = cnf_max(1, job->column_blocks * job->channel_blocks);
    job->chunks = cnf_max(1, cnf_min(job->blocks, cnf_ceil_div(WANTED_TASKS, tasks)));
    job->v_pitch = CHANNEL_BLOCK + 16;
    job->v_stride = TILE_BLOCK * job->v_pitch + 16;
    job->d_stride = TILE_BLOCK * job->panel + 16;
    job->thread_floats = (size_t)(POINTS * (job->v_stride + TASK_PANELS * job->d_stride));
    job->floats = (size_t)(job->chunks * job->channel_blocks * job->panels * partial_floats(job)) +
                  job->thread_floats * (size_t)cnf_threads();
}

size_t cnf_winograd_backward_weight_scratch(const cnf_conv2d *d)
{
    gradient_job job;
    plan(&job, d);
    return sizeof(float) * job.floats;
}

/* V[36][tiles][channel block] of the input, D[panels][36][tiles][panel] of the output's gradient. */
static void transform_block(const gradient_job *job, int64_t first, int64_t count, int64_t channel,
                            int64_t channels, int64_t first_panel, int64_t panels, float *v, float *d)
{
    const cnf_conv2d *c = job->d;
    const int64_t x_row = c->w * c->x_pitch, y_row = c->ow * c->y_pitch;
    for (int64_t t = 0; t < count; t++) {
        const cnf_tile tile = cnf_tile_at(&job->tiling, first + t);
        const int64_t y = tile.row - c->pad_top, x = tile.col - c->pad_left;
        cnf_kernel->winograd_input(
            v + t * job->v_pitch, job->v_stride,
            job->x + (tile.image * c->h + y) * x_row + x * c->x_pitch + channel, x_row, c->x_pitch, -y,
            c->h - y, -x, c->w - x, channels);
        const float *dy = job->dy + (tile.image * c->oh + tile.row) * y_row + tile.col * c->y_pitch;
        for (int64_t p = 0; p < panels; p++) {
            const int64_t column = (first_panel + p) * job->panel;
            cnf_kernel->winograd_gradient(d + p * POINTS * job->d_stride + t * job->panel,
                                          job->d_stride, dy + column, y_row, c->y_pitch,
                                          cnf_min(4, c->oh - tile.row), cnf_min(4, c->ow - tile.col),
                                          cnf_min(job->panel, c->co - column));
        }
    }
}

static void gradient_task(const void *context, int64_t index, int thread)
{
    const gradient_job *job = context;
    const int64_t chunk = index % job->chunks;
    const int64_t channel_block = index / job->chunks % job->channel_blocks;
    const int64_t first_panel = index / job->chunks / job->channel_blocks * TASK_PANELS;
    const int64_t panels = cnf_min(TASK_PANELS, job->panels - first_panel);
    const int64_t channel = channel_block * CHANNEL_BLOCK;
    const int64_t channels = cnf_min(CHANNEL_BLOCK, job->d->ci - channel);
    const int64_t first_block = job->blocks * chunk / job->chunks;
    const int64_t end_block = job->blocks * (chunk + 1) / job->chunks;
    float *partial = job->partial + ((chunk * job->channel_blocks + channel_block) * job->panels +
                                     first_panel) * partial_floats(job);
    float *v = job->scratch + (size_t)thread * job->thread_floats;
    float *d = v + POINTS * job->v_stride;
    for (int64_t block = first_block; block < end_block; block++) {
        const int64_t first = block * TILE_BLOCK;
        const int64_t count = cnf_min(TILE_BLOCK, job->tiling.count - first);
        transform_block(job, first, count, channel, channels, first_panel, panels, v, d);
        const cnf_segment segment = {0, count};
        for (int64_t point = 0; point < POINTS; point++)
            for (int64_t p = 0; p < panels; p++)
                cnf_kernel->gemm_strip(
                    partial + p * partial_floats(job) + point * job->rows * job->panel, job->panel,
                    channels, cnf_min(job->panel, job->d->co - (first_panel + p) * job->panel),
                    v + point * job->v_stride, 1, job->v_pitch, &segment, 1,
                    d + (p * POINTS + point) * job->d_stride, NULL, block > first_block, cnf_nothing_ahead);
    }
}

/* Sum the chunks of one channel block and panel in order, transform back, store as OIHW. */
static void finish_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const gradient_job *job = context;
    const int64_t channel = index / job->panels * CHANNEL_BLOCK;
    const int64_t column = index % job->panels * job->panel;
    const int64_t channels = cnf_min(CHANNEL_BLOCK, job->d->ci - channel);
    const int64_t columns = cnf_min(job->panel, job->d->co - column);
    const int64_t chunk_floats = job->channel_blocks * job->panels * partial_floats(job);
    float *sum = job->partial + index * partial_floats(job);
    for (int64_t chunk = 1; chunk < job->chunks; chunk++) {
        const float *term = sum + chunk * chunk_floats;
        for (int64_t i = 0; i < partial_floats(job); i++)
            sum[i] += term[i];
    }
    for (int64_t c = 0; c < channels; c++) {
        float g[9 * CNF_MAX_PANEL];
        cnf_kernel->winograd_kernel(g, sum + c * job->panel, job->rows * job->panel);
        cnf_kernel->transpose(job->dw + (column * job->d->ci + channel + c) * 9, job->d->ci * 9, g,
                              job->panel, 9, columns);
    }
}

void cnf_winograd_backward_weight(float *dw, const float *x, const float *dy, const cnf_conv2d *d,
                                  void *scratch)
{
    gradient_job job;
    plan(&job, d);
    if (job.blocks == 0) {
        memset(dw, 0, sizeof(float) * (size_t)(d->co * d->ci * 9));
        return;
    }
    job.x = x;
    job.dy = dy;
    job.dw = dw;
    job.partial = scratch;
    job.scratch = job.partial + job.chunks * job.channel_blocks * job.panels * partial_floats(&job);
    double flops = 2.0 * POINTS * (double)job.tiling.count * (double)(d->ci * d->co);
    cnf_parallel(job.chunks * job.channel_blocks * job.column_blocks, flops * CNF_NS_PER_FLOP,
                 gradient_task, &job);
    double bytes = 4.0 * (double)(job.chunks + 1) * (double)(job.channel_blocks * job.panels) *
                   (double)partial_floats(&job);
    cnf_parallel(job.channel_blocks * job.panels, bytes * CNF_NS_PER_BYTE, finish_task, &job);
}
