/* conv2d_choose.c: which algorithm a convolution takes.
 *
 * Both are estimated in cycles of one core, from what they multiply, what they transform and what
 * they stream; constants are fitted to measurements (docs/decisions.md). */
#include <stdlib.h>
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "winograd.h"

/* Threads that share one stream of weights. Not the actual number: the choice must be the same, and
 * so the bits of the result, whatever that is. */
#define STREAMING_THREADS 2

int cnf_conv2d_accepts(const cnf_conv2d *d)
{
    return d->algorithm == CNF_CONV2D_DIRECT ||
           (d->algorithm == CNF_CONV2D_WINOGRAD && cnf_winograd_fits(d));
}

static double direct_cycles(const cnf_conv2d *d, double multiplies_per_cycle)
{
    double panel = (double)cnf_kernel->panel, columns = (double)d->co;
    double padded = (double)cnf_round_up(d->co, cnf_kernel->lanes);
    (void)panel, (void)columns;
    return (double)(d->n * d->oh * d->ow) * padded * 9.0 * (double)d->ci / (0.88 * multiplies_per_cycle);
}

static double winograd_cycles(const cnf_conv2d *d, int direction, double multiplies_per_cycle)
{
    const double lanes = (double)cnf_kernel->lanes;
    int backward = direction == CNF_CONV2D_BACKWARD_INPUT;
    cnf_tiling tiling = cnf_tiling_of(d->n, backward ? d->h : d->oh, backward ? d->w : d->ow);
    double tiles = (double)tiling.count, ci = (double)d->ci, co = (double)d->co;
    double vectors = (double)(cnf_ceil_div(d->ci, cnf_kernel->lanes) + cnf_ceil_div(d->co, cnf_kernel->lanes));
    double products = CNF_WINOGRAD_POINTS * tiles * ci * (double)cnf_round_up(d->co, cnf_kernel->lanes) /
                      (0.80 * multiplies_per_cycle);
    double transforms = tiles * vectors * 150.0;
    double weights = CNF_WINOGRAD_POINTS * ci * co * 4.0;
    (void)lanes;
    /* The transformed weights stream once a block of tiles; from memory where L3 cannot hold them. */
    double stream = weights / (weights > 16e6 ? 4.0 : 16.0) *
                    (double)cnf_ceil_div(tiling.count, 28 * STREAMING_THREADS);
    return products + transforms + stream;
}

int64_t cnf_conv2d_choose(const cnf_conv2d *d, int direction)
{
    const char *forced = getenv("CNNFAST_CONV");
    if (!cnf_winograd_fits(d) || (forced && strcmp(forced, "direct") == 0))
        return CNF_CONV2D_DIRECT;
    if (forced && strcmp(forced, "winograd") == 0)
        return CNF_CONV2D_WINOGRAD;
    const double multiplies_per_cycle = 2.0 * (double)cnf_kernel->lanes;
    if (d->ci < 16 || d->co < 16)
        return CNF_CONV2D_DIRECT;
    return winograd_cycles(d, direction, multiplies_per_cycle) < direct_cycles(d, multiplies_per_cycle)
               ? CNF_CONV2D_WINOGRAD
               : CNF_CONV2D_DIRECT;
}
