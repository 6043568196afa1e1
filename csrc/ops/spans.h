/* spans.h: the stretch of an image row that a depthwise tile computes at once.
 *
 * Output column j reads, with tap (r, q) of the filter, x[j * x_step + r * x_row + q * x_col], for
 * each channel; y, x and w point at the first channel of what the first column and the first tap
 * use. All distances count floats; those between taps may be negative (the input gradient). */
#ifndef CNF_SPANS_H
#define CNF_SPANS_H

#include <stdint.h>

typedef struct {
    int64_t columns, channels;
    int64_t y_step, x_step; /* from one column to the next */
    int64_t rows, cols;     /* taps, all inside the image */
    int64_t x_row, x_col;   /* from one tap to the next, in x */
    int64_t w_row, w_col;   /* and in the filters, stored [tap][channel] */
} cnf_depthwise_span;

#endif
