/* conv2d.c: convolution, what may follow it in the same kernel (residual, ReLU, channel sums), and
 * its two gradients, direct and by Winograd, against seven loops. */
#include <math.h>

#include "check.h"

typedef struct {
    int64_t n, h, w, ci, co, kh, kw, stride_h, stride_w, pad_h, pad_w, dilation, groups;
} convolution;

static cnf_conv2d descriptor(convolution c, int64_t gap)
{
    cnf_conv2d d = {
        .n = c.n, .h = c.h, .w = c.w, .ci = c.ci, .x_pitch = c.ci + gap, .co = c.co,
        .y_pitch = c.co + gap, .kh = c.kh, .kw = c.kw, .stride_h = c.stride_h,
        .stride_w = c.stride_w, .pad_top = c.pad_h, .pad_left = c.pad_w,
        .dilation_h = c.dilation, .dilation_w = c.dilation, .groups = c.groups,
    };
    d.oh = (c.h + 2 * c.pad_h - c.dilation * (c.kh - 1) - 1) / c.stride_h + 1;
    d.ow = (c.w + 2 * c.pad_w - c.dilation * (c.kw - 1) - 1) / c.stride_w + 1;
    return d;
}

typedef struct {
    int64_t x, w, y; /* floats of each array */
} sizes;

static sizes sizes_of(const cnf_conv2d *d)
{
    return (sizes){d->n * d->h * d->w * d->x_pitch, d->co * d->ci / d->groups * d->kh * d->kw,
                   d->n * d->oh * d->ow * d->y_pitch};
}

typedef struct {
    double *y, *dx, *dw;
} results;

/* The channels between images' pixels belong to nobody: a kernel must leave the NaN there. */
static results start(const cnf_conv2d *d)
{
    const sizes s = sizes_of(d);
    const results r = {zeros(s.y), zeros(s.x), zeros(s.w)};
    for (int64_t i = 0; i < s.y; i++)
        r.y[i] = i % d->y_pitch < d->co ? 0 : NAN;
    for (int64_t i = 0; i < s.x; i++)
        r.dx[i] = i % d->x_pitch < d->ci ? 0 : NAN;
    return r;
}

/* What one output of one channel adds to the sums, and to the sums of magnitudes. */
static void add_output(const results *sum, const results *size, const double *x, const double *w,
                       const double *dy, const cnf_conv2d *d, int64_t pixel, int64_t co)
{
    const int64_t ci = d->ci / d->groups, first = co / (d->co / d->groups) * ci;
    const int64_t n = pixel / (d->oh * d->ow), y = pixel * d->y_pitch + co;
    const int64_t oy = pixel / d->ow % d->oh, ox = pixel % d->ow;
    for (int64_t t = 0; t < d->kh; t++)
        for (int64_t u = 0; u < d->kw; u++) {
            const int64_t row = oy * d->stride_h - d->pad_top + t * d->dilation_h;
            const int64_t col = ox * d->stride_w - d->pad_left + u * d->dilation_w;
            if (row < 0 || row >= d->h || col < 0 || col >= d->w)
                continue;
            for (int64_t c = 0; c < ci; c++) {
                const int64_t at = ((n * d->h + row) * d->w + col) * d->x_pitch + first + c;
                const int64_t weight = ((co * ci + c) * d->kh + t) * d->kw + u;
                sum->y[y] += x[at] * w[weight];
                sum->dx[at] += dy[y] * w[weight];
                sum->dw[weight] += dy[y] * x[at];
                size->y[y] += fabs(x[at] * w[weight]);
                size->dx[at] += fabs(dy[y] * w[weight]);
                size->dw[weight] += fabs(dy[y] * x[at]);
            }
        }
}

/* At least 1: a tile's error comes from weights that its pixels may not even meet. */
static double largest(const double *a, int64_t n)
{
    double most = 1;
    for (int64_t i = 0; i < n; i++)
        most = a[i] > most ? a[i] : most;
    return most;
}

/* Winograd spreads an element's error over its tile: the bound is the largest sum's. */
static void level(double *a, int64_t n)
{
    const double most = largest(a, n);
    for (int64_t i = 0; i < n; i++)
        a[i] = most;
}

/* The forward pass with everything that may follow: y = relu(convolution + bias + residual). */
static void compute_epilogue(cnf_conv2d d, const float *x, const float *packed, const float *bias,
                             const results *plain, const results *size, double units)
{
    const sizes s = sizes_of(&d);
    float *residual = whole(s.y), *y = unwritten(s.y), *rounded = unwritten(2 * d.co);
    double *sums = zeros(2 * d.co), *wanted = zeros(s.y), *wanted_sums = zeros(2 * d.co);
    double *sums_size = zeros(2 * d.co);
    d.epilogue = (cnf_epilogue){
        .activation = cnf_unary_relu, .residual_pitch = d.y_pitch, .sums = 1};
    for (int64_t i = 0; i < s.y; i++) {
        const int64_t c = i % d.y_pitch;
        wanted[i] = c < d.co ? fmax(plain->y[i] + residual[i], 0) : NAN;
        if (c >= d.co)
            continue;
        wanted_sums[c] += wanted[i];
        wanted_sums[d.co + c] += wanted[i] * wanted[i];
        sums_size[c] += size->y[i] + wanted[i];
        sums_size[d.co + c] += wanted[i] * (2 * size->y[i] + wanted[i]);
    }
    RUN(conv2d_forward, &d, OUT(y, s.y), OUT(sums, 2 * d.co), IN(x), IN(packed), IN(bias),
        IN(residual));
    for (int64_t c = 0; c < 2 * d.co; c++)
        rounded[c] = (float)sums[c];
    expect_near("y with epilogue", y, wanted, size->y, units, s.y);
    expect_near("sums", rounded, wanted_sums, sums_size, units + 16, 2 * d.co);
}

/* Runs one algorithm in the three directions. */
static void compute(const cnf_conv2d *d, const float *x, const float *w, const float *dy,
                    const float *bias, const results *wanted, const results *size, double units)
{
    const sizes s = sizes_of(d);
    const size_t forward = cnf_conv2d_packed_size(d, 0), backward = cnf_conv2d_packed_size(d, 1);
    float *packed = unwritten((int64_t)forward), *packed_back = unwritten((int64_t)backward);
    float *y = unwritten(s.y), *dx = unwritten(s.x), *dw = unwritten(s.w);
    RUN(conv2d_pack_forward, d, OUT(packed, forward), IN(w));
    RUN(conv2d_forward, d, OUT(y, s.y), NONE, IN(x), IN(packed), IN(bias), NONE);
    expect_near("y", y, wanted->y, size->y, units, s.y);
    compute_epilogue(*d, x, packed, bias, wanted, size, units);
    RUN(conv2d_pack_backward, d, OUT(packed_back, backward), IN(w));
    RUN(conv2d_backward_input, d, OUT(dx, s.x), IN(dy), IN(packed_back), NONE);
    expect_near("dx", dx, wanted->dx, size->dx, units, s.x);
    RUN(conv2d_backward_weight, d, OUT(dw, s.w), IN(x), IN(dy));
    expect_near("dw", dw, wanted->dw, size->dw, units, s.w);
}

static void check(convolution c, int64_t gap, int algorithm)
{
    cnf_conv2d d = descriptor(c, gap);
    d.algorithm = algorithm;
    const sizes s = sizes_of(&d);
    const int exact = algorithm == CNF_CONV2D_DIRECT;
    float *x = exact ? whole(s.x) : uniform(s.x, -1, 1);
    float *w = exact ? whole(s.w) : uniform(s.w, -1, 1);
    float *dy = exact ? whole(s.y) : uniform(s.y, -1, 1), *bias = whole(d.co);
    double *x_double = widened(x, s.x), *w_double = widened(w, s.w), *dy_double = widened(dy, s.y);
    const results wanted = start(&d), size = start(&d);
    describe("%s conv2d %dx%dx%dx%d to %d, kernel %dx%d, stride %d %d, padding %d %d, dilation %d, "
             "groups %d", exact ? "direct" : "winograd", (int)c.n, (int)c.ci, (int)c.h, (int)c.w,
             (int)c.co, (int)c.kh, (int)c.kw, (int)c.stride_h, (int)c.stride_w, (int)c.pad_h,
             (int)c.pad_w, (int)c.dilation, (int)c.groups);
    expect_true("the algorithm accepts the convolution", cnf_conv2d_accepts(&d));
    for (int64_t pixel = 0; pixel < d.n * d.oh * d.ow; pixel++)
        for (int64_t co = 0; co < d.co; co++) {
            wanted.y[pixel * d.y_pitch + co] = bias[co];
            add_output(&wanted, &size, x_double, w_double, dy_double, &d, pixel, co);
        }
    if (!exact) {
        level(size.y, s.y);
        level(size.dx, s.x);
        level(size.dw, s.w);
    }
    compute(&d, x, w, dy, bias, &wanted, &size, exact ? 0 : 80);
    free_arrays();
}

void test_conv2d(void)
{
    /* around the lanes and the panels of every instruction set */
    const int64_t channels[] = {1, 3, 4, 5, 8, 9, 11, 12, 13, 16, 17, 25, 31, 33, 65};
    for (int i = 0; i < 15; i++) {
        check((convolution){2, 5, 7, channels[i], 6, 3, 3, 1, 1, 1, 1, 1, 1}, i % 4, 0);
        check((convolution){2, 5, 7, 6, channels[i], 3, 3, 1, 1, 1, 1, 1, 1}, i % 4, 0);
        const int64_t other = channels[14 - i];
        check((convolution){3, 4, 5, channels[i], other, 1, 1, 1, 1, 0, 0, 1, 1}, i % 4, 0);
    }
    const convolution others[] = {
        {1, 1, 1, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1},    {1, 20, 19, 65, 13, 5, 5, 1, 1, 2, 2, 1, 1},
        {2, 17, 17, 3, 20, 7, 7, 2, 2, 3, 3, 1, 1}, {2, 11, 13, 7, 9, 3, 3, 2, 2, 1, 1, 1, 1},
        {2, 11, 13, 7, 9, 1, 1, 2, 3, 0, 0, 1, 1},  {2, 9, 12, 7, 9, 2, 3, 3, 2, 0, 1, 1, 1},
        {2, 11, 13, 7, 9, 3, 3, 1, 1, 2, 2, 2, 1},  {2, 13, 11, 7, 9, 3, 3, 2, 2, 3, 3, 3, 1},
        {2, 6, 7, 10, 15, 3, 3, 1, 1, 1, 1, 1, 5},  {2, 9, 8, 26, 34, 3, 3, 2, 1, 1, 1, 1, 2},
        {40, 2, 2, 9, 14, 3, 3, 1, 1, 1, 1, 1, 1},  {1, 5, 7, 300, 40, 3, 3, 1, 1, 1, 1, 1, 1},
        {1, 3, 120, 17, 30, 1, 7, 1, 1, 0, 3, 1, 1}, {2, 9, 10, 257, 48, 1, 1, 1, 1, 0, 0, 1, 1},
        {0, 4, 4, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1},
    };
    for (int i = 0; i < (int)(sizeof others / sizeof others[0]); i++)
        check(others[i], i % 4, CNF_CONV2D_DIRECT);
}

void test_winograd(void)
{
    const convolution cases[] = {
        {1, 1, 1, 1, 1, 3, 3, 1, 1, 1, 1, 1, 1},    {1, 3, 3, 1, 1, 3, 3, 1, 1, 0, 0, 1, 1},
        {2, 4, 4, 3, 5, 3, 3, 1, 1, 1, 1, 1, 1},    {1, 5, 9, 15, 17, 3, 3, 1, 1, 1, 0, 1, 1},
        {3, 8, 7, 16, 33, 3, 3, 1, 1, 1, 1, 1, 1},  {2, 6, 6, 13, 25, 3, 3, 1, 1, 2, 2, 1, 1},
        {2, 13, 4, 33, 12, 3, 3, 1, 1, 0, 1, 1, 1}, {4, 14, 14, 40, 52, 3, 3, 1, 1, 1, 1, 1, 1},
        {1, 9, 9, 261, 24, 3, 3, 1, 1, 1, 1, 1, 1}, {0, 8, 8, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1},
    };
    for (int i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++)
        check(cases[i], i % 4, CNF_CONV2D_WINOGRAD);
}
