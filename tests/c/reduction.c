/* reduction.c: sums, products and extremes over any axes, and where the extremes stand. */
#include <math.h>

#include "check.h"

static double combine(int kind, double a, double x)
{
    switch (kind) {
    case CNF_SUM: return a + x;
    case CNF_SUM_SQUARE: return a + x * x;
    case CNF_PROD: return a * x;
    case CNF_MAX: return isnan(a) || isnan(x) ? NAN : fmax(a, x);
    default: return isnan(a) || isnan(x) ? NAN : fmin(a, x);
    }
}

static const double neutral[] = {0, 0, 1, -INFINITY, INFINITY};

/* x (a, b, c), dense, over the axes whose bit is set in `reduced`. */
static void check(int64_t a, int64_t b, int64_t c, int reduced, int kind, int with_nan)
{
    const int64_t size[] = {a, b, c};
    cnf_reduce_box d = {.kind = kind, .rank = 3, .size = {a, b, c}, .x_stride = {b * c, c, 1},
                        .scale = 1};
    int64_t outputs = 1;
    for (int axis = 2; axis >= 0; axis--) {
        d.kept[axis] = !(reduced >> axis & 1);
        d.y_stride[axis] = d.kept[axis] ? outputs : 0;
        outputs *= d.kept[axis] ? size[axis] : 1;
    }
    float *x = kind == CNF_PROD ? uniform(a * b * c, 0.95, 1.05) : uniform(a * b * c, -1, 1);
    float *y = unwritten(outputs);
    double *wanted = zeros(outputs), *magnitude = zeros(outputs);
    if (with_nan)
        x[a * b * c / 2] = NAN;
    for (int64_t i = 0; i < outputs; i++)
        wanted[i] = neutral[kind];
    for (int64_t i = 0; i < a * b * c; i++) {
        const int64_t at = i / (b * c) * d.y_stride[0] + i / c % b * d.y_stride[1] +
                           i % c * d.y_stride[2];
        wanted[at] = combine(kind, wanted[at], x[i]);
        magnitude[at] += kind == CNF_SUM ? fabs(x[i]) : 0;
    }
    describe("reduction %d of %d x %d x %d over %d%s", kind, (int)a, (int)b, (int)c, reduced,
             with_nan ? " with a NaN" : "");
    RUN(reduce, &d, OUT(y, outputs), IN(x));
    expect_near("y", y, wanted, kind == CNF_SUM ? magnitude : NULL,
                kind == CNF_MAX || kind == CNF_MIN ? 0 : 16, outputs);
    free_arrays();
}

static void check_arg(int64_t rows, int64_t c, int kind)
{
    const cnf_arg_box d = {kind, 2, 1, {rows, c}, {1, 0}, {c, 1}};
    float *x = whole(rows * c); /* many ties: the first counts */
    int64_t *y = numbers(rows, 1), right = 0;
    describe("place of extreme %d of %d x %d", kind, (int)rows, (int)c);
    x[rows / 2 * c + c / 2] = NAN;
    RUN(arg_extreme, &d, OUT(y, rows), IN(x));
    for (int64_t r = 0; r < rows; r++) {
        int64_t best = 0;
        for (int64_t i = 1; i < c; i++) {
            const float value = x[r * c + i], most = x[r * c + best];
            if (!isnan(most) && (isnan(value) || (kind == CNF_MAX ? value > most : value < most)))
                best = i;
        }
        right += y[r] == best;
    }
    expect_true("every place is right", right == rows);
    free_arrays();
}

void test_reduction(void)
{
    const int64_t widths[] = {1, 3, 4, 5, 8, 9, 17, 31, 33, 65, 130};
    for (int i = 0; i < 11; i++)
        for (int kind = 0; kind < CNF_REDUCE_COUNT; kind++)
            for (int reduced = 0; reduced < 8; reduced++)
                check(3, 1 + i % 4, widths[i], reduced, kind, i % 3 == 2);
    for (int kind = 0; kind < CNF_REDUCE_COUNT; kind++) { /* several threads */
        check(10, 60, 130, 3, kind, 0);
        check(10, 60, 130, 4, kind, 0);
        check(1, 1, kind == CNF_PROD ? 1000 : 90000, 7, kind, 0);
    }
    for (int i = 0; i < 11; i++) {
        check_arg(7, widths[i], CNF_MAX);
        check_arg(300, widths[i], CNF_MIN);
    }
}
