/* depthwise.h: how a depthwise convolution is cut into pieces, for all three directions.
 *
 * A result position reads source positions through taps of the filter; which ones is the same
 * question for rows and for columns. The input gradient is such a convolution too: an input reads
 * the outputs it fed, with the filter's taps backwards. Made by depthwise_cut.c. separable.c
 * cuts with it, too. */
#ifndef CNF_DEPTHWISE_H
#define CNF_DEPTHWISE_H

#include "../cnnfast.h"
#include "spans.h"

#define CNF_WHOLE_VECTORS 16 /* floats: the longest vector of any ISA */

#define CNF_DEPTHWISE_BLOCK 512 /* channels of a block at most */

/* One axis: `positions` are swept, each reads at most `kernel` of `inputs` positions. */
typedef struct {
    int64_t positions, inputs, kernel, stride, pad, dilation;
    int backward;     /* sweeps the convolution's input and reads its output */
    int64_t step;     /* between positions that use the same taps */
    int64_t in_step;  /* what they read is so far apart */
    int64_t k_step;   /* from one tap to the next: in the filter */
    int64_t tap_step; /* and in what is read */
} cnf_depthwise_axis;

typedef enum { CNF_DEPTHWISE_FORWARD, CNF_DEPTHWISE_INPUT, CNF_DEPTHWISE_WEIGHT } cnf_depthwise_way;

/* Columns are cut once, the same way for every row; channels into blocks. */
typedef struct {
    cnf_depthwise_axis rows, cols;
    int64_t c, y_pitch, x_pitch;  /* of result and source */
    int tiled;                    /* columns are tiles, not spans */
    const cnf_span *row_spans, *col_spans;
    int64_t col_count;
    int64_t block, blocks;        /* channels of a task, whole vectors */
    int64_t band;                 /* rows that a piece goes down at most */
    int fetches, streams;         /* larger than L3: source ahead, result past the caches */
    int bounded;                  /* the result is kept within [low, high] */
    float low, high;
} cnf_depthwise_cut;

/* `enough`: there are rows to keep the threads busy, so that channels need not. */
cnf_depthwise_cut cnf_depthwise_cut_up(const cnf_depthwise *d, cnf_depthwise_way way, int enough);
/* row_spans, col_spans, col_count: they stand in scratch. */
size_t cnf_depthwise_cut_scratch(const cnf_depthwise *d);
void cnf_depthwise_cut_spans(cnf_depthwise_cut *cut, void *scratch);

/* Let the tiles apply an epilogue of nothing but bounds; 0 where there is more to it. */
int cnf_depthwise_bounds(cnf_depthwise_cut *cut, const cnf_epilogue *e, const float *residual);

/* The rows and channels of a piece; columns follow with cnf_depthwise_set_columns. */
cnf_depthwise_piece cnf_depthwise_rows(const cnf_depthwise_cut *cut, int64_t row, int64_t end,
                                       int64_t block);

/* Where a piece stands, in floats from its image's first row, or from the filter. */
typedef struct {
    int64_t y, x, w;
} cnf_depthwise_offset;
cnf_depthwise_offset cnf_depthwise_columns(cnf_depthwise_piece *piece,
                                           const cnf_depthwise_cut *cut, const cnf_span *columns);

/* weight (c, taps) of one block to [taps][block]; zero beyond c. */
void cnf_depthwise_pack_filter(float *out, const float *weight, const cnf_depthwise *d,
                               int64_t block, int64_t index);

#endif
