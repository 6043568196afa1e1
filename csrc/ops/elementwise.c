/* elementwise.c: element-wise primitives over strided boxes.
 *
 * The leaf kernels know only contiguous operands. Runs that are contiguous for every operand go to
 * them as they are; anything else (steps, reversed axes, broadcasts, runs too short to pay for a
 * call) is packed into small buffers, PACK elements at a time, and the result unpacked. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "box.h"
#include "ops.h"

#define PACK 512 /* elements a buffer: four of them stay in a quarter of the L1 cache */
#define SHORT 32 /* runs below this length are packed together */

typedef void map_leaf(float *y, const float *const *inputs, int64_t n, int kind, float alpha,
                      float beta);

typedef struct {
    cnf_box box;
    float *operand[CNF_BOX_OPERANDS]; /* the output, then the inputs */
    map_leaf *leaf;
    int kind;
    float alpha, beta;
} map;

static void pack(float *to, const float *from, int64_t rows, int64_t row, int64_t n, int64_t step)
{
    for (int64_t r = 0; r < rows; r++, from += row, to += n) {
        if (step == 0) { /* a loop of its own, which the compiler makes a fill */
            const float value = *from;
            for (int64_t i = 0; i < n; i++)
                to[i] = value;
        } else {
            for (int64_t i = 0; i < n; i++)
                to[i] = from[i * step];
        }
    }
}

static void unpack(float *to, const float *from, int64_t rows, int64_t row, int64_t n,
                   int64_t step)
{
    for (int64_t r = 0; r < rows; r++, to += row)
        for (int64_t i = 0; i < n; i++)
            to[i * step] = *from++;
}

/* rows x n elements: at most PACK unless every operand is contiguous. `continued`: the buffers
 * hold what the block before, of the same row and at least as long, was packed into. */
static void map_block(const map *m, float (*buffer)[PACK], float *const *at, int64_t rows,
                      int64_t n, int continued)
{
    float *operand[CNF_BOX_OPERANDS];
    const cnf_box *box = &m->box;
    for (int k = 0; k < box->operands; k++) {
        int64_t step = box->stride[k][0], row = rows > 1 ? box->stride[k][1] : n;
        operand[k] = step == 1 && row == n ? at[k] : buffer[k];
        if (k > 0 && operand[k] != at[k] && !(continued && step == 0))
            pack(operand[k], at[k], rows, row, n, step);
    }
    const float *const inputs[] = {operand[1], operand[2], operand[3]};
    m->leaf(operand[0], inputs, rows * n, m->kind, m->alpha, m->beta);
    if (operand[0] != at[0])
        unpack(at[0], operand[0], rows, rows > 1 ? box->stride[0][1] : n, n, box->stride[0][0]);
}

static void map_visit(const void *context, const int64_t *offsets, int64_t rows, int64_t n)
{
    const map *m = context;
    const cnf_box *box = &m->box;
    float buffer[CNF_BOX_OPERANDS][PACK];
    int contiguous = 1;
    for (int k = 0; k < box->operands; k++)
        contiguous &= box->stride[k][0] == 1;
    int64_t together = n < SHORT ? PACK / n : 1;
    int64_t length = contiguous ? n : cnf_min(n, PACK);
    for (int64_t r = 0; r < rows; r += together) {
        for (int64_t i = 0; i < n; i += length) {
            float *at[CNF_BOX_OPERANDS] = {0};
            for (int k = 0; k < box->operands; k++) {
                at[k] = m->operand[k] + offsets[k] + i * box->stride[k][0];
                if (rows > 1)
                    at[k] += r * box->stride[k][1];
            }
            map_block(m, buffer, at, cnf_min(together, rows - r), cnf_min(length, n - i), i > 0);
        }
    }
}

static cnf_status map_run(map_leaf *leaf, int operands, float *const *operand,
                          const cnf_elementwise *d)
{
    const int64_t *strides[] = {d->stride[0], d->stride[1], d->stride[2], d->stride[3]};
    map m = {.box = cnf_box_make(d->rank, d->size, operands, strides), .leaf = leaf,
             .kind = (int)d->kind, .alpha = d->alpha, .beta = d->beta};
    for (int k = 0; k < operands; k++)
        m.operand[k] = operand[k];
    double cost = 4 * operands * CNF_NS_PER_BYTE + 10 * CNF_NS_PER_FLOP;
    cnf_box_walk(&m.box, CNF_TASK_ELEMENTS, cost, map_visit, &m);
    return CNF_OK;
}

/* Inputs are only read; without their const, all operands fit one array of pointers. */
cnf_status cnf_unary_forward(float *y, const float *x, const cnf_elementwise *d, void *scratch)
{
    (void)scratch;
    return map_run(cnf_kernel->unary_forward, 2, (float *[]){y, (float *)x}, d);
}

cnf_status cnf_unary_backward(float *dx, const float *dy, const float *saved,
                              const cnf_elementwise *d, void *scratch)
{
    (void)scratch;
    return map_run(cnf_kernel->unary_backward, 3, (float *[]){dx, (float *)dy, (float *)saved}, d);
}

cnf_status cnf_binary_forward(float *y, const float *a, const float *b, const cnf_elementwise *d,
                              void *scratch)
{
    (void)scratch;
    return map_run(cnf_kernel->binary_forward, 3, (float *[]){y, (float *)a, (float *)b}, d);
}

cnf_status cnf_ternary_forward(float *y, const float *a, const float *b, const float *c,
                               const cnf_elementwise *d, void *scratch)
{
    (void)scratch;
    return map_run(cnf_kernel->ternary_forward, 4,
                   (float *[]){y, (float *)a, (float *)b, (float *)c}, d);
}

static void fill_leaf(float *y, const float *const *inputs, int64_t n, int kind, float alpha,
                      float beta)
{
    (void)inputs, (void)kind, (void)beta;
    for (int64_t i = 0; i < n; i++)
        y[i] = alpha;
}

cnf_status cnf_fill(float *y, const cnf_elementwise *d, void *scratch)
{
    (void)scratch;
    return map_run(fill_leaf, 1, &y, d);
}

static const char *const unary_names[] = {
#define UNARY(name, forward, backward) #name,
#include "../tiles/elementwise.def"
};
static const char *const binary_names[] = {
#define BINARY(name, forward) #name,
#include "../tiles/elementwise.def"
};
static const char *const ternary_names[] = {
#define TERNARY(name, forward) #name,
#include "../tiles/elementwise.def"
};

static const char unary_by_result[] = {
#define UNARY(name, forward, backward) 0,
#define UNARY_BY_RESULT(name, forward, backward) 1,
#include "../tiles/elementwise.def"
};

int cnf_unary_by_result(int kind) { return unary_by_result[kind]; }
const char *cnf_unary_name(int kind) { return kind < cnf_unary_count ? unary_names[kind] : NULL; }
const char *cnf_binary_name(int kind)
{
    return kind < cnf_binary_count ? binary_names[kind] : NULL;
}
const char *cnf_ternary_name(int kind)
{
    return kind < cnf_ternary_count ? ternary_names[kind] : NULL;
}
