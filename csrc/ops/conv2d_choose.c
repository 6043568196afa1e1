/* conv2d_choose.c: which algorithm a convolution takes.
 *
 * Each is estimated in cycles of one core: products at the share of the peak that they reach,
 * transforms by the vector, and the bytes that stream beside them. The constants were fitted to
 * ResNet's and VGG's layers at batch 1 to 64 with AVX-512 and AVX2 (docs/decisions.md). The number of
 * threads must not enter: the choice decides the bits of the result. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "winograd.h"

/* Share of the FMA peak that each direction's products reach, and Winograd's. */
static const double direct_share[] = {0.90, 0.88, 0.80};
#define WINOGRAD_SHARE 0.85
/* Cycles to transform one vector of channels of one tile, load and store included. */
#define TRANSFORM_CYCLES 150.0
#define GRADIENT_CYCLES 110.0
/* Bytes a cycle of a core: what stays in L3, and what comes from memory. */
#define CACHE_BYTES 16.0
#define MEMORY_BYTES 5.6
#define CACHE_SIZE (16.0 * 1024 * 1024)
/* Tiles that share one pass over the weights, on the two threads that are assumed. */
#define SHARING_TILES 84
/* A micro-tile of fewer rows waits for the weights. */
#define LEAST_ROWS 4.0
/* Cycles to find one tile and start its transforms. */
#define TILE_CYCLES 200.0
/* Bytes a cycle of a core that packing a weight reads and writes. */
#define PACKING_BYTES 8.0
/* Cycles to transform a weight inline, of one input and one output channel. */
#define WEIGHT_CYCLES 17.5
/* Cycles to transform a vector of weights in registers and multiply few tiles with it. */
#define FEW_CYCLES 190.0

int cnf_conv2d_accepts(const cnf_conv2d *d)
{
    return d->algorithm == CNF_CONV2D_DIRECT ||
           (cnf_is_winograd(d) && cnf_winograd_fits(d));
}

static double vectors(int64_t channels)
{
    return (double)cnf_ceil_div(channels, cnf_kernel->lanes);
}

static double stream_cycles(double bytes)
{
    return bytes / (bytes > CACHE_SIZE ? MEMORY_BYTES : CACHE_BYTES);
}

/* Multiplications of one core in a cycle: two FMA pipes, whether the CPU has them or not, since
 * both algorithms are counted in the same unit. */
static double products_per_cycle(void) { return 2.0 * cnf_kernel->lanes; }

/* A forward pass may find its weight packed; an input gradient follows an update, so its weight is
 * new: read, transformed and written for as many points, which takes ownership of the lines first. */
static double packing_cycles(int points, double weights, int direction)
{
    if (direction != CNF_CONV2D_BACKWARD_INPUT)
        return 0.0;
    return 4.0 * weights * (9.0 + 2.0 * points) / PACKING_BYTES;
}

static double direct_cycles(const cnf_conv2d *d, int direction)
{
    double lanes = (double)cnf_kernel->lanes, ci = (double)d->ci, co = (double)d->co;
    double products = 9.0 * (double)(d->n * d->oh * d->ow) *
                      (direction == CNF_CONV2D_BACKWARD_INPUT ? co * vectors(d->ci) * lanes
                                                              : ci * vectors(d->co) * lanes);
    return products / (direct_share[direction] * products_per_cycle()) +
           stream_cycles(4.0 * 9.0 * ci * co) + packing_cycles(9, ci * co, direction);
}

/* Inline, the weights of an input gradient are transformed once for every block of tiles, those of a
 * forward pass where they meet its few tiles. */
static double inline_cycles(int direction, double tiles, double weights)
{
    double products = CNF_WINOGRAD_POINTS * tiles * weights;
    double stream = stream_cycles(4.0 * 9.0 * weights);
    if (direction == CNF_CONV2D_FORWARD)
        return weights / cnf_kernel->lanes * FEW_CYCLES + stream;
    return products / (WINOGRAD_SHARE * products_per_cycle()) +
           ceil(tiles / CNF_WINOGRAD_INLINE_TILES) * (weights * WEIGHT_CYCLES + stream);
}

/* Packed: the weights pass once for every SHARING_TILES tiles, beside the products where these fetch
 * them. */
static double packed_cycles(int direction, double tiles, double weights)
{
    const double rows = fmax(tiles, LEAST_ROWS);
    const double bytes = 4.0 * CNF_WINOGRAD_POINTS * weights;
    double products = CNF_WINOGRAD_POINTS * rows * weights / (WINOGRAD_SHARE * products_per_cycle());
    const double passes = fmax(tiles / SHARING_TILES, 1.0);
    if (!cnf_winograd_fetches(bytes, tiles))
        return products + passes * stream_cycles(bytes) +
               packing_cycles(CNF_WINOGRAD_POINTS, weights, direction);
    /* Forward, a network's other weights have passed since. */
    const double stream = direction == CNF_CONV2D_FORWARD ? bytes / MEMORY_BYTES : stream_cycles(bytes);
    return fmax(products, passes * stream) +
           packing_cycles(CNF_WINOGRAD_POINTS, weights, direction);
}

static double winograd_cycles(const cnf_conv2d *d, int direction, int inlined)
{
    const int backward = direction == CNF_CONV2D_BACKWARD_INPUT;
    const double tiles = (double)(backward ? cnf_tiling_of(d->n, d->h, d->w).count
                                           : cnf_tiling_of(d->n, d->oh, d->ow).count);
    const double weights = (double)(backward ? d->co : d->ci) *
                           vectors(backward ? d->ci : d->co) * (double)cnf_kernel->lanes;
    return tiles * (TILE_CYCLES + (vectors(d->ci) + vectors(d->co)) * TRANSFORM_CYCLES) +
           (inlined ? inline_cycles(direction, tiles, weights)
                    : packed_cycles(direction, tiles, weights));
}

/* Weight gradient: both factors are transformed once for every 64 of the other's channels, and the
 * transformed gradient is written, summed and transformed back. */
static double winograd_weight_cycles(const cnf_conv2d *d)
{
    const double tiles = (double)cnf_tiling_of(d->n, d->oh, d->ow).count;
    const double columns = vectors(d->co) * (double)cnf_kernel->lanes;
    /* Few channels are few sums at a time, which wait for each other. */
    const double rows = fmax((double)d->ci, (double)(cnf_kernel->tile_rows / 2 + 1));
    double products = CNF_WINOGRAD_POINTS * tiles * rows * columns;
    double input = vectors(d->ci) * (double)cnf_ceil_div(d->co, 2 * cnf_kernel->panel);
    double output = vectors(d->co) * (double)cnf_ceil_div(d->ci, 64);
    return products / (WINOGRAD_SHARE * products_per_cycle()) +
           tiles * (TILE_CYCLES + input * TRANSFORM_CYCLES + output * GRADIENT_CYCLES) +
           3.0 * stream_cycles(4.0 * CNF_WINOGRAD_POINTS * (double)d->ci * columns);
}

static int gains_few(const cnf_conv2d *d)
{
    return cnf_tiling_of(d->n, d->oh, d->ow).count <= CNF_WINOGRAD_FEW &&
           4.0 * CNF_WINOGRAD_POINTS * (double)(d->ci * d->co) > CNF_WINOGRAD_FETCHED_WEIGHTS;
}

int64_t cnf_conv2d_choose(const cnf_conv2d *d, int direction)
{
    const char *forced = getenv("CNNFAST_CONV");
    if (!cnf_winograd_fits(d) || (forced && strcmp(forced, "direct") == 0))
        return CNF_CONV2D_DIRECT;
    if (forced && strcmp(forced, "winograd") == 0)
        return CNF_CONV2D_WINOGRAD;
    if (forced && strcmp(forced, "winograd_inline") == 0)
        return CNF_CONV2D_WINOGRAD_INLINE;
    double direct = direct_cycles(d, direction);
    if (direction == CNF_CONV2D_BACKWARD_WEIGHT)
        return winograd_weight_cycles(d) < direct ? CNF_CONV2D_WINOGRAD : CNF_CONV2D_DIRECT;
    const double packed = winograd_cycles(d, direction, 0);
    /* Forward, a weight may stay packed from call to call: only few tiles gain, and only of weights
     * that L2 does not hold. */
    const double inlined = direction == CNF_CONV2D_FORWARD && !gains_few(d)
                               ? INFINITY
                               : winograd_cycles(d, direction, 1);
    if (fmin(packed, inlined) >= direct)
        return CNF_CONV2D_DIRECT;
    return inlined < packed ? CNF_CONV2D_WINOGRAD_INLINE : CNF_CONV2D_WINOGRAD;
}
