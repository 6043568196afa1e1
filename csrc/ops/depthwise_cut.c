/* depthwise_cut.c: which pieces a depthwise convolution falls into; see depthwise.h.
 *
 * Columns are cut into tiles where the kernel is 3, 5 or 7 wide, its stride 1 or 2 and not dilated:
 * equal parts of at most CNF_DEPTHWISE_COLUMNS. Otherwise into spans: columns, evenly spaced, that
 * read with the same taps, all of them inside the image; in the input gradient with stride s these
 * are inputs of one remainder modulo s. */
#include "depthwise.h"
#include "epilogue.h"
#include "../machine/machine.h"

typedef cnf_depthwise_axis axis;

/* The rows of source and result that a tile works on. With 28 KB, which every L1 holds, blocks of
 * channels were narrower, and short runs of memory cost more than some misses. */
#define L1_BYTES 40960
#define BAND_BYTES 524288 /* read and written: half of an L2 of 1 MB, beside the next band's */
/* Larger images come from main memory and are fetched ahead; of twice that, the result is written
 * past the caches, since little of it would be left there for who reads it. */
#define L3_BYTES ((int64_t)32 << 20)
/* Blocks of channels where there are not enough rows: some for each of a few threads. */
#define BLOCKS 8
#define LEAST_BLOCK 64 /* channels: four cache lines in a row */

/* ---- which taps a position uses ---------------------------------------------------------- */

static int64_t greatest_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static axis make_axis(int64_t x_size, int64_t y_size, int64_t kernel, int64_t stride, int64_t pad,
                      int64_t dilation, int backward)
{
    if (!backward)
        return (axis){y_size, x_size, kernel, stride, pad, dilation, 0, 1, stride, 1, dilation};
    int64_t common = greatest_divisor(stride, dilation);
    return (axis){x_size, y_size, kernel, stride, pad, dilation, 1, stride, 1, stride / common,
                  -dilation / common};
}

/* The taps of one position. Forward, tap k reads position * stride - pad + k * dilation; backward,
 * the output o with o * stride - pad + k * dilation == position. */
static cnf_span span_at(const axis *a, int64_t position)
{
    cnf_span s = {position, 1, 0, 0, 0};
    int64_t in, last, k = 0;
    if (a->backward) {
        while (k < cnf_min(a->k_step, a->kernel)
               && (position + a->pad - k * a->dilation) % a->stride != 0)
            k++;
        if (k == a->k_step || k >= a->kernel)
            return s;
        in = (position + a->pad - k * a->dilation) / a->stride;
        if (in >= a->inputs) { /* skip the taps that fall behind the end */
            int64_t skipped = cnf_ceil_div(in - a->inputs + 1, -a->tap_step);
            k += skipped * a->k_step;
            in += skipped * a->tap_step;
        }
        last = in >= 0 ? in / -a->tap_step : -1;
    } else {
        in = position * a->stride - a->pad;
        if (in < 0) {
            k = cnf_ceil_div(-in, a->dilation);
            in += k * a->dilation;
        }
        last = in < a->inputs ? (a->inputs - 1 - in) / a->dilation : -1;
    }
    s.taps = k < a->kernel ? cnf_min(last, (a->kernel - 1 - k) / a->k_step) + 1 : 0;
    if (s.taps > 0)
        s.k = k, s.in = in;
    return s;
}

/* ---- columns ----------------------------------------------------------------------------- */

/* Cut the whole axis; at most a->positions spans. */
static int64_t make_spans(const axis *a, cnf_span *spans)
{
    int64_t count = 0;
    for (int64_t first = 0; first < cnf_min(a->step, a->positions); first++) {
        cnf_span *open = NULL;
        for (int64_t position = first; position < a->positions; position += a->step) {
            cnf_span here = span_at(a, position);
            if (open && open->k == here.k && open->taps == here.taps) {
                open->count++;
            } else {
                open = &spans[count++];
                *open = here;
            }
        }
    }
    return count;
}

/* With stride 2, a tile's columns are pairs of inputs, and each output is scattered over them. */
static int is_scattered(const axis *a) { return a->backward && a->stride == 2; }

static int is_tiled(const axis *a, cnf_depthwise_way way)
{
    int64_t widest = is_scattered(a) || way == CNF_DEPTHWISE_WEIGHT ? 5 : 7;
    return (a->kernel == 3 || a->kernel == 5 || a->kernel == 7) && a->kernel <= widest
           && a->stride <= 2 && a->dilation == 1 && a->pad >= 0 && a->pad < a->kernel;
}

/* At most a->positions tiles. Their `start` and `in` may lie outside the image. */
static int64_t make_tiles(const axis *a, cnf_span *tiles)
{
    const int scattered = is_scattered(a);
    const int64_t each = scattered ? 2 : 1; /* columns that cannot be parted */
    const int64_t first = scattered ? a->pad / 2 : 0;
    const int64_t units = scattered ? (a->pad + a->positions + 1) / 2 - first : a->positions;
    const int64_t parts = cnf_ceil_div(units * each, CNF_DEPTHWISE_COLUMNS);
    const int64_t step = cnf_ceil_div(units, parts);
    int64_t count = 0;
    for (int64_t unit = 0; unit < units; unit += step, count++) {
        cnf_span *tile = &tiles[count];
        *tile = (cnf_span){unit, cnf_min(step, units - unit) * each, 0, a->kernel, 0};
        if (scattered) {
            tile->start = 2 * (first + unit) - a->pad;
            tile->in = first + unit - a->kernel / 2;
        } else if (a->backward) {
            tile->k = a->kernel - 1;
            tile->in = unit + a->pad - (a->kernel - 1);
        } else {
            tile->in = unit * a->stride - a->pad;
        }
    }
    return count;
}

cnf_depthwise_offset cnf_depthwise_columns(cnf_depthwise_piece *p, const cnf_depthwise_cut *cut,
                                           const cnf_span *columns)
{
    const axis *a = &cut->cols;
    p->columns = columns->count, p->taps = columns->taps;
    if (!cut->tiled) {
        p->y_step = a->step * cut->y_pitch, p->x_step = a->in_step * cut->x_pitch;
        p->x_col = a->tap_step * cut->x_pitch, p->w_col = a->k_step * cut->block;
    } else {
        const int64_t sources = is_scattered(a) ? (columns->count + a->kernel) / 2
                                                : (columns->count - 1) * a->stride + a->kernel;
        p->stride = (int)a->stride, p->scatter = is_scattered(a);
        p->y_step = cut->y_pitch, p->x_step = cut->x_pitch;
        p->w_col = a->backward && !p->scatter ? -cut->block : cut->block;
        p->x_first = (int)cnf_max(0, -columns->in);
        p->x_last = (int)cnf_min(sources, a->inputs - columns->in);
        p->y_first = (int)cnf_max(0, -columns->start);
        p->y_last = (int)cnf_min(columns->count, a->positions - columns->start);
    }
    return (cnf_depthwise_offset){columns->start * cut->y_pitch, columns->in * cut->x_pitch,
                                  columns->k * cut->block};
}

/* ---- the whole --------------------------------------------------------------------------- */

size_t cnf_depthwise_cut_scratch(const cnf_depthwise *d)
{
    const int64_t spans = cnf_max(d->h, d->oh) + cnf_max(d->w, d->ow);
    return (size_t)cnf_round_up(spans * (int64_t)sizeof(cnf_span), CNF_CACHE_LINE);
}

/* Channels of a block: as many as leave a tile's rows in L1, in equal parts. */
static int64_t block_channels(const cnf_depthwise *d, int enough)
{
    const int64_t columns = CNF_DEPTHWISE_COLUMNS;
    const int64_t values = d->kh * ((columns - 1) * d->stride_w + 2 * d->kw) + columns;
    int64_t most = cnf_min(cnf_max(L1_BYTES / 4 / values, LEAST_BLOCK), CNF_DEPTHWISE_BLOCK);
    if (!enough)
        most = cnf_min(most, cnf_max(cnf_ceil_div(d->c, BLOCKS), LEAST_BLOCK));
    return cnf_round_up(cnf_ceil_div(d->c, cnf_ceil_div(d->c, most)), CNF_WHOLE_VECTORS);
}

cnf_depthwise_cut cnf_depthwise_cut_up(const cnf_depthwise *d, cnf_depthwise_way way, int enough)
{
    const int backward = way == CNF_DEPTHWISE_INPUT;
    cnf_depthwise_cut cut = {.c = d->c, .y_pitch = d->y_pitch, .x_pitch = d->x_pitch};
    if (backward)
        cut.y_pitch = d->x_pitch, cut.x_pitch = d->y_pitch;
    cut.rows = make_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h, backward);
    cut.cols = make_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w, backward);
    cut.tiled = is_tiled(&cut.cols, way);
    cut.block = block_channels(d, enough);
    cut.blocks = cnf_ceil_div(d->c, cut.block);
    const int64_t pixels = d->w * d->h + d->ow * d->oh;
    const int64_t row_bytes = cnf_max(1, 4 * cut.block * pixels / cut.rows.positions);
    cut.band = cnf_max(1, cnf_min(BAND_BYTES / row_bytes, cut.rows.positions));
    const int64_t bytes = 4 * d->n * d->c * pixels;
    cut.fetches = bytes > L3_BYTES, cut.streams = bytes > 2 * L3_BYTES;
    return cut;
}

void cnf_depthwise_cut_spans(cnf_depthwise_cut *cut, void *scratch)
{
    cnf_span *rows = scratch, *cols = rows + cut->rows.positions;
    for (int64_t row = 0; row < cut->rows.positions; row++)
        rows[row] = span_at(&cut->rows, row);
    cut->row_spans = rows, cut->col_spans = cols;
    cut->col_count = cut->tiled ? make_tiles(&cut->cols, cols) : make_spans(&cut->cols, cols);
}

int cnf_depthwise_bounds(cnf_depthwise_cut *cut, const cnf_epilogue *e, const float *residual)
{
    const cnf_finish finish = cnf_finish_make(e);
    if (residual || e->sums || finish.kind != cnf_unary_identity)
        return 0;
    cut->bounded = e->activation != cnf_unary_identity;
    cut->low = finish.low, cut->high = finish.high;
    return 1;
}

cnf_depthwise_piece cnf_depthwise_rows(const cnf_depthwise_cut *cut, int64_t row, int64_t end,
                                       int64_t block)
{
    return (cnf_depthwise_piece){
        .rows = cut->row_spans + row,
        .row_count = end - row,
        .channels = cnf_min(cut->block, cut->c - block * cut->block),
        .y_row = cut->cols.positions * cut->y_pitch,
        .x_row = cut->cols.inputs * cut->x_pitch,
        .w_row = cut->cols.kernel * cut->block,
        .row_step = cut->rows.tap_step,
        .filter_step = cut->rows.k_step,
        .fresh = cut->fetches ? cut->rows.in_step : 0,
        .bounded = cut->bounded,
        .low = cut->low,
        .high = cut->high,
    };
}
