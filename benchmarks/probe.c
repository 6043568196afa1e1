/* probe.c: what this machine can do, measured without any code of the engine.
 *
 * Two pieces of work for probe.py to time: fp32 multiply-adds in registers, by 12 or more
 * independent chains of vectors, and reading memory, where every thread sums floats of its own. */
#include <omp.h>
#include <string.h>

#define CHAINS 14

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

static const struct {
    const char *isa;
    float (*loop)(long);
    int width;
} loops[] = {
#if defined(__x86_64__)
    {"avx512", avx512_fma, 16},
    {"avx2", avx2_fma, 8},
#else
    {"neon", neon_fma, 4},
#endif
    {"generic", generic_fma, 4},
};

/* Runs `steps` steps of multiply-adds on every thread; returns the floating point operations of all
 * together, 0 where the instruction set is unknown. */
double probe_multiply(const char *isa, int threads, long steps)
{
    for (size_t i = 0; i < sizeof loops / sizeof *loops; i++)
        if (!strcmp(isa, loops[i].isa)) {
            volatile float sink;
#pragma omp parallel num_threads(threads)
            sink = loops[i].loop(steps);
            (void)sink;
            return 2.0 * CHAINS * loops[i].width * (double)steps * threads;
        }
    return 0;
}

/* Reads `floats` floats, 64 at a time, on every thread, those of a thread behind those of another.
 * With `fill` it writes them, so that each thread has its pages near itself. */
void probe_read(float *data, size_t floats, int threads, int fill)
{
#pragma omp parallel num_threads(threads)
    {
        float *own = data + floats * (size_t)omp_get_thread_num();
        if (fill) {
            memset(own, 0, sizeof(float) * floats);
        } else {
            typedef float vector __attribute__((vector_size(64), aligned(4)));
            vector sum[4] = {{0}};
            for (size_t i = 0; i + 64 <= floats; i += 64)
                for (int j = 0; j < 4; j++)
                    sum[j] += *(vector *)(own + i + 16 * j);
            volatile float sink = sum[0][0] + sum[1][0] + sum[2][0] + sum[3][0];
            (void)sink;
        }
    }
}
