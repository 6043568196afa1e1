/* winograd.c: 3x3 convolutions of stride 1 by F(4x4, 3x3), fused in blocks of tiles.
 *
 * For each block of tiles: transform its input into V[36][tiles][channels]; for each panel of
 * columns the 36 products  V[t][tiles, channels] * U[t][channels, panel] -> M[t][tiles, panel];
 * transform M into the output with bias and epilogue. V and M of a block stay in the L2 cache, U streams.
 * The input gradient is the same with rotated weights. Source: A. Lavin, S. Gray, "Fast algorithms
 * for convolutional neural networks", 2016; transforms in tiles/winograd.inc. */
#include "winograd.h"

#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"

#define POINTS CNF_WINOGRAD_POINTS
/* V of a block: 384 KiB of L2, but no more than 7 micro-tiles high, where M would grow instead. */
#define V_FLOATS (96 * 1024)
#define BLOCK_MICRO_TILES 7
/* Weights that L3 does not hold stream from memory once a block: then at least 42 tiles share them,
 * at the price of a V that overflows L2 (512 channels, 7x7: 890 GFLOP/s instead of 630). */
#define LARGE_WEIGHTS (16.0 * 1024 * 1024)
#define SHARING_TILES 42
/* Weights that L2 does not hold are fetched during the product before, where few tiles use each. */
#define FETCHED_WEIGHTS (4.0 * 1024 * 1024)
#define FETCHING_TILES 84

/* One direction of a convolution: the target's pixels from the source's. */
typedef struct {
    float *target;
    const float *source, *packed, *bias;
    int64_t n, source_h, source_w, source_pitch, target_h, target_w, target_pitch;
    int64_t channels, columns, pad_top, pad_left;
    cnf_tiling tiling;
    int64_t block;                          /* tiles of a task */
    int64_t blocks, column_blocks;          /* tasks */
    int64_t panels, panels_per_block;
    int fetching;                           /* each product fetches the weights of the next */
    int64_t v_pitch, v_stride, m_stride;    /* floats from a tile of V to the next; from a point */
    float *scratch;
    size_t thread_floats;
    size_t sums_bytes; /* of the partial sums, which stand before the threads' scratch */
    double *partial;   /* [blocks][2][columns], or NULL */
    const cnf_finish *finish; /* or NULL */
    const float *residual;    /* or NULL */
} winograd_job;

int cnf_winograd_fits(const cnf_conv2d *d)
{
    return d->kh == 3 && d->kw == 3 && d->stride_h == 1 && d->stride_w == 1 && d->dilation_h == 1 &&
           d->dilation_w == 1 && d->groups == 1 && d->pad_top <= 2 && d->pad_left <= 2;
}

static void plan(winograd_job *job, const cnf_conv2d *d, int backward)
{
    *job = (winograd_job){
        .n = d->n,
        .source_h = backward ? d->oh : d->h,
        .source_w = backward ? d->ow : d->w,
        .source_pitch = backward ? d->y_pitch : d->x_pitch,
        .target_h = backward ? d->h : d->oh,
        .target_w = backward ? d->w : d->ow,
        .target_pitch = backward ? d->x_pitch : d->y_pitch,
        .channels = backward ? d->co : d->ci,
        .columns = backward ? d->ci : d->co,
        .pad_top = backward ? 2 - d->pad_top : d->pad_top,
        .pad_left = backward ? 2 - d->pad_left : d->pad_left,
    };
    const int64_t micro = cnf_kernel->tile_rows;
    job->tiling = cnf_tiling_of(job->n, job->target_h, job->target_w);
    job->panels = cnf_ceil_div(job->columns, cnf_kernel->panel);
    /* An odd multiple of a cache line: rows of a micro-tile spread over the sets of L1. */
    job->v_pitch = cnf_round_up(job->channels, 32) + 16;
    const double weights = 4.0 * POINTS * (double)(job->channels * job->columns);
    int64_t least = weights > LARGE_WEIGHTS ? SHARING_TILES / micro : 1;
    if (weights > FETCHED_WEIGHTS && job->tiling.count <= 2 * micro)
        least = 2; /* rather than stream the weights twice */
    int64_t block = V_FLOATS / (POINTS * job->v_pitch) / micro;
    block = micro * cnf_max(least, cnf_min(block, BLOCK_MICRO_TILES));
    /* Equal blocks: 16 tiles are 8 and 8, not 14 and 2. */
    job->block = cnf_max(1, cnf_ceil_div(job->tiling.count, cnf_max(1, cnf_ceil_div(job->tiling.count, block))));
    job->fetching = weights > LARGE_WEIGHTS ||
                    (weights > FETCHED_WEIGHTS && job->tiling.count <= FETCHING_TILES);
    job->blocks = cnf_ceil_div(job->tiling.count, job->block);
    /* Few blocks: cut the columns too, at the price of transforming the input again. */
    int64_t column_blocks = cnf_ceil_div(3 * cnf_threads(), cnf_max(1, job->blocks));
    job->panels_per_block = cnf_ceil_div(job->panels, cnf_max(1, cnf_min(column_blocks, job->panels)));
    job->column_blocks = cnf_ceil_div(job->panels, cnf_max(1, job->panels_per_block));
    job->v_stride = job->block * job->v_pitch + 16;
    job->m_stride = job->block * cnf_kernel->panel + 16;
    job->thread_floats = (size_t)(POINTS * (job->v_stride + job->m_stride));
    if (!backward && d->epilogue.sums)
        job->sums_bytes = cnf_sums_bytes(job->blocks, job->columns);
}

size_t cnf_winograd_scratch(const cnf_conv2d *d, int backward)
{
    winograd_job job;
    plan(&job, d, backward);
    return job.sums_bytes + sizeof(float) * job.thread_floats * (size_t)cnf_threads();
}

static void transform_input(const winograd_job *job, int64_t first, int64_t count, float *v)
{
    const int64_t row = job->source_w * job->source_pitch;
    for (int64_t t = 0; t < count; t++) {
        const cnf_tile tile = cnf_tile_at(&job->tiling, first + t);
        const int64_t y = tile.row - job->pad_top, x = tile.col - job->pad_left;
        const float *pixel = job->source + (tile.image * job->source_h + y) * row +
                             x * job->source_pitch;
        cnf_kernel->winograd_input(v + t * job->v_pitch, job->v_stride, pixel, row,
                                   job->source_pitch, -y, job->source_h - y, -x, job->source_w - x,
                                   job->channels);
    }
}

static void multiply(const winograd_job *job, int64_t count, int64_t columns, const float *v,
                     const float *u, float *m)
{
    const int64_t panel = cnf_kernel->panel;
    for (int64_t point = 0; point < POINTS; point++, u += job->channels * panel) {
        for (int64_t c = 0; c == 0 || c < job->channels; c += CNF_DEPTH_BLOCK) {
            const cnf_segment segment = {c, cnf_min(CNF_DEPTH_BLOCK, job->channels - c)};
            const int64_t floats = job->fetching ? segment.length * panel : 0;
            const cnf_ahead ahead = {(const char *)(u + (c + segment.length) * panel), 4 * floats};
            cnf_kernel->gemm_strip(m + point * job->m_stride, panel, count, columns,
                                   v + point * job->v_stride, job->v_pitch, 1, &segment, 1,
                                   u + c * panel, NULL, c > 0, ahead);
        }
    }
}

static void transform_output(const winograd_job *job, int64_t first, int64_t count, const float *m,
                             int64_t column, int64_t columns, cnf_finish *finish)
{
    const int64_t pitch = job->target_pitch;
    for (int64_t t = 0; t < count; t++) {
        const cnf_tile tile = cnf_tile_at(&job->tiling, first + t);
        const int64_t at = (tile.image * job->target_h + tile.row) * job->target_w + tile.col;
        if (job->residual)
            finish->residual = job->residual + at * finish->residual_pitch + column;
        cnf_kernel->winograd_output(job->target + at * pitch + column, job->target_w * pitch, pitch,
                                    cnf_min(4, job->target_h - tile.row),
                                    cnf_min(4, job->target_w - tile.col),
                                    m + t * cnf_kernel->panel, job->m_stride,
                                    job->bias ? job->bias + column : NULL, columns, finish);
    }
}

/* One panel of a block of tiles, with the epilogue if there is one. */
static void finish_panel(const winograd_job *job, int64_t block, int64_t count, const float *m,
                         int64_t column, int64_t columns)
{
    const int64_t first = block * job->block;
    if (!job->finish) {
        transform_output(job, first, count, m, column, columns, NULL);
        return;
    }
    cnf_moments moments;
    cnf_finish finish = *job->finish;
    moments.rows = 0;
    finish.moments = job->partial ? &moments : NULL;
    transform_output(job, first, count, m, column, columns, &finish);
    if (job->partial) {
        double *sums = job->partial + block * 2 * job->columns + column;
        cnf_moments_store(&moments, columns, sums, sums + job->columns);
    }
}

static void winograd_task(const void *context, int64_t index, int thread)
{
    const winograd_job *job = context;
    const int64_t panel = cnf_kernel->panel;
    const int64_t block = index / job->column_blocks, first = block * job->block;
    const int64_t count = cnf_min(job->block, job->tiling.count - first);
    const int64_t first_panel = index % job->column_blocks * job->panels_per_block;
    const int64_t end_panel = cnf_min(job->panels, first_panel + job->panels_per_block);
    float *v = job->scratch + (size_t)thread * job->thread_floats;
    float *m = v + POINTS * job->v_stride;
    transform_input(job, first, count, v);
    for (int64_t p = first_panel; p < end_panel; p++) {
        const int64_t columns = cnf_min(panel, job->columns - p * panel);
        multiply(job, count, columns, v, job->packed + p * POINTS * job->channels * panel, m);
        finish_panel(job, block, count, m, p * panel, columns);
    }
    if (job->finish && job->finish->streams)
        cnf_stream_end();
}

void cnf_winograd_run(float *target, double *sums, const float *source, const float *packed,
                      const float *bias, const float *residual, const cnf_conv2d *d, int backward,
                      void *scratch)
{
    winograd_job job;
    plan(&job, d, backward);
    job.target = target;
    job.source = source;
    job.packed = packed;
    job.bias = bias;
    job.scratch = (float *)((char *)scratch + job.sums_bytes);
    cnf_finish finish = cnf_finish_make(&d->epilogue);
    /* A tile writes vector by vector: only where that is a line do stores past the caches pay. */
    finish.streams = !backward && residual != target && cnf_kernel->lanes * sizeof(float) == CNF_CACHE_LINE &&
                     cnf_finish_streams(&finish, &d->epilogue, target, d->n * d->oh * d->ow,
                                        d->y_pitch, d->co);
    if (finish.streams || (!backward && cnf_finish_needed(&d->epilogue, residual))) {
        finish.residual_row = job.target_w * finish.residual_pitch;
        job.finish = &finish;
        job.residual = residual;
        job.partial = d->epilogue.sums ? scratch : NULL;
    }
    double flops = 2.0 * POINTS * (double)job.tiling.count * (double)(job.channels * job.columns);
    cnf_parallel(job.blocks * job.column_blocks, flops * CNF_NS_PER_FLOP, winograd_task, &job);
    if (job.partial)
        cnf_sums_join(sums, job.partial, job.blocks, job.columns);
}

/* ---- weights ----------------------------------------------------------------------------- */

/* Channels written together: the points lie so far apart that they share the sets of L1. */
#define WRITTEN_CHANNELS 4
#define PACK_CHANNELS 32 /* channels of a task, so that few panels still give every thread work */

typedef struct {
    float *packed; /* [panels][36][channels][panel] */
    const float *w;
    int64_t channels, columns, channel, column; /* sizes, then strides in w */
    int64_t first_tap, tap;                     /* rotated by 180 degrees: 8 and -1 */
    int64_t channel_blocks;
} pack_job;

static void pack_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const pack_job *job = context;
    const int64_t panel = cnf_kernel->panel;
    const int64_t p = index / job->channel_blocks;
    const int64_t first = index % job->channel_blocks * PACK_CHANNELS;
    const int64_t end = cnf_min(job->channels, first + PACK_CHANNELS);
    const int64_t columns = cnf_min(panel, job->columns - p * panel);
    float g[9 * CNF_MAX_PANEL] = {0}, u[POINTS * WRITTEN_CHANNELS * CNF_MAX_PANEL];
    for (int64_t c0 = first; c0 < end; c0 += WRITTEN_CHANNELS) {
        const int64_t channels = cnf_min(WRITTEN_CHANNELS, end - c0);
        for (int64_t c = 0; c < channels; c++) {
            const float *w = job->w + (c0 + c) * job->channel + p * panel * job->column;
            /* In an input gradient a channel's kernels lie together, but the next channel's far. */
            for (int64_t i = 0; job->column == 9 && i < 9 * columns; i += CNF_CACHE_LINE / 4)
                __builtin_prefetch(w + WRITTEN_CHANNELS * job->channel + i);
            cnf_kernel->transpose(g + job->first_tap * panel, job->tap * panel, w, job->column,
                                  columns, 9);
            cnf_kernel->winograd_weight(u + c * panel, channels * panel, g);
        }
        float *to = job->packed + (p * POINTS * job->channels + c0) * panel;
        for (int64_t point = 0; point < POINTS; point++)
            memcpy(to + point * job->channels * panel, u + point * channels * panel,
                   sizeof(float) * (size_t)(channels * panel));
    }
}

size_t cnf_winograd_packed_size(const cnf_conv2d *d, int backward)
{
    int64_t columns = backward ? d->ci : d->co, channels = backward ? d->co : d->ci;
    return (size_t)(cnf_round_up(columns, cnf_kernel->panel) * POINTS * channels);
}

void cnf_winograd_pack(float *packed, const float *w, const cnf_conv2d *d, int backward)
{
    const pack_job job = {
        .packed = packed,
        .w = w,
        .channels = backward ? d->co : d->ci,
        .columns = backward ? d->ci : d->co,
        .channel = backward ? d->ci * 9 : 9,
        .column = backward ? 9 : d->ci * 9,
        .first_tap = backward ? 8 : 0,
        .tap = backward ? -1 : 1,
        .channel_blocks = cnf_ceil_div(backward ? d->co : d->ci, PACK_CHANNELS),
    };
    double bytes = 5.0 * 4.0 * (double)cnf_winograd_packed_size(d, backward) / 4;
    cnf_parallel(cnf_ceil_div(job.columns, cnf_kernel->panel) * job.channel_blocks,
                 bytes * CNF_NS_PER_BYTE, pack_task, &job);
}
