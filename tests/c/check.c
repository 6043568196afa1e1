/* check.c: see check.h. */
#define _GNU_SOURCE
#include "check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#define MOST_ARRAYS 65536
#define MOST_MESSAGES 20
#define SMALLEST_NORMAL 0x1p-126

/* ---- arrays --------------------------------------------------------------------------------- */

static struct {
    void *base;
    size_t bytes;
} arrays[MOST_ARRAYS];
static int array_count;
static uint64_t random_state;

void *array(size_t bytes)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), room = (bytes + page - 1) / page * page;
    char *base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                      0);
    if (base == MAP_FAILED || array_count == MOST_ARRAYS ||
        mprotect(base + room, page, PROT_NONE) != 0) {
        fprintf(stderr, "no memory for an array of %zu bytes\n", bytes);
        exit(2);
    }
    arrays[array_count].base = base;
    arrays[array_count++].bytes = room + page;
    return base + room - bytes;
}

void free_arrays(void)
{
    while (array_count > 0) {
        array_count--;
        munmap(arrays[array_count].base, arrays[array_count].bytes);
    }
    random_state = 1;
}

/* Knuth's MMIX generator; the upper half of its state is random enough for inputs. */
static uint32_t random_word(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 32);
}

double *zeros(int64_t n) { return array(sizeof(double) * (size_t)n); }

float *unwritten(int64_t n)
{
    float *a = array(sizeof(float) * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        a[i] = NAN;
    return a;
}

float *whole(int64_t n)
{
    float *a = array(sizeof(float) * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        a[i] = (float)(random_word() % 7) - 3.0f;
    return a;
}

float *uniform(int64_t n, double low, double high)
{
    float *a = array(sizeof(float) * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        a[i] = (float)(low + (high - low) * random_word() / 4294967296.0);
    return a;
}

float *copied(const float *from, int64_t n)
{
    return memcpy(array(sizeof(float) * (size_t)n), from, sizeof(float) * (size_t)n);
}

double *widened(const float *from, int64_t n)
{
    double *a = zeros(n);
    for (int64_t i = 0; i < n; i++)
        a[i] = from[i];
    return a;
}

int64_t *numbers(int64_t n, int64_t below)
{
    int64_t *a = array(sizeof(int64_t) * (size_t)n);
    for (int64_t i = 0; i < n; i++)
        a[i] = random_word() % below;
    return a;
}

/* ---- comparisons ---------------------------------------------------------------------------- */

static char description[160];
static int failed;

void describe(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(description, sizeof description, format, arguments);
    va_end(arguments);
}

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    if (failed++ >= MOST_MESSAGES)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("%s, %s: ", cnf_isa_name(), description);
    vprintf(format, arguments);
    printf("\n");
    va_end(arguments);
}

int failures(void) { return failed; }

void expect_near(const char *what, const float *got, const double *wanted, const double *size,
                 double units, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const double exact = wanted[i], allowed = units * 0x1p-24 * (size ? size[i] : fabs(exact));
        if (isnan(exact) ? isnan(got[i]) : isinf(exact) ? got[i] == exact
                         : fabs(got[i] - exact) <= allowed + SMALLEST_NORMAL)
            continue;
        fail("%s[%lld] is %.9g instead of %.9g (+- %.2g)", what, (long long)i, (double)got[i],
             exact, allowed);
        return;
    }
}

void expect_exact(const char *what, const float *got, const double *wanted, int64_t n)
{
    expect_near(what, got, wanted, NULL, 0, n);
}

void expect_true(const char *what, int truth)
{
    if (!truth)
        fail("%s", what);
}

double units_of(int64_t terms) { return 4 * (1 + sqrt((double)terms)); }

/* ---- the floating-point mode ---------------------------------------------------------------- */

#if defined(__x86_64__)
unsigned floating_point_mode(void) { return _mm_getcsr() & ~0x3fu; } /* without the sticky flags */
void set_floating_point_mode(unsigned mode) { _mm_setcsr(mode); }
unsigned flushing_bits(void) { return 0x8040u; } /* FTZ and DAZ of MXCSR */
#elif defined(__aarch64__)
unsigned floating_point_mode(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return (unsigned)mode;
}
void set_floating_point_mode(unsigned mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode) : "memory");
}
unsigned flushing_bits(void) { return 1u << 24; } /* FZ of FPCR */
#else
unsigned floating_point_mode(void) { return 0; }
void set_floating_point_mode(unsigned mode) { (void)mode; }
unsigned flushing_bits(void) { return 0; }
#endif

/* ---- primitives ----------------------------------------------------------------------------- */

static void compare_bits(int primitive, int buffer, int threads, const char *got,
                         const char *wanted, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (got[i] != wanted[i]) {
            fail("%s: byte %zu of buffer %d differs on %d threads", cnf_primitive_name(primitive),
                 i, buffer, threads);
            return;
        }
}

void run_primitive(int primitive, cnf_status expected, const void *descriptor,
                   const operand *operands, int count)
{
    void *buffers[CNF_MAX_BUFFERS] = {0}, *start[CNF_MAX_BUFFERS], *result[CNF_MAX_BUFFERS];
    const unsigned mode = floating_point_mode();
    if (count != cnf_primitive_buffers(primitive)) {
        fail("%s takes %d buffers, not %d", cnf_primitive_name(primitive),
             cnf_primitive_buffers(primitive), count);
        return;
    }
    for (int k = 0; k < count; k++) {
        buffers[k] = operands[k].data;
        start[k] = malloc(operands[k].written + 1);
        result[k] = malloc(operands[k].written + 1);
        memcpy(start[k], operands[k].written ? buffers[k] : "", operands[k].written);
    }
    for (int threads = 1; threads <= 3; threads++) {
        cnf_set_threads(threads);
        for (int k = 0; k < count; k++)
            if (operands[k].written)
                memcpy(buffers[k], start[k], operands[k].written);
        const cnf_status status = cnf_execute(primitive, buffers, descriptor);
        if (status != expected)
            fail("%s returned %d, not %d", cnf_primitive_name(primitive), status, expected);
        if (floating_point_mode() != mode)
            fail("%s changed the floating-point mode", cnf_primitive_name(primitive));
        for (int k = 0; k < count; k++) {
            if (!operands[k].written)
                continue;
            if (threads == 1)
                memcpy(result[k], buffers[k], operands[k].written);
            else
                compare_bits(primitive, k, threads, buffers[k], result[k], operands[k].written);
        }
    }
    for (int k = 0; k < count; k++) {
        free(start[k]);
        free(result[k]);
    }
}
