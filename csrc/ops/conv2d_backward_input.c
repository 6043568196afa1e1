/* conv2d_backward_input.c: the gradient of a convolution's input; also transposed convolution.
 *
 * dx[i] = sum of dy[o] w[t] over o*stride + t*dilation - pad = i. With stride s, pixels of
 * one phase i mod s meet the same taps, and o moves by one when i moves by s: each phase is a
 * forward grid over dy with its own subset of taps, so nothing is multiplied by inserted zeros. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "implicit_gemm.h"
#include "ops.h"
#include "winograd.h"

/* Phases whose weights are read once for all: those of a stride of 2. */
#define PHASES_TOGETHER 4

static int64_t greatest_common_divisor(int64_t a, int64_t b)
{
    while (b) {
        int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* The taps that pixels of `phase` meet. Kernel index of tap t is last - t * every. */
typedef struct {
    cnf_axis axis;
    int64_t last, every;
} phase_axis;

static phase_axis phase_taps(int64_t phase, int64_t in, int64_t out, int64_t kernel, int64_t stride,
                             int64_t pad, int64_t dilation)
{
    phase_axis p = {.every = stride / greatest_common_divisor(stride, dilation)};
    p.axis.outputs = in > phase ? cnf_ceil_div(in - phase, stride) : 0;
    p.axis.step = 1;
    p.axis.size = out;
    p.axis.tap = dilation * p.every / stride;
    for (int64_t k = 0; k < kernel; k++) {
        int64_t distance = phase + pad - k * dilation;
        if (distance % stride == 0) {
            p.last = k;
            p.axis.first = distance / stride;
            p.axis.taps++;
        }
    }
    return p;
}

/* The grid of phase (ph, pw), and where its weights stand in w (OIHW). */
static cnf_grid phase_grid(const cnf_conv2d *d, int64_t ph, int64_t pw, cnf_weight_order *order)
{
    phase_axis h = phase_taps(ph, d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h);
    phase_axis w = phase_taps(pw, d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w);
    if (h.axis.taps == 0 || w.axis.taps == 0)
        h.axis.taps = w.axis.taps = 0;
    const int64_t taps = d->kh * d->kw, ci = d->ci / d->groups, co = d->co / d->groups;
    *order = (cnf_weight_order){
        .group = co * ci * taps,
        .column = taps,
        .channel = ci * taps,
        .tap_row = -h.every * d->kw,
        .tap_col = -w.every,
        .start = h.last * d->kw + w.last,
        .taps = taps,
    };
    cnf_grid g = {
        .h = h.axis,
        .w = w.axis,
        .n = d->n,
        .groups = d->groups,
        .channels = co,
        .columns = ci,
        .source_pitch = d->y_pitch,
        .target_image = d->h * d->w * d->x_pitch,
        .target_row = d->stride_h * d->w * d->x_pitch,
        .target_pixel = d->stride_w * d->x_pitch,
    };
    cnf_grid_flatten(&g);
    return g;
}

size_t cnf_conv2d_packed_size(const cnf_conv2d *d, int backward)
{
    if (cnf_is_winograd(d))
        return cnf_winograd_packed_size(d, backward);
    if (!backward) {
        cnf_grid g = cnf_grid_forward(d);
        return cnf_grid_packed_size(&g);
    }
    size_t floats = 0;
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, phase / d->stride_w, phase % d->stride_w, &order);
        floats += cnf_grid_packed_size(&g);
    }
    return floats;
}

cnf_status cnf_conv2d_pack_backward(float *packed, const float *w, const cnf_conv2d *d, void *scratch)
{
    (void)scratch;
    if (cnf_is_winograd(d)) {
        cnf_winograd_pack(packed, w, d, 1);
        return CNF_OK;
    }
    cnf_packing phases[PHASES_TOGETHER];
    int64_t count = 0;
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        cnf_packing *p = &phases[count++];
        p->grid = phase_grid(d, phase / d->stride_w, phase % d->stride_w, &p->order);
        p->packed = packed;
        packed += cnf_grid_packed_size(&p->grid);
        if (count == PHASES_TOGETHER || phase + 1 == d->stride_h * d->stride_w) {
            cnf_grids_pack(phases, count, w);
            count = 0;
        }
    }
    return CNF_OK;
}

size_t cnf_conv2d_backward_input_scratch(const cnf_conv2d *d)
{
    if (cnf_is_winograd(d))
        return cnf_winograd_scratch(d, 1);
    size_t most = 0;
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, phase / d->stride_w, phase % d->stride_w, &order);
        size_t bytes = cnf_grid_scratch(&g);
        most = bytes > most ? bytes : most;
    }
    return most;
}

cnf_status cnf_conv2d_backward_input(float *dx, const float *dy, const float *packed,
                                     const float *bias, const cnf_conv2d *d, void *scratch)
{
    if (cnf_is_winograd(d)) {
        cnf_winograd_run(dx, NULL, dy, packed, bias, NULL, d, 1, scratch);
        return CNF_OK;
    }
    for (int64_t phase = 0; phase < d->stride_h * d->stride_w; phase++) {
        const int64_t ph = phase / d->stride_w, pw = phase % d->stride_w;
        cnf_weight_order order;
        cnf_grid g = phase_grid(d, ph, pw, &order);
        g.source = dy;
        g.target = dx + (ph * d->w + pw) * d->x_pitch;
        g.packed = packed;
        g.bias = bias;
        if (g.h.outputs > 0 && g.w.outputs > 0)
            cnf_grid_run(&g, scratch);
        packed += cnf_grid_packed_size(&g);
    }
    return CNF_OK;
}
