/* winograd.c: 3x3 convolutions of stride 1 by F(4x4, 3x3), fused in blocks of tiles.
 *
 * For each block of tiles: transform its input into V[36][tiles][channels]; for each panel of
 * columns the 36 products  V[t][tiles, channels] * U[t][channels, panel] -> M[t][tiles, panel];
 * transform M into the output with bias and epilogue. V and M of a block stay in the L2 cache, U streams.
 * The input gradient is the same with rotated weights. Source: A. Lavin, S. Gray, "Fast algorithms
 * for convolutional neural networks", 2016; transforms in tiles/winograd.inc. */
#include "winograd_job.h"

#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"

#define POINTS CNF_WINOGRAD_POINTS
/* V of a block: 384 KiB of L2, but no more than 7 micro-tiles high, where M would grow instead. */
#define V_FLOATS (96 * 1024)
#define BLOCK_MICRO_TILES 7
/* So many tiles at least share weights that stream from memory, at the price of a V that overflows L2
 * (512 channels, 7x7: 890 GFLOP/s instead of 630). */
#define SHARING_TILES 42

/* Channels transformed together: the points lie so far apart that they share the sets of L1. As
 * many are fetched ahead. */
#define WRITTEN_CHANNELS 4
/* Channels whose weights an inline product transforms at a time: 296 KiB of L2 with AVX-512. */
#define INLINE_CHANNELS 64
/* Transforming a tile's input takes as long as multiplying it with 0.3 panels. */
#define INPUT_PANELS 0.3

int cnf_winograd_fits(const cnf_conv2d *d)
{
    return d->kh == 3 && d->kw == 3 && d->stride_h == 1 && d->stride_w == 1 && d->dilation_h == 1 &&
           d->dilation_w == 1 && d->groups == 1 && d->pad_top <= 2 && d->pad_left <= 2;
}

static cnf_weight_view view_of(const float *w, const cnf_conv2d *d, int backward)
{
    return (cnf_weight_view){
        .w = w,
        .channels = backward ? d->co : d->ci,
        .columns = backward ? d->ci : d->co,
        .channel = backward ? d->ci * 9 : 9,
        .column = backward ? 9 : d->ci * 9,
        .first_tap = backward ? 8 : 0,
        .tap = backward ? -1 : 1,
    };
}

/* Few blocks: cut the columns too, so that the threads end together, at the price of transforming
 * the input again. Counted in panels that a block of tiles is multiplied with. */
static void cut_columns(cnf_winograd_job *job)
{
    double best = 0;
    for (int64_t each = job->panels; each >= 1; each--) {
        const int64_t column_blocks = cnf_ceil_div(job->panels, each);
        const int64_t turns = cnf_ceil_div(job->blocks * column_blocks, cnf_threads());
        const double makespan = (double)turns * ((double)each + INPUT_PANELS);
        if (best == 0 || makespan < best) {
            best = makespan;
            job->panels_per_block = each;
            job->column_blocks = column_blocks;
        }
    }
}

/* Blocks of tiles, each multiplied with all panels or some. */
static void plan_blocks(cnf_winograd_job *job, int sums)
{
    const int64_t micro = cnf_kernel->tile_rows;
    job->panels = cnf_ceil_div(job->columns, cnf_kernel->panel);
    /* An odd multiple of a cache line: rows of a micro-tile spread over the sets of L1. */
    job->v_pitch = cnf_round_up(job->channels, 32) + 16;
    const double weights = 4.0 * POINTS * (double)(job->channels * job->columns);
    int64_t least = weights > CNF_WINOGRAD_LARGE_WEIGHTS ? SHARING_TILES / micro : 1;
    if (weights > CNF_WINOGRAD_FETCHED_WEIGHTS) /* each block streams them */
        least = cnf_max(least, 2);
    if (job->inlined)
        least = CNF_WINOGRAD_INLINE_TILES / micro;
    int64_t block = V_FLOATS / (POINTS * job->v_pitch) / micro;
    block = micro * cnf_max(least, cnf_min(block, BLOCK_MICRO_TILES));
    /* Equal blocks: 16 tiles are 8 and 8, not 14 and 2; and as many for every thread, unless a
     * block's sums would show it. */
    int64_t blocks = cnf_max(1, cnf_ceil_div(job->tiling.count, block));
    if (blocks > 1 && !sums)
        blocks = cnf_round_up(blocks, cnf_threads());
    job->block = cnf_max(1, cnf_ceil_div(job->tiling.count, blocks));
    job->fetching = !job->inlined && cnf_winograd_fetches(weights, (double)job->tiling.count);
    job->blocks = cnf_ceil_div(job->tiling.count, job->block);
    cut_columns(job);
    job->v_stride = job->block * job->v_pitch + 16;
    job->m_pitch = cnf_kernel->panel;
    job->m_stride = job->block * job->m_pitch + 16;
    job->u_stride = job->inlined ? INLINE_CHANNELS * cnf_kernel->panel + 16 : 0;
    job->thread_floats = (size_t)(POINTS * (job->v_stride + job->m_stride + job->u_stride));
}

static void plan(cnf_winograd_job *job, const cnf_conv2d *d, int backward)
{
    *job = (cnf_winograd_job){
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
        .inlined = d->algorithm == CNF_CONV2D_WINOGRAD_INLINE,
    };
    job->tiling = cnf_tiling_of(job->n, job->target_h, job->target_w);
    if (!backward && job->inlined && job->tiling.count <= CNF_WINOGRAD_FEW)
        cnf_winograd_few_plan(job);
    else
        plan_blocks(job, !backward && d->epilogue.sums);
    if (!backward && d->epilogue.sums)
        job->sums_bytes = cnf_sums_bytes(job->blocks, job->columns);
}

size_t cnf_winograd_scratch(const cnf_conv2d *d, int backward)
{
    cnf_winograd_job job;
    plan(&job, d, backward);
    return job.sums_bytes + sizeof(float) * job.thread_floats * (size_t)cnf_threads();
}

void cnf_winograd_transform_input(const cnf_winograd_job *job, int64_t first, int64_t count,
                                  int64_t channel, int64_t channels, float *v)
{
    const int64_t row = job->source_w * job->source_pitch;
    for (int64_t t = 0; t < count; t++) {
        const cnf_tile tile = cnf_tile_at(&job->tiling, first + t);
        const int64_t y = tile.row - job->pad_top, x = tile.col - job->pad_left;
        const float *pixel = job->source + (tile.image * job->source_h + y) * row +
                             x * job->source_pitch + channel;
        cnf_kernel->winograd_input(v + t * job->v_pitch, job->v_stride, pixel, row,
                                   job->source_pitch, -y, job->source_h - y, -x, job->source_w - x,
                                   channels);
    }
}

/* M (+)= V U of `channels` channels from `channel` on; U[36] `u_stride` floats apart. */
static void multiply(const cnf_winograd_job *job, int64_t count, int64_t columns, const float *v,
                     int64_t channel, int64_t channels, const float *u, int64_t u_stride, float *m)
{
    const int64_t panel = cnf_kernel->panel;
    for (int64_t point = 0; point < POINTS; point++, u += u_stride) {
        for (int64_t c = 0; c == 0 || c < channels; c += CNF_DEPTH_BLOCK) {
            const cnf_segment segment = {channel + c, cnf_min(CNF_DEPTH_BLOCK, channels - c)};
            const int64_t floats = job->fetching ? segment.length * panel : 0;
            const cnf_ahead ahead = {(const char *)(u + (c + segment.length) * panel), 4 * floats};
            cnf_kernel->gemm_strip(m + point * job->m_stride, panel, count, columns,
                                   v + point * job->v_stride, job->v_pitch, 1, &segment, 1,
                                   u + c * panel, NULL, channel + c > 0, ahead);
        }
    }
}

/* u[36][channels][panel], `u_stride` floats apart, of one panel's columns. */
static void transform_weight(const cnf_weight_view *view, int64_t p, int64_t channel, int64_t channels,
                             float *u, int64_t u_stride)
{
    const int64_t panel = cnf_kernel->panel;
    const int64_t columns = cnf_min(panel, view->columns - p * panel);
    float g[9 * CNF_MAX_PANEL] = {0};
    for (int64_t c = 0; c < channels; c++) {
        const float *w = view->w + (channel + c) * view->channel + p * panel * view->column;
        /* In an input gradient a channel's kernels lie together, but the next channel's far. */
        for (int64_t i = 0; view->column == 9 && i < 9 * columns; i += CNF_CACHE_LINE / 4)
            __builtin_prefetch(w + WRITTEN_CHANNELS * view->channel + i);
        cnf_kernel->transpose(g + view->first_tap * panel, view->tap * panel, w, view->column,
                              columns, 9);
        cnf_kernel->winograd_weight(u + c * panel, u_stride, g);
    }
}

/* One panel: its products, with the weights as they were packed or transformed on the way. */
static void multiply_panel(const cnf_winograd_job *job, int64_t p, int64_t count, const float *v, float *u,
                           float *m)
{
    const int64_t panel = cnf_kernel->panel, columns = cnf_min(panel, job->columns - p * panel);
    if (!job->inlined) {
        multiply(job, count, columns, v, 0, job->channels,
                 job->packed + p * POINTS * job->channels * panel, job->channels * panel, m);
        return;
    }
    for (int64_t c = 0; c == 0 || c < job->channels; c += INLINE_CHANNELS) {
        const int64_t channels = cnf_min(INLINE_CHANNELS, job->channels - c);
        transform_weight(&job->weight, p, c, channels, u, job->u_stride);
        multiply(job, count, columns, v, c, channels, u, job->u_stride, m);
    }
}

static void transform_output(const cnf_winograd_job *job, int64_t first, int64_t count, const float *m,
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
                                    m + t * job->m_pitch, job->m_stride,
                                    job->bias ? job->bias + column : NULL, columns, finish);
    }
}

void cnf_winograd_finish(const cnf_winograd_job *job, int64_t block, const float *m, int64_t column,
                         int64_t columns)
{
    const int64_t first = block * job->block;
    const int64_t count = cnf_min(job->block, job->tiling.count - first);
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
    const cnf_winograd_job *job = context;
    const int64_t panel = cnf_kernel->panel;
    const int64_t block = index / job->column_blocks, first = block * job->block;
    const int64_t count = cnf_min(job->block, job->tiling.count - first);
    const int64_t first_panel = index % job->column_blocks * job->panels_per_block;
    const int64_t end_panel = cnf_min(job->panels, first_panel + job->panels_per_block);
    float *v = job->scratch + (size_t)thread * job->thread_floats;
    float *m = v + POINTS * job->v_stride, *u = m + POINTS * job->m_stride;
    cnf_winograd_transform_input(job, first, count, 0, job->channels, v);
    for (int64_t p = first_panel; p < end_panel; p++) {
        multiply_panel(job, p, count, v, u, m);
        cnf_winograd_finish(job, block, m, p * panel, cnf_min(panel, job->columns - p * panel));
    }
    if (job->finish && job->finish->streams)
        cnf_stream_end();
}

void cnf_winograd_run(float *target, double *sums, const float *source, const float *packed,
                      const float *bias, const float *residual, const cnf_conv2d *d, int backward,
                      void *scratch)
{
    cnf_winograd_job job;
    plan(&job, d, backward);
    job.target = target;
    job.source = source;
    job.packed = packed;
    job.weight = view_of(packed, d, backward);
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
    if (job.few)
        cnf_winograd_few_run(&job, flops * CNF_NS_PER_FLOP);
    else
        cnf_parallel(job.blocks * job.column_blocks, flops * CNF_NS_PER_FLOP, winograd_task, &job);
    if (job.partial)
        cnf_sums_join(sums, job.partial, job.blocks, job.columns);
}

/* ---- packed weights ---------------------------------------------------------------------- */

#define PACK_CHANNELS 32 /* channels of a task, so that few panels still give every thread work */

typedef struct {
    float *packed; /* [panels][36][channels][panel] */
    cnf_weight_view weight;
    int64_t channel_blocks;
} pack_job;

static void pack_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const pack_job *job = context;
    const int64_t panel = cnf_kernel->panel, channels = job->weight.channels;
    const int64_t p = index / job->channel_blocks;
    const int64_t first = index % job->channel_blocks * PACK_CHANNELS;
    const int64_t end = cnf_min(channels, first + PACK_CHANNELS);
    float u[POINTS * WRITTEN_CHANNELS * CNF_MAX_PANEL];
    for (int64_t c = first; c < end; c += WRITTEN_CHANNELS) {
        const int64_t written = cnf_min(WRITTEN_CHANNELS, end - c) * panel;
        transform_weight(&job->weight, p, c, written / panel, u, written);
        float *to = job->packed + (p * POINTS * channels + c) * panel;
        for (int64_t point = 0; point < POINTS; point++)
            memcpy(to + point * channels * panel, u + point * written, sizeof(float) * (size_t)written);
    }
}

size_t cnf_winograd_packed_size(const cnf_conv2d *d, int backward)
{
    int64_t columns = backward ? d->ci : d->co, channels = backward ? d->co : d->ci;
    if (d->algorithm == CNF_CONV2D_WINOGRAD_INLINE)
        return (size_t)(columns * channels * 9);
    return (size_t)(cnf_round_up(columns, cnf_kernel->panel) * POINTS * channels);
}

void cnf_winograd_pack(float *packed, const float *w, const cnf_conv2d *d, int backward)
{
    if (d->algorithm == CNF_CONV2D_WINOGRAD_INLINE) {
        memcpy(packed, w, sizeof(float) * cnf_winograd_packed_size(d, backward));
        return;
    }
    pack_job job = {.packed = packed, .weight = view_of(w, d, backward)};
    job.channel_blocks = cnf_ceil_div(job.weight.channels, PACK_CHANNELS);
    double bytes = 5.0 * 4.0 * (double)cnf_winograd_packed_size(d, backward) / 4;
    cnf_parallel(cnf_ceil_div(job.weight.columns, cnf_kernel->panel) * job.channel_blocks,
                 bytes * CNF_NS_PER_BYTE, pack_task, &job);
}
