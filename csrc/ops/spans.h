/* spans.h: the piece of a depthwise convolution that a leaf kernel computes: some columns of some
 * neighbouring rows, for a block of channels. ops/depthwise_cut.c makes pieces.
 *
 * "Result" is what is swept: what is written or, in the weight gradient, the output's gradient;
 * "source" is what its positions read. */
#ifndef CNF_SPANS_H
#define CNF_SPANS_H

#include <stdint.h>

/* Result positions start, start + step, ... (count of them) read `taps` positions of the source,
 * the first of them reads from `in`; they use the filter's taps from k. */
typedef struct {
    int64_t start, count, k, taps, in;
} cnf_span;

/* Columns of a tile: their sums, five taps of a filter's row and a source value fill 14 of the 16
 * registers of AVX2. */
#define CNF_DEPTHWISE_COLUMNS 8

typedef struct {
    const cnf_span *rows; /* the taps of each result row */
    int64_t row_count, channels;
    int64_t y_row, x_row, w_row;   /* floats from a row of result, source, filter to the next */
    int64_t row_step, filter_step; /* rows of source and of filter from one tap to the next */
    int64_t columns, taps;         /* of a row */
    int64_t y_step;                /* floats from one result column to the next */
    int64_t x_step;                /* what they read is as far apart; in a tile, sources */
    int64_t x_col, w_col;          /* floats from one tap of a row to the next */
    /* Of tiles alone: the source columns that lie inside the image and are needed, and the result
     * columns that are wanted, both counted from the tile's first. */
    int x_first, x_last, y_first, y_last;
    int stride, scatter;
    int64_t fresh; /* source rows that no row before has read: fetch the next row's; 0: do not */
    int streams;   /* the result goes past the caches: it is of whole cache lines */
    int bounded;   /* the result is kept within [low, high] */
    float low, high;
} cnf_depthwise_piece;

#endif
