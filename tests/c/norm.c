/* norm.c: batch, group, instance, layer and local response norm, and their gradients, in double. */
#include <math.h>

#include "check.h"

#define EPS 1e-5

/* One set of statistics: `rows` x `width` values, rows `pitch` apart. */
typedef struct {
    int64_t rows, width, pitch;
} block;

typedef struct {
    double mean, variance, invstd;
} moments;

static moments moments_of(const float *x, block b)
{
    moments m = {0};
    const double count = (double)(b.rows * b.width);
    for (int64_t i = 0; i < b.rows * b.width; i++)
        m.mean += x[i / b.width * b.pitch + i % b.width] / count;
    for (int64_t i = 0; i < b.rows * b.width; i++)
        m.variance += pow(x[i / b.width * b.pitch + i % b.width] - m.mean, 2) / count;
    m.invstd = 1 / sqrt(m.variance + EPS);
    return m;
}

/* y = xhat * weight + bias; dx, and what the block adds to dweight and dbias and their sizes. */
typedef struct {
    double *y, *dx, *dweight, *dbias, *weight_size, *bias_size;
} results;

static void normalise(results r, const float *x, const float *dy, const float *weight,
                      const float *bias, moments m, block b)
{
    const double count = (double)(b.rows * b.width);
    double sum = 0, product = 0;
    for (int64_t i = 0; i < b.rows * b.width; i++) {
        const int64_t c = i % b.width, at = i / b.width * b.pitch + c;
        const double xhat = (x[at] - m.mean) * m.invstd;
        r.y[at] = xhat * weight[c] + bias[c];
        r.dweight[c] += dy[at] * xhat;
        r.dbias[c] += dy[at];
        r.weight_size[c] += fabs(dy[at] * xhat) + fabs((double)dy[at]);
        r.bias_size[c] += fabs((double)dy[at]);
        sum += weight[c] * dy[at] / count;
        product += weight[c] * dy[at] * xhat / count;
    }
    for (int64_t i = 0; i < b.rows * b.width; i++) {
        const int64_t c = i % b.width, at = i / b.width * b.pitch + c;
        const double xhat = (x[at] - m.mean) * m.invstd;
        r.dx[at] = m.invstd * (weight[c] * dy[at] - sum - xhat * product);
    }
}

static results start(int64_t floats, int64_t c)
{
    return (results){zeros(floats), zeros(floats), zeros(c), zeros(c), zeros(c), zeros(c)};
}

/* Values of about 1 that are results of sums over a block: errors do not shrink with them. */
static double *sizes_about_one(const double *wanted, int64_t n)
{
    double *size = zeros(n);
    for (int64_t i = 0; i < n; i++)
        size[i] = 4 + fabs(wanted[i]);
    return size;
}

static void expect_about(const char *what, const float *got, const double *wanted, int64_t n)
{
    expect_near(what, got, wanted, sizes_about_one(wanted, n), 16, n);
}

static void check_norm(int64_t segments, int64_t rows, int64_t c, int64_t groups)
{
    const int64_t pitch = c, floats = segments * rows * c, width = c / groups;
    const int64_t statistics = segments * groups;
    const cnf_norm d = {.segments = segments, .rows = rows, .c = c, .groups = groups,
                        .x_pitch = pitch, .y_pitch = pitch, .dy_pitch = pitch, .eps = EPS,
                        .momentum = 0.25};
    float *x = uniform(floats, 1, 3), *dy = uniform(floats, -1, 1), *y = unwritten(floats);
    float *weight = uniform(c, 0.5, 2), *bias = uniform(c, -1, 1), *dx = unwritten(floats);
    float *mean = unwritten(statistics), *invstd = unwritten(statistics);
    float *dweight = unwritten(c), *dbias = unwritten(c);
    const int running = groups == c;
    float *running_mean = uniform(c, -1, 1), *running_var = uniform(c, 0.5, 2);
    double *blended_mean = widened(running_mean, c), *blended_var = widened(running_var, c);
    double *sums = zeros(2 * c);
    const results wanted = start(floats, c);
    describe("norm of %d segments, %d rows, %d channels, %d groups", (int)segments, (int)rows,
             (int)c, (int)groups);
    for (int64_t i = 0; running && i < c; i++)
        blended_mean[i] *= 0.75, blended_var[i] *= 0.75;
    for (int64_t i = 0; i < statistics; i++) {
        const int64_t channel = i % groups * width, at = i / groups * rows * pitch + channel;
        const block b = {rows, width, pitch};
        const moments m = moments_of(x + at, b);
        normalise((results){wanted.y + at, wanted.dx + at, wanted.dweight + channel,
                            wanted.dbias + channel, wanted.weight_size + channel,
                            wanted.bias_size + channel},
                  x + at, dy + at, weight + channel, bias + channel, m, b);
        if (running) {
            blended_mean[channel] += 0.25 * m.mean / (double)segments;
            blended_var[channel] += 0.25 * m.variance / (double)segments * (double)rows /
                                    (double)(rows > 1 ? rows - 1 : 1);
        }
    }
    RUN(norm_forward, &d, OUT(y, floats), OUT(mean, statistics), OUT(invstd, statistics),
        running ? OUT(running_mean, c) : NONE, running ? OUT(running_var, c) : NONE, IN(x),
        IN(weight), IN(bias), NONE);
    RUN(norm_backward, &d, OUT(dx, floats), OUT(dweight, c), OUT(dbias, c), IN(dy), IN(x), IN(mean),
        IN(invstd), IN(weight));
    expect_about("y", y, wanted.y, floats);
    expect_about("dx", dx, wanted.dx, floats);
    expect_near("dweight", dweight, wanted.dweight, wanted.weight_size, units_of(rows), c);
    expect_near("dbias", dbias, wanted.dbias, wanted.bias_size, units_of(rows), c);
    expect_about("running mean", running_mean, blended_mean, c);
    expect_about("running variance", running_var, blended_var, c);
    for (int64_t i = 0; i < floats; i++) {
        sums[i % c] += x[i];
        sums[c + i % c] += (double)x[i] * x[i];
    }
    if (segments == 1) {
        RUN(norm_forward, &d, OUT(y, floats), OUT(mean, statistics), OUT(invstd, statistics), NONE,
            NONE, IN(x), IN(weight), IN(bias), IN(sums));
        expect_about("y from given sums", y, wanted.y, floats);
    }
    free_arrays();
}

/* With running statistics every channel is a line. */
static void check_evaluate(int64_t rows, int64_t c)
{
    const int64_t floats = rows * c;
    const cnf_norm d = {.segments = 1, .rows = rows, .c = c, .groups = c, .x_pitch = c,
                        .y_pitch = c, .dy_pitch = c, .eps = EPS};
    float *x = uniform(floats, 1, 3), *dy = uniform(floats, -1, 1), *y = unwritten(floats);
    float *dx = unwritten(floats), *mean = uniform(c, 1, 3), *variance = uniform(c, 0.5, 2);
    double *wanted = zeros(floats), *wanted_dx = zeros(floats);
    describe("norm_evaluate of %d rows, %d channels", (int)rows, (int)c);
    for (int64_t i = 0; i < floats; i++) {
        const double scale = 1 / sqrt(variance[i % c] + EPS);
        wanted[i] = (x[i] - (double)mean[i % c]) * scale;
        wanted_dx[i] = dy[i] * scale;
    }
    RUN(norm_evaluate, &d, OUT(y, floats), IN(x), IN(mean), IN(variance), NONE, NONE);
    RUN(norm_evaluate_backward, &d, OUT(dx, floats), NONE, NONE, IN(dy), IN(x), IN(mean),
        IN(variance), NONE);
    expect_about("y", y, wanted, floats);
    expect_about("dx", dx, wanted_dx, floats);
    free_arrays();
}

void test_batch_norm(void)
{
    const int64_t channels[] = {1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33, 65, 130};
    for (int i = 0; i < 15; i++) {
        const int64_t c = channels[i];
        check_norm(1, 50, c, c);
        check_norm(3, 20, c, c);
        check_norm(2, 30, 2 * c, 2);
        check_norm(2, 30, 3 * c, c);
        check_evaluate(23, c);
    }
    check_norm(1, 3000, 40, 40); /* several threads */
    check_evaluate(3000, 40);
}

void test_layer_norm(void)
{
    const int64_t widths[] = {1, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 33, 65, 130, 1500};
    for (int i = 0; i < 16; i++) {
        const int64_t c = widths[i], rows = c < 20 ? 5 : 300, pitch = c + i % 3;
        const int64_t floats = rows * pitch;
        const cnf_layer_norm d = {rows, c, pitch, pitch, pitch, EPS};
        float *x = uniform(floats, 1, 3), *dy = uniform(floats, -1, 1), *y = whole(floats);
        float *weight = uniform(c, 0.5, 2), *bias = uniform(c, -1, 1), *dx = whole(floats);
        float *mean = unwritten(rows), *invstd = unwritten(rows);
        float *dweight = unwritten(c), *dbias = unwritten(c);
        results wanted = start(floats, c);
        wanted.y = widened(y, floats), wanted.dx = widened(dx, floats);
        describe("layer norm of %d x %d", (int)rows, (int)c);
        for (int64_t r = 0; r < rows; r++) {
            const block b = {1, c, c};
            const int64_t at = r * pitch;
            normalise((results){wanted.y + at, wanted.dx + at, wanted.dweight, wanted.dbias,
                                wanted.weight_size, wanted.bias_size},
                      x + at, dy + at, weight, bias, moments_of(x + at, b), b);
        }
        RUN(layer_norm_forward, &d, OUT(y, floats), OUT(mean, rows), OUT(invstd, rows), IN(x),
            IN(weight), IN(bias));
        RUN(layer_norm_backward, &d, OUT(dx, floats), OUT(dweight, c), OUT(dbias, c), IN(dy), IN(x),
            IN(mean), IN(invstd), IN(weight));
        expect_about("y", y, wanted.y, floats);
        expect_about("dx", dx, wanted.dx, c == 1 ? 0 : floats); /* of one value: 0, times 1 / eps */
        expect_near("dweight", dweight, wanted.dweight, wanted.weight_size, units_of(rows), c);
        expect_near("dbias", dbias, wanted.dbias, wanted.bias_size, units_of(rows), c);
        free_arrays();
    }
}

/* k + alpha / size * sum of the squares in the window of channel i. */
static double window_sum(const float *x, int64_t i, const cnf_local_norm *d)
{
    double sum = 0;
    for (int64_t j = i - d->size / 2; j <= i + (d->size - 1) / 2; j++)
        sum += j >= 0 && j < d->c ? (double)x[j] * x[j] : 0;
    return d->k + d->alpha / (double)d->size * sum;
}

void test_local_norm(void)
{
    const int64_t widths[] = {1, 3, 4, 5, 8, 9, 15, 17, 33, 70};
    for (int i = 0; i < 10; i++) {
        const int64_t c = widths[i], rows = 90, floats = rows * c;
        const cnf_local_norm d = {rows, c, c, c, c, 1 + i % 6, 0.5f, 0.75f, 1.5f};
        float *x = uniform(floats, -2, 2), *dy = uniform(floats, -1, 1);
        float *y = unwritten(floats), *dx = unwritten(floats);
        double *wanted = zeros(floats), *wanted_dx = zeros(floats);
        describe("local norm of %d channels, size %d", (int)c, (int)d.size);
        for (int64_t at = 0; at < floats; at++) {
            const float *row = x + at / c * c;
            const double s = window_sum(row, at % c, &d);
            wanted[at] = x[at] * pow(s, -d.beta);
            wanted_dx[at] += dy[at] * pow(s, -d.beta);
            for (int64_t j = at % c - d.size / 2; j <= at % c + (d.size - 1) / 2; j++)
                if (j >= 0 && j < c)
                    wanted_dx[at / c * c + j] -= 2.0 * d.alpha * d.beta / (double)d.size * dy[at] *
                                                 x[at] * pow(s, -d.beta - 1) * row[j];
        }
        RUN(local_norm_forward, &d, OUT(y, floats), IN(x));
        RUN(local_norm_backward, &d, OUT(dx, floats), IN(dy), IN(x));
        expect_about("y", y, wanted, floats);
        expect_about("dx", dx, wanted_dx, floats);
        free_arrays();
    }
}
