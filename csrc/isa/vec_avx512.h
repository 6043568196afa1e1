/* vec_avx512.h: the vector words for AVX-512 (F, BW, DQ, VL). vec_generic.h documents each word. */
#ifndef CNF_VEC_H
#define CNF_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define VF_LANES 16
/* 14 x 2 accumulators + 2 columns + 1 row value = 31 of 32 registers. */
#define TILE_ROWS 14
#define TILE_VECTORS 2
#define SHORT_ROWS 7

typedef __m512 vf;
typedef __mmask16 vm;

static inline vm vm_first(int64_t n) { return (__mmask16)((1u << n) - 1u); }

static inline vf vf_zero(void) { return _mm512_setzero_ps(); }
static inline vf vf_set1(float a) { return _mm512_set1_ps(a); }
static inline vf vf_load(const float *p) { return _mm512_loadu_ps(p); }
static inline void vf_store(float *p, vf a) { _mm512_storeu_ps(p, a); }
static inline vf vf_load_n(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(vm_first(n), p); }
static inline void vf_stream(float *p, vf a) { _mm512_stream_ps(p, a); }
static inline void vf_store_n(float *p, vf a, int64_t n) { _mm512_mask_storeu_ps(p, vm_first(n), a); }

/* In a register from here on: a compiler may else load it anew for each use. */
static inline vf vf_hold(vf a) { __asm__("" : "+v"(a)); return a; }

static inline vf vf_add(vf a, vf b) { return _mm512_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm512_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }
static inline vf vf_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm512_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm512_min_ps(a, b); }
static inline vf vf_sqrt(vf a) { return _mm512_sqrt_ps(a); }
static inline vf vf_abs(vf a) { return _mm512_abs_ps(a); }
static inline vf vf_neg(vf a) { return _mm512_xor_ps(a, _mm512_set1_ps(-0.0f)); }
static inline vf vf_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf vf_floor(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }

static inline vm vf_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
static inline vm vf_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
static inline vm vf_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
static inline vm vf_nan(vf a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
static inline vf vf_select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }

static inline vm vm_or(vm a, vm b) { return (vm)(a | b); }

static inline vf vf_load_u8_n(const uint8_t *p, int64_t n)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(vm_first(n), p)));
}
static inline vf vf_load_u8(const uint8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p)));
}
static inline void vf_store_u8_n(uint8_t *p, vf a, int64_t n)
{
    _mm512_mask_cvtepi32_storeu_epi8(p, vm_first(n), _mm512_cvtps_epi32(a));
}
static inline void vf_store_u8(uint8_t *p, vf a)
{
    _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(a)));
}

/* a * 2^n; the other instruction sets have tiles/math.inc's. */
#define VF_SCALE
static inline vf vf_scale(vf a, vf n) { return _mm512_scalef_ps(a, n); }
static inline vf vf_exp2i(vf n)
{
    __m512i bits = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 23));
}
static inline vf vf_exponent(vf a)
{
    __m512i bits = _mm512_srli_epi32(_mm512_castps_si512(a), 23);
    return _mm512_cvtepi32_ps(_mm512_sub_epi32(_mm512_and_si512(bits, _mm512_set1_epi32(255)),
                                               _mm512_set1_epi32(127)));
}
static inline vf vf_mantissa(vf a)
{
    __m512i bits = _mm512_and_si512(_mm512_castps_si512(a), _mm512_set1_epi32(0x007fffff));
    return _mm512_castsi512_ps(_mm512_or_si512(bits, _mm512_set1_epi32(0x3f800000)));
}

/* Lanes of 2, then of 4 rows by unpacking, then whole quarters of a vector. */
static inline void vf_transpose(vf *row)
{
    vf pair[16], quad[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        pair[i] = _mm512_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            __m512d a = _mm512_castps_pd(pair[i + j]), b = _mm512_castps_pd(pair[i + 2 + j]);
            quad[i + 2 * j] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
            quad[i + 2 * j + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        vf even0 = _mm512_shuffle_f32x4(quad[k], quad[4 + k], 0x88);
        vf even1 = _mm512_shuffle_f32x4(quad[8 + k], quad[12 + k], 0x88);
        vf odd0 = _mm512_shuffle_f32x4(quad[k], quad[4 + k], 0xdd);
        vf odd1 = _mm512_shuffle_f32x4(quad[8 + k], quad[12 + k], 0xdd);
        row[k] = _mm512_shuffle_f32x4(even0, even1, 0x88);
        row[4 + k] = _mm512_shuffle_f32x4(odd0, odd1, 0x88);
        row[8 + k] = _mm512_shuffle_f32x4(even0, even1, 0xdd);
        row[12 + k] = _mm512_shuffle_f32x4(odd0, odd1, 0xdd);
    }
}

#endif
