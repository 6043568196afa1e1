/* norm.c: batch, group and instance norm of NHWC images, forward and backward.
 *
 * All three are one computation over segments of pixels: batch norm has one segment of n*h*w rows,
 * the others have n segments of h*w. Statistics are taken a segment and group of neighbouring
 * channels (batch and instance norm: groups of one channel) in three steps: sums a channel over
 * chunks of rows, in parallel, unless batch norm is given them; mean and deviation a group, from
 * sums in double; one sweep that applies coefficients a channel. Chunks follow from the shape alone,
 * so the thread count never changes a bit.
 *
 * x, y, dx, dy (segments * rows, c) with a pitch; mean, invstd (segments, groups); weight, bias,
 * running_mean, running_var, dweight, dbias (c). Called by functional.batch_norm, group_norm,
 * instance_norm. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "chunks.h"
#include "ops.h"

#include <string.h>

/* Floats in a task of the last sweep. */
#define SWEEP_FLOATS 32768

typedef struct {
    const cnf_norm *d;
    int64_t chunk_rows, chunks, slabs;
    double *sums;                          /* (segments, chunks, 2, c): sum and second sum */
    double *variance;                      /* (segments, groups) */
    float *center, *scale, *slope, *shift; /* (segments, c): coefficients of the last sweep */
    const float *x, *dy, *weight, *bias;
    float *y;                              /* or dx */
    float *mean, *invstd;                  /* (segments, groups) */
} norm;

static void cut(norm *f, const cnf_norm *d)
{
    f->d = d;
    f->chunk_rows = cnf_chunk_rows(d->rows, d->c);
    f->chunks = cnf_ceil_div(d->rows, f->chunk_rows);
    f->slabs = cnf_ceil_div(d->c, SLAB);
}

static int is_empty(const cnf_norm *d) { return d->segments * d->rows * d->c == 0; }

size_t cnf_norm_scratch(const cnf_norm *d)
{
    norm f;
    if (is_empty(d))
        return 0;
    cut(&f, d);
    return (size_t)(d->segments * (f.chunks * 2 * d->c + d->groups)) * sizeof(double)
           + (size_t)(4 * d->segments * d->c) * sizeof(float);
}

static void take(norm *f, const cnf_norm *d, void *scratch)
{
    const int64_t channels = d->segments * d->c;
    cut(f, d);
    f->sums = scratch;
    f->variance = f->sums + channels * f->chunks * 2;
    f->center = (float *)(f->variance + d->segments * d->groups);
    f->scale = f->center + channels;
    f->slope = f->scale + channels;
    f->shift = f->slope + channels;
}

/* ---- sums ------------------------------------------------------------------------------------ */

typedef struct {
    int64_t segment, channel, width, row, end;
    double *first, *second; /* where this chunk's sums of these channels go */
} share;

static share find_share(const norm *f, int64_t task)
{
    const cnf_norm *d = f->d;
    int64_t slab = task % f->slabs, chunk = task / f->slabs; /* of all segments' chunks */
    share s = {.segment = chunk / f->chunks, .channel = slab * SLAB};
    s.width = cnf_min(SLAB, d->c - s.channel);
    s.row = chunk % f->chunks * f->chunk_rows;
    s.end = cnf_min(s.row + f->chunk_rows, d->rows);
    s.first = f->sums + chunk * 2 * d->c + s.channel;
    s.second = s.first + d->c;
    memset(s.first, 0, (size_t)s.width * sizeof(double));
    memset(s.second, 0, (size_t)s.width * sizeof(double));
    return s;
}

/* Pixels that a sweep takes as one row: where few channels lie dense, a row of one pixel would leave
 * most lanes empty. FOLD pixels are whole vectors of every ISA and fit a slab. */
#define FOLD 16

static int64_t folded(const cnf_norm *d, int64_t a, int64_t b, int64_t c)
{
    return d->c < FOLD && a == d->c && b == d->c && c == d->c ? FOLD : 1;
}

/* One value a channel, repeated for `fold` pixels; in `out` if that is more than one. */
static const float *repeat(float *out, const float *values, int64_t c, int64_t fold)
{
    for (int64_t i = 0; fold > 1 && i < fold * c; i++)
        out[i] = values[i % c];
    return fold > 1 ? out : values;
}

/* Add what channel_moments found for `count` pixels of each of `columns` columns. */
static void add_moments(const share *s, const float *mean, const float *first, const float *second,
                        int64_t count, int64_t columns)
{
    for (int64_t i = 0; i < columns; i++) {
        const double m = mean[i], a = first[i], rows = (double)count;
        s->first[i % s->width] += rows * m + a;
        s->second[i % s->width] += (double)second[i] + 2 * m * a + rows * m * m;
    }
}

/* sum(x) and sum(x^2) a channel. Blocks are summed in float about their own means, then add up in
 * double as plain sums: its 53 bits hold the square of anything that a float's 24 can tell. */
static void sum_moments(const void *context, int64_t task, int thread)
{
    (void)thread;
    const norm *f = context;
    const cnf_norm *d = f->d;
    const int64_t fold = folded(d, d->x_pitch, d->c, d->c);
    share s = find_share(f, task);
    float mean[SLAB], first[SLAB], second[SLAB];
    for (int64_t row = s.row; row < s.end; row += BLOCK_ROWS * fold) {
        const int64_t rows = cnf_min(BLOCK_ROWS * fold, s.end - row);
        const int64_t wide = rows / fold, rest = rows - wide * fold;
        const float *x = f->x + (s.segment * d->rows + row) * d->x_pitch + s.channel;
        if (wide > 0) {
            cnf_kernel->channel_moments(mean, first, second, x, wide, s.width * fold,
                                        d->x_pitch * fold);
            add_moments(&s, mean, first, second, wide, s.width * fold);
        }
        if (rest > 0) {
            cnf_kernel->channel_moments(mean, first, second, x + wide * fold * d->x_pitch, rest,
                                        s.width, d->x_pitch);
            add_moments(&s, mean, first, second, rest, s.width);
        }
    }
}

/* sum(dy) and sum(dy * (x - center)) a channel. */
static void sum_products(const void *context, int64_t task, int thread)
{
    (void)thread;
    const norm *f = context;
    const cnf_norm *d = f->d;
    const int64_t fold = folded(d, d->x_pitch, d->dy_pitch, d->c);
    share s = find_share(f, task);
    float sum[SLAB], product[SLAB], centers[SLAB];
    const float *center =
        repeat(centers, f->center + s.segment * d->c + s.channel, s.width, fold);
    for (int64_t row = s.row; row < s.end; row += BLOCK_ROWS * fold) {
        const int64_t rows = cnf_min(BLOCK_ROWS * fold, s.end - row), wide = rows / fold;
        const int64_t pixel = s.segment * d->rows + row;
        for (int64_t part = 0; part < 2; part++) { /* whole folds, then the rest */
            const int64_t at = pixel + part * wide * fold, pixels = part ? 1 : fold;
            const int64_t count = part ? rows - wide * fold : wide, columns = s.width * pixels;
            if (count == 0)
                continue;
            cnf_kernel->channel_products(
                sum, product, f->dy + at * d->dy_pitch + s.channel,
                f->x + at * d->x_pitch + s.channel, center, count, columns, d->dy_pitch * pixels,
                d->x_pitch * pixels);
            for (int64_t i = 0; i < columns; i++) {
                s.first[i % s.width] += sum[i];
                s.second[i % s.width] += product[i];
            }
        }
    }
}

/* Take sums[2][c] of the one segment as its only chunk. */
static void accept_sums(norm *f, const double *sums)
{
    f->chunks = 1;
    memcpy(f->sums, sums, (size_t)(2 * f->d->c) * sizeof(double));
}

static void sum_all(const norm *f, cnf_task *task, int arrays)
{
    const cnf_norm *d = f->d;
    double bytes = (double)(d->segments * d->rows * d->c) * arrays * sizeof(float);
    cnf_parallel(d->segments * f->chunks * f->slabs, bytes * CNF_NS_PER_BYTE, task, f);
}

/* Add up the chunks of a segment's channel, into the first chunk's place. */
static void join_chunks(const norm *f, int64_t segment, int64_t channel, double *first,
                        double *second)
{
    const int64_t c = f->d->c;
    double *sums = f->sums + segment * f->chunks * 2 * c + channel;
    *first = *second = 0;
    for (int64_t chunk = 0; chunk < f->chunks; chunk++) {
        *first += sums[chunk * 2 * c];
        *second += sums[(chunk * 2 + 1) * c];
    }
    sums[0] = *first;
    sums[c] = *second;
}

/* ---- coefficients ---------------------------------------------------------------------------- */

static double weight_of(const norm *f, int64_t channel)
{
    return f->weight ? f->weight[channel] : 1.0;
}

/* Mean and deviation of one segment's group, and what they make of each channel. */
static void finish_forward(const void *context, int64_t task, int thread)
{
    (void)thread;
    const norm *f = context;
    const cnf_norm *d = f->d;
    const int64_t segment = task / d->groups, width = d->c / d->groups;
    const int64_t channel = task % d->groups * width;
    double sum = 0, squares = 0, first, second;
    for (int64_t c = channel; c < channel + width; c++) {
        join_chunks(f, segment, c, &first, &second);
        sum += first;
        squares += second;
    }
    const double count = (double)(d->rows * width), mean = sum / count;
    double variance = squares / count - mean * mean;
    if (variance < 0)
        variance = 0;
    const double invstd = 1 / __builtin_sqrt(variance + d->eps);
    f->variance[task] = variance;
    f->mean[task] = (float)mean;
    f->invstd[task] = (float)invstd;
    /* The float mean is off by up to 2^-24 of itself; the shift takes the rest of it up. */
    const double rest = mean - f->mean[task];
    for (int64_t c = channel; c < channel + width; c++) {
        const double scale = invstd * weight_of(f, c), bias = f->bias ? f->bias[c] : 0.0;
        f->center[segment * d->c + c] = f->mean[task];
        f->scale[segment * d->c + c] = (float)scale;
        f->shift[segment * d->c + c] = (float)(bias - rest * scale);
    }
}

/* Coefficients of dx from the sums of one segment's group: with g = weight * dy,
 * dx = invstd * (g - mean(g) - xhat * mean(g * xhat)). */
static void finish_backward(const void *context, int64_t task, int thread)
{
    (void)thread;
    const norm *f = context;
    const cnf_norm *d = f->d;
    const int64_t segment = task / d->groups, width = d->c / d->groups;
    const int64_t channel = task % d->groups * width;
    double sum = 0, product = 0, first, second;
    for (int64_t c = channel; c < channel + width; c++) {
        join_chunks(f, segment, c, &first, &second);
        sum += weight_of(f, c) * first;
        product += weight_of(f, c) * second;
    }
    const double count = (double)(d->rows * width), invstd = f->invstd[task];
    for (int64_t c = channel; c < channel + width; c++) {
        f->scale[segment * d->c + c] = (float)(invstd * weight_of(f, c));
        f->slope[segment * d->c + c] = (float)(-invstd * invstd * invstd * product / count);
        f->shift[segment * d->c + c] = (float)(-invstd * sum / count);
    }
}

static void finish_all(const norm *f, cnf_task *task)
{
    const cnf_norm *d = f->d;
    double values = (double)(d->segments * f->chunks * d->c) * 2;
    cnf_parallel(d->segments * d->groups, values * sizeof(double) * CNF_NS_PER_BYTE, task, f);
}

/* (1 - momentum) * running + momentum * statistic, averaged over segments; the variance unbiased. */
static void blend_running(const norm *f, float *running_mean, float *running_var)
{
    const cnf_norm *d = f->d;
    const double unbias = (double)d->rows / (double)cnf_max(d->rows - 1, 1);
    for (int64_t c = 0; c < d->c; c++) {
        double mean = 0, variance = 0;
        for (int64_t segment = 0; segment < d->segments; segment++) {
            mean += f->mean[segment * d->c + c];
            variance += f->variance[segment * d->c + c];
        }
        mean *= d->momentum / (double)d->segments;
        variance *= d->momentum / (double)d->segments * unbias;
        if (running_mean)
            running_mean[c] = (float)((1 - d->momentum) * running_mean[c] + mean);
        if (running_var)
            running_var[c] = (float)((1 - d->momentum) * running_var[c] + variance);
    }
}

/* ---- the last sweep -------------------------------------------------------------------------- */

static int64_t sweep_rows(const cnf_norm *d) { return cnf_max(1, SWEEP_FLOATS / d->c); }

typedef struct {
    int64_t pixel, rows, at; /* first row of all, rows, offset of the segment's coefficients */
} part;

static part find_part(const cnf_norm *d, int64_t task)
{
    const int64_t step = sweep_rows(d), cuts = cnf_ceil_div(d->rows, step);
    const int64_t segment = task / cuts, row = task % cuts * step;
    return (part){segment * d->rows + row, cnf_min(step, d->rows - row), segment * d->c};
}

static void apply_forward(const void *context, int64_t task, int thread)
{
    (void)thread;
    const norm *f = context;
    const cnf_norm *d = f->d;
    part p = find_part(d, task);
    const int64_t fold = folded(d, d->x_pitch, d->y_pitch, d->c), wide = p.rows / fold * fold;
    float repeated[3][SLAB];
    const float *center = repeat(repeated[0], f->center + p.at, d->c, fold);
    const float *scale = repeat(repeated[1], f->scale + p.at, d->c, fold);
    const float *shift = repeat(repeated[2], f->shift + p.at, d->c, fold);
    cnf_kernel->channel_affine(f->y + p.pixel * d->y_pitch, f->x + p.pixel * d->x_pitch, center,
                               scale, shift, wide / fold, d->c * fold, d->y_pitch * fold,
                               d->x_pitch * fold);
    cnf_kernel->channel_affine(f->y + (p.pixel + wide) * d->y_pitch,
                               f->x + (p.pixel + wide) * d->x_pitch, center, scale, shift,
                               p.rows - wide, d->c, d->y_pitch, d->x_pitch);
}

static void apply_backward(const void *context, int64_t task, int thread)
{
    (void)thread;
    const norm *f = context;
    const cnf_norm *d = f->d;
    part p = find_part(d, task);
    const int64_t fold = folded(d, d->x_pitch, d->y_pitch, d->dy_pitch);
    const int64_t wide = p.rows / fold * fold;
    float repeated[4][SLAB];
    const float *center = repeat(repeated[0], f->center + p.at, d->c, fold);
    const float *scale = repeat(repeated[1], f->scale + p.at, d->c, fold);
    const float *slope = repeat(repeated[2], f->slope + p.at, d->c, fold);
    const float *shift = repeat(repeated[3], f->shift + p.at, d->c, fold);
    for (int64_t part = 0; part < 2; part++) { /* whole folds, then the rest */
        const int64_t at = p.pixel + part * wide, pixels = part ? 1 : fold;
        cnf_kernel->channel_affine_backward(
            f->y + at * d->y_pitch, f->dy + at * d->dy_pitch, f->x + at * d->x_pitch, center,
            scale, slope, shift, part ? p.rows - wide : wide / fold, d->c * pixels,
            d->y_pitch * pixels, d->dy_pitch * pixels, d->x_pitch * pixels);
    }
}

static void apply_all(const norm *f, cnf_task *task, int arrays)
{
    const cnf_norm *d = f->d;
    double bytes = (double)(d->segments * d->rows * d->c) * arrays * sizeof(float);
    cnf_parallel(d->segments * cnf_ceil_div(d->rows, sweep_rows(d)), bytes * CNF_NS_PER_BYTE, task,
                 f);
}

/* ---- primitives ------------------------------------------------------------------------------ */

cnf_status cnf_norm_forward(float *y, float *mean, float *invstd, float *running_mean,
                            float *running_var, const float *x, const float *weight,
                            const float *bias, const double *sums, const cnf_norm *d,
                            void *scratch)
{
    if (d->groups < 1 || d->c % d->groups != 0 || (sums && d->segments != 1)
        || ((running_mean || running_var) && d->groups != d->c))
        return CNF_BAD_ARGUMENT;
    if (is_empty(d))
        return CNF_OK;
    norm f = {.x = x, .weight = weight, .bias = bias, .y = y, .mean = mean, .invstd = invstd};
    take(&f, d, scratch);
    if (sums)
        accept_sums(&f, sums);
    else
        sum_all(&f, sum_moments, 1);
    finish_all(&f, finish_forward);
    if (running_mean || running_var)
        blend_running(&f, running_mean, running_var);
    apply_all(&f, apply_forward, 2);
    return CNF_OK;
}

cnf_status cnf_norm_evaluate(float *y, const float *x, const float *running_mean,
                             const float *running_var, const float *weight, const float *bias,
                             const cnf_norm *d, void *scratch)
{
    if (is_empty(d))
        return CNF_OK;
    if (d->segments != 1 || d->groups != d->c)
        return CNF_BAD_ARGUMENT;
    norm f = {.x = x, .weight = weight, .y = y};
    take(&f, d, scratch);
    for (int64_t c = 0; c < d->c; c++) {
        f.center[c] = running_mean[c];
        f.scale[c] = (float)(weight_of(&f, c) / __builtin_sqrt(running_var[c] + d->eps));
        f.shift[c] = bias ? bias[c] : 0.0f;
    }
    apply_all(&f, apply_forward, 2);
    return CNF_OK;
}

/* dweight and dbias from the sums of all segments' first chunks, where join_chunks left them. */
static void sum_parameters(const norm *f, float *dweight, float *dbias)
{
    const cnf_norm *d = f->d;
    const int64_t width = d->c / d->groups;
    for (int64_t c = 0; c < d->c; c++) {
        double sum = 0, product = 0;
        for (int64_t segment = 0; segment < d->segments; segment++) {
            const double *sums = f->sums + segment * f->chunks * 2 * d->c + c;
            sum += sums[0];
            product += sums[d->c] * f->invstd[segment * d->groups + c / width];
        }
        if (dweight)
            dweight[c] = (float)product;
        if (dbias)
            dbias[c] = (float)sum;
    }
}

static cnf_status zero_parameters(float *dweight, float *dbias, int64_t c)
{
    if (dweight)
        memset(dweight, 0, (size_t)c * sizeof(float));
    if (dbias)
        memset(dbias, 0, (size_t)c * sizeof(float));
    return CNF_OK;
}

cnf_status cnf_norm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                             const float *x, const float *mean, const float *invstd,
                             const float *weight, const cnf_norm *d, void *scratch)
{
    if (d->groups < 1 || d->c % d->groups != 0)
        return CNF_BAD_ARGUMENT;
    if (is_empty(d))
        return zero_parameters(dweight, dbias, d->c);
    norm f = {.x = x, .dy = dy, .weight = weight, .y = dx, .invstd = (float *)invstd};
    take(&f, d, scratch);
    const int64_t width = d->c / d->groups;
    for (int64_t segment = 0; segment < d->segments; segment++)
        for (int64_t c = 0; c < d->c; c++)
            f.center[segment * d->c + c] = mean[segment * d->groups + c / width];
    sum_all(&f, sum_products, 2);
    finish_all(&f, finish_backward);
    sum_parameters(&f, dweight, dbias);
    if (dx)
        apply_all(&f, apply_backward, 3);
    return CNF_OK;
}

cnf_status cnf_norm_evaluate_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                      const float *x, const float *running_mean,
                                      const float *running_var, const float *weight,
                                      const cnf_norm *d, void *scratch)
{
    if (is_empty(d))
        return zero_parameters(dweight, dbias, d->c);
    if (d->segments != 1 || d->groups != d->c)
        return CNF_BAD_ARGUMENT;
    norm f = {.x = x, .dy = dy, .weight = weight, .y = dx};
    take(&f, d, scratch);
    f.invstd = f.slope; /* dx has no slope here: the statistics are constants */
    for (int64_t c = 0; c < d->c; c++) {
        f.center[c] = running_mean[c];
        f.invstd[c] = (float)(1 / __builtin_sqrt(running_var[c] + d->eps));
        f.scale[c] = (float)(weight_of(&f, c) * f.invstd[c]);
    }
    if (dweight || dbias) {
        double sum, product;
        sum_all(&f, sum_products, 2);
        for (int64_t c = 0; c < d->c; c++)
            join_chunks(&f, 0, c, &sum, &product);
        sum_parameters(&f, dweight, dbias);
    }
    if (dx) {
        cnf_norm sweep = *d;
        sweep.x_pitch = d->dy_pitch;
        f.d = &sweep, f.x = dy;
        memset(f.center, 0, (size_t)d->c * sizeof(float));
        memset(f.shift, 0, (size_t)d->c * sizeof(float));
        apply_all(&f, apply_forward, 2);
    }
    return CNF_OK;
}
