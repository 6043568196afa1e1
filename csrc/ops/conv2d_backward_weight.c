/* conv2d_backward_weight.c: the gradient of a convolution's weight.
 *
 *     dw[ci, t, co] = sum over pixels o of x[o*stride + t*dilation - pad, ci] dy[o, co]
 *
 * A product whose depth is the pixels. Its rows are read where they stand, an image pixel a step of
 * the depth; its columns are packed, a block of pixels at a time, into panels. Rows are x's channels
 * and columns dy's; for a 1x1 kernel it may be the other way round, which gives dw as it is stored
 * (OIHW) where otherwise it must be transposed. The pixels are cut into chunks by the shape alone
 * and the chunks' sums added in order, so the bits do not depend on the threads. */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "implicit_gemm.h"
#include "ops.h"
#include "winograd.h"

/* Pixels of a block, the depth of one product: deeper than what L1 holds of a panel (32 KiB of it),
 * since every block loads and stores all sums (512 against 256: 2 % faster, docs/decisions.md). */
#define BLOCK_PIXELS 512
/* Pixels whose columns are packed together: every channel block walks them, 256 columns are 1 MiB. */
#define PASS_PIXELS 1024
/* Panels of a task, each of which reads the rows again, and tasks that the shape alone must give. */
#define LEAST_PANELS 4
#define MOST_PANELS 8
#define WANTED_TASKS 16
/* All chunks' sums stay within what L3 holds: 16 MiB. */
#define PARTIAL_FLOATS (4 * 1024 * 1024)
/* To transpose a weight costs as much as to pack this many floats of columns. */
#define TRANSPOSE_COST 2
/* With so few channels a micro-tile takes the taps of one row with them. */
#define MERGED_CHANNELS 16

typedef struct {
    cnf_grid g;            /* rows: channels x taps of the source; columns: channels of the target */
    cnf_blocking b;
    const float *columns;  /* the image that is packed; its strides are the grid's target's */
    float *dw;
    int64_t taps, rows;                   /* of the product, per group */
    int merged;                           /* rows are taps x channels, else channels x taps */
    int64_t panel, panels;
    int64_t task_panels, column_blocks;
    int64_t task_channels, channel_parts; /* whole channel blocks */
    int64_t blocks, pass_blocks, chunks;  /* of pixels */
    int64_t panel_floats, chunk_floats;   /* of a whole product */
    enum { INTO_DW, THROUGH_BLOCK, THROUGH_CHUNKS } way; /* from the product to dw */
    int transposed;                       /* the product is [rows][columns], dw [columns][rows] */
    float *partial;                       /* [chunks][groups][panels][rows][panel] */
    float *thread_floats;                 /* per thread: a source block, packed columns, a product */
    size_t source_floats, packed_floats, product_floats, stride, bytes;
    cnf_segment *segments;                /* per thread, one a row of pixels */
    int64_t segment_stride;
} weight_job;

/* The product for a 1x1 kernel with dy's channels as rows and x's as columns. */
static cnf_grid swapped_grid(const cnf_conv2d *d)
{
    cnf_grid g = {
        .h = {d->oh, 1, 0, 1, 1, d->oh},
        .w = {d->ow, 1, 0, 1, 1, d->ow},
        .n = d->n,
        .groups = d->groups,
        .channels = d->co / d->groups,
        .columns = d->ci / d->groups,
        .source_pitch = d->y_pitch,
        .target_image = d->h * d->w * d->x_pitch,
        .target_row = d->stride_h * d->w * d->x_pitch,
        .target_pixel = d->stride_w * d->x_pitch,
    };
    cnf_grid_flatten(&g);
    return g;
}

/* Where the pixels are few, the transposition costs more than packing a wider image. */
static int swaps(const cnf_conv2d *d)
{
    const int pointwise = d->kh == 1 && d->kw == 1 && d->pad_top == 0 && d->pad_left == 0 &&
                          (d->oh - 1) * d->stride_h < d->h && (d->ow - 1) * d->stride_w < d->w;
    const double ci = (double)(d->ci / d->groups), co = (double)(d->co / d->groups);
    return pointwise && (double)(d->n * d->oh * d->ow) * (ci - co) < TRANSPOSE_COST * ci * co;
}

/* Cut the product into tasks: columns first, then what costs less: channels, each part of which
 * packs the columns again, or pixels, each chunk of which has sums of its own. */
static void cut_tasks(weight_job *job)
{
    const cnf_grid *g = &job->g;
    const cnf_blocking *b = &job->b;
    job->task_panels = cnf_ceil_div(job->panels, WANTED_TASKS / 2);
    job->task_panels = cnf_max(LEAST_PANELS, cnf_min(job->task_panels, MOST_PANELS));
    job->column_blocks = cnf_ceil_div(job->panels, job->task_panels);
    const int64_t wanted = cnf_ceil_div(WANTED_TASKS, cnf_max(1, g->groups * job->column_blocks));
    const int64_t pixels = g->n * g->h.outputs * g->w.outputs;
    const int64_t parts = pixels < 2 * job->rows ? cnf_min(wanted, b->channel_blocks) : 1;
    job->task_channels = cnf_ceil_div(b->channel_blocks, parts) * b->channels_per_block;
    job->channel_parts = cnf_max(1, cnf_ceil_div(g->channels, job->task_channels));
    job->blocks = b->image_blocks * b->row_blocks * b->col_blocks;
    job->panel_floats = job->rows * job->panel;
    job->chunk_floats = g->groups * job->panels * job->panel_floats;
    const int64_t chunks = cnf_min(cnf_ceil_div(wanted, job->channel_parts),
                                   PARTIAL_FLOATS / cnf_max(1, job->chunk_floats));
    job->chunks = cnf_max(1, cnf_min(job->blocks, chunks));
}

static void plan(weight_job *job, const cnf_conv2d *d, char *scratch)
{
    const int swapped = swaps(d);
    *job = (weight_job){.g = swapped ? swapped_grid(d) : cnf_grid_forward(d)};
    const cnf_grid *g = &job->g;
    cnf_blocking *b = &job->b;
    cnf_block_pixels(g, b, BLOCK_PIXELS, 0);
    job->transposed = !swapped;
    job->taps = g->h.taps * g->w.taps;
    job->rows = cnf_depth(g);
    job->merged = b->merged && g->channels <= MERGED_CHANNELS;
    job->panel = cnf_kernel->panel;
    job->panels = cnf_ceil_div(g->columns, job->panel);
    cut_tasks(job);
    const int64_t block_pixels = b->images * b->rows * b->cols;
    job->pass_blocks = job->taps > 1 ? cnf_max(1, PASS_PIXELS / cnf_max(1, block_pixels)) : 1;
    job->way = job->chunks > 1                                        ? THROUGH_CHUNKS
               : swapped                                              ? INTO_DW
               : job->blocks <= job->pass_blocks                      ? THROUGH_BLOCK
                                                                      : THROUGH_CHUNKS;

    const int64_t task_columns = job->task_panels * job->panel;
    job->source_floats = (size_t)cnf_round_up((int64_t)b->block_floats, 16);
    job->packed_floats = (size_t)(cnf_min(job->pass_blocks, job->blocks) * block_pixels * task_columns);
    job->product_floats = job->way == THROUGH_BLOCK
                              ? (size_t)(job->taps * b->channels_per_block * task_columns) : 0;
    job->stride = job->source_floats + job->packed_floats + job->product_floats;
    job->partial = (float *)scratch;
    size_t floats = job->way == THROUGH_CHUNKS ? (size_t)(job->chunks * job->chunk_floats) : 0;
    job->thread_floats = job->partial + floats;
    floats += job->stride * (size_t)cnf_threads();
    const size_t at = (size_t)cnf_round_up((int64_t)(sizeof(float) * floats), 64);
    job->segments = (cnf_segment *)(scratch + at);
    job->segment_stride = b->images * b->rows;
    job->bytes = at + sizeof(cnf_segment) * (size_t)(job->segment_stride * cnf_threads());
}

size_t cnf_conv2d_backward_weight_scratch(const cnf_conv2d *d)
{
    if (cnf_is_winograd(d))
        return cnf_winograd_backward_weight_scratch(d);
    weight_job job;
    plan(&job, d, NULL);
    return job.bytes;
}

/* A block of pixels: `images` x `rows` x `cols` from (image, row, col). */
typedef struct {
    int64_t image, images, row, rows, col, cols;
} pixel_block;

static pixel_block block_at(const weight_job *job, int64_t index)
{
    const cnf_blocking *b = &job->b;
    const cnf_grid *g = &job->g;
    pixel_block p;
    p.col = index % b->col_blocks * b->cols;
    p.row = index / b->col_blocks % b->row_blocks * b->rows;
    p.image = index / b->col_blocks / b->row_blocks * b->images;
    p.images = cnf_min(b->images, g->n - p.image);
    p.rows = cnf_min(b->rows, g->h.outputs - p.row);
    p.cols = cnf_min(b->cols, g->w.outputs - p.col);
    return p;
}

static const float *column_pixel(const weight_job *job, const pixel_block *p)
{
    const cnf_grid *g = &job->g;
    return job->columns + p->image * g->target_image + p->row * g->target_row +
           p->col * g->target_pixel;
}

/* ---- a task ------------------------------------------------------------------------------ */

/* What a thread works on: channels [channel, end_channel) and panels [panel, panel + panels). */
typedef struct {
    const weight_job *job;
    int64_t group, channel, end_channel, panel, panels;
    float *source, *packed;
    float *product;         /* of this group: panel j at product + j * product_panel */
    int64_t product_row, product_panel;
    cnf_segment *segments;
} weight_part;

static int64_t columns_of(const weight_part *part, int64_t j)
{
    return cnf_min(part->job->panel, part->job->g.columns - (part->panel + j) * part->job->panel);
}

/* Pack panel j of the block's columns: to[pixel][panel], zeros beyond the last column. */
static void pack_columns(const weight_part *part, const pixel_block *p, int64_t j, float *to)
{
    const weight_job *job = part->job;
    const cnf_grid *g = &job->g;
    const int64_t n = columns_of(part, j);
    const float *first = column_pixel(job, p) + part->group * g->columns +
                         (part->panel + j) * job->panel;
    for (int64_t line = 0; line < p->images * p->rows; line++) {
        const float *from = first + line / p->rows * g->target_image +
                            line % p->rows * g->target_row;
        for (int64_t x = 0; x < p->cols; x++, from += g->target_pixel, to += job->panel) {
            if (n == job->panel) { /* a multiple of 4 floats, and so a copy that is inlined */
                for (int64_t i = 0; i < n; i += 4)
                    memcpy(to + i, from + i, 4 * sizeof(float));
                continue;
            }
            memcpy(to, from, sizeof(float) * (size_t)n);
            memset(to + n, 0, sizeof(float) * (size_t)(job->panel - n));
        }
    }
}

/* What the next block reads, rows' image first, where it is contiguous; and how much of it each row
 * of the product fetches, so that all is there when this block is done. */
typedef struct {
    cnf_ahead images[2];
    int64_t bytes_a_row;
} next_block;

static next_block fetch_plan(const weight_part *part, int64_t block)
{
    const weight_job *job = part->job;
    const cnf_grid *g = &job->g;
    const cnf_blocking *b = &job->b;
    const int line = g->h.outputs == 1; /* a flattened grid has all its pixels in one row */
    next_block next = {.bytes_a_row = 0};
    if (job->taps > 1 && b->channel_blocks > 1)
        return next;
    if (b->col_blocks > 1 && !line)
        return next;
    const pixel_block p = block_at(job, block);
    const int64_t first = cnf_max(0, g->h.first + p.row * g->h.step);
    const int64_t col = line ? cnf_max(0, g->w.first + p.col * g->w.step) : 0;
    const int64_t height = p.images > 1 ? p.images * g->h.size : p.rows * g->h.step;
    const int64_t width = line ? p.cols * g->w.step : g->w.size;
    const int64_t pixel = (p.image * g->h.size + first) * g->w.size + col;
    const int64_t floats = line && p.images == 1 ? p.cols * g->target_pixel
                           : p.images > 1        ? p.images * g->target_image
                                                 : p.rows * g->target_row;
    next.images[0] = (cnf_ahead){(const char *)(g->source + pixel * g->source_pitch),
                                 4 * height * width * g->source_pitch};
    next.images[1] = (cnf_ahead){(const char *)column_pixel(job, &p), 4 * floats};
    next.bytes_a_row = 1 + (next.images[0].bytes + next.images[1].bytes) / (job->rows * part->panels);
    return next;
}

static cnf_ahead take_share(next_block *next, int64_t rows)
{
    cnf_ahead *image = &next->images[next->images[0].bytes > 0 ? 0 : 1];
    const cnf_ahead share = {image->at, cnf_min(image->bytes, rows * next->bytes_a_row)};
    image->at += share.bytes;
    image->bytes -= share.bytes;
    return share;
}

/* product += source[channels, pixels of tap]^T * packed[pixels, n], for each tap */
static void add_block(const weight_part *part, const pixel_block *p, const float *source,
                      int64_t channels, const float *packed, int64_t n, float *product,
                      int accumulate, next_block *next)
{
    const weight_job *job = part->job;
    const cnf_grid *g = &job->g;
    const cnf_blocking *b = &job->b;
    const int64_t lines = p->images * p->rows;
    for (int64_t line = 0; line < lines; line++)
        part->segments[line] = (cnf_segment){
            line / p->rows * b->image + line % p->rows * b->h_step * b->row, p->cols};
    const int64_t rows = job->merged ? g->w.taps * channels : channels;
    const int64_t row = job->merged ? part->product_row : job->taps * part->product_row;
    for (int64_t tap = 0; tap < job->taps; tap += job->merged ? g->w.taps : 1) {
        const int64_t t = tap / g->w.taps, u = tap % g->w.taps;
        cnf_kernel->gemm_strip(product + tap * (job->merged ? channels : 1) * part->product_row, row,
                               rows, n, source + t * g->h.tap * b->row + u * g->w.tap * b->pixel, 1,
                               b->w_step * b->pixel, part->segments, lines, packed, NULL, accumulate,
                               take_share(next, rows));
    }
}

/* n columns of the channels' rows of a product to dw (OIHW), from its column and channel. */
static void transpose(const weight_job *job, float *dw, const float *product, int64_t channels,
                      int64_t n)
{
    if (!job->merged) {
        cnf_kernel->transpose(dw, job->rows, product, job->panel, channels * job->taps, n);
        return;
    }
    for (int64_t column = 0; column < n; column++, dw += job->rows)
        for (int64_t c = 0; c < channels; c++)
            for (int64_t tap = 0; tap < job->taps; tap++)
                dw[c * job->taps + tap] = product[(tap * channels + c) * job->panel + column];
}

/* One channel block over the pixel blocks [first, end), whose columns are packed. */
static void add_pass(const weight_part *part, int64_t first, int64_t end, int64_t end_block,
                     int64_t channel, int accumulate)
{
    const weight_job *job = part->job;
    const cnf_grid *g = &job->g;
    const cnf_blocking *b = &job->b;
    const int64_t channels = cnf_min(b->channels_per_block, part->end_channel - channel);
    const int through = job->way == THROUGH_BLOCK;
    float *product = part->product + (through ? 0 : channel * job->taps * part->product_row);
    const float *packed = part->packed;
    for (int64_t block = first; block < end; block++) {
        const pixel_block p = block_at(job, block);
        const float *source =
            cnf_source_block(g, b, part->source, part->group, p.image, p.images, p.row, p.rows,
                             p.col, p.cols, channel, channels);
        next_block next = {.bytes_a_row = 0};
        if (block + 1 < end_block)
            next = fetch_plan(part, block + 1);
        for (int64_t j = 0; j < part->panels; j++) {
            add_block(part, &p, source, channels, packed, columns_of(part, j),
                      product + j * part->product_panel, accumulate || block > first, &next);
            packed += p.images * p.rows * p.cols * job->panel;
        }
    }
    for (int64_t j = 0; through && j < part->panels; j++) {
        const int64_t column = part->group * g->columns + (part->panel + j) * job->panel;
        transpose(job, job->dw + column * job->rows + channel * job->taps,
                  product + j * part->product_panel, channels, columns_of(part, j));
    }
}

static void weight_task(const void *context, int64_t index, int thread)
{
    const weight_job *job = context;
    const cnf_grid *g = &job->g;
    const int64_t chunk = index % job->chunks;
    index /= job->chunks;
    weight_part part = {.job = job};
    part.channel = index % job->channel_parts * job->task_channels;
    part.end_channel = cnf_min(g->channels, part.channel + job->task_channels);
    index /= job->channel_parts;
    part.panel = index % job->column_blocks * job->task_panels;
    part.panels = cnf_min(job->task_panels, job->panels - part.panel);
    part.group = index / job->column_blocks;
    part.source = job->thread_floats + (size_t)thread * job->stride;
    part.packed = part.source + job->source_floats;
    part.segments = job->segments + thread * job->segment_stride;
    part.product_row = job->way == INTO_DW ? g->columns : job->panel;
    if (job->way == INTO_DW) {
        part.product_panel = job->panel;
        part.product = job->dw + part.group * job->rows * g->columns + part.panel * job->panel;
    } else if (job->way == THROUGH_BLOCK) {
        part.product_panel = job->taps * job->b.channels_per_block * job->panel;
        part.product = part.packed + job->packed_floats;
    } else {
        part.product_panel = job->panel_floats;
        part.product = job->partial + chunk * job->chunk_floats +
                       (part.group * job->panels + part.panel) * job->panel_floats;
    }
    const int64_t first_block = job->blocks * chunk / job->chunks;
    const int64_t end_block = job->blocks * (chunk + 1) / job->chunks;
    for (int64_t first = first_block; first < end_block; first += job->pass_blocks) {
        const int64_t end = cnf_min(end_block, first + job->pass_blocks);
        float *packed = part.packed;
        for (int64_t block = first; block < end; block++) {
            const pixel_block p = block_at(job, block);
            for (int64_t j = 0; j < part.panels; j++) {
                pack_columns(&part, &p, j, packed);
                packed += p.images * p.rows * p.cols * job->panel;
            }
        }
        for (int64_t c = part.channel; c < part.end_channel; c += job->b.channels_per_block)
            add_pass(&part, first, end, end_block, c, first > first_block);
    }
}

/* ---- the sum of the chunks --------------------------------------------------------------- */

/* Add the chunks' `count` floats in order; the sum stands in the first chunk. */
static void add_chunks(const weight_job *job, float *sum, int64_t count)
{
    for (int64_t chunk = 1; chunk < job->chunks; chunk++) {
        const float *term = sum + chunk * job->chunk_floats;
        for (int64_t i = 0; i < count; i++)
            sum[i] += term[i];
    }
}

/* One panel and one channel block of it, a piece that L1 holds. */
static void finish_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const weight_job *job = context;
    const cnf_grid *g = &job->g;
    const int64_t channel = index % job->b.channel_blocks * job->b.channels_per_block;
    const int64_t channels = cnf_min(job->b.channels_per_block, g->channels - channel);
    index /= job->b.channel_blocks;
    const int64_t group = index / job->panels, column = index % job->panels * job->panel;
    const int64_t n = cnf_min(job->panel, g->columns - column);
    const int64_t row = channel * job->taps, rows = channels * job->taps;
    float *sum = job->partial + index * job->panel_floats + row * job->panel;
    add_chunks(job, sum, rows * job->panel);
    if (job->transposed)
        transpose(job, job->dw + (group * g->columns + column) * job->rows + row, sum, channels, n);
    for (int64_t i = 0; i < rows && !job->transposed; i++)
        memcpy(job->dw + (group * job->rows + row + i) * g->columns + column, sum + i * job->panel,
               sizeof(float) * (size_t)n);
}

cnf_status cnf_conv2d_backward_weight(float *dw, const float *x, const float *dy,
                                      const cnf_conv2d *d, void *scratch)
{
    if (cnf_is_winograd(d)) {
        cnf_winograd_backward_weight(dw, x, dy, d, scratch);
        return CNF_OK;
    }
    weight_job job;
    plan(&job, d, scratch);
    if (job.blocks == 0) {
        memset(dw, 0, sizeof(float) * (size_t)(d->co * (d->ci / d->groups) * d->kh * d->kw));
        return CNF_OK;
    }
    job.g.source = job.transposed ? x : dy;
    job.columns = job.transposed ? dy : x;
    job.dw = dw;
    const cnf_grid *g = &job.g;
    double flops = 2.0 * (double)(g->n * g->h.outputs * g->w.outputs) * (double)job.rows *
                   (double)(g->groups * g->columns);
    cnf_parallel(g->groups * job.column_blocks * job.channel_parts * job.chunks,
                 flops * CNF_NS_PER_FLOP, weight_task, &job);
    if (job.way != THROUGH_CHUNKS)
        return CNF_OK;
    double bytes = 4.0 * (double)((job.chunks + 1) * job.chunk_floats);
    cnf_parallel(g->groups * job.panels * job.b.channel_blocks, bytes * CNF_NS_PER_BYTE, finish_task,
                 &job);
    return CNF_OK;
}
