/* conv2d_scaled.c: convolution of an image that is scaled a channel on its way in.
 *
 * x, y NHWC with pitch; scale (n or 1, ci) with pitch `scale_image`, shift (ci) or NULL; the rest as
 * in conv2d.c. Squeeze-and-excitation and batch norms that stand before a convolution come here: the
 * factors are applied where the source block is copied into L2, so the scaled image never is in
 * memory. Called through plan/primitives.c. */
#include "implicit_gemm.h"
#include "ops.h"

static cnf_grid scaled_grid(const cnf_conv2d_scaled *d, cnf_prologue *prologue)
{
    *prologue = (cnf_prologue){.scale_image = d->scale_image, .low = d->low, .high = d->high};
    cnf_grid g = cnf_grid_of(&d->conv);
    g.prologue = prologue;
    if (d->scale_image == 0 || d->conv.n == 1)
        cnf_grid_flatten(&g);
    return g;
}

size_t cnf_conv2d_scaled_forward_scratch(const cnf_conv2d_scaled *d)
{
    cnf_prologue prologue;
    const cnf_grid g = scaled_grid(d, &prologue);
    return cnf_grid_scratch(&g);
}

cnf_status cnf_conv2d_scaled_forward(float *y, const float *x, const float *scale,
                                     const float *shift, const float *packed, const float *bias,
                                     const float *residual, const cnf_conv2d_scaled *d, void *scratch)
{
    cnf_prologue prologue;
    cnf_grid g = scaled_grid(d, &prologue);
    prologue.scale = scale;
    prologue.shift = shift;
    g.source = x;
    g.target = y;
    g.packed = packed;
    g.bias = bias;
    g.residual = residual;
    cnf_grid_run(&g, scratch);
    return CNF_OK;
}
