/* depthwise.c: convolution with one filter a channel, and its input gradient.
 *
 * x (n, h, w, c), y (n, oh, ow, c) are images, weight dense (c, 1, kh, kw), bias (c). A task is a
 * band of rows of an image by a block of channels; it goes down its band tile by tile, so that the
 * rows which one tap row shares with the next are still in L1. Blocks of a band follow each other,
 * so that memory is read in order, unless there are few rows for many channels. Called through
 * plan/primitives.c. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "depthwise.h"
#include "epilogue.h"
#include "ops.h"

#include <string.h>

/* At least, where there are rows enough: some for each of a few threads. With 16, threads took more
 * of each other's, and with it the rows of a network's next layer. */
#define TASKS 8
/* A core's rate, in operations a nanosecond, low as machine.h's, which is for longer work: two threads
 * took 11.5 us for 192x28x28 with stride 2, one 7.3. */
#define NS_PER_FLOP (CNF_NS_PER_FLOP * 2 / 3)
/* Channels for each row, from which on threads share out channels: they read the rows at their
 * border both, or else, of each pixel, what the processor fetches beyond theirs. */
#define MANY_CHANNELS 16

typedef struct {
    float *y;         /* swept and written */
    const float *x;   /* read */
    const float *weight, *bias;
    const cnf_depthwise *d;
    cnf_depthwise_cut cut;
    int64_t bands, parts; /* a task's rows are a band; of one image, of all */
    int by_block;        /* tasks of a block follow each other, not those of a band */
    int streams;         /* the result goes past the caches */
    char *filters;       /* of each thread: thread_filters */
    const cnf_finish *finish; /* or NULL */
    const float *residual;    /* or NULL */
    double *partial;          /* sums [parts][2][c], or NULL */
} sweep;

static int64_t filter_floats(const cnf_depthwise *d, int64_t block)
{
    return d->kh * d->kw * block;
}

/* A thread's filters, float [blocks][kh * kw][block], stand behind int64_t [blocks]: whether they
 * are there. Whole cache lines, which no other thread writes. */
static size_t flag_bytes(const sweep *s)
{
    return (size_t)cnf_round_up(s->cut.blocks * (int64_t)sizeof(int64_t), CNF_CACHE_LINE);
}

static size_t thread_bytes(const sweep *s)
{
    return flag_bytes(s)
           + sizeof(float) * (size_t)(s->cut.blocks * filter_floats(s->d, s->cut.block));
}

void cnf_depthwise_pack_filter(float *out, const float *weight, const cnf_depthwise *d,
                               int64_t block, int64_t index)
{
    const int64_t taps = d->kh * d->kw, count = cnf_min(block, d->c - index * block);
    cnf_kernel->transpose(out, block, weight + index * block * taps, taps, count, taps);
    for (int64_t tap = 0; tap < taps && count < block; tap++)
        memset(out + tap * block + count, 0, sizeof(float) * (size_t)(block - count));
}

/* The epilogue of a piece, while it is in L2; `part` is its number among those of its block. */
static void finish_piece(const sweep *s, const cnf_depthwise_piece *piece, float *y, int64_t pixel,
                         int64_t c, int64_t part)
{
    double own[2 * CNF_DEPTHWISE_BLOCK], *sums = s->partial ? own : NULL;
    const float *residual =
        s->residual ? s->residual + pixel * s->finish->residual_pitch + c : NULL;
    cnf_finish_pixels(y, s->cut.y_pitch, piece->row_count * s->cut.cols.positions, piece->channels,
                      residual, sums, s->finish);
    for (int64_t i = 0; sums && i < 2; i++)
        memcpy(s->partial + (2 * part + i) * s->cut.c + c, own + i * piece->channels,
               sizeof(double) * (size_t)piece->channels);
}

/* The filters of a block, packed by the first task of the thread that needs them. */
static const float *thread_filter(const sweep *s, int64_t index, int thread)
{
    char *own = s->filters + (size_t)thread * thread_bytes(s);
    int64_t *packed = (int64_t *)own;
    float *filter = (float *)(own + flag_bytes(s)) + index * filter_floats(s->d, s->cut.block);
    if (!packed[index])
        cnf_depthwise_pack_filter(filter, s->weight, s->d, s->cut.block, index);
    packed[index] = 1;
    return filter;
}

static void sweep_task(const void *context, int64_t task, int thread)
{
    const sweep *s = context;
    const cnf_depthwise_cut *cut = &s->cut;
    const int64_t index = s->by_block ? task / s->parts : task % cut->blocks;
    const int64_t part = s->by_block ? task % s->parts : task / cut->blocks;
    const int64_t rows = cut->rows.positions, n = part / s->bands, band = part % s->bands;
    const int64_t row = rows * band / s->bands, c = index * cut->block;
    const float *filter = thread_filter(s, index, thread);
    cnf_depthwise_piece piece =
        cnf_depthwise_rows(cut, row, rows * (band + 1) / s->bands, index);
    piece.streams = s->streams;
    const int64_t pixel = (n * rows + row) * cut->cols.positions;
    float *y = s->y + pixel * cut->y_pitch + c;
    const float *x = s->x + n * cut->rows.inputs * piece.x_row + c;
    const float *bias = s->bias ? s->bias + c : NULL;
    for (int64_t i = 0; i < cut->col_count; i++) {
        cnf_depthwise_offset at = cnf_depthwise_columns(&piece, cut, &cut->col_spans[i]);
        if (cut->tiled)
            cnf_kernel->depthwise_forward_tile(y + at.y, x + at.x, filter + at.w, bias, &piece);
        else
            cnf_kernel->depthwise_forward_span(y + at.y, x + at.x, filter + at.w, bias, &piece);
    }
    if (s->finish)
        finish_piece(s, &piece, y, pixel, c, part);
    if (s->streams)
        cnf_stream_end();
}

static sweep make_sweep(const cnf_depthwise *d, cnf_depthwise_way way)
{
    const int64_t rows = way == CNF_DEPTHWISE_FORWARD ? d->oh : d->h;
    sweep s = {.d = d, .by_block = d->c > MANY_CHANNELS * d->n * rows};
    s.cut = cnf_depthwise_cut_up(d, way, !s.by_block);
    const int64_t band = cnf_min(s.cut.band, d->n * rows * s.cut.blocks / TASKS);
    s.bands = cnf_ceil_div(rows, cnf_max(1, band));
    s.parts = s.bands * d->n;
    return s;
}

/* What run_sweep needs, without the partial sums. */
static size_t sweep_scratch(const sweep *s)
{
    return cnf_depthwise_cut_scratch(s->d) + thread_bytes(s) * (size_t)cnf_threads();
}

static cnf_status run_sweep(sweep *s, void *scratch)
{
    const cnf_depthwise *d = s->d;
    const cnf_depthwise_cut *cut = &s->cut;
    cnf_depthwise_cut_spans(&s->cut, scratch);
    s->filters = (char *)scratch + cnf_depthwise_cut_scratch(d);
    for (int thread = 0; thread < cnf_threads(); thread++)
        memset(s->filters + (size_t)thread * thread_bytes(s), 0, flag_bytes(s));
    s->streams = cut->streams && !s->finish && cnf_whole_lines(s->y, cut->y_pitch, cut->c)
                 && cnf_kernel->lanes * sizeof(float) == CNF_CACHE_LINE;
    double work = 2.0 * (double)(d->n * d->c * d->oh * d->ow * d->kh * d->kw) * NS_PER_FLOP;
    cnf_parallel(s->parts * cut->blocks, work, sweep_task, s);
    return CNF_OK;
}

static int is_empty(const cnf_depthwise *d) { return d->n * d->c == 0; }

static size_t partial_bytes(const cnf_depthwise *d, const sweep *s)
{
    return d->epilogue.sums ? cnf_sums_bytes(s->parts, d->c) : 0;
}

size_t cnf_depthwise_forward_scratch(const cnf_depthwise *d)
{
    if (is_empty(d))
        return 0;
    const sweep s = make_sweep(d, CNF_DEPTHWISE_FORWARD);
    return partial_bytes(d, &s) + sweep_scratch(&s);
}

size_t cnf_depthwise_backward_input_scratch(const cnf_depthwise *d)
{
    if (is_empty(d))
        return 0;
    const sweep s = make_sweep(d, CNF_DEPTHWISE_INPUT);
    return sweep_scratch(&s);
}

cnf_status cnf_depthwise_forward(float *y, double *sums, const float *x, const float *weight,
                                 const float *bias, const float *residual, const cnf_depthwise *d,
                                 void *scratch)
{
    if (is_empty(d)) {
        if (d->epilogue.sums)
            memset(sums, 0, sizeof(double) * 2 * (size_t)d->c);
        return CNF_OK;
    }
    const cnf_finish finish = cnf_finish_make(&d->epilogue);
    sweep s = make_sweep(d, CNF_DEPTHWISE_FORWARD);
    s.y = y, s.x = x, s.weight = weight, s.bias = bias, s.residual = residual;
    if (!cnf_depthwise_bounds(&s.cut, &d->epilogue, residual))
        s.finish = &finish;
    if (d->epilogue.sums)
        s.partial = scratch;
    cnf_status status = run_sweep(&s, (char *)scratch + partial_bytes(d, &s));
    if (s.partial)
        cnf_sums_join(sums, s.partial, s.parts, d->c);
    return status;
}

cnf_status cnf_depthwise_backward_input(float *dx, const float *dy, const float *weight,
                                        const cnf_depthwise *d, void *scratch)
{
    if (is_empty(d))
        return CNF_OK;
    sweep s = make_sweep(d, CNF_DEPTHWISE_INPUT);
    s.y = dx, s.x = dy, s.weight = weight;
    return run_sweep(&s, scratch);
}
