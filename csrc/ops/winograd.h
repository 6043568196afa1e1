/* winograd.h: 3x3 convolutions of stride 1 by F(4x4, 3x3): forward, input gradient, weight gradient.
 * ops/conv2d.c and ops/conv2d_backward_{input,weight}.c come here when the descriptor says so. */
#ifndef CNF_WINOGRAD_H
#define CNF_WINOGRAD_H

#include "../cnnfast.h"

#define CNF_WINOGRAD_POINTS 36 /* products a tile: (4 + 3 - 1)^2 */
/* Tiles that share a weight transformed inline: of 56, 84 and 112 the last was 2 to 5 % ahead. */
#define CNF_WINOGRAD_INLINE_TILES 112
/* Up to so many tiles meet an inline weight in registers, forward. With two rounds of four the pass of
 * 512 channels gained 20 %, that of 256 nothing; nor did gradients, which read weights in short pieces. */
#define CNF_WINOGRAD_FEW 4
/* Weights that L3 does not hold stream from memory once a block. */
#define CNF_WINOGRAD_LARGE_WEIGHTS (16.0 * 1024 * 1024)
/* Weights that L2 does not hold are fetched during the product before, where few tiles use each. */
#define CNF_WINOGRAD_FETCHED_WEIGHTS (4.0 * 1024 * 1024)
#define CNF_WINOGRAD_FETCHING_TILES 84

/* A grid of 4x4 output tiles over images, row by row. */
typedef struct {
    int64_t rows, cols; /* tiles of an image */
    int64_t count;      /* of all images */
} cnf_tiling;

typedef struct {
    int64_t image, row, col; /* of the tile's first output pixel */
} cnf_tile;

static inline cnf_tiling cnf_tiling_of(int64_t n, int64_t h, int64_t w)
{
    int64_t rows = (h + 3) / 4, cols = (w + 3) / 4;
    return (cnf_tiling){rows, cols, n * rows * cols};
}

static inline cnf_tile cnf_tile_at(const cnf_tiling *t, int64_t index)
{
    return (cnf_tile){index / (t->rows * t->cols), index / t->cols % t->rows * 4, index % t->cols * 4};
}

int cnf_winograd_fits(const cnf_conv2d *d);

/* Whether each product fetches the weights of the next: `bytes` of packed weights in all. */
static inline int cnf_winograd_fetches(double bytes, double tiles)
{
    return bytes > CNF_WINOGRAD_LARGE_WEIGHTS ||
           (bytes > CNF_WINOGRAD_FETCHED_WEIGHTS && tiles <= CNF_WINOGRAD_FETCHING_TILES);
}

static inline int cnf_is_winograd(const cnf_conv2d *d)
{
    return d->algorithm == CNF_CONV2D_WINOGRAD || d->algorithm == CNF_CONV2D_WINOGRAD_INLINE;
}

size_t cnf_winograd_packed_size(const cnf_conv2d *d, int backward);
void cnf_winograd_pack(float *packed, const float *w, const cnf_conv2d *d, int backward);

/* Forward: target y, source x. Backward: target dx, source dy, neither sums nor residual. */
size_t cnf_winograd_scratch(const cnf_conv2d *d, int backward);
void cnf_winograd_run(float *target, double *sums, const float *source, const float *packed,
                      const float *bias, const float *residual, const cnf_conv2d *d, int backward,
                      void *scratch);

size_t cnf_winograd_backward_weight_scratch(const cnf_conv2d *d);
void cnf_winograd_backward_weight(float *dw, const float *x, const float *dy, const cnf_conv2d *d,
                                  void *scratch);

#endif
