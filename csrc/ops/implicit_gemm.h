/* implicit_gemm.h: convolution as a matrix product whose left operand is never built.
 *
 * A grid of output pixels, each the sum over taps and channels of source pixels times packed
 * weights. The forward pass is one grid; the input gradient is one grid for each phase of the
 * stride; the weight gradient walks the forward grid with the roles changed. */
#ifndef CNF_IMPLICIT_GEMM_H
#define CNF_IMPLICIT_GEMM_H

#include "../cnnfast.h"
#include "segments.h"

/* Taps along one axis: the source coordinate of output i, tap t is first + i * step + t * tap. */
typedef struct {
    int64_t outputs; /* pixels of the grid along this axis */
    int64_t step;    /* source pixels from one output to the next */
    int64_t first;   /* may be negative: padding */
    int64_t taps;
    int64_t tap;     /* source pixels from one tap to the next */
    int64_t size;    /* source pixels along this axis */
} cnf_axis;

/* What source pixels become where they are copied: x * scale + shift within [low, high]. */
typedef struct {
    const float *scale, *shift; /* [channels of all groups]; shift may be NULL */
    int64_t scale_image;        /* floats from an image's scale to the next's */
    float low, high;
} cnf_prologue;

typedef struct {
    cnf_axis h, w;
    int64_t n, groups;
    int64_t channels; /* of the source, per group: with the taps, the depth of the product */
    int64_t columns;  /* of the target, per group */
    const float *source; /* NHWC, `source_pitch` floats a pixel */
    int64_t source_pitch;
    const cnf_prologue *prologue; /* or NULL */
    float *target; /* pixel (n, i, j) at target + n*image + i*row + j*pixel */
    int64_t target_image, target_row, target_pixel;
    const float *packed; /* [groups][panels][depth][panel] */
    const float *bias;   /* [groups * columns], or NULL */
    const cnf_epilogue *epilogue; /* of the forward grid; NULL in others */
    const float *residual;        /* pixels at residual + n*image + i*row + j*pitch, or NULL */
    int64_t residual_image, residual_row;
    double *sums;                 /* [2][groups * columns], where the epilogue wants them */
} cnf_grid;

/* How a grid is cut: pixels into blocks whose source, one channel block deep, fits the L2 cache
 * with its padding; depth into runs that fit the L1 cache as one panel. */
typedef struct {
    int64_t images, rows, cols;                /* of a pixel block */
    int64_t image_blocks, row_blocks, col_blocks, column_blocks;
    int64_t columns_per_block;                 /* a multiple of the panel */
    int64_t channels_per_block, channel_blocks;
    int copied;                                /* the source block is copied, with its padding */
    int merged;                                /* taps of one row are contiguous with the channels */
    int64_t block_h, block_w;                  /* source pixels of a block */
    int64_t h_step, w_step;                    /* block pixels from one output to the next */
    int64_t h_skip, w_skip;                    /* source pixels from one of the block to the next */
    int64_t pixel, row, image;                 /* strides of the source block, in floats */
    int64_t depth_blocks;                      /* per channel block, at most */
    size_t block_floats;
} cnf_blocking;

/* The cut: implicit_gemm_cut.c. */
/* Channels of a block, which order the depth of what is packed. */
int64_t cnf_block_channels(const cnf_grid *g);
/* Source pixels that so many outputs reach, from the first to the last. */
int64_t cnf_axis_span(const cnf_axis *a, int64_t outputs);
void cnf_block_pixels(const cnf_grid *g, cnf_blocking *b, int64_t most_pixels, int copy);
/* By the shape alone, and then for this number of threads: blocks of pixels become no larger. */
void cnf_block_grid(const cnf_grid *g, cnf_blocking *b);
void cnf_cut_grid(const cnf_grid *g, cnf_blocking *b);
int64_t cnf_pixel_blocks(const cnf_blocking *b);
int64_t cnf_grid_tasks(const cnf_grid *g, const cnf_blocking *b);
double cnf_grid_work(const cnf_grid *g); /* in nanoseconds of one core, for cnf_parallel */

cnf_grid cnf_grid_of(const cnf_conv2d *d);
/* A 1x1 kernel sees one row of n * h * w pixels, a plain matrix product: changes the grid so. */
void cnf_grid_flatten(cnf_grid *g);
cnf_grid cnf_grid_forward(const cnf_conv2d *d); /* both */
/* The source needed for one block, copied into `block` with zeros for padding, or in place. */
const float *cnf_source_block(const cnf_grid *g, const cnf_blocking *b, float *block, int64_t group,
                              int64_t image, int64_t images, int64_t row, int64_t rows, int64_t col,
                              int64_t cols, int64_t channel, int64_t channels);
int64_t cnf_depth(const cnf_grid *g);
int64_t cnf_panels(const cnf_grid *g);
size_t cnf_grid_packed_size(const cnf_grid *g);
size_t cnf_grid_scratch(const cnf_grid *g);
void cnf_grid_run(const cnf_grid *g, void *scratch);

/* Where the weight of (column, channel, tap row, tap col) stands, for packing. */
typedef struct {
    int64_t group, column, channel, tap_row, tap_col; /* strides in w, in floats; taps may go back */
    int64_t start;                                    /* of the first tap among the kernel's */
    int64_t taps;                                     /* of the kernel, contiguous in w */
} cnf_weight_order;

/* Pack the weights of grids that share them (the phases of a stride), each to its own place. */
typedef struct {
    cnf_grid grid;
    cnf_weight_order order;
    float *packed;
} cnf_packing;
void cnf_grids_pack(const cnf_packing *grids, int64_t count, const float *w);

#endif
