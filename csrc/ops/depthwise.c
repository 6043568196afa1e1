/* depthwise.c: convolution with one filter a channel, and its two gradients.
 *
 * x (n, h, w, c), y (n, oh, ow, c) are images, weight and dw (c, 1, kh, kw) dense, bias (c).
 * All three go along rows of the image that they sweep. A row is cut into spans: columns, evenly
 * spaced, that read with the same taps, all of them inside the image. The input gradient is such a
 * convolution too: an input reads the outputs it fed, with the filter's taps backwards; with
 * stride s the inputs of one remainder modulo s use the same taps. Called through plan/primitives.c. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "epilogue.h"
#include "ops.h"

#include <string.h>

#define WHOLE_VECTORS 16 /* floats: the longest vector of any ISA */
#define TASK_BYTES 65536
#define MOST_CHUNKS 16 /* of the weight gradient: enough for 16 threads, cheap to add up */

static int64_t scratch_channels(const cnf_depthwise *d)
{
    return cnf_round_up(d->c, WHOLE_VECTORS);
}

/* ---- spans ------------------------------------------------------------------------------- */

/* One axis: `positions` are swept, each reads at most `kernel` of `inputs` positions. */
typedef struct {
    int64_t positions, inputs, kernel, stride, pad, dilation;
    int backward;      /* sweeps the convolution's input and reads its output */
    int64_t step;      /* between positions that use the same taps */
    int64_t in_step;   /* what they read is so far apart */
    int64_t k_step;    /* from one tap to the next: in the filter */
    int64_t tap_step;  /* and in what is read */
} axis;

/* Positions start, start + step, ... (count of them) use taps k, k + k_step, ... (taps of them);
 * the first position reads `in` with the first tap. */
typedef struct {
    int64_t start, count, k, taps, in;
} span;

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
static span span_at(const axis *a, int64_t position)
{
    span s = {position, 1, 0, 0, 0};
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

/* Cut the whole axis; at most a->positions spans. */
static int64_t make_spans(const axis *a, span *spans)
{
    int64_t count = 0;
    for (int64_t first = 0; first < cnf_min(a->step, a->positions); first++) {
        span *open = NULL;
        for (int64_t position = first; position < a->positions; position += a->step) {
            span here = span_at(a, position);
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

/* ---- forward and input gradient ---------------------------------------------------------- */

typedef struct {
    float *y;         /* swept and written */
    const float *x;   /* read */
    const float *w;   /* [kh * kw][scratch_channels] */
    const float *bias;
    int64_t n, c, y_pitch, x_pitch, kw, w_pitch;
    axis rows, cols;
    const span *spans;
    int64_t span_count, rows_each, row_count;
    const cnf_finish *finish; /* or NULL */
    const float *residual;    /* or NULL */
    double *partial;          /* sums a task, or NULL */
} sweep;

static void sweep_row(const sweep *s, int64_t n, int64_t row)
{
    const span taps = span_at(&s->rows, row);
    const float *x = s->x + (n * s->rows.inputs + taps.in) * s->cols.inputs * s->x_pitch;
    float *y = s->y + (n * s->rows.positions + row) * s->cols.positions * s->y_pitch;
    cnf_depthwise_span tile = {
        .channels = s->c,
        .y_step = s->cols.step * s->y_pitch,
        .x_step = s->cols.in_step * s->x_pitch,
        .rows = taps.taps,
        .x_row = s->rows.tap_step * s->cols.inputs * s->x_pitch,
        .x_col = s->cols.tap_step * s->x_pitch,
        .w_row = s->rows.k_step * s->kw * s->w_pitch,
        .w_col = s->cols.k_step * s->w_pitch,
    };
    for (int64_t i = 0; i < s->span_count; i++) {
        const span *columns = &s->spans[i];
        tile.columns = columns->count;
        tile.cols = columns->taps;
        cnf_kernel->depthwise_forward_span(
            y + columns->start * s->y_pitch, x + columns->in * s->x_pitch,
            s->w + (taps.k * s->kw + columns->k) * s->w_pitch, s->bias, &tile);
    }
}

static void sweep_task(const void *context, int64_t task, int thread)
{
    (void)thread;
    const sweep *s = context;
    int64_t end = cnf_min((task + 1) * s->rows_each, s->row_count);
    for (int64_t row = task * s->rows_each; row < end; row++)
        sweep_row(s, row / s->rows.positions, row % s->rows.positions);
    if (s->finish) { /* while the rows are in L2 */
        const int64_t first = task * s->rows_each * s->cols.positions;
        cnf_finish_pixels(s->y + first * s->y_pitch, s->y_pitch, end * s->cols.positions - first,
                          s->c, s->residual ? s->residual + first * s->finish->residual_pitch : NULL,
                          s->partial ? s->partial + task * 2 * s->c : NULL, s->finish);
    }
}

/* weight (c, taps) to [taps][scratch_channels], zero beyond c. */
static void transpose_weight(float *out, const float *weight, const cnf_depthwise *d)
{
    int64_t taps = d->kh * d->kw, pitch = scratch_channels(d);
    for (int64_t tap = 0; tap < taps; tap++) {
        for (int64_t c = 0; c < d->c; c++)
            out[tap * pitch + c] = weight[c * taps + tap];
        memset(out + tap * pitch + d->c, 0, sizeof(float) * (size_t)(pitch - d->c));
    }
}

static size_t sweep_scratch(const cnf_depthwise *d, int64_t columns)
{
    return sizeof(float) * (size_t)(d->kh * d->kw * scratch_channels(d))
           + sizeof(span) * (size_t)columns;
}

static int64_t rows_of_task(const cnf_depthwise *d)
{
    return cnf_max(1, TASK_BYTES / (4 * cnf_max(1, d->c) * (d->w + d->ow)));
}

static int64_t forward_tasks(const cnf_depthwise *d)
{
    return cnf_ceil_div(d->n * d->oh, rows_of_task(d));
}

static size_t partial_bytes(const cnf_depthwise *d)
{
    return d->epilogue.sums ? cnf_sums_bytes(forward_tasks(d), d->c) : 0;
}

size_t cnf_depthwise_forward_scratch(const cnf_depthwise *d)
{
    return partial_bytes(d) + sweep_scratch(d, d->ow);
}
size_t cnf_depthwise_backward_input_scratch(const cnf_depthwise *d)
{
    return sweep_scratch(d, d->w);
}

static double depthwise_work(const cnf_depthwise *d)
{
    return 2.0 * (double)(d->n * d->c * d->oh * d->ow * d->kh * d->kw) * CNF_NS_PER_FLOP;
}

static cnf_status run_sweep(sweep *s, const float *weight, const cnf_depthwise *d, void *scratch)
{
    float *w = scratch;
    s->n = d->n, s->c = d->c, s->kw = d->kw, s->w_pitch = scratch_channels(d), s->w = w;
    s->row_count = d->n * s->rows.positions;
    if (s->row_count == 0 || s->cols.positions == 0 || d->c == 0)
        return CNF_OK;
    transpose_weight(w, weight, d);
    span *spans = (span *)(w + d->kh * d->kw * s->w_pitch);
    s->spans = spans;
    s->span_count = make_spans(&s->cols, spans);
    s->rows_each = rows_of_task(d);
    cnf_parallel(cnf_ceil_div(s->row_count, s->rows_each), depthwise_work(d), sweep_task, s);
    return CNF_OK;
}

cnf_status cnf_depthwise_forward(float *y, double *sums, const float *x, const float *weight,
                                 const float *bias, const float *residual, const cnf_depthwise *d,
                                 void *scratch)
{
    const cnf_finish finish = cnf_finish_make(&d->epilogue);
    sweep s = {.y = y, .x = x, .bias = bias, .y_pitch = d->y_pitch, .x_pitch = d->x_pitch,
               .residual = residual};
    if (cnf_finish_needed(&d->epilogue, residual))
        s.finish = &finish;
    if (d->epilogue.sums)
        s.partial = scratch;
    s.rows = make_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h, 0);
    s.cols = make_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w, 0);
    cnf_status status = run_sweep(&s, weight, d, (char *)scratch + partial_bytes(d));
    if (s.partial)
        cnf_sums_join(sums, s.partial, forward_tasks(d), d->c);
    return status;
}

cnf_status cnf_depthwise_backward_input(float *dx, const float *dy, const float *weight,
                                        const cnf_depthwise *d, void *scratch)
{
    sweep s = {.y = dx, .x = dy, .y_pitch = d->x_pitch, .x_pitch = d->y_pitch};
    s.rows = make_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h, 1);
    s.cols = make_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w, 1);
    return run_sweep(&s, weight, d, scratch);
}

/* ---- weight gradient --------------------------------------------------------------------- */

typedef struct {
    float *dw;
    const float *x, *dy;
    const cnf_depthwise *d;
    float *partial; /* [chunks][kh * kw][scratch_channels] */
    int64_t chunks;
    axis rows;
    const span *spans;
    int64_t span_count;
} weight_job;

/* Chunks of output rows: a number that depends on the shape alone, so that the bits do too. */
static int64_t chunk_count(const cnf_depthwise *d)
{
    int64_t bytes = 4 * d->n * d->oh * d->ow * d->c;
    return cnf_max(1, cnf_min(cnf_min(MOST_CHUNKS, d->n * d->oh), bytes / TASK_BYTES));
}

static int64_t partial_floats(const cnf_depthwise *d)
{
    return d->kh * d->kw * scratch_channels(d);
}

size_t cnf_depthwise_backward_weight_scratch(const cnf_depthwise *d)
{
    return sizeof(float) * (size_t)(chunk_count(d) * partial_floats(d))
           + sizeof(span) * (size_t)d->ow;
}

static void weight_row(const weight_job *job, float *partial, int64_t row)
{
    const cnf_depthwise *d = job->d;
    const int64_t n = row / d->oh, w_pitch = scratch_channels(d);
    const span taps = span_at(&job->rows, row % d->oh);
    const float *x = job->x + (n * d->h + taps.in) * d->w * d->x_pitch;
    const float *dy = job->dy + row * d->ow * d->y_pitch;
    cnf_depthwise_span tile = {
        .channels = d->c,
        .y_step = d->y_pitch,
        .x_step = d->stride_w * d->x_pitch,
        .rows = taps.taps,
        .x_row = d->dilation_h * d->w * d->x_pitch,
        .x_col = d->dilation_w * d->x_pitch,
        .w_row = d->kw * w_pitch,
        .w_col = w_pitch,
    };
    for (int64_t i = 0; i < job->span_count; i++) {
        const span *columns = &job->spans[i];
        tile.columns = columns->count;
        tile.cols = columns->taps;
        cnf_kernel->depthwise_weight_span(partial + (taps.k * d->kw + columns->k) * w_pitch,
                                          x + columns->in * d->x_pitch,
                                          dy + columns->start * d->y_pitch, &tile);
    }
}

static void weight_task(const void *context, int64_t chunk, int thread)
{
    (void)thread;
    const weight_job *job = context;
    int64_t rows = job->d->n * job->d->oh;
    float *partial = job->partial + chunk * partial_floats(job->d);
    memset(partial, 0, sizeof(float) * (size_t)partial_floats(job->d));
    for (int64_t row = rows * chunk / job->chunks; row < rows * (chunk + 1) / job->chunks; row++)
        weight_row(job, partial, row);
}

/* One block of channels: add the chunks up, in their order, in double. */
static void add_task(const void *context, int64_t block, int thread)
{
    (void)thread;
    const weight_job *job = context;
    const cnf_depthwise *d = job->d;
    const int64_t taps = d->kh * d->kw, pitch = scratch_channels(d), step = partial_floats(d);
    const int64_t end = cnf_min((block + 1) * WHOLE_VECTORS, d->c);
    for (int64_t tap = 0; tap < taps; tap++) {
        for (int64_t c = block * WHOLE_VECTORS; c < end; c++) {
            double sum = 0;
            for (int64_t chunk = 0; chunk < job->chunks; chunk++)
                sum += job->partial[chunk * step + tap * pitch + c];
            job->dw[c * taps + tap] = (float)sum;
        }
    }
}

cnf_status cnf_depthwise_backward_weight(float *dw, const float *x, const float *dy,
                                         const cnf_depthwise *d, void *scratch)
{
    float *partial = scratch;
    weight_job job = {.dw = dw, .x = x, .dy = dy, .d = d, .partial = partial};
    job.chunks = chunk_count(d);
    span *spans = (span *)(partial + job.chunks * partial_floats(d));
    axis cols = make_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w, 0);
    job.rows = make_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h, 0);
    job.spans = spans;
    job.span_count = make_spans(&cols, spans);
    cnf_parallel(job.chunks, depthwise_work(d), weight_task, &job);
    double adds = (double)(job.chunks * d->c * d->kh * d->kw);
    cnf_parallel(cnf_ceil_div(d->c, WHOLE_VECTORS), adds, add_task, &job); /* about 1 ns each */
    return CNF_OK;
}
