/* conv2d_backward.c: the two gradients of a convolution.
 *
 * Input: dx[i] = sum of dy[o] w[t] over o*stride + t*dilation - pad = i. With stride s, pixels of
 * one phase i mod s meet the same taps, and o moves by one when i moves by s: each phase is a
 * forward grid over dy with its own subset of taps, so nothing is multiplied by inserted zeros.
 * Weight: dw[t, ci, co] = sum over pixels of x[o*stride + t*dilation - pad, ci] dy[o, co]. */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "implicit_gemm.h"
#include "ops.h"
#include "winograd.h"

/* ---- input gradient ---------------------------------------------------------------------- */

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The taps that pixels of `phase` meet. Kernel index of tap t is last - t * every. */
typedef struct {
    cnf_axis axis;
    int64_t last, every;
} phase_axis;

static phase_axis phase_taps(int64_t phase, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                             int64_t pad, int64_t dilation)
{
    phase_axis p = {.every = stride / greatest_common_divisor(stride, dilation)};
    p.axis.outputs = in > phase ? cnf_ceil_div(in - phase, stride) : 0;
    p.axis.step = 1;
    p.axis.size = out;
    p.axis.tap = dilation * p.every / stride;
    for (int64_t k = 0; k < kernel; k++) {
        int64_t distance = phase + pad - k * dilation;
        if (distance % stride == 0) {
            p.last = k;
            p.axis.first = distance / stride;
            p.axis.taps++;
        }
    }
    return p;
}

/* The grid of phase (ph, pw), and where its weights stand in w (OIHW). */
static cnf_grid phase_grid(const cnf_conv2d *d, int64_t ph, int64_t pw, cnf_weight_order *order)
{
    phase_axis h = phase_taps(ph, d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h);
    phase_axis w = phase_taps(pw, d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w);
    if (h.axis.taps == 0 || w.axis.taps == 0)
        h.axis.taps = w.axis.taps = 0;
    const int64_t taps = d->kh * d->kw, ci = d->ci / d->groups, co = d->co / d->groups;
    *order = (cnf_weight_order){
        .group = co * ci * taps,
        .column = taps,
        .channel = ci * taps,
        .tap_row = -h.every * d->kw,
        .tap_col = -w.every,
        .start = h.last * d->kw + w.last,
    };
    cnf_grid g = {
        .h = h.axis,
        .w = w.axis,
        .n = d->n,
        .groups = d->groups,
        .channels = co,
        .columns = ci,
        .source_pitch = d->y_pitch,
        .target_image = d->h * d->w * d->x_pitch,
        .target_row = d->stride_h * d->w * d->x_pitch,
        .target_pixel = d->stride_w * d->x_pitch,
    };
    cnf_grid_flatten(&g);
    return g;
}

size_t cnf_conv2d_packed_size(const cnf_conv2d *d, int backward)
{
    if (d->algorithm == CNF_CONV2D_WINOGRAD)
        return cnf_winograd_packed_size(d, backward);
    if (!backward) {
        cnf_grid g = cnf_grid_forward(d);
        return cnf_grid_packed_size(&g);
    }
    size_t floats = 0;
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, phase / d->stride_w, phase % d->stride_w, &order);
        floats += cnf_grid_packed_size(&g);
    }
    return floats;
}

cnf_status cnf_conv2d_pack_backward(float *packed, const float *w, const cnf_conv2d *d, void *scratch)
{
    (void)scratch;
    if (d->algorithm == CNF_CONV2D_WINOGRAD) {
        cnf_winograd_pack(packed, w, d, 1);
        return CNF_OK;
    }
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, phase / d->stride_w, phase % d->stride_w, &order);
        cnf_grid_pack(packed, w, &g, &order);
        packed += cnf_grid_packed_size(&g);
    }
    return CNF_OK;
}

size_t cnf_conv2d_backward_input_scratch(const cnf_conv2d *d)
{
    if (d->algorithm == CNF_CONV2D_WINOGRAD)
        return cnf_winograd_scratch(d, 1);
    size_t most = 0;
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, phase / d->stride_w, phase % d->stride_w, &order);
        size_t bytes = cnf_grid_scratch(&g);
        most = bytes > most ? bytes : most;
    }
    return most;
}

cnf_status cnf_conv2d_backward_input(float *dx, const float *dy, const float *packed,
                                     const float *bias, const cnf_conv2d *d, void *scratch)
{
    if (d->algorithm == CNF_CONV2D_WINOGRAD) {
        cnf_winograd_run(dx, NULL, dy, packed, bias, NULL, d, 1, scratch);
        return CNF_OK;
    }
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        const int64_t ph = phase / d->stride_w, pw = phase % d->stride_w;
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, ph, pw, &order);
        g.source = dy;
        g.target = dx + (ph * d->w + pw) * d->x_pitch;
        g.packed = packed;
        g.bias = bias;
        if (g.h.outputs > 0 && g.w.outputs > 0)
            cnf_grid_run(&g, scratch);
        packed += cnf_grid_packed_size(&g);
    }
    return CNF_OK;
}

/* ---- weight gradient --------------------------------------------------------------------- */

/* Pixels of a block: 192 x 32 floats of dy, one packed panel, are 24 KiB of L1. */
#define BLOCK_PIXELS 192
/* Panels of a task, and tasks that the shape alone must give: the sum over the pixels is cut into
 * chunks only as far as the columns do not give enough tasks, and always the same way. All chunks'
 * sums stay within what L3 holds: 16 MiB. */
#define LEAST_PANELS 2
#define MOST_PANELS 4
#define WANTED_TASKS 16
#define PARTIAL_FLOATS (4 * 1024 * 1024)

typedef struct {
    cnf_grid g;
    cnf_blocking b;
    const float *dy;
    float *dw;
    int64_t dy_pitch;
    int64_t panel, panels;                /* columns of a panel; panels of a group */
    int64_t task_panels;
    int64_t column_blocks, chunks;        /* tasks: groups x column_blocks x chunks */
    int64_t blocks;                       /* pixel blocks in all */
    int64_t depth;                        /* taps x channels, rows of a partial sum */
    float *partial;                       /* [chunks][groups][panels][depth][panel] */
    float *source_blocks, *dy_panels;     /* per thread */
    size_t source_stride, dy_stride, bytes;
    cnf_segment *segments;                /* per thread, one a row of pixels */
    int64_t segment_stride;
} weight_job;

static void plan_weight_gradient(const cnf_conv2d *d, weight_job *job, char *scratch)
{
    cnf_grid *g = &job->g;
    cnf_blocking *b = &job->b;
    *g = cnf_grid_forward(d);
    /* Copied, so that memory is read once and in order, where the tiles would read it line by line;
     * but not where a stride skips most of it. */
    const int dense = g->h.step <= g->h.taps && g->w.step <= g->w.taps;
    cnf_block_pixels(g, b, BLOCK_PIXELS, dense);
    job->dy_pitch = d->y_pitch;
    job->panel = cnf_kernel->panel;
    job->panels = cnf_ceil_div(g->columns, job->panel);
    job->task_panels = cnf_ceil_div(job->panels, WANTED_TASKS / 2);
    job->task_panels = cnf_max(LEAST_PANELS, cnf_min(job->task_panels, MOST_PANELS));
    job->column_blocks = cnf_ceil_div(job->panels, job->task_panels);
    job->blocks = b->image_blocks * b->row_blocks * b->col_blocks;
    int64_t column_tasks = cnf_max(1, g->groups * job->column_blocks);
    job->depth = cnf_depth(g);
    int64_t sum = cnf_max(1, g->groups * job->panels * job->depth * job->panel);
    int64_t chunks = cnf_min(cnf_ceil_div(WANTED_TASKS, column_tasks), PARTIAL_FLOATS / sum);
    job->chunks = cnf_max(1, cnf_min(job->blocks, chunks));

    size_t at = 0, threads = (size_t)cnf_threads();
    job->partial = (float *)scratch;
    at += sizeof(float) * (size_t)(job->chunks * g->groups * job->panels * job->depth * job->panel);
    job->source_blocks = (float *)(scratch + at);
    job->source_stride = (size_t)cnf_round_up((int64_t)b->block_floats, 16);
    at += sizeof(float) * job->source_stride * threads;
    job->dy_panels = (float *)(scratch + at);
    int64_t pixels = b->images * b->rows * b->cols;
    job->dy_stride = (size_t)(job->task_panels * pixels * job->panel);
    at += sizeof(float) * job->dy_stride * threads;
    at = (size_t)cnf_round_up((int64_t)at, 64);
    job->segments = (cnf_segment *)(scratch + at);
    job->segment_stride = b->images * b->rows;
    at += sizeof(cnf_segment) * (size_t)job->segment_stride * threads;
    job->bytes = at;
}

size_t cnf_conv2d_backward_weight_scratch(const cnf_conv2d *d)
{
    if (d->algorithm == CNF_CONV2D_WINOGRAD)
        return cnf_winograd_backward_weight_scratch(d);
    weight_job job;
    plan_weight_gradient(d, &job, NULL);
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

/* Pack columns [column, column + n) of dy's pixels: panel[pixel][panel], zeros beyond n. */
static void pack_dy(const weight_job *job, const pixel_block *p, int64_t column, int64_t n, float *to)
{
    const cnf_grid *g = &job->g;
    for (int64_t line = 0; line < p->images * p->rows; line++) {
        const float *from = job->dy + (p->image + line / p->rows) * g->target_image +
                            (p->row + line % p->rows) * g->target_row + p->col * g->target_pixel +
                            column;
        for (int64_t x = 0; x < p->cols; x++, from += g->target_pixel, to += job->panel) {
            memcpy(to, from, sizeof(float) * (size_t)n);
            if (n < job->panel)
                memset(to + n, 0, sizeof(float) * (size_t)(job->panel - n));
        }
    }
}

/* source[channels, pixels of tap] * dy[pixels, columns] -> partial[tap, channels, columns] */
static void add_block(const weight_job *job, const pixel_block *p, const float *source,
                      const float *dy_panel, cnf_segment *segments, int64_t channel,
                      int64_t channels, int64_t n, float *partial, int accumulate)
{
    const cnf_grid *g = &job->g;
    const cnf_blocking *b = &job->b;
    for (int64_t line = 0; line < p->images * p->rows; line++)
        segments[line] = (cnf_segment){
            line / p->rows * b->image + line % p->rows * g->h.step * b->row, p->cols};
    const int64_t runs = b->merged ? g->h.taps : g->h.taps * g->w.taps;
    for (int64_t run = 0; run < runs; run++) {
        const int64_t t = b->merged ? run : run / g->w.taps, u = b->merged ? 0 : run % g->w.taps;
        const int64_t rows = b->merged ? g->w.taps * channels : channels;
        const int64_t first = (t * g->w.taps + u) * g->channels + channel;
        cnf_kernel->gemm_strip(partial + first * job->panel, job->panel, rows, n,
                               source + t * g->h.tap * b->row + u * g->w.tap * b->pixel, 1,
                               g->w.step * b->pixel, segments, p->images * p->rows, dy_panel, NULL,
                               accumulate);
    }
}

static void weight_task(const void *context, int64_t index, int thread)
{
    const weight_job *job = context;
    const cnf_grid *g = &job->g;
    const cnf_blocking *b = &job->b;
    const int64_t chunk = index % job->chunks;
    const int64_t column_block = index / job->chunks % job->column_blocks;
    const int64_t group = index / job->chunks / job->column_blocks;
    const int64_t first_panel = column_block * job->task_panels;
    const int64_t count = cnf_min(job->task_panels, job->panels - first_panel);
    const int64_t first_block = job->blocks * chunk / job->chunks;
    const int64_t end_block = job->blocks * (chunk + 1) / job->chunks;
    const int64_t panel_floats = job->depth * job->panel;
    float *partial = job->partial + ((chunk * g->groups + group) * job->panels + first_panel) *
                                        panel_floats;
    float *source_block = job->source_blocks + (size_t)thread * job->source_stride;
    float *dy_panels = job->dy_panels + (size_t)thread * job->dy_stride;
    cnf_segment *segments = job->segments + thread * job->segment_stride;
    for (int64_t block = first_block; block < end_block; block++) {
        const pixel_block p = block_at(job, block);
        const int64_t pixels = p.images * p.rows * p.cols;
        for (int64_t j = 0; j < count; j++) {
            int64_t column = (first_panel + j) * job->panel;
            pack_dy(job, &p, group * g->columns + column, cnf_min(job->panel, g->columns - column),
                    dy_panels + j * pixels * job->panel);
        }
        for (int64_t channel = 0; channel < g->channels; channel += b->channels_per_block) {
            const int64_t channels = cnf_min(b->channels_per_block, g->channels - channel);
            const float *source =
                cnf_source_block(g, b, source_block, group, p.image, p.images, p.row, p.rows, p.col,
                                 p.cols, channel, channels);
            for (int64_t j = 0; j < count; j++) {
                int64_t column = (first_panel + j) * job->panel;
                add_block(job, &p, source, dy_panels + j * pixels * job->panel, segments, channel,
                          channels, cnf_min(job->panel, g->columns - column),
                          partial + j * panel_floats, block > first_block);
            }
        }
    }
}

/* Sum the chunks in order and transpose one panel to OIHW. */
static void finish_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const weight_job *job = context;
    const cnf_grid *g = &job->g;
    const int64_t group = index / job->panels, j = index % job->panels;
    const int64_t taps = g->h.taps * g->w.taps, panel_floats = job->depth * job->panel;
    const int64_t chunk_floats = g->groups * job->panels * panel_floats;
    const int64_t n = cnf_min(job->panel, g->columns - j * job->panel);
    float *partial = job->partial + index * panel_floats;
    for (int64_t chunk = 1; chunk < job->chunks; chunk++) {
        const float *term = partial + chunk * chunk_floats;
        for (int64_t i = 0; i < panel_floats; i++)
            partial[i] += term[i];
    }
    float *dw = job->dw + (group * g->columns + j * job->panel) * g->channels * taps;
    for (int64_t column = 0; column < n; column++, dw += g->channels * taps)
        for (int64_t c = 0; c < g->channels; c++)
            for (int64_t tap = 0; tap < taps; tap++)
                dw[c * taps + tap] = partial[(tap * g->channels + c) * job->panel + column];
}

cnf_status cnf_conv2d_backward_weight(float *dw, const float *x, const float *dy,
                                      const cnf_conv2d *d, void *scratch)
{
    if (d->algorithm == CNF_CONV2D_WINOGRAD) {
        cnf_winograd_backward_weight(dw, x, dy, d, scratch);
        return CNF_OK;
    }
    weight_job job;
    plan_weight_gradient(d, &job, scratch);
    if (job.blocks == 0) {
        memset(dw, 0, sizeof(float) * (size_t)(d->co * job.depth));
        return CNF_OK;
    }
    job.g.source = x;
    job.dy = dy;
    job.dw = dw;
    double flops = 2.0 * (double)(d->n * d->oh * d->ow * d->co) * (double)job.depth;
    int64_t tasks = job.g.groups * job.column_blocks * job.chunks;
    cnf_parallel(tasks, flops * CNF_NS_PER_FLOP, weight_task, &job);
    double bytes = 4.0 * (double)(job.chunks + 2) * (double)(d->co * job.depth);
    cnf_parallel(job.g.groups * job.panels, bytes * CNF_NS_PER_BYTE, finish_task, &job);
    return CNF_OK;
}
