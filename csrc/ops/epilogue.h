/* epilogue.h: what becomes of a convolution's result before it leaves the L1 cache.
 *
 *     y = activation(convolution + bias + residual)
 *
 * and, where they are asked for, sums of y and of y^2 a channel. cnnfast.h's cnf_epilogue describes
 * it; here is how a leaf kernel reads it. Drivers (implicit_gemm.c, winograd.c, depthwise.c) make one
 * cnf_finish a call and set `residual` and `moments` for each piece of the result. */
#ifndef CNF_EPILOGUE_H
#define CNF_EPILOGUE_H

#include "../cnnfast.h"
#include "segments.h"

/* Sums of the pixels of one panel of channels about `shift`, the mean of the first few, so that a
 * mean far from zero costs the variance no digits. */
typedef struct {
    int64_t rows; /* pixels so far; at 0 the next ones give the shift */
    float shift[CNF_MAX_PANEL], first[CNF_MAX_PANEL], second[CNF_MAX_PANEL];
} cnf_moments;

typedef struct {
    const float *residual; /* added first, or NULL */
    int64_t residual_row;  /* floats from a row of pixels to the next, where a leaf writes several */
    int64_t residual_pitch; /* and from a pixel to the next */
    float low, high;       /* then bounds */
    int kind;              /* then a function, cnf_unary_kind */
    float alpha, beta;     /* and its attributes */
    cnf_moments *moments;  /* sums of what was stored, or NULL */
    int streams;           /* the result goes past the caches */
} cnf_finish;

/* Without a residual and moments. */
cnf_finish cnf_finish_make(const cnf_epilogue *e);
/* Whether there is anything to do. */
int cnf_finish_needed(const cnf_epilogue *e, const float *residual);

/* Sums of the first n channels: of y to sum[0 .. n), of y^2 to square[0 .. n). */
void cnf_moments_store(const cnf_moments *m, int64_t n, double *sum, double *square);

/* Whether an image's pixels are whole cache lines. */
int cnf_whole_lines(const float *y, int64_t pitch, int64_t channels);

/* Whether a result that is written once and not read again should go past the caches: it is larger
 * than they are, so they would only read its lines to overwrite them; and it is of whole lines. */
int cnf_finish_streams(const cnf_finish *finish, const cnf_epilogue *e, const float *y,
                       int64_t pixels, int64_t pitch, int64_t channels);

/* After a task that streamed, before other threads read its result. */
static inline void cnf_stream_end(void)
{
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

/* The epilogue of `pixels` neighbours that were just written; their sums go to sums[2][channels],
 * or NULL. */
void cnf_finish_pixels(float *y, int64_t pitch, int64_t pixels, int64_t channels,
                       const float *residual, double *sums, const cnf_finish *finish);

/* sums[2][channels] = partial[parts][2][channels] added up in order. Parts are cut by the shape
 * alone, so the bits do not depend on the thread count. */
size_t cnf_sums_bytes(int64_t parts, int64_t channels); /* of partial, a multiple of 64 */
void cnf_sums_join(double *sums, const double *partial, int64_t parts, int64_t channels);

#endif
