/* depthwise.c: one filter a channel, forward and both gradients, against five loops. */
#include <math.h>

#include "check.h"

typedef struct {
    int64_t n, c, h, w, kernel, stride, padding, dilation;
} depthwise;

static void check(depthwise s, int64_t gap)
{
    cnf_depthwise d = {
        .n = s.n, .c = s.c, .h = s.h, .w = s.w, .x_pitch = s.c + gap, .y_pitch = s.c + gap,
        .kh = s.kernel, .kw = s.kernel, .stride_h = s.stride, .stride_w = s.stride,
        .pad_top = s.padding, .pad_left = s.padding, .dilation_h = s.dilation,
        .dilation_w = s.dilation,
    };
    d.oh = (s.h + 2 * s.padding - s.dilation * (s.kernel - 1) - 1) / s.stride + 1;
    d.ow = (s.w + 2 * s.padding - s.dilation * (s.kernel - 1) - 1) / s.stride + 1;
    const int64_t x_floats = d.n * d.h * d.w * d.x_pitch, y_floats = d.n * d.oh * d.ow * d.y_pitch;
    const int64_t taps = s.kernel * s.kernel;
    float *x = whole(x_floats), *w = whole(s.c * taps), *dy = whole(y_floats), *bias = whole(s.c);
    float *y = whole(y_floats), *dx = whole(x_floats), *dw = unwritten(s.c * taps);
    double *wanted_y = widened(y, y_floats), *wanted_dx = widened(dx, x_floats);
    double *wanted_dw = zeros(s.c * taps);
    describe("depthwise %dx%dx%dx%d, kernel %d, stride %d, padding %d, dilation %d", (int)s.n,
             (int)s.c, (int)s.h, (int)s.w, (int)s.kernel, (int)s.stride, (int)s.padding,
             (int)s.dilation);
    for (int64_t i = 0; i < x_floats; i++) /* what lies between the pixels stays as it was */
        wanted_dx[i] = i % d.x_pitch < s.c ? 0 : wanted_dx[i];
    for (int64_t i = 0; i < d.n * d.oh * d.ow * s.c; i++) {
        const int64_t c = i % s.c, pixel = i / s.c, n = pixel / (d.oh * d.ow);
        const int64_t oy = pixel / d.ow % d.oh, ox = pixel % d.ow, at_y = pixel * d.y_pitch + c;
        wanted_y[at_y] = bias[c];
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t row = oy * s.stride - s.padding + tap / s.kernel * s.dilation;
            const int64_t col = ox * s.stride - s.padding + tap % s.kernel * s.dilation;
            if (row < 0 || row >= d.h || col < 0 || col >= d.w)
                continue;
            const int64_t at = ((n * d.h + row) * d.w + col) * d.x_pitch + c;
            wanted_y[at_y] += (double)x[at] * w[c * taps + tap];
            wanted_dx[at] += (double)dy[at_y] * w[c * taps + tap];
            wanted_dw[c * taps + tap] += (double)dy[at_y] * x[at];
        }
    }
    RUN(depthwise_forward, &d, OUT(y, y_floats), NONE, IN(x), IN(w), IN(bias), NONE);
    expect_exact("y", y, wanted_y, y_floats);
    float *residual = whole(y_floats);
    cnf_depthwise followed = d;
    followed.epilogue = (cnf_epilogue){.activation = cnf_unary_relu, .residual_pitch = d.y_pitch};
    for (int64_t i = 0; i < y_floats; i++)
        if (i % d.y_pitch < s.c)
            wanted_y[i] = fmax(wanted_y[i] + residual[i], 0);
    RUN(depthwise_forward, &followed, OUT(y, y_floats), NONE, IN(x), IN(w), IN(bias), IN(residual));
    expect_exact("y with residual and relu", y, wanted_y, y_floats);
    RUN(depthwise_backward_input, &d, OUT(dx, x_floats), IN(dy), IN(w));
    expect_exact("dx", dx, wanted_dx, x_floats);
    RUN(depthwise_backward_weight, &d, OUT(dw, s.c * taps), IN(x), IN(dy));
    expect_exact("dw", dw, wanted_dw, s.c * taps);
    free_arrays();
}

void test_depthwise(void)
{
    const int64_t channels[] = {1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33, 67};
    for (int i = 0; i < 14; i++)
        for (int stride = 1; stride <= 2; stride++) {
            check((depthwise){2, channels[i], 7, 19, 3, stride, 1, 1}, i % 3);
            check((depthwise){2, channels[i], 9, 11, 5, stride, 2, 1}, i % 3);
        }
    check((depthwise){1, 6, 1, 1, 3, 1, 1, 1}, 0);
    check((depthwise){1, 6, 2, 3, 7, 1, 3, 1}, 1);
    check((depthwise){2, 5, 13, 14, 3, 3, 2, 2}, 0);
    check((depthwise){2, 5, 13, 14, 2, 2, 0, 3}, 0);
    check((depthwise){3, 40, 30, 31, 3, 1, 1, 1}, 0); /* several threads */
}
