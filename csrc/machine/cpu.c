/* cpu.c: which instruction sets may be used, and the floating-point mode around kernels.
 *
 * An instruction set counts only when CPUID names it *and* the system saves its registers
 * (XGETBV), otherwise a virtual machine or an old kernel would fault on first use. */
#include "machine.h"

#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <xmmintrin.h>

static uint64_t xgetbv(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return ((uint64_t)high << 32) | low;
}

cnf_cpu_features cnf_detect_cpu(void)
{
    cnf_cpu_features features = {0, 0};
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX) || !(c & bit_FMA))
        return features;
    uint64_t saved = xgetbv();
    const uint64_t ymm = 0x6, zmm = 0xe6; /* XCR0: xmm and ymm; with opmask and both zmm halves */
    uint32_t b7, c7, d7;
    if ((saved & ymm) != ymm || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7))
        return features;
    features.avx2 = (b7 & bit_AVX2) != 0;
    const uint32_t all512 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    features.avx512 = features.avx2 && (saved & zmm) == zmm && (b7 & all512) == all512;
    return features;
}

const char *cnf_cpu_name(void)
{
    static char name[49];
    uint32_t word[12];
    uint32_t a, b, c, d;
    if (!__get_cpuid(0x80000000u, &a, &b, &c, &d) || a < 0x80000004u)
        return "x86-64";
    for (uint32_t leaf = 0; leaf < 3; leaf++)
        __get_cpuid(0x80000002u + leaf, &word[4 * leaf], &word[4 * leaf + 1], &word[4 * leaf + 2],
                    &word[4 * leaf + 3]);
    memcpy(name, word, 48);
    return name;
}

/* Denormal inputs and results count as zero inside kernels: MXCSR bits DAZ (6) and FTZ (15). */
unsigned cnf_denormals_flush(void)
{
    unsigned mode = _mm_getcsr();
    _mm_setcsr(mode | 0x8040u);
    return mode;
}

void cnf_denormals_restore(unsigned mode) { _mm_setcsr(mode); }

#elif defined(__aarch64__)

/* Advanced SIMD belongs to the baseline: the ladder has nothing to ask. */
cnf_cpu_features cnf_detect_cpu(void) { return (cnf_cpu_features){0, 0}; }
const char *cnf_cpu_name(void) { return "aarch64"; }

/* FPCR bit FZ (24) flushes denormal inputs and results. */
unsigned cnf_denormals_flush(void)
{
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1u << 24)) : "memory");
    return (unsigned)mode;
}

void cnf_denormals_restore(unsigned mode)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode) : "memory");
}

#else

cnf_cpu_features cnf_detect_cpu(void) { return (cnf_cpu_features){0, 0}; }
const char *cnf_cpu_name(void) { return "unknown"; }
unsigned cnf_denormals_flush(void) { return 0; }
void cnf_denormals_restore(unsigned mode) { (void)mode; }

#endif
