/* separable.c: a depthwise convolution between 1x1 convolutions, strip by strip.
 *
 *     x (n, h, w, ci) -> 1x1 -> (n, h, w, c) -> depthwise -> (n, oh, ow, c) -> 1x1 -> y (n, oh, ow, co)
 *
 * Either 1x1 convolution may be absent. A task is a band of rows of an image, without the last
 * convolution also one block of channels. It goes down its band in strips of a few rows whose values
 * between the convolutions stay in its core's L2: block of channels by block, the rows that the
 * strip is the first to read are expanded and convolved depthwise at once, then all blocks are
 * multiplied by the last weight. Values between stand as [block][row][column][block's channels],
 * weights of 1x1 convolutions as conv2d_pack_forward leaves them. Every number is the same chain of
 * multiply-adds as in the three convolutions one by one. Called through plan/primitives.c. */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "depthwise.h"
#include "epilogue.h"
#include "ops.h"

/* What a strip has around its depthwise convolution: half of an L2 of 1 MB, beside the weights.
 * MobileNetV2's 24 -> 144 -> 24 at 56x56 takes 7 % longer with half of it, 18 % with a quarter. */
#define STRIP_BYTES 524288
/* Of a block that is read from an image: in longer runs of memory than a panel's, but no deeper than
 * one pass of the product, and no distance of pixels that falls into few sets of L1. */
#define MOST_CHANNELS (CNF_DEPTH_BLOCK - CNF_WHOLE_VECTORS)
/* The choice shows in the bits where a residual is added in place, so it must not see the threads. */
#define MODEL_THREADS 2
/* Times its share that a thread may have to do. */
#define MOST_WORK 1.12
/* Images that are convolved and then projected: larger ones, which cores read from L3 or memory, take 0
 * to 20 % longer in strips (96 channels at 92x184, 48 at 184x368), smaller ones up to 20 % less. */
#define MOST_BYTES (4 << 20)
/* A thread may have a tenth more tasks than the average. */
#define EVEN 10

typedef struct {
    const float *weight, *bias; /* of one convolution; the bias or both may be NULL */
    cnf_finish finish;
    int finishes;
} layer;

typedef struct {
    const cnf_separable *d;
    float *y;
    const float *x, *residual; /* the residual may be NULL */
    layer expand, depthwise, project;
    cnf_depthwise_cut cut;
    int64_t bands, groups;     /* of an image; of its blocks */
    int64_t strip, window;     /* rows of a strip, and rows that it reads, at most */
    const cnf_segment *blocks; /* of what is projected: where each stands, its channels */
    char *own;                 /* of each thread: thread_memory */
} sweep;

/* Source rows `from` to `end` - 1, as they stand in a thread's memory. */
typedef struct {
    int64_t from, end;
} rows;

/* ---- the cut --------------------------------------------------------------------------------- */

static int64_t window_of(const cnf_depthwise *d, int64_t strip)
{
    return cnf_min(d->h, (strip - 1) * d->stride_h + (d->kh - 1) * d->dilation_h + 1);
}

static int64_t strip_bytes(const sweep *s, int64_t strip)
{
    const cnf_depthwise *d = &s->d->depthwise;
    const int64_t channels = s->cut.blocks / s->groups * s->cut.block;
    return 4 * channels * (window_of(d, strip) * d->w + (s->d->project.co ? strip * d->ow : 0));
}

/* The least bands that give each of the threads as many tasks: rows at their borders are expanded
 * twice. */
static int64_t count_bands(const sweep *s, int64_t threads)
{
    const int64_t each = s->d->depthwise.n * s->groups;
    int64_t bands = 1;
    while (bands < s->d->depthwise.oh &&
           cnf_round_up(each * bands, threads) * EVEN > (EVEN + 1) * each * bands)
        bands++;
    return bands;
}

static sweep make_sweep(const cnf_separable *d, int64_t threads)
{
    sweep s = {.d = d, .groups = 1};
    s.cut = cnf_depthwise_cut_up(&d->depthwise, CNF_DEPTHWISE_FORWARD, 1);
    s.cut.block = d->expand.co ? cnf_kernel->panel : cnf_min(s.cut.block, MOST_CHANNELS);
    s.cut.blocks = cnf_ceil_div(d->depthwise.c, s.cut.block);
    s.cut.streams = 0;
    if (d->expand.co)
        s.cut.x_pitch = s.cut.block, s.cut.fetches = 0;
    if (d->project.co)
        s.cut.y_pitch = s.cut.block;
    else
        s.groups = s.cut.blocks;
    s.bands = count_bands(&s, threads);
    const int64_t band = cnf_ceil_div(d->depthwise.oh, s.bands);
    int64_t strips = 1;
    while (strips < band && strip_bytes(&s, cnf_ceil_div(band, strips)) > STRIP_BYTES)
        strips++;
    s.strip = cnf_ceil_div(band, strips);
    s.window = window_of(&d->depthwise, s.strip);
    return s;
}

/* ---- scratch --------------------------------------------------------------------------------- */

/* What a thread has: whether a block's filters are packed; the filters, [blocks][taps][block];
 * values between the convolutions. Whole cache lines, which no other thread writes. */
typedef struct {
    int64_t *packed;
    float *filters, *expanded, *convolved;
} thread_memory;

static size_t lay_out(const sweep *s, char *base, thread_memory *m)
{
    const cnf_depthwise *d = &s->d->depthwise;
    const int64_t blocks = s->cut.blocks, line = CNF_CACHE_LINE / 4;
    const int64_t channels = blocks / s->groups * s->cut.block; /* of a task */
    int64_t at = cnf_round_up(2 * blocks, line);
    m->packed = (int64_t *)base;
    m->filters = (float *)base + at;
    at += cnf_round_up(d->kh * d->kw * blocks * s->cut.block, line);
    m->expanded = (float *)base + at;
    at += s->d->expand.co ? cnf_round_up(s->window * d->w * channels, line) : 0;
    m->convolved = (float *)base + at;
    at += s->d->project.co ? cnf_round_up(s->strip * d->ow * channels, line) : 0;
    return sizeof(float) * (size_t)at;
}

static size_t segment_bytes(const sweep *s)
{
    return (size_t)cnf_round_up(s->cut.blocks * (int64_t)sizeof(cnf_segment), CNF_CACHE_LINE);
}

static int is_empty(const cnf_separable *d) { return d->depthwise.n * d->depthwise.c == 0; }

size_t cnf_separable_forward_scratch(const cnf_separable *d)
{
    if (is_empty(d))
        return 0;
    const sweep s = make_sweep(d, cnf_threads());
    thread_memory m;
    return cnf_depthwise_cut_scratch(&d->depthwise) + segment_bytes(&s)
           + lay_out(&s, NULL, &m) * (size_t)cnf_threads();
}

/* ---- one strip ------------------------------------------------------------------------------- */

/* The source rows that result rows `row` to `end` - 1 read; none where all of them is padding. */
static rows rows_read(const sweep *s, int64_t row, int64_t end)
{
    rows read = {INT64_MAX, 0};
    for (; row < end; row++) {
        const cnf_span *span = &s->cut.row_spans[row];
        if (span->taps > 0) {
            read.from = cnf_min(read.from, span->in);
            read.end = cnf_max(read.end, span->in + (span->taps - 1) * s->cut.rows.tap_step + 1);
        }
    }
    return read.end > 0 ? read : (rows){0, 0};
}

/* Rows `read` of one block of channels, of which `held` stand there already. */
static void expand_block(const sweep *s, float *block, int64_t index, int64_t image, rows held,
                         rows read)
{
    const cnf_conv2d *d = &s->d->expand;
    const int64_t size = s->cut.block, row = d->w * size, first = index * size;
    const int64_t kept = read.from >= held.from ? cnf_max(0, held.end - read.from) : 0;
    if (kept > 0 && read.from > held.from)
        memmove(block, block + (read.from - held.from) * row, sizeof(float) * (size_t)(kept * row));
    const cnf_segment depth = {0, d->ci};
    const float *panel = s->expand.weight + first * d->ci;
    const int64_t pixel = (image * d->h + read.from + kept) * d->w;
    const cnf_ahead next = {(const char *)(panel + size * d->ci), 4 * size * d->ci};
    cnf_kernel->gemm_strip_finish(
        block + kept * row, size, (read.end - read.from - kept) * d->w,
        cnf_min(size, d->co - first), s->x + pixel * d->x_pitch, d->x_pitch, 1, &depth, 1, panel,
        s->expand.bias ? s->expand.bias + first : NULL, 0,
        index + 1 < s->cut.blocks ? next : cnf_nothing_ahead,
        s->expand.finishes ? &s->expand.finish : NULL);
}

/* Result rows `row` to `end` - 1 of one block, from x whose first row is number 0, to y. */
static void convolve_block(const sweep *s, float *y, const float *x, const float *filter,
                           int64_t index, int64_t row, int64_t end)
{
    const cnf_depthwise_cut *cut = &s->cut;
    const int64_t c = index * cut->block;
    const float *bias = s->depthwise.bias ? s->depthwise.bias + c : NULL;
    cnf_depthwise_piece piece = cnf_depthwise_rows(cut, row, end, index);
    for (int64_t i = 0; i < cut->col_count; i++) {
        const cnf_depthwise_offset at = cnf_depthwise_columns(&piece, cut, &cut->col_spans[i]);
        if (cut->tiled)
            cnf_kernel->depthwise_forward_tile(y + at.y, x + at.x, filter + at.w, bias, &piece);
        else
            cnf_kernel->depthwise_forward_span(y + at.y, x + at.x, filter + at.w, bias, &piece);
    }
    if (s->depthwise.finishes)
        cnf_finish_pixels(y, cut->y_pitch, (end - row) * cut->cols.positions, piece.channels, NULL,
                          NULL, &s->depthwise.finish);
}

/* `pixels` of the result, from number `pixel` on, from all blocks of channels. */
static void project_strip(const sweep *s, const float *convolved, int64_t pixel, int64_t pixels)
{
    const cnf_conv2d *d = &s->d->project;
    const int64_t panel = cnf_kernel->panel, block = s->cut.block, blocks = s->cut.blocks;
    const int64_t passes = cnf_ceil_div(blocks * block, CNF_DEPTH_BLOCK);
    for (int64_t pass = 0; pass < passes; pass++) {
        const int64_t first = blocks * pass / passes, end = blocks * (pass + 1) / passes;
        const int last = pass + 1 == passes;
        for (int64_t column = 0; column < d->co; column += panel) {
            const float *weight = s->project.weight + column * d->ci + first * block * panel;
            const cnf_ahead next = {(const char *)(weight + panel * d->ci),
                                    4 * (end - first) * block * panel};
            cnf_finish finish = s->project.finish;
            if (s->residual)
                finish.residual = s->residual + pixel * finish.residual_pitch + column;
            cnf_kernel->gemm_strip_finish(
                s->y + pixel * d->y_pitch + column, d->y_pitch, pixels,
                cnf_min(panel, d->co - column), convolved, block, 1, s->blocks + first, end - first,
                weight, s->project.bias ? s->project.bias + column : NULL, pass > 0,
                column + panel < d->co ? next : cnf_nothing_ahead,
                last && (s->residual || s->project.finishes) ? &finish : NULL);
        }
    }
}

/* ---- the whole ------------------------------------------------------------------------------- */

/* The filters of a block, packed by the first task of the thread that needs them. */
static const float *thread_filter(const sweep *s, const thread_memory *m, int64_t index)
{
    const cnf_depthwise *d = &s->d->depthwise;
    float *filter = m->filters + index * d->kh * d->kw * s->cut.block;
    if (!m->packed[index])
        cnf_depthwise_pack_filter(filter, s->depthwise.weight, d, s->cut.block, index);
    m->packed[index] = 1;
    return filter;
}

static void band_task(const void *context, int64_t task, int thread)
{
    const sweep *s = context;
    const cnf_depthwise *d = &s->d->depthwise;
    const int64_t size = s->cut.block, blocks = s->cut.blocks / s->groups;
    const int64_t first = task % s->groups * blocks, band = task / s->groups % s->bands;
    const int64_t image = task / s->groups / s->bands, last = d->oh * (band + 1) / s->bands;
    thread_memory m;
    lay_out(s, s->own + lay_out(s, NULL, &m) * (size_t)thread, &m);
    rows held = {0, 0};
    for (int64_t row = d->oh * band / s->bands, end; row < last; row = end) {
        end = cnf_min(last, row + s->strip);
        const rows read = rows_read(s, row, end);
        const int64_t pixel = (image * d->oh + row) * d->ow;
        for (int64_t index = first; index < first + blocks; index++) {
            float *y = s->d->project.co ? m.convolved + s->blocks[index].offset
                                        : s->y + pixel * d->y_pitch + index * size;
            const float *x;
            if (s->d->expand.co) {
                float *expanded = m.expanded + (index - first) * s->window * d->w * size;
                expand_block(s, expanded, index, image, held, read);
                x = expanded - read.from * d->w * size;
            } else {
                x = s->x + image * d->h * d->w * d->x_pitch + index * size;
            }
            convolve_block(s, y, x, thread_filter(s, &m, index), index, row, end);
        }
        held = read;
        if (s->d->project.co)
            project_strip(s, m.convolved, pixel, (end - row) * d->ow);
    }
}

static layer make_layer(const float *weight, const float *bias, const cnf_epilogue *e)
{
    return (layer){weight, bias, cnf_finish_make(e), cnf_finish_needed(e, NULL)};
}

static double flops_of(const cnf_conv2d *d)
{
    return 2.0 * (double)(d->n * d->oh * d->ow) * (double)(d->co * d->ci);
}

static double work_of(const cnf_separable *d)
{
    const cnf_depthwise *w = &d->depthwise;
    const double taps = (double)(w->n * w->oh * w->ow * w->c) * (double)(w->kh * w->kw);
    return (flops_of(&d->expand) + 2 * taps + flops_of(&d->project)) * CNF_NS_PER_FLOP;
}

/* Whether bands leave a thread little more to do than its share: borders of bands are expanded twice,
 * and few rows are not cut in half. And whether an image that is only projected is small. */
int cnf_separable_gains(const cnf_separable *d)
{
    if (is_empty(d) || (!d->expand.co && !d->project.co))
        return 0;
    const sweep s = make_sweep(d, MODEL_THREADS);
    const cnf_depthwise *w = &d->depthwise;
    if (!d->expand.co && 4 * w->n * w->c * (w->h * w->w + w->oh * w->ow) > MOST_BYTES)
        return 0;
    const int64_t band = cnf_ceil_div(w->oh, s.bands), tasks = w->n * s.bands * s.groups;
    const double each = (double)cnf_ceil_div(tasks, MODEL_THREADS) / (double)tasks;
    const int64_t below = (w->oh - 1) * w->stride_h + (w->kh - 1) * w->dilation_h + 1 - w->h - w->pad_top;
    const int64_t border = s.bands > 2 ? 0 : cnf_max(0, cnf_min(w->pad_top, below)); /* not read */
    const double read = (double)((window_of(w, band) - border) * s.bands) / (double)w->h;
    const double rows = (double)(band * s.bands) / (double)w->oh;
    const double expand = flops_of(&d->expand) * CNF_NS_PER_FLOP, rest = work_of(d) - expand;
    return MODEL_THREADS * each * (expand * (read > 1 ? read : 1) + rest * rows) < MOST_WORK * work_of(d);
}

cnf_status cnf_separable_forward(float *y, const float *x, const float *expand,
                                 const float *expand_bias, const float *weight, const float *bias,
                                 const float *project, const float *project_bias,
                                 const float *residual, const cnf_separable *d, void *scratch)
{
    if (is_empty(d))
        return CNF_OK;
    sweep s = make_sweep(d, cnf_threads());
    thread_memory m;
    cnf_segment *blocks = (cnf_segment *)((char *)scratch + cnf_depthwise_cut_scratch(&d->depthwise));
    cnf_depthwise_cut_spans(&s.cut, scratch);
    for (int64_t i = 0; i < s.cut.blocks; i++)
        blocks[i] = (cnf_segment){i * s.strip * d->depthwise.ow * s.cut.block,
                                  cnf_min(s.cut.block, d->depthwise.c - i * s.cut.block)};
    s.y = y, s.x = x, s.residual = residual, s.blocks = blocks;
    s.expand = make_layer(expand, expand_bias, &d->expand.epilogue);
    s.depthwise = make_layer(weight, bias, &d->depthwise.epilogue);
    s.depthwise.finishes = !cnf_depthwise_bounds(&s.cut, &d->depthwise.epilogue, NULL);
    s.project = make_layer(project, project_bias, &d->project.epilogue);
    s.own = (char *)blocks + segment_bytes(&s);
    for (int thread = 0; thread < cnf_threads(); thread++) {
        lay_out(&s, s.own + lay_out(&s, NULL, &m) * (size_t)thread, &m);
        memset(m.packed, 0, sizeof(int64_t) * (size_t)s.cut.blocks);
    }
    cnf_parallel(d->depthwise.n * s.bands * s.groups, work_of(d), band_task, &s);
    return CNF_OK;
}
