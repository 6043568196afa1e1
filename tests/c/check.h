/* check.h: what the C tests share: arrays that end at a guard page, inputs, primitives run on
 * several thread counts, comparisons. The tests know the engine by cnnfast.h alone and compare it
 * with naive loops in double. main.c lists them. */
#ifndef CHECK_H
#define CHECK_H

#include "cnnfast.h"

/* ---- arrays: end where a page that faults begins; all are freed at the end of a test -------- */

void *array(size_t bytes);
double *zeros(int64_t n);
float *unwritten(int64_t n);                        /* NaN everywhere */
float *whole(int64_t n);                            /* integers from -3 to 3: exact sums */
float *uniform(int64_t n, double low, double high); /* fractions */
float *copied(const float *from, int64_t n);
double *widened(const float *from, int64_t n);
int64_t *numbers(int64_t n, int64_t below); /* random, from 0 on */
void free_arrays(void);

/* ---- primitives ----------------------------------------------------------------------------- */

/* A buffer of a primitive: `written` counts its bytes where it is an output. */
typedef struct {
    void *data;
    size_t written;
} operand;
#define IN(p) ((operand){(void *)(p), 0})
#define OUT(p, n) ((operand){(p), sizeof *(p) * (size_t)(n)})
#define NONE ((operand){0, 0})

/* Runs a primitive on 1, 2 and 3 threads from the same start. Fails where a bit of an output
 * differs, the caller's floating-point mode changes, or the status is not `expected`. */
void run_primitive(int primitive, cnf_status expected, const void *descriptor,
                   const operand *operands, int count);
#define RUN(name, descriptor, ...)                                                              \
    run_primitive(cnf_id_##name, CNF_OK, descriptor, (operand[]){__VA_ARGS__},                  \
                  (int)(sizeof((operand[]){__VA_ARGS__}) / sizeof(operand)))
#define REFUSES(name, status, descriptor, ...)                                                  \
    run_primitive(cnf_id_##name, status, descriptor, (operand[]){__VA_ARGS__},                  \
                  (int)(sizeof((operand[]){__VA_ARGS__}) / sizeof(operand)))

/* ---- comparisons ---------------------------------------------------------------------------- */

/* Names the case at hand in the messages that follow. */
__attribute__((format(printf, 1, 2))) void describe(const char *format, ...);

/* Fails unless |got - wanted| <= units * 2^-24 * size, element by element; size NULL: |wanted|.
 * NaN must meet NaN and infinity its like; below the smallest normal, zero is as good. */
void expect_near(const char *what, const float *got, const double *wanted, const double *size,
                 double units, int64_t n);
void expect_exact(const char *what, const float *got, const double *wanted, int64_t n);
void expect_true(const char *what, int truth);
int failures(void);

/* Units for a sum of `terms` products, relative to the sum of their magnitudes: roundings add up
 * like a random walk (Higham and Mary, A new approach to probabilistic rounding error analysis). */
double units_of(int64_t terms);

/* The floating-point control register of the calling thread, and the bits in it that flush. */
unsigned floating_point_mode(void);
void set_floating_point_mode(unsigned mode);
unsigned flushing_bits(void);

#endif
