/* movement.c: copies and casts of strided boxes, rows by number, dropout, counters. */
#include <math.h>

#include "check.h"

/* y (2, 9, 35) row by row from x, stored with the last axis outermost, in a type of its own. */
#define CHECK_COPY(type, c_type)                                                                \
    {                                                                                           \
        const cnf_copy_box d = {type, 3, {2, 9, 35}, {315, 35, 1}, {9, 1, 18}};                 \
        c_type *x = array(630 * sizeof *x);                                                     \
        float *y = unwritten(630);                                                              \
        double *wanted = zeros(630);                                                            \
        describe("copy of %s", #c_type);                                                        \
        for (int i = 0; i < 630; i++)                                                           \
            x[i] = (c_type)(i % 127);                                                           \
        for (int i = 0; i < 630; i++)                                                           \
            wanted[i] = (double)x[i / 315 * 9 + i / 35 % 9 + i % 35 * 18];                      \
        RUN(copy, &d, OUT(y, 630), IN(x));                                                      \
        expect_exact("y", y, wanted, 630);                                                      \
    }

static void check_half(void)
{
    uint16_t x[] = {0x3c00, 0xc000, 0x7c00, 0xfc00, 0x7e00, 0x0001, 0x83ff, 0x0400, 0x7bff};
    const double wanted[] = {1,       -2,      INFINITY, -INFINITY, NAN, 0x1p-24, -1023 * 0x1p-24,
                             0x1p-14, 65504};
    const cnf_copy_box d = {CNF_FLOAT16, 1, {9}, {1}, {1}};
    float *y = unwritten(9);
    describe("copy of float16");
    RUN(copy, &d, OUT(y, 9), IN(x));
    expect_exact("y", y, wanted, 9);
}

void test_copy(void)
{
    CHECK_COPY(CNF_FLOAT32, float)
    CHECK_COPY(CNF_FLOAT64, double)
    CHECK_COPY(CNF_INT8, int8_t)
    CHECK_COPY(CNF_INT16, int16_t)
    CHECK_COPY(CNF_INT32, int32_t)
    CHECK_COPY(CNF_INT64, int64_t)
    CHECK_COPY(CNF_UINT8, uint8_t)
    check_half();
    /* NCHW to NHWC with a pitch, and large enough for several threads */
    const cnf_copy_box d = {CNF_FLOAT32, 3, {3, 1000, 19}, {20000, 20, 1}, {19000, 1, 1000}};
    float *x = whole(57000), *y = whole(60000);
    double *wanted = widened(y, 60000);
    describe("copy to NHWC");
    for (int64_t i = 0; i < 57000; i++)
        wanted[i / 19000 * 20000 + i % 1000 * 20 + i / 1000 % 19] = x[i];
    RUN(copy, &d, OUT(y, 60000), IN(x));
    expect_exact("y", y, wanted, 60000);
}

void test_index(void)
{
    const int64_t widths[] = {1, 3, 8, 17, 130};
    for (int i = 0; i < 5; i++) {
        const int64_t inner = widths[i], count = 300, rows = 40;
        const cnf_index d = {count, rows, inner};
        float *x = whole(rows * inner), *y = unwritten(count * inner), *dx = whole(rows * inner);
        int64_t *index = numbers(count, rows);
        double *wanted = zeros(count * inner), *wanted_dx = zeros(rows * inner);
        describe("rows of %d by number", (int)inner);
        for (int64_t k = 0; k < count * inner; k++)
            wanted[k] = x[index[k / inner] * inner + k % inner];
        RUN(take, &d, OUT(y, count * inner), IN(x), IN(index));
        expect_exact("y", y, wanted, count * inner);
        const float *before = copied(dx, rows * inner);
        for (int64_t k = 0; k < rows * inner; k++)
            wanted_dx[k] = before[k];
        for (int64_t k = 0; k < count * inner; k++)
            wanted_dx[index[k / inner] * inner + k % inner] += y[k];
        RUN(add_at, &d, OUT(dx, rows * inner), IN(y), IN(index));
        expect_exact("dx", dx, wanted_dx, rows * inner);
    }
}

/* Philox4x32-10 (Salmon et al., 2011) of counter (low, high, 0, 0): word `which`. */
static uint32_t philox(uint64_t counter, uint64_t seed, int which)
{
    uint32_t c[4] = {(uint32_t)counter, (uint32_t)(counter >> 32), 0, 0};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    for (int round = 0; round < 10; round++) {
        const uint64_t p = 0xD2511F53ull * c[0], q = 0xCD9E8D57ull * c[2];
        const uint32_t next[] = {(uint32_t)(q >> 32) ^ c[1] ^ key[0], (uint32_t)q,
                                 (uint32_t)(p >> 32) ^ c[3] ^ key[1], (uint32_t)p};
        for (int i = 0; i < 4; i++)
            c[i] = next[i];
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    return c[which];
}

void test_dropout(void)
{
    const int64_t rows = 21, c = 1003, pitch = 1010;
    const cnf_dropout d = {rows, c, pitch, pitch, 0.3};
    int64_t *seed = numbers(1, 1);
    float *x = uniform(rows * pitch, 1, 2), *y = whole(rows * pitch);
    double *wanted = widened(y, rows * pitch);
    int64_t dropped = 0;
    for (int64_t i = 0; i < rows * c; i++) { /* spans of 64 values share 16 counters */
        const uint64_t counter = (uint64_t)(i / 64 * 16 + i % 16);
        const uint32_t word = philox(counter, 0x123456789abcdef, (int)(i % 64 / 16));
        const int drop = word < 0.3 * 4294967296.0;
        wanted[i / c * pitch + i % c] = drop ? 0 : x[i / c * pitch + i % c] / 0.7;
        dropped += drop;
    }
    const double share = (double)dropped / (double)(rows * c);
    expect_true("three in ten are dropped", fabs(share - 0.3) < 0.02);
    *seed = 0x123456789abcdef;
    RUN(dropout_apply, &d, OUT(y, rows * pitch), IN(x), IN(seed));
    expect_near("y", y, wanted, NULL, 2, rows * pitch);
}

void test_counter(void)
{
    const cnf_counter d = {.by = 3};
    int64_t x = (int64_t)1 << 53, y = 0;
    RUN(counter_add, &d, OUT(&y, 1), IN(&x));
    expect_true("what float would lose is counted", y == x + 3);
}
