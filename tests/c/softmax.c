/* softmax.c: softmax, log-softmax, the losses of class targets and their gradients, in double. */
#include <math.h>

#include "check.h"

static const int64_t widths[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 65, 1000};
#define WIDTHS ((int)(sizeof widths / sizeof widths[0]))

/* log(sum of e^x). */
static double log_sum(const float *x, int64_t c)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < c; i++)
        most = x[i] > most ? x[i] : most;
    for (int64_t i = 0; i < c; i++)
        sum += exp(x[i] - most);
    return most + log(sum);
}

static void check_softmax(int64_t rows, int64_t c, int64_t gap)
{
    const int64_t pitch = c + gap, floats = rows * pitch;
    const cnf_softmax d = {rows, c, pitch, pitch, pitch};
    float *x = uniform(floats, -20, 20), *dy = uniform(floats, -1, 1);
    float *y = whole(floats), *l = whole(floats), *dx = whole(floats), *dl = whole(floats);
    double *wanted = widened(y, floats), *wanted_log = widened(l, floats);
    double *wanted_dx = widened(dx, floats), *wanted_dl = widened(dl, floats);
    double *size = zeros(floats);
    describe("softmax of %d x %d", (int)rows, (int)c);
    for (int64_t r = 0; r < rows; r++) {
        const double all = log_sum(x + r * pitch, c);
        double along = 0, sum = 0;
        for (int64_t i = r * pitch; i < r * pitch + c; i++) {
            wanted_log[i] = x[i] - all;
            wanted[i] = exp(x[i] - all);
            along += dy[i] * wanted[i];
            sum += dy[i];
        }
        for (int64_t i = r * pitch; i < r * pitch + c; i++) {
            wanted_dx[i] = wanted[i] * (dy[i] - along);
            wanted_dl[i] = dy[i] - wanted[i] * sum;
            size[i] = 40 + (double)c; /* sums of c numbers below 1, exponents up to 40 */
        }
    }
    RUN(softmax_forward, &d, OUT(y, floats), IN(x));
    RUN(log_softmax_forward, &d, OUT(l, floats), IN(x));
    RUN(softmax_backward, &d, OUT(dx, floats), IN(dy), IN(y));
    RUN(log_softmax_backward, &d, OUT(dl, floats), IN(dy), IN(l));
    expect_near("softmax", y, wanted, NULL, 64, floats);
    expect_near("log softmax", l, wanted_log, size, 4, floats);
    expect_near("dx of softmax", dx, wanted_dx, size, 4, floats);
    expect_near("dx of log softmax", dl, wanted_dl, size, 4, floats);
    free_arrays();
}

/* A NaN and an infinity spoil their rows and no other. */
static void check_spoilt(void)
{
    const cnf_softmax d = {3, 21, 21, 21, 21};
    float *x = uniform(63, -1, 1), *y = unwritten(63);
    double *wanted = zeros(63);
    x[7] = NAN, x[50] = INFINITY;
    describe("softmax of NaN and infinity");
    for (int64_t i = 0; i < 63; i++)
        wanted[i] = i / 21 == 1 ? exp(x[i] - log_sum(x + 21, 21)) : NAN;
    RUN(softmax_forward, &d, OUT(y, 63), IN(x));
    expect_near("y", y, wanted, NULL, 64, 63);
}

void test_softmax(void)
{
    for (int i = 0; i < WIDTHS; i++)
        check_softmax(i % 2 ? 5 : 200, widths[i], i % 3);
    check_spoilt();
}

static void check_cross_entropy(int64_t rows, int64_t c, cnf_reduction reduction, double smoothing)
{
    const int64_t floats = rows * c, losses = reduction == CNF_REDUCTION_NONE ? rows : 1;
    const cnf_cross_entropy d = {rows, c, c, c, -100, reduction, smoothing};
    float *x = uniform(floats, -5, 5), *weight = uniform(c, 0.5, 2), *dy = uniform(losses, 1, 2);
    float *loss = unwritten(losses), *stats = unwritten(2 * rows), *total = unwritten(1);
    float *dx = unwritten(floats);
    int64_t *target = numbers(rows, c);
    double *wanted = zeros(rows), *size = zeros(floats), *wanted_dx = zeros(floats);
    double weights = 0, reduced = 0;
    describe("cross entropy of %d x %d, reduction %d, smoothing %g", (int)rows, (int)c, reduction,
             smoothing);
    target[rows / 2] = -100;
    for (int64_t r = 0; r < rows; r++)
        weights += target[r] == -100 ? 0 : weight[target[r]];
    for (int64_t r = 0; r < rows; r++) {
        const double all = log_sum(x + r * c, c);
        const double share = reduction == CNF_REDUCTION_MEAN ? 1 / weights : 1;
        const double scale = share * dy[losses == 1 ? 0 : r];
        for (int64_t i = 0; i < c && target[r] != -100; i++) {
            const double hit = (1 - smoothing) * (target[r] == i) + smoothing / (double)c;
            wanted[r] += hit * weight[i] * (all - x[r * c + i]);
            wanted_dx[r * c + i] -= scale * hit * weight[i];
            for (int64_t j = 0; j < c; j++)
                wanted_dx[r * c + j] += scale * hit * weight[i] * exp(x[r * c + j] - all);
        }
        reduced += wanted[r] * share;
        for (int64_t i = 0; i < c; i++)
            size[r * c + i] = 4 * scale;
    }
    RUN(cross_entropy_forward, &d, OUT(loss, losses), OUT(stats, 2 * rows), OUT(total, 1), IN(x),
        IN(target), IN(weight));
    RUN(cross_entropy_backward, &d, OUT(dx, floats), IN(dy), IN(x), IN(stats), IN(total),
        IN(target), IN(weight));
    expect_near("loss", loss, losses == 1 ? &reduced : wanted, NULL, 64, losses);
    expect_near("sum of the weights", total, &weights, NULL, 2, 1);
    expect_near("dx", dx, wanted_dx, size, 64, floats);
    target[0] = c;
    REFUSES(cross_entropy_forward, CNF_BAD_LABEL, &d, OUT(loss, losses), OUT(stats, 2 * rows),
            OUT(total, 1), IN(x), IN(target), IN(weight));
    free_arrays();
}

/* The mean of -weight[t] x[t] over log-probabilities x. */
static void check_nll(int64_t rows, int64_t c)
{
    const cnf_cross_entropy d = {rows, c, c, c, -100, CNF_REDUCTION_MEAN, 0};
    float *x = uniform(rows * c, -5, 0), *weight = uniform(c, 0.5, 2), *dy = uniform(1, 1, 2);
    float *loss = unwritten(1), *total = unwritten(1), *dx = unwritten(rows * c);
    int64_t *target = numbers(rows, c);
    double *wanted_dx = zeros(rows * c), weights = 0, wanted = 0;
    describe("negative log-likelihood of %d x %d", (int)rows, (int)c);
    for (int64_t r = 0; r < rows; r++)
        weights += weight[target[r]];
    for (int64_t r = 0; r < rows; r++) {
        wanted -= weight[target[r]] * (double)x[r * c + target[r]] / weights;
        wanted_dx[r * c + target[r]] = -weight[target[r]] / weights * dy[0];
    }
    RUN(nll_forward, &d, OUT(loss, 1), OUT(total, 1), IN(x), IN(target), IN(weight));
    RUN(nll_backward, &d, OUT(dx, rows * c), IN(dy), IN(total), IN(target), IN(weight));
    expect_near("loss", loss, &wanted, NULL, 4, 1);
    expect_near("dx", dx, wanted_dx, NULL, 8, rows * c);
    free_arrays();
}

void test_cross_entropy(void)
{
    for (int i = 0; i < WIDTHS - 1; i++) {
        check_cross_entropy(7, widths[i], (cnf_reduction)(i % 3), 0);
        check_cross_entropy(150, widths[i], (cnf_reduction)(i % 3), 0.1);
        check_nll(30, widths[i]);
    }
}
