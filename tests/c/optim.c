/* optim.c: SGD, Adam and RMSprop over several steps against torch.optim's formulas in double. */
#include <math.h>

#include "check.h"

#define STEPS 4

/* The sizes of all that is compared are of about 1: gradients and learning rates are. */
static void expect_state(const char *what, const float *got, const double *wanted, int64_t n)
{
    double *size = zeros(n);
    for (int64_t i = 0; i < n; i++)
        size[i] = 1 + fabs(wanted[i]);
    expect_near(what, got, wanted, size, 64, n);
}

static void check_sgd(int64_t n, double momentum, int nesterov)
{
    float *p = uniform(n, -1, 1), *buffer = unwritten(n);
    double *wanted = widened(p, n), *wanted_buffer = zeros(n);
    int64_t begun = 0;
    describe("sgd of %d, momentum %g, nesterov %d", (int)n, momentum, nesterov);
    for (int64_t step = 1; step <= STEPS; step++) {
        const cnf_sgd_settings settings = {0.1, momentum, 0.25, 0.01};
        const cnf_sgd d = {n, nesterov};
        float *g = uniform(n, -1, 1);
        for (int64_t i = 0; i < n; i++) {
            double u = g[i] + 0.01 * wanted[i];
            if (momentum != 0) {
                wanted_buffer[i] = step == 1 ? u : momentum * wanted_buffer[i] + 0.75 * u;
                u = nesterov ? u + momentum * wanted_buffer[i] : wanted_buffer[i];
            }
            wanted[i] -= 0.1 * u;
        }
        RUN(sgd_update, &d, OUT(p, n), momentum != 0 ? OUT(buffer, n) : NONE, OUT(&begun, 1), IN(g),
            IN(&settings));
    }
    expect_state("parameter", p, wanted, n);
    if (momentum != 0)
        expect_state("momentum", buffer, wanted_buffer, n);
    free_arrays();
}

static void check_adam(int64_t n, int decoupled, int amsgrad)
{
    float *p = uniform(n, -1, 1), *average = uniform(n, 0, 0), *squares = uniform(n, 0, 0);
    float *largest = uniform(n, 0, 0), *count = uniform(1, 0, 0);
    double *wanted = widened(p, n), *m = zeros(n), *v = zeros(n), *top = zeros(n);
    describe("adam of %d, decoupled %d, amsgrad %d", (int)n, decoupled, amsgrad);
    for (int64_t step = 1; step <= STEPS; step++) {
        const cnf_adam_settings settings = {0.01, 0.9, 0.99, 1e-8, 0.1};
        const cnf_adam d = {n, decoupled};
        float *g = uniform(n, step % 2 ? 0.5 : 0.1, step % 2 ? 1 : 0.2);
        for (int64_t i = 0; i < n; i++) {
            const double u = g[i] + (decoupled ? 0 : 0.1 * wanted[i]);
            wanted[i] *= decoupled ? 1 - 0.01 * 0.1 : 1;
            m[i] = 0.9 * m[i] + 0.1 * u;
            v[i] = 0.99 * v[i] + 0.01 * u * u;
            top[i] = fmax(top[i], v[i]);
            wanted[i] -= 0.01 * m[i] / (1 - pow(0.9, (double)step)) /
                         (sqrt((amsgrad ? top : v)[i] / (1 - pow(0.99, (double)step))) + 1e-8);
        }
        RUN(adam_update, &d, OUT(p, n), OUT(average, n), OUT(squares, n),
            amsgrad ? OUT(largest, n) : NONE, OUT(count, 1), IN(g), IN(&settings));
    }
    expect_state("parameter", p, wanted, n);
    expect_true("the steps were counted", *count == STEPS);
    expect_state("average", average, m, n);
    expect_state("average of squares", squares, v, n);
    free_arrays();
}

static void check_rmsprop(int64_t n, double momentum, int centered)
{
    float *p = uniform(n, -1, 1), *squares = uniform(n, 0, 0), *buffer = uniform(n, 0, 0);
    float *average = uniform(n, 0, 0), *count = uniform(1, 0, 0);
    double *wanted = widened(p, n), *v = zeros(n), *b = zeros(n), *a = zeros(n);
    describe("rmsprop of %d, momentum %g, centered %d", (int)n, momentum, centered);
    for (int64_t step = 1; step <= STEPS; step++) {
        const cnf_rmsprop_settings settings = {0.01, 0.9, 1e-8, 0.01, momentum};
        const cnf_rmsprop d = {n};
        float *g = uniform(n, 0.5, 1);
        for (int64_t i = 0; i < n; i++) {
            const double u = g[i] + 0.01 * wanted[i];
            v[i] = 0.9 * v[i] + 0.1 * u * u;
            a[i] = 0.9 * a[i] + 0.1 * u;
            b[i] = momentum * b[i] + u / (sqrt(v[i] - (centered ? a[i] * a[i] : 0)) + 1e-8);
            wanted[i] -= 0.01 * b[i];
        }
        RUN(rmsprop_update, &d, OUT(p, n), OUT(squares, n), momentum != 0 ? OUT(buffer, n) : NONE,
            centered ? OUT(average, n) : NONE, OUT(count, 1), IN(g), IN(&settings));
    }
    expect_state("parameter", p, wanted, n);
    expect_state("average of squares", squares, v, n);
    free_arrays();
}

void test_optimizers(void)
{
    const int64_t sizes[] = {1, 3, 4, 7, 9, 15, 17, 33, 60001};
    for (int i = 0; i < 9; i++) {
        check_sgd(sizes[i], 0, 0);
        check_sgd(sizes[i], 0.9, i % 2);
        check_adam(sizes[i], i % 2, i % 3 == 0);
        check_rmsprop(sizes[i], i % 2 ? 0.5 : 0, i % 3 == 0);
    }
}
