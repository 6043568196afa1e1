/* vec_avx2.h: the vector words for AVX2 with FMA. vec_generic.h documents each word. */
#ifndef CNF_VEC_H
#define CNF_VEC_H

#include <immintrin.h>
#include <stdint.h>

#define VF_LANES 8
/* 4 x 3 accumulators + 3 columns + 1 row value = 16 of 16 registers: the 7 pixels of a short line are
 * tiles of 4 and 3 rows, 12 and 9 sums, where 6 x 2 had 8 and 6 and the multipliers need 8. */
#define TILE_ROWS 4
#define TILE_VECTORS 3
#define SHORT_ROWS TILE_ROWS

typedef __m256 vf;
typedef __m256 vm;

static inline __m256i vm_first(int64_t n)
{
    static const int32_t ones_then_zeros[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    return _mm256_loadu_si256((const __m256i *)(ones_then_zeros + 8 - n));
}

static inline vf vf_zero(void) { return _mm256_setzero_ps(); }
static inline vf vf_set1(float a) { return _mm256_set1_ps(a); }
static inline vf vf_load(const float *p) { return _mm256_loadu_ps(p); }
static inline void vf_store(float *p, vf a) { _mm256_storeu_ps(p, a); }
static inline vf vf_load_n(const float *p, int64_t n) { return _mm256_maskload_ps(p, vm_first(n)); }
static inline void vf_stream(float *p, vf a) { _mm256_stream_ps(p, a); }
static inline void vf_store_n(float *p, vf a, int64_t n) { _mm256_maskstore_ps(p, vm_first(n), a); }

/* In a register from here on: a compiler may else load it anew for each use. */
static inline vf vf_hold(vf a) { __asm__("" : "+x"(a)); return a; }

static inline vf vf_add(vf a, vf b) { return _mm256_add_ps(a, b); }
static inline vf vf_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
static inline vf vf_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
static inline vf vf_div(vf a, vf b) { return _mm256_div_ps(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }
static inline vf vf_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); }
static inline vf vf_max(vf a, vf b) { return _mm256_max_ps(a, b); }
static inline vf vf_min(vf a, vf b) { return _mm256_min_ps(a, b); }
static inline vf vf_sqrt(vf a) { return _mm256_sqrt_ps(a); }
static inline vf vf_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
static inline vf vf_neg(vf a) { return _mm256_xor_ps(a, _mm256_set1_ps(-0.0f)); }
static inline vf vf_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
static inline vf vf_floor(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }

static inline vm vf_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
static inline vm vf_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
static inline vm vf_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
static inline vm vf_nan(vf a) { return _mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
static inline vf vf_select(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); }

static inline vm vm_or(vm a, vm b) { return _mm256_or_ps(a, b); }

static inline vf vf_from_bytes(__m128i bytes)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes));
}
static inline __m128i vf_to_bytes(vf a)
{
    __m256i words = _mm256_cvtps_epi32(a);
    __m128i halves = _mm_packus_epi32(_mm256_castsi256_si128(words),
                                      _mm256_extracti128_si256(words, 1));
    return _mm_packus_epi16(halves, halves);
}
static inline vf vf_load_u8(const uint8_t *p)
{
    return vf_from_bytes(_mm_loadl_epi64((const __m128i *)p));
}
static inline void vf_store_u8(uint8_t *p, vf a) { _mm_storel_epi64((__m128i *)p, vf_to_bytes(a)); }
/* Byte by byte, but in a register: bytes written to memory and read as a word would wait. */
static inline vf vf_load_u8_n(const uint8_t *p, int64_t n)
{
    uint64_t bytes = 0;
    for (int64_t i = 0; i < n; i++)
        bytes |= (uint64_t)p[i] << (8 * i);
    return vf_from_bytes(_mm_cvtsi64_si128((long long)bytes));
}
static inline void vf_store_u8_n(uint8_t *p, vf a, int64_t n)
{
    uint64_t bytes = (uint64_t)_mm_cvtsi128_si64(vf_to_bytes(a));
    for (int64_t i = 0; i < n; i++)
        p[i] = (uint8_t)(bytes >> (8 * i));
}

static inline vf vf_exp2i(vf n)
{
    __m256i bits = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 23));
}
static inline vf vf_exponent(vf a)
{
    __m256i bits = _mm256_srli_epi32(_mm256_castps_si256(a), 23);
    return _mm256_cvtepi32_ps(_mm256_sub_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(255)),
                                               _mm256_set1_epi32(127)));
}
static inline vf vf_mantissa(vf a)
{
    __m256i bits = _mm256_and_si256(_mm256_castps_si256(a), _mm256_set1_epi32(0x007fffff));
    return _mm256_castsi256_ps(_mm256_or_si256(bits, _mm256_set1_epi32(0x3f800000)));
}

/* Lanes of 2, then of 4 rows by unpacking, then whole halves of a vector. */
static inline void vf_transpose(vf *row)
{
    vf pair[8], quad[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        pair[i] = _mm256_unpacklo_ps(row[i], row[i + 1]);
        pair[i + 1] = _mm256_unpackhi_ps(row[i], row[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++) {
            __m256d a = _mm256_castps_pd(pair[i + j]), b = _mm256_castps_pd(pair[i + 2 + j]);
            quad[i + 2 * j] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
            quad[i + 2 * j + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
        }
    }
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++) {
        row[k] = _mm256_permute2f128_ps(quad[k], quad[4 + k], 0x20);
        row[4 + k] = _mm256_permute2f128_ps(quad[k], quad[4 + k], 0x31);
    }
}

#endif
