/* probe.c: what this machine can do, measured without any code of the engine.
 *
 *     probe ISA THREADS -> two numbers: peak fp32 FMA rate in GFLOP/s, read bandwidth in GB/s
 *
 * Peak: 12 or more independent chains of vector FMAs in registers. Bandwidth: every thread sums its
 * own 128 MiB, far more than any cache. Best of several rounds. Built and run by probe.py. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHAINS 14
#define ROUNDS 5
#define FLOATS ((size_t)32 << 20)

#define FMA_LOOP(name, target_isa, width)                                                       \
    typedef float name##_vector __attribute__((vector_size(4 * (width)), aligned(4)));          \
    __attribute__((target(target_isa))) static float name##_fma(long steps)                     \
    {                                                                                           \
        name##_vector sum[CHAINS], a, b;                                                        \
        for (int i = 0; i < (width); i++)                                                       \
            a[i] = 0.999f, b[i] = 0.001f;                                                       \
        for (int j = 0; j < CHAINS; j++)                                                        \
            sum[j] = b * (float)j;                                                              \
        for (long s = 0; s < steps; s++)                                                        \
            _Pragma("GCC unroll 16") for (int j = 0; j < CHAINS; j++) sum[j] = sum[j] * a + b;  \
        float total = 0;                                                                        \
        for (int j = 0; j < CHAINS; j++)                                                        \
            total += sum[j][0];                                                                 \
        return total;                                                                           \
    }

#if defined(__x86_64__)
FMA_LOOP(avx512, "avx512f", 16)
FMA_LOOP(avx2, "avx2,fma", 8)
FMA_LOOP(generic, "sse2", 4)
#else
#define BASE_LOOP(name) FMA_LOOP(name, "+simd", 4)
BASE_LOOP(neon)
BASE_LOOP(generic)
#endif

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double peak(float (*loop)(long), int width, int threads)
{
    const long steps = 4000000;
    double best = 0;
    for (int round = 0; round < ROUNDS; round++) {
        volatile float sink;
        double start = seconds();
#pragma omp parallel num_threads(threads)
        sink = loop(steps);
        (void)sink;
        double rate = 2.0 * CHAINS * width * (double)steps * threads / (seconds() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

static double bandwidth(int threads)
{
    float *data = malloc(sizeof(float) * FLOATS * (size_t)threads);
    double best = 0;
    if (!data)
        return 0;
    for (int round = 0; round <= ROUNDS; round++) { /* the first round touches the pages */
        double start = seconds();
#pragma omp parallel num_threads(threads)
        {
            float *own = data + FLOATS * (size_t)omp_get_thread_num();
            if (round == 0) {
                memset(own, 0, sizeof(float) * FLOATS);
            } else {
                typedef float vector __attribute__((vector_size(64), aligned(4)));
                vector sum[4] = {{0}};
                for (size_t i = 0; i < FLOATS; i += 64)
                    for (int j = 0; j < 4; j++)
                        sum[j] += *(vector *)(own + i + 16 * j);
                volatile float sink = sum[0][0] + sum[1][0] + sum[2][0] + sum[3][0];
                (void)sink;
            }
        }
        double rate = 4.0 * (double)FLOATS * threads / (seconds() - start);
        best = round > 0 && rate > best ? rate : best;
    }
    free(data);
    return best;
}

int main(int count, char **arguments)
{
    const char *isa = count > 1 ? arguments[1] : "generic";
    int threads = count > 2 ? atoi(arguments[2]) : 1;
    double rate = 0;
#if defined(__x86_64__)
    if (!strcmp(isa, "avx512"))
        rate = peak(avx512_fma, 16, threads);
    else if (!strcmp(isa, "avx2"))
        rate = peak(avx2_fma, 8, threads);
#else
    if (!strcmp(isa, "neon"))
        rate = peak(neon_fma, 4, threads);
#endif
    if (rate == 0)
        rate = peak(generic_fma, 4, threads);
    printf("%.3f %.3f\n", rate / 1e9, bandwidth(threads) / 1e9);
    return 0;
}
