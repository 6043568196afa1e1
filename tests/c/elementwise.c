/* elementwise.c: elementary functions in units of the last place, derivatives, functions of two
 * and three operands, strides, and NaN, infinities and zeros. */
#include <math.h>

#include "check.h"

#define COUNT 4001 /* values of a sweep: several threads, and a partial vector */

static cnf_elementwise flat(int kind, int64_t n, float alpha, float beta)
{
    return (cnf_elementwise){.kind = kind, .rank = 1, .size = {n},
                             .stride = {{1}, {1}, {1}, {1}}, .alpha = alpha, .beta = beta};
}

/* ---- functions of one ----------------------------------------------------------------------- */

static double identity(double x) { return x; }
static double rsqrt(double x) { return 1 / sqrt(x); }
static double reciprocal(double x) { return 1 / x; }
static double square(double x) { return x * x; }
static double relu(double x) { return x > 0 ? x : 0; }
static double sigmoid(double x) { return 1 / (1 + exp(-x)); }
static double softplus(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }
static double silu(double x) { return x / (1 + exp(-x)); }
static double mish(double x) { return x * tanh(softplus(x)); }
static double below(double x) { return erfc(-x * M_SQRT1_2) / 2; }
static double gelu(double x) { return x * below(x); }
static double gelu_tanh(double x)
{
    return x * sigmoid(2 * M_SQRT1_2 * M_2_SQRTPI * (x + 0.044715 * x * x * x));
}
static double hardswish(double x) { return x * fmin(fmax(x + 3, 0), 6) / 6; }
static double hardsigmoid(double x) { return fmin(fmax(x + 3, 0), 6) / 6; }
static double softsign(double x) { return x / (1 + fabs(x)); }
static double elu(double x) { return x > 0 ? x : expm1(x); }
static double log_sigmoid(double x) { return -softplus(-x); }
static double tanhshrink(double x) { return x - tanh(x); }

/* Arguments `low` to `high` by magnitude, of both signs where `both`; most error in units of
 * 2^-24 of the value: twice the ulps that tests/test_math.py allows. */
static const struct {
    int kind;
    double (*function)(double);
    double low, high;
    int both;
    double units;
} functions[] = {
    {cnf_unary_neg, NULL, 1e-30, 1e30, 1, 0},
    {cnf_unary_abs, fabs, 1e-30, 1e30, 1, 0},
    {cnf_unary_floor, floor, 1e-3, 1e9, 1, 0},
    {cnf_unary_ceil, ceil, 1e-3, 1e9, 1, 0},
    {cnf_unary_trunc, trunc, 1e-3, 1e9, 1, 0},
    {cnf_unary_round, rint, 1e-3, 1e9, 1, 0},
    {cnf_unary_square, square, 1e-15, 1e15, 1, 1},
    {cnf_unary_sqrt, sqrt, 2e-38, 3e38, 0, 1.02},
    {cnf_unary_rsqrt, rsqrt, 2e-38, 3e38, 0, 4},
    {cnf_unary_reciprocal, reciprocal, 1e-37, 1e37, 1, 1.02},
    {cnf_unary_exp, exp, 1e-10, 87, 1, 4},
    {cnf_unary_expm1, expm1, 1e-30, 87, 1, 4},
    {cnf_unary_log, log, 2e-38, 3e38, 0, 4},
    {cnf_unary_log, log, 0.5, 2, 0, 4},
    {cnf_unary_log1p, log1p, 1e-30, 3e38, 0, 6},
    {cnf_unary_erf, erf, 1e-30, 20, 1, 4},
    {cnf_unary_tanh, tanh, 1e-30, 100, 1, 4},
    {cnf_unary_relu, relu, 1e-30, 1e30, 1, 0},
    {cnf_unary_sigmoid, sigmoid, 1e-10, 80, 1, 8},
    {cnf_unary_log_sigmoid, log_sigmoid, 1e-20, 80, 1, 6},
    {cnf_unary_silu, silu, 1e-20, 80, 1, 8},
    {cnf_unary_mish, mish, 1e-20, 80, 1, 10},
    {cnf_unary_gelu, gelu, 1e-20, 4, 1, 48}, /* without FMA x^2 rounds: 16 more at 4 */
    {cnf_unary_gelu_tanh, gelu_tanh, 1e-20, 3, 1, 48},
    {cnf_unary_hardswish, hardswish, 1e-20, 10, 0, 8},
    {cnf_unary_hardsigmoid, hardsigmoid, 1e-20, 10, 0, 8},
    {cnf_unary_softsign, softsign, 1e-20, 1e10, 1, 4},
};
#define FUNCTIONS ((int)(sizeof functions / sizeof functions[0]))

/* Evenly spread over the orders of magnitude. */
static float *magnitudes(double low, double high, int both)
{
    float *x = uniform(COUNT, log(low), log(high));
    for (int64_t i = 0; i < COUNT; i++)
        x[i] = (float)exp(x[i]) * (both && i % 2 ? -1.0f : 1.0f);
    return x;
}

void test_unary(void)
{
    for (int f = 0; f < FUNCTIONS; f++) {
        const cnf_elementwise d = flat(functions[f].kind, COUNT, 0, 0);
        float *x = magnitudes(functions[f].low, functions[f].high, functions[f].both);
        float *y = unwritten(COUNT);
        double *wanted = zeros(COUNT);
        describe("%s", cnf_unary_name(functions[f].kind));
        for (int64_t i = 0; i < COUNT; i++)
            wanted[i] = functions[f].function ? functions[f].function(x[i]) : -(double)x[i];
        RUN(unary_forward, &d, OUT(y, COUNT), IN(x));
        expect_near("y", y, wanted, NULL, functions[f].units, COUNT);
    }
    /* each length up to several vectors, at the end of a page; attributes; in place */
    for (int64_t n = 0; n < 40; n++) {
        const cnf_elementwise d = flat(cnf_unary_leaky_relu, n, 0.25f, 0);
        float *x = whole(n);
        double *wanted = widened(x, n);
        describe("leaky_relu of %d in place", (int)n);
        for (int64_t i = 0; i < n; i++)
            wanted[i] *= x[i] > 0 ? 1 : 0.25;
        RUN(unary_forward, &d, OUT(x, n), IN(x));
        expect_exact("y", x, wanted, n);
    }
}

/* The slope of a smooth function by five points, whose own error is about 1e-10. */
static double slope(double (*f)(double), double x)
{
    const double h = 1e-3;
    return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

void test_unary_backward(void)
{
    static const struct {
        int kind;
        double (*function)(double);
        double low, high;
    } smooth[] = {
        {cnf_unary_neg, NULL, -3, 3},          {cnf_unary_square, square, -3, 3},
        {cnf_unary_sqrt, sqrt, 0.5, 3},        {cnf_unary_rsqrt, rsqrt, 0.5, 3},
        {cnf_unary_reciprocal, reciprocal, 0.5, 3}, {cnf_unary_exp, exp, -3, 2},
        {cnf_unary_expm1, expm1, -3, 2},       {cnf_unary_log, log, 0.5, 3},
        {cnf_unary_log1p, log1p, -0.5, 3},     {cnf_unary_erf, erf, -3, 3},
        {cnf_unary_tanh, tanh, -3, 3},         {cnf_unary_sigmoid, sigmoid, -3, 3},
        {cnf_unary_log_sigmoid, log_sigmoid, -3, 3}, {cnf_unary_silu, silu, -3, 3},
        {cnf_unary_mish, mish, -3, 3},         {cnf_unary_gelu, gelu, -3, 3},
        {cnf_unary_gelu_tanh, gelu_tanh, -3, 3}, {cnf_unary_softplus, softplus, -3, 3},
        {cnf_unary_hardswish, hardswish, -2.9, 2.9},
        {cnf_unary_hardsigmoid, hardsigmoid, -2.9, 2.9},
        {cnf_unary_softsign, softsign, 0.1, 3}, {cnf_unary_elu, elu, -3, -0.1},
        {cnf_unary_relu, relu, 0.1, 3},        {cnf_unary_abs, fabs, 0.1, 3},
        {cnf_unary_tanhshrink, tanhshrink, -3, 3}, {cnf_unary_affine, identity, -3, 3},
    };
    for (int f = 0; f < (int)(sizeof smooth / sizeof smooth[0]); f++) {
        const int kind = smooth[f].kind;
        /* affine: 1 x; elu: slope 1 in both halves; softplus: x itself beyond 20 */
        const cnf_elementwise d = flat(kind, COUNT, 1, kind == cnf_unary_elu ? 1 : 20);
        float *x = uniform(COUNT, smooth[f].low, smooth[f].high), *y = unwritten(COUNT);
        float *dy = uniform(COUNT, -1, 1), *dx = unwritten(COUNT);
        double *wanted = zeros(COUNT), *size = zeros(COUNT);
        describe("gradient of %s", cnf_unary_name(kind));
        for (int64_t i = 0; i < COUNT; i++) {
            wanted[i] = dy[i] * (smooth[f].function ? slope(smooth[f].function, x[i]) : -1);
            size[i] = 2 + fabs(wanted[i]);
        }
        RUN(unary_forward, &d, OUT(y, COUNT), IN(x));
        RUN(unary_backward, &d, OUT(dx, COUNT), IN(dy), IN(cnf_unary_by_result(kind) ? y : x));
        expect_near("dx", dx, wanted, size, 32, COUNT);
    }
}

/* ---- functions of two and three ------------------------------------------------------------- */

void test_binary(void)
{
    /* y (3, 5, 7) from a, stored transposed, and b, broadcast along the middle axis */
    cnf_elementwise d = {.rank = 3, .size = {3, 5, 7},
                         .stride = {{35, 7, 1}, {1, 3, 15}, {7, 0, 1}, {35, 7, 1}}};
    float *a = uniform(105, 0.5, 2), *b = uniform(21, -2, 2), *y = unwritten(105), *c = whole(105);
    double *wanted[6];
    const int kinds[] = {cnf_binary_add, cnf_binary_sub, cnf_binary_mul, cnf_binary_div,
                         cnf_binary_pow, cnf_binary_maximum};
    for (int k = 0; k < 6; k++)
        wanted[k] = zeros(105);
    double *chosen = zeros(105), *size = zeros(105), *sum = zeros(105);
    for (int64_t i = 0; i < 105; i++) {
        const double p = a[i / 35 + i / 7 % 5 * 3 + i % 7 * 15], q = b[i / 35 * 7 + i % 7];
        wanted[0][i] = p + q, wanted[1][i] = p - q, wanted[2][i] = p * q, wanted[3][i] = p / q;
        wanted[4][i] = pow(p, q), wanted[5][i] = fmax(p, q);
        chosen[i] = c[i] != 0 ? p : q;
        sum[i] = p * q + c[i];
        size[i] = fabs(p * q) + fabs(sum[i]);
    }
    for (int k = 0; k < 6; k++) {
        d.kind = kinds[k];
        describe("%s with strides", cnf_binary_name(kinds[k]));
        RUN(binary_forward, &d, OUT(y, 105), IN(a), IN(b));
        expect_near("y", y, wanted[k], NULL, 1.02, 105);
    }
    describe("functions of three with strides");
    d.kind = cnf_ternary_where;
    RUN(ternary_forward, &d, OUT(y, 105), IN(a), IN(b), IN(c));
    expect_exact("where", y, chosen, 105);
    d.kind = cnf_ternary_mul_add;
    RUN(ternary_forward, &d, OUT(y, 105), IN(a), IN(b), IN(c));
    expect_near("mul_add", y, sum, size, 1.02, 105);
    d.alpha = 2.5f;
    double *filled = zeros(105);
    for (int64_t i = 0; i < 105; i++)
        filled[i] = 2.5;
    RUN(fill, &d, OUT(y, 105));
    expect_exact("fill", y, filled, 105);
}

/* ---- special values ------------------------------------------------------------------------- */

void test_special_values(void)
{
    static const struct {
        int kind;
        float x, y;
    } cases[] = {
        {cnf_unary_exp, INFINITY, INFINITY}, {cnf_unary_exp, -INFINITY, 0},
        {cnf_unary_exp, 89, INFINITY},       {cnf_unary_exp, -104, 0},
        {cnf_unary_log, 0, -INFINITY},       {cnf_unary_log, -1, NAN},
        {cnf_unary_log, INFINITY, INFINITY}, {cnf_unary_log1p, -1, -INFINITY},
        {cnf_unary_tanh, INFINITY, 1},       {cnf_unary_tanh, -INFINITY, -1},
        {cnf_unary_erf, INFINITY, 1},        {cnf_unary_erf, -INFINITY, -1},
        {cnf_unary_sqrt, -1, NAN},           {cnf_unary_sqrt, INFINITY, INFINITY},
        {cnf_unary_reciprocal, 0, INFINITY}, {cnf_unary_rsqrt, 0, INFINITY},
        {cnf_unary_sigmoid, INFINITY, 1},    {cnf_unary_sigmoid, -INFINITY, 0},
        {cnf_unary_relu, -INFINITY, 0},      {cnf_unary_relu, INFINITY, INFINITY},
        {cnf_unary_round, 0.5f, 0},          {cnf_unary_round, 2.5f, 2},
        {cnf_unary_round, -8388609, -8388609}, {cnf_unary_floor, -0.5f, -1},
        {cnf_unary_floor, 1e20f, 1e20f},     {cnf_unary_sign, NAN, 0},
        {cnf_unary_exp, NAN, NAN},           {cnf_unary_log, NAN, NAN},
        {cnf_unary_tanh, NAN, NAN},          {cnf_unary_erf, NAN, NAN},
        {cnf_unary_relu, NAN, NAN},          {cnf_unary_gelu, NAN, NAN},
        {cnf_unary_clamp, NAN, NAN},         {cnf_unary_hardtanh, NAN, NAN},
        {cnf_unary_silu, NAN, NAN},          {cnf_unary_floor, NAN, NAN},
    };
    for (int i = 0; i < (int)(sizeof cases / sizeof cases[0]); i++) {
        const cnf_elementwise d = flat(cases[i].kind, 7, -1, 1);
        float *x = array(7 * sizeof *x), *y = unwritten(7);
        double *wanted = zeros(7);
        describe("%s of %g", cnf_unary_name(cases[i].kind), (double)cases[i].x);
        for (int k = 0; k < 7; k++)
            x[k] = cases[i].x, wanted[k] = cases[i].y;
        RUN(unary_forward, &d, OUT(y, 7), IN(x));
        expect_exact("y", y, wanted, 7);
    }
    const int extremes[] = {cnf_binary_maximum, cnf_binary_minimum};
    for (int i = 0; i < 2; i++) { /* a NaN on either side wins */
        const cnf_elementwise d = flat(extremes[i], 5, 0, 0);
        float a[] = {NAN, 1, NAN, 2, 3}, b[] = {1, NAN, NAN, 3, 2}, *y = unwritten(5);
        const double wanted[] = {NAN, NAN, NAN, i ? 2 : 3, i ? 2 : 3};
        describe("%s of NaN", cnf_binary_name(extremes[i]));
        RUN(binary_forward, &d, OUT(y, 5), IN(a), IN(b));
        expect_exact("y", y, wanted, 5);
    }
}
