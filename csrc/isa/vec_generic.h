/* vec_generic.h: the vector words in plain C, four floats at a time; the compiler maps them to
 * whatever the baseline has. This file is also the words' documentation: every vec_<isa>.h gives
 * the same words with the same meaning, lane by lane.
 *
 * VF_LANES floats in a `vf`; `vm` is a truth value a lane. TILE_ROWS x TILE_VECTORS is the GEMM
 * tile that fills the registers, SHORT_ROWS its height where the depth is short. vf_load_n and
 * vf_store_n touch only the first n <= VF_LANES floats of memory; lanes beyond n load as zero. */
#ifndef CNF_VEC_H
#define CNF_VEC_H

#include <stdint.h>
#include <string.h>

#define VF_LANES 4
/* 4 x 2 accumulators + 2 columns + 1 row value = 11 of SSE2's 16 registers. */
#define TILE_ROWS 4
#define TILE_VECTORS 2
#define SHORT_ROWS TILE_ROWS

typedef float vf __attribute__((vector_size(16)));
typedef int32_t vm __attribute__((vector_size(16)));

static inline vf vf_set1(float a) { return (vf){a, a, a, a}; }
static inline vf vf_zero(void) { return vf_set1(0.0f); }
static inline vf vf_load(const float *p) { vf a; memcpy(&a, p, sizeof a); return a; }
static inline void vf_store(float *p, vf a) { memcpy(p, &a, sizeof a); }
static inline vf vf_load_n(const float *p, int64_t n)
{
    float a[VF_LANES] = {0};
    for (int64_t i = 0; i < n; i++)
        a[i] = p[i];
    return vf_load(a);
}
/* Past the caches where the ISA can; p is aligned to a vector, cnf_stream_end follows. */
static inline void vf_stream(float *p, vf a) { vf_store(p, a); }
static inline void vf_store_n(float *p, vf a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = a[i];
}

/* a, in a register from here on: a compiler may else load it anew for each use. */
static inline vf vf_hold(vf a) { return a; }

static inline vf vf_add(vf a, vf b) { return a + b; }
static inline vf vf_sub(vf a, vf b) { return a - b; }
static inline vf vf_mul(vf a, vf b) { return a * b; }
static inline vf vf_div(vf a, vf b) { return a / b; }
static inline vf vf_fma(vf a, vf b, vf c) { return a * b + c; }  /* rounded once where the ISA can */
static inline vf vf_fnma(vf a, vf b, vf c) { return c - a * b; }

/* m ? a : b, lane by lane. */
static inline vf vf_select(vm m, vf a, vf b) { return (vf)((m & (vm)a) | (~m & (vm)b)); }
static inline vm vf_lt(vf a, vf b) { return a < b; }  /* comparisons with NaN are false */
static inline vm vf_le(vf a, vf b) { return a <= b; }
static inline vm vf_eq(vf a, vf b) { return a == b; }
static inline vm vf_nan(vf a) { return a != a; }

static inline vm vm_or(vm a, vm b) { return a | b; }

/* Bytes in memory, the floats 0 .. 255 in registers. */
static inline vf vf_load_u8_n(const uint8_t *p, int64_t n)
{
    vf a = vf_zero();
    for (int64_t i = 0; i < n; i++)
        a[i] = (float)p[i];
    return a;
}
static inline vf vf_load_u8(const uint8_t *p) { return vf_load_u8_n(p, VF_LANES); }
static inline void vf_store_u8_n(uint8_t *p, vf a, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        p[i] = (uint8_t)a[i];
}
static inline void vf_store_u8(uint8_t *p, vf a) { vf_store_u8_n(p, a, VF_LANES); }

/* The second operand where either is NaN, so that max(bound, x) lets a NaN in x through. */
static inline vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
static inline vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
static inline vf vf_abs(vf a) { return (vf)((vm)a & 0x7fffffff); }
static inline vf vf_neg(vf a) { return (vf)((vm)a ^ (vm){INT32_MIN, INT32_MIN, INT32_MIN, INT32_MIN}); }
static inline vf vf_sqrt(vf a)
{
    for (int i = 0; i < VF_LANES; i++)
        a[i] = __builtin_sqrtf(a[i]);
    return a;
}

/* To the nearest integer, ties to even: adding 2^23 to |a| leaves no bits for the fraction. */
static inline vf vf_round(vf a)
{
    const vf magic = vf_set1(8388608.0f);
    vf size = vf_abs(a), rounded = (size + magic) - magic;
    rounded = vf_select(a < vf_zero(), vf_neg(rounded), rounded);
    return vf_select(vf_lt(size, magic), rounded, a);
}
static inline vf vf_floor(vf a)
{
    vf rounded = vf_round(a);
    return vf_select(rounded > a, rounded - vf_set1(1.0f), rounded);
}

/* 2^n for integral n in [-126, 127]. */
static inline vf vf_exp2i(vf n) { return (vf)((__builtin_convertvector(n, vm) + 127) << 23); }
/* a = mantissa * 2^exponent with mantissa in [1, 2), for positive normal a. */
static inline vf vf_exponent(vf a)
{
    return __builtin_convertvector((((vm)a >> 23) & 255) - 127, vf);
}
static inline vf vf_mantissa(vf a) { return (vf)(((vm)a & 0x007fffff) | 0x3f800000); }

/* The VF_LANES rows become the VF_LANES columns. */
static inline void vf_transpose(vf *row)
{
    vf old[VF_LANES];
    memcpy(old, row, sizeof old);
    for (int i = 0; i < VF_LANES; i++)
        for (int j = 0; j < VF_LANES; j++)
            row[i][j] = old[j][i];
}

#endif
