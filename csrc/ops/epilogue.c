/* epilogue.c: prepares epilogues for the leaf kernels, and joins the sums that they took. */
#include "epilogue.h"

#include "../isa/kernels.h"
#include "../machine/machine.h"

/* Larger than L3 of most machines; VGG's first layer at batch 8 takes 14 % less time. */
#define STREAMED_BYTES (32LL << 20)
#define SUMS_TOGETHER 16 /* columns of partial sums in a task: two cache lines of doubles */

_Static_assert(cnf_unary_identity == 0, "a descriptor of zeros describes no epilogue");

cnf_finish cnf_finish_make(const cnf_epilogue *e)
{
    cnf_finish f = {.residual_pitch = e->residual_pitch, .low = -__builtin_inff(),
                    .high = __builtin_inff(), .alpha = e->alpha, .beta = e->beta};
    switch (e->activation) {
    case cnf_unary_relu: f.low = 0; break;
    case cnf_unary_clamp:
    case cnf_unary_hardtanh: f.low = e->alpha, f.high = e->beta; break;
    default: f.kind = (int)e->activation;
    }
    return f;
}

int cnf_finish_needed(const cnf_epilogue *e, const float *residual)
{
    return residual || e->sums || e->activation != cnf_unary_identity;
}

int cnf_whole_lines(const float *y, int64_t pitch, int64_t channels)
{
    const int64_t line = CNF_CACHE_LINE / sizeof(float);
    return (uintptr_t)y % CNF_CACHE_LINE == 0 && pitch % line == 0 && channels % line == 0;
}

int cnf_finish_streams(const cnf_finish *finish, const cnf_epilogue *e, const float *y,
                       int64_t pixels, int64_t pitch, int64_t channels)
{
    return finish->kind == cnf_unary_identity && !e->sums && 4 * pixels * pitch > STREAMED_BYTES &&
           cnf_whole_lines(y, pitch, channels);
}

void cnf_moments_store(const cnf_moments *m, int64_t n, double *sum, double *square)
{
    const double rows = (double)m->rows;
    for (int64_t c = 0; c < n; c++) {
        const double shift = m->shift[c], first = m->first[c];
        sum[c] = rows * shift + first;
        square[c] = (double)m->second[c] + 2 * shift * first + rows * shift * shift;
    }
}

void cnf_finish_pixels(float *y, int64_t pitch, int64_t pixels, int64_t channels,
                       const float *residual, double *sums, const cnf_finish *finish)
{
    const int64_t panel = cnf_kernel->panel, together = cnf_kernel->tile_rows;
    cnf_finish f = *finish;
    cnf_moments moments;
    f.moments = sums ? &moments : NULL;
    for (int64_t c = 0; c < channels; c += panel) {
        const int64_t n = cnf_min(panel, channels - c);
        moments.rows = 0;
        for (int64_t i = 0; i < pixels; i += together)
            cnf_kernel->finish_rows(y + i * pitch + c, pitch, cnf_min(together, pixels - i), n,
                                    residual ? residual + i * f.residual_pitch + c : NULL, &f);
        if (sums)
            cnf_moments_store(&moments, n, sums + c, sums + channels + c);
    }
}

size_t cnf_sums_bytes(int64_t parts, int64_t channels)
{
    return (size_t)cnf_round_up(parts * 2 * channels * (int64_t)sizeof(double), CNF_CACHE_LINE);
}

typedef struct {
    double *sums;
    const double *partial;
    int64_t parts, columns;
} join;

static void join_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const join *j = context;
    const int64_t first = index * SUMS_TOGETHER;
    const int64_t n = cnf_min(SUMS_TOGETHER, j->columns - first);
    double total[SUMS_TOGETHER] = {0};
    for (int64_t part = 0; part < j->parts; part++)
        for (int64_t i = 0; i < n; i++)
            total[i] += j->partial[part * j->columns + first + i];
    for (int64_t i = 0; i < n; i++)
        j->sums[first + i] = total[i];
}

void cnf_sums_join(double *sums, const double *partial, int64_t parts, int64_t channels)
{
    const join j = {sums, partial, parts, 2 * channels};
    double bytes = (double)(parts * j.columns) * sizeof(double);
    cnf_parallel(cnf_ceil_div(j.columns, SUMS_TOGETHER), bytes * CNF_NS_PER_BYTE, join_task, &j);
}
