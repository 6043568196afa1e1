/* machine.c: instruction sets, memory, the floating-point mode, recordings, refused calls. */
#include <string.h>

#include "check.h"

/* alpha * x + beta over n contiguous floats. */
static cnf_elementwise affine(int64_t n, float alpha)
{
    return (cnf_elementwise){
        .kind = cnf_unary_affine, .rank = 1, .size = {n}, .stride = {{1}, {1}}, .alpha = alpha};
}

static void check_ladder(void)
{
    char isa[32];
    strncpy(isa, cnf_isa_name(), sizeof isa - 1);
    isa[sizeof isa - 1] = 0;
    expect_true("the slowest rung is generic", strcmp(cnf_isa_available(0), "generic") == 0);
    expect_true("an unknown rung is refused", cnf_set_isa("abacus") == CNF_BAD_ARGUMENT);
    expect_true("and changes nothing", strcmp(cnf_isa_name(), isa) == 0);
#if defined(__aarch64__)
    expect_true("AArch64 has NEON", strcmp(cnf_isa_available(cnf_isa_count() - 1), "neon") == 0);
#endif
}

static void check_memory(void)
{
    for (size_t bytes = 1; bytes < ((size_t)1 << 24); bytes = bytes * 3 + 1) {
        char *block = cnf_allocate(bytes);
        expect_true("an allocation is aligned", block && (uintptr_t)block % 64 == 0);
        memset(block, 1, bytes);
        cnf_release(block);
    }
    expect_true("the pool gives memory back", cnf_memory_trim(0) == 0);
}

/* On few elements and on enough for several threads: denormals count as zero inside a call, and
 * whatever the caller's mode is, it stays. */
static void check_denormals(void)
{
    const unsigned mode = floating_point_mode();
    for (int64_t n = 1; n < 300000; n = n * 12 + 1) {
        float *x = uniform(n, 1e-40, 9e-39), *y = unwritten(n);
        const cnf_elementwise d = affine(n, 1e30f);
        describe("denormals, n %d", (int)n);
        RUN(unary_forward, &d, OUT(y, n), IN(x));
        expect_exact("denormal * 1e30", y, zeros(n), n);
        x = uniform(n, 1e-20, 2e-20);
        const cnf_elementwise small = affine(n, 1e-20f);
        RUN(unary_forward, &small, OUT(y, n), IN(x));
        int64_t flushed = 0;
        for (int64_t i = 0; i < n; i++)
            flushed += y[i] == 0;
        expect_true("1e-20 * 1e-20 is zero", flushed == n);
    }
    volatile float denormal = 1e-40f;
    expect_true("the caller's denormals are numbers", denormal * 1e30f > 0);
    set_floating_point_mode(mode | flushing_bits());
    float x = 1, y = 0;
    const cnf_elementwise d = affine(1, 2);
    RUN(unary_forward, &d, OUT(&y, 1), IN(&x));
    const int stays = floating_point_mode() == (mode | flushing_bits());
    set_floating_point_mode(mode);
    expect_true("a caller's flushing mode stays", stays);
}

static void check_replay(void)
{
    float *x = whole(37), *y = unwritten(37), *z = unwritten(37);
    double *wanted = widened(x, 37);
    const cnf_elementwise d = affine(37, 3);
    const cnf_call calls[] = {{cnf_id_unary_forward, {y, x}, &d},
                              {cnf_id_unary_forward, {z, y}, &d}};
    expect_true("a replay succeeds", cnf_replay(calls, 2) == CNF_OK);
    for (int i = 0; i < 37; i++)
        wanted[i] *= 9;
    expect_exact("two recorded calls", z, wanted, 37);
}

/* The same two calls as a plan, the value between them in its arena, on any number of threads; then
 * a plan of a fifth of them, in five parts. */
static void check_plan(int64_t parts)
{
    const int64_t n = 100000;
    float *x = whole(n), *z = unwritten(n);
    double *wanted = widened(x, n);
    const cnf_elementwise d = affine(n / parts, 3);
    const int64_t bytes = (int64_t)sizeof(float) * n / parts;
    const cnf_plan_call calls[] = {
        {cnf_id_unary_forward, {CNF_BASE_ARENA, CNF_BASE_FIRST}, {0, 0}, &d},
        {cnf_id_unary_forward, {CNF_BASE_FIRST + 1, CNF_BASE_ARENA}, {0, 0}, &d}};
    cnf_plan plan = {.calls = calls, .count = 2, .arena = (size_t)bytes, .parts = parts, .ends = 2,
                     .step = {bytes, bytes}};
    cnf_workspace workspace = {{NULL}};
    describe("a plan of two calls in %d parts", (int)parts);
    for (int64_t i = 0; i < n; i++)
        wanted[i] *= 9;
    for (int threads = 0; threads <= 3; threads++) {
        void *const ends[] = {x, z};
        z[n - 1] = 0.5f;
        expect_true("it succeeds", cnf_plan_run(&plan, &workspace, ends, threads, NULL) == CNF_OK);
        expect_exact("its result", z, wanted, n);
    }
    cnf_workspace_clear(&workspace);
}

void test_machine(void)
{
    check_ladder();
    check_memory();
    check_denormals();
    check_replay();
    check_plan(1);
    check_plan(5);
    const cnf_dropout d = {.rows = 1, .c = 1, .x_pitch = 1, .y_pitch = 1, .p = 1.5};
    float x = 1, y = 0;
    const int64_t seed = 1;
    REFUSES(dropout_apply, CNF_BAD_ARGUMENT, &d, OUT(&y, 1), IN(&x), IN(&seed));
}
