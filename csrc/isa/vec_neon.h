/* vec_neon.h: the vector words for AArch64's Advanced SIMD. vec_generic.h documents each word. */
#ifndef CNF_VEC_H
#define CNF_VEC_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#define VF_LANES 4
/* 7 x 3 accumulators + 3 columns + 7 row values = 31 of 32 registers: gcc loads all row values
 * first, so that an eighth row would spill. */
#define TILE_ROWS 7
#define TILE_VECTORS 3
#define SHORT_ROWS TILE_ROWS

typedef float32x4_t vf;
typedef uint32x4_t vm;

static inline vf vf_set1(float a) { return vdupq_n_f32(a); }
static inline vf vf_zero(void) { return vf_set1(0.0f); }
static inline vf vf_load(const float *p) { return vld1q_f32(p); }
static inline void vf_store(float *p, vf a) { vst1q_f32(p, a); }
/* There are no masked loads: a pair, then a single lane. */
static inline vf vf_load_n(const float *p, int64_t n)
{
    if (n >= VF_LANES)
        return vf_load(p);
    vf a = n & 2 ? vcombine_f32(vld1_f32(p), vdup_n_f32(0.0f)) : vf_zero();
    if (n == 3)
        return vld1q_lane_f32(p + 2, a, 2);
    return n == 1 ? vld1q_lane_f32(p, a, 0) : a;
}
static inline void vf_stream(float *p, vf a) { vf_store(p, a); }
static inline void vf_store_n(float *p, vf a, int64_t n)
{
    if (n >= VF_LANES) {
        vf_store(p, a);
        return;
    }
    if (n & 2)
        vst1_f32(p, vget_low_f32(a));
    if (n == 3)
        vst1q_lane_f32(p + 2, a, 2);
    else if (n == 1)
        vst1q_lane_f32(p, a, 0);
}

/* In a register from here on: a compiler may else load it anew for each use. */
static inline vf vf_hold(vf a) { __asm__("" : "+w"(a)); return a; }

static inline vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
static inline vf vf_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); }

static inline vm vf_lt(vf a, vf b) { return vcltq_f32(a, b); }
static inline vm vf_le(vf a, vf b) { return vcleq_f32(a, b); }
static inline vm vf_eq(vf a, vf b) { return vceqq_f32(a, b); }
static inline vm vf_nan(vf a) { return vmvnq_u32(vceqq_f32(a, a)); }
static inline vf vf_select(vm m, vf a, vf b) { return vbslq_f32(m, a, b); }

static inline vm vm_or(vm a, vm b) { return vorrq_u32(a, b); }

/* FMAX gives a NaN in either place and vf_max only one in the second, so it is a comparison. */
static inline vf vf_max(vf a, vf b) { return vf_select(vcgtq_f32(a, b), a, b); }
static inline vf vf_min(vf a, vf b) { return vf_select(vcltq_f32(a, b), a, b); }
static inline vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
static inline vf vf_abs(vf a) { return vabsq_f32(a); }
static inline vf vf_neg(vf a) { return vnegq_f32(a); }
static inline vf vf_round(vf a) { return vrndnq_f32(a); }
static inline vf vf_floor(vf a) { return vrndmq_f32(a); }

/* Four bytes travel as one word. */
static inline vf vf_from_bytes(uint32_t word)
{
    uint16x8_t halves = vmovl_u8(vcreate_u8(word));
    return vcvtq_f32_u32(vmovl_u16(vget_low_u16(halves)));
}
static inline uint32_t vf_to_bytes(vf a)
{
    uint16x4_t halves = vmovn_u32(vcvtq_u32_f32(a));
    return vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(halves, halves))), 0);
}
static inline vf vf_load_u8(const uint8_t *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return vf_from_bytes(word);
}
static inline void vf_store_u8(uint8_t *p, vf a)
{
    uint32_t word = vf_to_bytes(a);
    memcpy(p, &word, sizeof word);
}
static inline vf vf_load_u8_n(const uint8_t *p, int64_t n)
{
    uint32_t word = 0;
    for (int64_t i = 0; i < n; i++)
        word |= (uint32_t)p[i] << (8 * i);
    return vf_from_bytes(word);
}
static inline void vf_store_u8_n(uint8_t *p, vf a, int64_t n)
{
    uint32_t word = vf_to_bytes(a);
    for (int64_t i = 0; i < n; i++)
        p[i] = (uint8_t)(word >> (8 * i));
}

static inline vf vf_exp2i(vf n)
{
    int32x4_t bits = vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127));
    return vreinterpretq_f32_s32(vshlq_n_s32(bits, 23));
}
static inline vf vf_exponent(vf a)
{
    uint32x4_t bits = vandq_u32(vshrq_n_u32(vreinterpretq_u32_f32(a), 23), vdupq_n_u32(255));
    return vcvtq_f32_s32(vsubq_s32(vreinterpretq_s32_u32(bits), vdupq_n_s32(127)));
}
static inline vf vf_mantissa(vf a)
{
    uint32x4_t bits = vandq_u32(vreinterpretq_u32_f32(a), vdupq_n_u32(0x007fffff));
    return vreinterpretq_f32_u32(vorrq_u32(bits, vdupq_n_u32(0x3f800000)));
}

static inline void vf_transpose(vf *row)
{
    const float32x4x2_t a = vtrnq_f32(row[0], row[1]), b = vtrnq_f32(row[2], row[3]);
    row[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    row[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    row[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    row[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

#endif
