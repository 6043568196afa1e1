/* copy.c: y = (float)x over strided boxes: layout changes (NCHW to NHWC and back), slices, casts.
 *
 * Where the axis that is contiguous in y is not the one that is contiguous in x, both are walked in
 * square blocks, so that every cache line of either side is used whole while it is near. */
#include <string.h>

#include "../machine/machine.h"
#include "box.h"
#include "ops.h"

#define BLOCK 16 /* floats in a cache line */

/* IEEE half to single. Subnormal halves are normal floats, scaled from their integer. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31;
    uint32_t mantissa = half & 0x3ff, bits;
    float value;
    if (exponent == 0) {
        value = (float)mantissa * 0x1p-24f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 255u : exponent + 112) << 23 | mantissa << 13;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#define SAME(a) (a)
#define CAST(a) ((float)(a))

/* rows x n elements; y's and x's distances along a row are y_step and x_step. */
#define TILE(name, type, convert)                                                               \
    static void copy_##name(float *restrict y, const void *from, int64_t rows, int64_t n,       \
                            int64_t y_row, int64_t y_step, int64_t x_row, int64_t x_step)       \
    {                                                                                           \
        const type *restrict x = from;                                                          \
        if (y_step == 1 && x_step == 1) {                                                       \
            for (int64_t r = 0; r < rows; r++)                                                  \
                for (int64_t i = 0; i < n; i++)                                                 \
                    y[r * y_row + i] = convert(x[r * x_row + i]);                               \
            return;                                                                             \
        }                                                                                       \
        if (n == 2 && y_step == 1 && y_row == 2 && x_row == 1) { /* two rows become one */      \
            for (int64_t r = 0; r < rows; r++) {                                                \
                y[2 * r] = convert(x[r]);                                                       \
                y[2 * r + 1] = convert(x[r + x_step]);                                          \
            }                                                                                   \
            return;                                                                             \
        }                                                                                       \
        for (int64_t r0 = 0; r0 < rows; r0 += BLOCK)                                            \
            for (int64_t i0 = 0; i0 < n; i0 += BLOCK)                                           \
                for (int64_t i = i0; i < cnf_min(n, i0 + BLOCK); i++)                           \
                    for (int64_t r = r0; r < cnf_min(rows, r0 + BLOCK); r++)                    \
                        y[r * y_row + i * y_step] = convert(x[r * x_row + i * x_step]);         \
    }
TILE(float32, float, SAME)
TILE(float64, double, CAST)
TILE(float16, uint16_t, from_half)
TILE(int8, int8_t, CAST)
TILE(int16, int16_t, CAST)
TILE(int32, int32_t, CAST)
TILE(int64, int64_t, CAST)
TILE(uint8, uint8_t, CAST)
#undef TILE

typedef void copy_tile(float *y, const void *x, int64_t rows, int64_t n, int64_t y_row,
                       int64_t y_step, int64_t x_row, int64_t x_step);

static const struct {
    copy_tile *tile;
    int64_t bytes;
} sources[CNF_TYPE_COUNT] = {
    [CNF_FLOAT32] = {copy_float32, 4}, [CNF_FLOAT64] = {copy_float64, 8},
    [CNF_FLOAT16] = {copy_float16, 2}, [CNF_INT8] = {copy_int8, 1},
    [CNF_INT16] = {copy_int16, 2},     [CNF_INT32] = {copy_int32, 4},
    [CNF_INT64] = {copy_int64, 8},     [CNF_UINT8] = {copy_uint8, 1},
};

int64_t cnf_type_size(int type) { return sources[type].bytes; }

typedef struct {
    cnf_box box; /* operand 0 is y, operand 1 is x */
    float *y;
    const char *x;
    int64_t type;
} copy;

static void copy_visit(const void *context, const int64_t *offsets, int64_t rows, int64_t n)
{
    const copy *c = context;
    const cnf_box *box = &c->box;
    int64_t y_row = rows > 1 ? box->stride[0][1] : 0, x_row = rows > 1 ? box->stride[1][1] : 0;
    sources[c->type].tile(c->y + offsets[0], c->x + offsets[1] * sources[c->type].bytes, rows, n,
                          y_row, box->stride[0][0], x_row, box->stride[1][0]);
}

/* Makes axis 1 the one along which x is densest, where that is not axis 0. */
static int turn(cnf_box *box)
{
    int densest = 0;
    for (int axis = 1; axis < box->rank; axis++) {
        int64_t stride = box->stride[1][axis], least = box->stride[1][densest];
        if (stride * stride < least * least && stride != 0)
            densest = axis;
    }
    if (densest == 0)
        return 0;
    for (int k = 0; k < 2; k++) {
        int64_t stride = box->stride[k][1];
        box->stride[k][1] = box->stride[k][densest];
        box->stride[k][densest] = stride;
    }
    int64_t size = box->size[1];
    box->size[1] = box->size[densest];
    box->size[densest] = size;
    return 1;
}

cnf_status cnf_copy(float *y, const void *x, const cnf_copy_box *d, void *scratch)
{
    (void)scratch;
    const int64_t *strides[] = {d->y_stride, d->x_stride};
    copy c = {cnf_box_make(d->rank, d->size, 2, strides), y, x, d->type};
    int turned = turn(&c.box);
    double cost = (double)(4 + sources[d->type].bytes) * CNF_NS_PER_BYTE + (turned ? 1.0 : 0.0);
    cnf_box_walk(&c.box, turned ? 16 * BLOCK : CNF_TASK_ELEMENTS, cost, copy_visit, &c);
    return CNF_OK;
}
