/* gemm.c: C[b] = A[b] B[b] against three loops. */
#include <math.h>

#include "check.h"

typedef struct {
    int64_t m, n, k, batch;
} sizes;

/* Sums of products and of their magnitudes. */
static void multiply(double *c, double *size, const float *a, const float *b, const cnf_gemm *d,
                     int64_t batches)
{
    for (int64_t batch = 0; batch < batches; batch++)
        for (int64_t i = 0; i < d->m; i++)
            for (int64_t j = 0; j < d->n; j++)
                for (int64_t p = 0; p < d->k; p++) {
                    const int64_t at = batch * d->c_batch[0] + i * d->c_row + j;
                    double term = (double)a[batch * d->a_batch[0] + i * d->a_row + p * d->a_col] *
                                  b[batch * d->b_batch[0] + p * d->b_row + j * d->b_col];
                    c[at] += term;
                    size[at] += fabs(term);
                }
}

/* `layout` bit 0: A by columns; bit 1: B by columns; bit 2: one B for all batches. */
static void check(sizes s, int layout, int exact)
{
    const int64_t a_floats = s.batch * s.m * s.k, b_floats = s.batch * s.n * s.k;
    const int64_t c_floats = s.batch * s.m * s.n;
    cnf_gemm d = {.m = s.m, .n = s.n, .k = s.k, .c_row = s.n, .rank = 1, .size = {s.batch},
                  .a_batch = {s.m * s.k}, .b_batch = {layout & 4 ? 0 : s.k * s.n},
                  .c_batch = {s.m * s.n}};
    d.a_row = layout & 1 ? 1 : s.k;
    d.a_col = layout & 1 ? s.m : 1;
    d.b_row = layout & 2 ? 1 : s.n;
    d.b_col = layout & 2 ? s.k : 1;
    float *a = exact ? whole(a_floats) : uniform(a_floats, -1, 1);
    float *b = exact ? whole(b_floats) : uniform(b_floats, -1, 1);
    float *c = unwritten(c_floats);
    double *wanted = zeros(c_floats), *size = zeros(c_floats);
    describe("gemm %d x %d x %d, %d batches, layout %d", (int)s.m, (int)s.n, (int)s.k, (int)s.batch,
             layout);
    multiply(wanted, size, a, b, &d, s.batch);
    RUN(gemm_forward, &d, OUT(c, c_floats), IN(a), IN(b));
    expect_near("c", c, wanted, size, exact ? 0 : units_of(s.k), c_floats);
}

/* A NaN of A reaches its row of C and no other. */
static void check_nan(void)
{
    const int64_t m = 17, n = 35, k = 9;
    const cnf_gemm d = {.m = m, .n = n, .k = k, .a_row = k, .a_col = 1, .b_row = n, .b_col = 1,
                        .c_row = n};
    float *a = whole(m * k), *b = whole(k * n), *c = unwritten(m * n);
    double *wanted = zeros(m * n), *size = zeros(m * n);
    a[5 * k + 3] = NAN;
    describe("gemm with a NaN");
    multiply(wanted, size, a, b, &d, 1);
    RUN(gemm_forward, &d, OUT(c, m * n), IN(a), IN(b));
    expect_exact("c", c, wanted, m * n);
}

void test_gemm(void)
{
    /* around the lanes (4, 8, 16), the tiles' rows (4, 6, 7, 14) and the panels (8, 12, 16, 32) */
    const int64_t rows[] = {1, 3, 6, 7, 8, 13, 15, 29};
    const int64_t columns[] = {1, 3, 4, 5, 8, 9, 11, 12, 13, 16, 17, 25, 31, 32, 33, 49};
    const int64_t depths[] = {0, 1, 5, 64};
    int number = 0;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 16; j++)
            for (int p = 0; p < 4; p++, number++)
                check((sizes){rows[i], columns[j], depths[p], 1 + number % 3}, number % 8, 1);
    free_arrays();
    /* several tasks of rows and columns, blocks of depth, rows that conflict in the cache */
    check((sizes){230, 515, 20, 1}, 0, 1);
    check((sizes){30, 270, 300, 1}, 3, 1);
    check((sizes){17, 256, 512, 1}, 0, 0);
    check((sizes){33, 65, 1030, 2}, 2, 0);
    check((sizes){0, 5, 5, 1}, 0, 1);
    check_nan();
}
