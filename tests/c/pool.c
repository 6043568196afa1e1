/* pool.c: max pooling, averages by resampling, and their gradients, against naive windows. */
#include <math.h>

#include "check.h"

typedef struct {
    int64_t in, out, kernel, stride, padding;
} window;

static window window_of(int64_t in, int64_t kernel, int64_t stride, int64_t padding)
{
    return (window){in, (in + 2 * padding - kernel) / stride + 1, kernel, stride, padding};
}

/* The weight of tap k: its number times `number`, or, where that is 0, 1 / kernel. */
static float weight_of(const window *w, int64_t k, int64_t number)
{
    return number ? (float)(k * number) : 1.0f / (float)w->kernel;
}

/* The table of an axis (cnnfast.h tells its layout); `transposed`: the gradient's, which lists for
 * each input the outputs that read it. */
static int32_t *table_of(const window *w, int64_t number, int transposed)
{
    const int64_t rows = transposed ? w->in : w->out, others = transposed ? w->out : w->in;
    const int64_t start = (rows + 2) / 2 * 2;
    int32_t *table = array(sizeof(int32_t) * (size_t)(start + 2 * w->out * w->kernel));
    cnf_tap *taps = (cnf_tap *)(table + start);
    int32_t count = 0;
    for (int64_t row = 0; row < rows; row++) {
        table[row] = count;
        for (int64_t other = 0; other < others; other++) {
            const int64_t in = transposed ? row : other, out = transposed ? other : row;
            const int64_t k = in - out * w->stride + w->padding;
            if (k >= 0 && k < w->kernel)
                taps[count++] = (cnf_tap){(int32_t)other, weight_of(w, k, number)};
        }
    }
    table[rows] = count;
    return table;
}

/* Taps of every row alike, or 0. */
static int64_t same_taps(const int32_t *table, int64_t rows)
{
    for (int64_t row = 1; row < rows; row++)
        if (table[row + 1] - table[row] != table[1] - table[0])
            return 0;
    return table[1] - table[0];
}

typedef struct {
    int64_t n, c, h, w, kernel, stride, padding;
} pooling;

static cnf_gather gather_of(const pooling *p, const window *v, const window *u, int64_t gap)
{
    return (cnf_gather){.n = p->n, .c = p->c, .h = p->h, .w = p->w, .x_pitch = p->c + gap,
                        .oh = v->out, .ow = u->out, .y_pitch = p->c};
}

static cnf_gather backward_of(const cnf_gather *d)
{
    cnf_gather back = *d;
    back.h = d->oh, back.w = d->ow, back.x_pitch = d->y_pitch;
    back.oh = d->h, back.ow = d->w, back.y_pitch = d->x_pitch;
    return back;
}

static void check_max(pooling p, int64_t gap, int wide)
{
    const window v = window_of(p.h, p.kernel, p.stride, p.padding);
    const window u = window_of(p.w, p.kernel, p.stride, p.padding);
    cnf_gather d = gather_of(&p, &v, &u, gap), back = backward_of(&d);
    int32_t *rows = table_of(&v, p.kernel, 0), *cols = table_of(&u, 1, 0);
    int32_t *rows_back = table_of(&v, p.kernel, 1), *cols_back = table_of(&u, 1, 1);
    d.col_taps = same_taps(cols, u.out), back.col_taps = same_taps(cols_back, u.in);
    d.wide_index = back.wide_index = wide;
    const int64_t x_floats = p.n * p.h * p.w * d.x_pitch, y_floats = p.n * d.oh * d.ow * p.c;
    float *x = whole(x_floats), *y = unwritten(y_floats), *dy = whole(y_floats);
    float *dx = whole(x_floats);
    char *index = array((size_t)y_floats * (wide ? sizeof(float) : 1));
    double *wanted = zeros(y_floats), *wanted_dx = widened(dx, x_floats);
    describe("max pool %dx%dx%dx%d, kernel %d, stride %d, padding %d, wide index %d", (int)p.n,
             (int)p.c, (int)p.h, (int)p.w, (int)p.kernel, (int)p.stride, (int)p.padding, wide);
    for (int64_t i = 3; i < x_floats; i += 41)
        x[i] = NAN;
    for (int64_t i = 0; i < x_floats; i++)
        wanted_dx[i] = i % d.x_pitch < p.c ? 0 : wanted_dx[i];
    for (int64_t i = 0; i < y_floats; i++) {
        const int64_t c = i % p.c, ox = i / p.c % d.ow, oy = i / p.c / d.ow % d.oh;
        const int64_t n = i / p.c / d.ow / d.oh;
        int64_t chosen = -1;
        for (int64_t tap = 0; tap < p.kernel * p.kernel; tap++) {
            const int64_t row = oy * p.stride - p.padding + tap / p.kernel;
            const int64_t col = ox * p.stride - p.padding + tap % p.kernel;
            const int64_t at = ((n * p.h + row) * p.w + col) * d.x_pitch + c;
            if (row < 0 || row >= p.h || col < 0 || col >= p.w)
                continue;
            if (chosen < 0 || x[at] > x[chosen] || isnan(x[at]))
                chosen = at;
        }
        wanted[i] = x[chosen];
        wanted_dx[chosen] += dy[i];
    }
    RUN(max_pool2d_forward, &d, OUT(y, y_floats), OUT(index, y_floats * (wide ? 4 : 1)), IN(x),
        IN(rows), IN(cols));
    expect_exact("y", y, wanted, y_floats);
    RUN(max_pool2d_backward, &back, OUT(dx, x_floats), IN(dy), IN(index), IN(rows_back),
        IN(cols_back));
    expect_exact("dx", dx, wanted_dx, x_floats);
    free_arrays();
}

void test_max_pool(void)
{
    const int64_t channels[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 70};
    for (int i = 0; i < 12; i++) {
        check_max((pooling){2, channels[i], 8, 6, 2, 2, 0}, i % 3, 0);
        check_max((pooling){2, channels[i], 9, 10, 3, 2, 1}, i % 3, i % 2);
    }
    check_max((pooling){1, 5, 40, 37, 17, 3, 8}, 0, 1);
    check_max((pooling){4, 40, 24, 24, 2, 2, 0}, 0, 0); /* several threads */
}

/* Averages over windows that include the padding, and the gradient by the transposed tables. */
static void check_average(pooling p, int64_t gap)
{
    const window v = window_of(p.h, p.kernel, p.stride, p.padding);
    const window u = window_of(p.w, p.kernel, p.stride, p.padding);
    cnf_gather d = gather_of(&p, &v, &u, gap), back = backward_of(&d);
    int32_t *rows = table_of(&v, 0, 0), *cols = table_of(&u, 0, 0);
    int32_t *rows_back = table_of(&v, 0, 1), *cols_back = table_of(&u, 0, 1);
    d.col_taps = same_taps(cols, u.out), back.col_taps = same_taps(cols_back, u.in);
    const int64_t x_floats = p.n * p.h * p.w * d.x_pitch, y_floats = p.n * d.oh * d.ow * p.c;
    float *x = uniform(x_floats, 0, 1), *y = unwritten(y_floats), *dy = uniform(y_floats, 0, 1);
    float *dx = whole(x_floats);
    double *wanted = zeros(y_floats), *wanted_dx = widened(dx, x_floats);
    const double share = 1.0 / (double)(p.kernel * p.kernel);
    describe("average %dx%dx%dx%d, kernel %d, stride %d, padding %d", (int)p.n, (int)p.c, (int)p.h,
             (int)p.w, (int)p.kernel, (int)p.stride, (int)p.padding);
    for (int64_t i = 0; i < x_floats; i++)
        wanted_dx[i] = i % d.x_pitch < p.c ? 0 : wanted_dx[i];
    for (int64_t i = 0; i < y_floats; i++) {
        const int64_t c = i % p.c, ox = i / p.c % d.ow, oy = i / p.c / d.ow % d.oh;
        const int64_t n = i / p.c / d.ow / d.oh;
        for (int64_t tap = 0; tap < p.kernel * p.kernel; tap++) {
            const int64_t row = oy * p.stride - p.padding + tap / p.kernel;
            const int64_t col = ox * p.stride - p.padding + tap % p.kernel;
            const int64_t at = ((n * p.h + row) * p.w + col) * d.x_pitch + c;
            if (row < 0 || row >= p.h || col < 0 || col >= p.w)
                continue;
            wanted[i] += share * x[at];
            wanted_dx[at] += share * dy[i];
        }
    }
    RUN(resample, &d, OUT(y, y_floats), IN(x), IN(rows), IN(cols));
    expect_near("y", y, wanted, NULL, units_of(2 * p.kernel), y_floats);
    RUN(resample, &back, OUT(dx, x_floats), IN(dy), IN(rows_back), IN(cols_back));
    expect_near("dx", dx, wanted_dx, NULL, units_of(2 * p.kernel), x_floats);
    free_arrays();
}

void test_resample(void)
{
    const int64_t channels[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 70};
    for (int i = 0; i < 12; i++) {
        check_average((pooling){2, channels[i], 8, 6, 2, 2, 0}, i % 3);
        check_average((pooling){2, channels[i], 9, 10, 3, 2, 1}, i % 3);
    }
    check_average((pooling){2, 80, 7, 7, 7, 1, 0}, 0);
    check_average((pooling){4, 40, 24, 24, 2, 2, 0}, 0);
}
