/* conv2d.c: convolution forward, and its weight packing. x, y: NHWC with pitch; w: OIHW.
 * Transposed convolution is the input gradient of conv2d_backward_input.c. */
#include "implicit_gemm.h"
#include "ops.h"
#include "winograd.h"

size_t cnf_conv2d_forward_scratch(const cnf_conv2d *d)
{
    if (cnf_is_winograd(d))
        return cnf_winograd_scratch(d, 0);
    cnf_grid g = cnf_grid_forward(d);
    return cnf_grid_scratch(&g);
}

cnf_status cnf_conv2d_forward(float *y, double *sums, const float *x, const float *packed,
                              const float *bias, const float *residual, const cnf_conv2d *d,
                              void *scratch)
{
    if (cnf_is_winograd(d)) {
        cnf_winograd_run(y, sums, x, packed, bias, residual, d, 0, scratch);
        return CNF_OK;
    }
    cnf_grid g = cnf_grid_forward(d);
    g.source = x;
    g.target = y;
    g.packed = packed;
    g.bias = bias;
    g.residual = residual;
    g.sums = sums;
    cnf_grid_run(&g, scratch);
    return CNF_OK;
}

cnf_status cnf_conv2d_pack_forward(float *packed, const float *w, const cnf_conv2d *d, void *scratch)
{
    (void)scratch;
    if (cnf_is_winograd(d)) {
        cnf_winograd_pack(packed, w, d, 0);
        return CNF_OK;
    }
    const cnf_grid g = cnf_grid_forward(d);
    const int64_t taps = d->kh * d->kw;
    const cnf_weight_order order = {
        .group = g.columns * g.channels * taps,
        .column = g.channels * taps,
        .channel = taps,
        .tap_row = d->kw,
        .tap_col = 1,
        .taps = taps,
    };
    const cnf_packing packing = {g, order, packed};
    cnf_grids_pack(&packing, 1, w);
    return CNF_OK;
}
