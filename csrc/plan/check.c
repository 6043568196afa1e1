/* check.c: whether a call of a saved plan stays inside its operands.
 *
 * What the binding checks of arrays before it fills a descriptor is checked here of descriptors
 * that come from a file: sizes that make sense, and for each operand the bytes that the primitive
 * may touch, which its memory must have. One function a descriptor, and the table of those
 * primitives that a plan for inference has; a primitive without a row cannot be in a file. Where
 * operands overlap a damaged plan computes nonsense, so what steers a kernel (tables of taps, row
 * numbers) must be constant or apart from what is written. Sizes of 0 are refused: such plans
 * compute nothing. */
#include <string.h>

#include "../ops/gather.h"
#include "saved.h"

#define MOST_SIZE ((int64_t)1 << 31)   /* of an axis */
#define MOST_STRIDE ((int64_t)1 << 40) /* in elements */
#define MOST_STEP ((int64_t)1 << 20)   /* kernel, stride, dilation, padding */
#define MOST_REACH ((int64_t)1 << 20)  /* pixels under a kernel: scratch follows them */
#define MOST_PHASES ((int64_t)1 << 24) /* of a stride, which the input gradient visits one by one */
#define MOST_ELEMENTS ((int64_t)1 << 36) /* of a box, which broadcasting makes larger than memory */

int64_t cnf_times(int64_t a, int64_t b)
{
    if (a < 0 || b < 0 || (a > 0 && b > CNF_MOST_BYTES / a))
        return CNF_MOST_BYTES + 1;
    return a * b;
}

static int within(int64_t value, int64_t low, int64_t high)
{
    return value >= low && value <= high;
}

static int are_sizes(const int64_t *sizes, int count)
{
    for (int i = 0; i < count; i++)
        if (!within(sizes[i], 1, MOST_SIZE - 1))
            return 0;
    return 1;
}
#define SIZES(...)                                                                              \
    are_sizes((const int64_t[]){__VA_ARGS__},                                                   \
              (int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))

/* Whether elements `low` to `high` - 1 from the operand's first belong to it; low <= 0. */
static int reaches(const cnf_operand *o, int64_t low, int64_t high, int64_t element)
{
    return o->present && o->offset % element == 0 && (uintptr_t)o->data % (uintptr_t)element == 0 &&
           cnf_times(-low, element) <= o->before && cnf_times(high, element) <= o->after;
}

static int is_vector(const cnf_operand *o, int64_t count, int64_t element)
{
    return reaches(o, 0, count, element);
}

static int is_vector_or_absent(const cnf_operand *o, int64_t count)
{
    return !o->present || is_vector(o, count, sizeof(float));
}

/* `pixels` of c floats each, `pitch` apart. */
static int are_pixels(const cnf_operand *o, int64_t pixels, int64_t c, int64_t pitch)
{
    return within(pitch, c, MOST_STRIDE) && pixels >= 1 &&
           reaches(o, 0, cnf_times(pixels - 1, pitch) + c, sizeof(float));
}

static int is_image(const cnf_operand *o, int64_t n, int64_t h, int64_t w, int64_t c, int64_t pitch)
{
    return SIZES(n, h, w, c) && are_pixels(o, cnf_times(n, cnf_times(h, w)), c, pitch);
}

/* A strided box. One that is written has as much memory as elements: no two may be one. */
static int is_box(const cnf_operand *o, int64_t rank, const int64_t *size, const int64_t *stride,
                  int64_t element)
{
    int64_t low = 0, high = 1, count = 1;
    if (!within(rank, 0, CNF_MAX_RANK) || !are_sizes(size, (int)rank))
        return 0;
    for (int64_t axis = 0; axis < rank; axis++) {
        if (!within(stride[axis], -MOST_STRIDE, MOST_STRIDE))
            return 0;
        const int64_t step = stride[axis] < 0 ? -stride[axis] : stride[axis];
        const int64_t span = cnf_times(size[axis] - 1, step);
        low -= stride[axis] < 0 ? span : 0;
        high += stride[axis] < 0 ? 0 : span;
        count = cnf_times(count, size[axis]);
    }
    return count <= (o->writable ? high - low : MOST_ELEMENTS) && reaches(o, low, high, element);
}

/* ---- element-wise and reductions ------------------------------------------------------------- */

static int check_boxes(const cnf_elementwise *d, const cnf_operand *o, int operands, int kinds)
{
    int sound = within(d->kind, 0, kinds - 1);
    for (int k = 0; k < operands && sound; k++)
        sound = is_box(&o[k], d->rank, d->size, d->stride[k], sizeof(float));
    return sound;
}

static int check_unary(const void *d, const cnf_operand *o)
{
    return check_boxes(d, o, 2, cnf_unary_count);
}

static int check_binary(const void *d, const cnf_operand *o)
{
    return check_boxes(d, o, 3, cnf_binary_count);
}

static int check_ternary(const void *d, const cnf_operand *o)
{
    return check_boxes(d, o, 4, cnf_ternary_count);
}

static int check_fill(const void *d, const cnf_operand *o) { return check_boxes(d, o, 1, 1); }

static int check_copy(const void *descriptor, const cnf_operand *o)
{
    const cnf_copy_box *d = descriptor;
    return within(d->type, 0, CNF_TYPE_COUNT - 1) &&
           is_box(&o[0], d->rank, d->size, d->y_stride, sizeof(float)) &&
           is_box(&o[1], d->rank, d->size, d->x_stride, cnf_type_size((int)d->type));
}

static int check_reduce(const void *descriptor, const cnf_operand *o)
{
    const cnf_reduce_box *d = descriptor;
    int64_t size[CNF_MAX_RANK];
    if (!within(d->kind, 0, CNF_REDUCE_COUNT - 1) || !within(d->rank, 0, CNF_MAX_RANK))
        return 0;
    for (int64_t axis = 0; axis < d->rank; axis++) {
        if (!within(d->kept[axis], 0, 1))
            return 0;
        size[axis] = d->kept[axis] ? d->size[axis] : 1;
    }
    return is_box(&o[0], d->rank, size, d->y_stride, sizeof(float)) &&
           is_box(&o[1], d->rank, d->size, d->x_stride, sizeof(float));
}

static int check_arg_extreme(const void *descriptor, const cnf_operand *o)
{
    const cnf_arg_box *d = descriptor;
    int64_t size[CNF_MAX_RANK];
    if ((d->kind != CNF_MAX && d->kind != CNF_MIN) || !within(d->rank, 1, CNF_MAX_RANK) ||
        !within(d->axis, 0, d->rank - 1))
        return 0;
    for (int64_t axis = 0; axis < d->rank; axis++)
        size[axis] = axis == d->axis ? 1 : d->size[axis];
    return is_box(&o[0], d->rank, size, d->y_stride, sizeof(int64_t)) &&
           is_box(&o[1], d->rank, d->size, d->x_stride, sizeof(float));
}

/* A batch of matrices as one box. */
static int are_matrices(const cnf_operand *o, const cnf_gemm *d, const int64_t *batch, int64_t rows,
                        int64_t row, int64_t columns, int64_t column)
{
    int64_t size[CNF_MAX_RANK], stride[CNF_MAX_RANK];
    memcpy(size, d->size, sizeof size);
    memcpy(stride, batch, sizeof stride);
    size[d->rank] = rows, size[d->rank + 1] = columns;
    stride[d->rank] = row, stride[d->rank + 1] = column;
    return is_box(o, d->rank + 2, size, stride, sizeof(float));
}

static int check_gemm(const void *descriptor, const cnf_operand *o)
{
    const cnf_gemm *d = descriptor;
    if (!within(d->rank, 0, CNF_MAX_RANK - 2) || !SIZES(d->m, d->n, d->k))
        return 0;
    int64_t products = cnf_times(d->m, cnf_times(d->n, d->k));
    for (int64_t axis = 0; axis < d->rank; axis++) {
        if (!SIZES(d->size[axis]))
            return 0;
        products = cnf_times(products, d->size[axis]);
    }
    return products < CNF_MOST_BYTES &&
           are_matrices(&o[0], d, d->c_batch, d->m, d->c_row, d->n, 1) &&
           are_matrices(&o[1], d, d->a_batch, d->m, d->a_row, d->k, d->a_col) &&
           are_matrices(&o[2], d, d->b_batch, d->k, d->b_row, d->n, d->b_col);
}

/* ---- convolution ----------------------------------------------------------------------------- */

/* Operands of the epilogue; y is (n, oh, ow, co). Sums are training's. */
static int check_epilogue(const cnf_epilogue *e, const cnf_operand *sums,
                          const cnf_operand *residual, int64_t n, int64_t oh, int64_t ow,
                          int64_t co)
{
    return within(e->activation, 0, cnf_unary_count - 1) && e->sums == 0 && !sums->present &&
           within(e->residual_pitch, 0, MOST_STRIDE) &&
           (!residual->present || is_image(residual, n, oh, ow, co, e->residual_pitch));
}

/* One axis of a convolution; `out` may go on behind the input's end by as much as padding may. */
static int is_axis(int64_t in, int64_t out, int64_t kernel, int64_t stride, int64_t pad,
                   int64_t dilation)
{
    return SIZES(in, out) && within(kernel, 1, MOST_STEP) && within(stride, 1, MOST_STEP) &&
           within(dilation, 1, MOST_STEP) && within(pad, -MOST_STEP, MOST_STEP) &&
           (out - 1) * stride <= in + 2 * MOST_STEP;
}

static int check_conv2d(const cnf_conv2d *d, const cnf_operand *x, const cnf_operand *y,
                        const cnf_operand *weight, const cnf_operand *bias, int64_t biases)
{
    if (!is_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h) ||
        !is_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w) ||
        d->pad_top < 0 || d->pad_left < 0 || !SIZES(d->ci, d->co, d->groups) ||
        d->ci % d->groups != 0 || d->co % d->groups != 0)
        return 0;
    const int64_t taps = cnf_times(d->kh, d->kw);
    return cnf_times(d->kh * d->dilation_h, d->kw * d->dilation_w) <= MOST_REACH &&
           d->stride_h * d->stride_w <= MOST_PHASES &&
           is_image(x, d->n, d->h, d->w, d->ci, d->x_pitch) &&
           is_image(y, d->n, d->oh, d->ow, d->co, d->y_pitch) && weight->data &&
           is_vector(weight, cnf_times(cnf_times(d->co, d->ci / d->groups), taps), sizeof(float)) &&
           is_vector_or_absent(bias, biases);
}

static int check_conv2d_forward(const void *descriptor, const cnf_operand *o)
{
    const cnf_conv2d *d = descriptor;
    return check_conv2d(d, &o[2], &o[0], &o[3], &o[4], d->co) &&
           check_epilogue(&d->epilogue, &o[1], &o[5], d->n, d->oh, d->ow, d->co);
}

static int check_conv2d_scaled_forward(const void *descriptor, const cnf_operand *o)
{
    const cnf_conv2d_scaled *d = descriptor;
    const cnf_conv2d *c = &d->conv;
    const cnf_operand no_sums = {0};
    return check_conv2d(c, &o[1], &o[0], &o[4], &o[5], c->co) &&
           check_epilogue(&c->epilogue, &no_sums, &o[6], c->n, c->oh, c->ow, c->co) &&
           (d->scale_image == 0 ? is_vector(&o[2], c->ci, sizeof(float))
                                : are_pixels(&o[2], c->n, c->ci, d->scale_image)) &&
           is_vector_or_absent(&o[3], c->ci);
}

static int check_conv2d_backward_input(const void *descriptor, const cnf_operand *o)
{
    const cnf_conv2d *d = descriptor;
    return check_conv2d(d, &o[0], &o[1], &o[2], &o[3], d->ci);
}

static int check_depthwise_forward(const void *descriptor, const cnf_operand *o)
{
    const cnf_depthwise *d = descriptor;
    return is_axis(d->h, d->oh, d->kh, d->stride_h, d->pad_top, d->dilation_h) &&
           is_axis(d->w, d->ow, d->kw, d->stride_w, d->pad_left, d->dilation_w) &&
           is_image(&o[2], d->n, d->h, d->w, d->c, d->x_pitch) &&
           is_image(&o[0], d->n, d->oh, d->ow, d->c, d->y_pitch) &&
           is_vector(&o[3], cnf_times(d->c, cnf_times(d->kh, d->kw)), sizeof(float)) &&
           is_vector_or_absent(&o[4], d->c) &&
           check_epilogue(&d->epilogue, &o[1], &o[5], d->n, d->oh, d->ow, d->c);
}

/* A 1x1 convolution between images of `pixels` (n, h, w), with weight and bias but its images. */
static int is_pointwise(const cnf_conv2d *d, const int64_t *pixels, const cnf_operand *weight,
                        const cnf_operand *bias)
{
    const int64_t sizes[] = {d->n, d->h, d->w, d->n, d->oh, d->ow};
    const int64_t ones[] = {d->kh, d->kw, d->stride_h, d->stride_w, d->groups};
    for (int i = 0; i < 5; i++)
        if (ones[i] != 1)
            return 0;
    return memcmp(sizes, pixels, 3 * sizeof *pixels) == 0 &&
           memcmp(sizes + 3, pixels, 3 * sizeof *pixels) == 0 && SIZES(d->ci, d->co) &&
           d->pad_top == 0 && d->pad_left == 0 && d->algorithm == CNF_CONV2D_DIRECT &&
           weight->data && is_vector(weight, cnf_times(d->co, d->ci), sizeof(float)) &&
           is_vector_or_absent(bias, d->co);
}

static int check_separable_forward(const void *descriptor, const cnf_operand *o)
{
    const cnf_separable *d = descriptor;
    const cnf_depthwise *w = &d->depthwise;
    const cnf_conv2d *expand = d->expand.co ? &d->expand : NULL;
    const cnf_conv2d *project = d->project.co ? &d->project : NULL;
    const int64_t in[] = {w->n, w->h, w->w}, out[] = {w->n, w->oh, w->ow};
    const int64_t ci = expand ? expand->ci : w->c, co = project ? project->co : w->c;
    const int64_t between = cnf_times(w->c, cnf_times(w->h, w->w) + cnf_times(w->oh, w->ow));
    const cnf_operand none = {0}, *residual = &o[8];
    const cnf_epilogue *last = project ? &project->epilogue : &w->epilogue;
    return is_axis(w->h, w->oh, w->kh, w->stride_h, w->pad_top, w->dilation_h) &&
           is_axis(w->w, w->ow, w->kw, w->stride_w, w->pad_left, w->dilation_w) &&
           SIZES(w->n, w->c) && between <= CNF_MOST_BYTES &&
           is_image(&o[1], w->n, w->h, w->w, ci, expand ? expand->x_pitch : w->x_pitch) &&
           is_image(&o[0], w->n, w->oh, w->ow, co, project ? project->y_pitch : w->y_pitch) &&
           is_vector(&o[4], cnf_times(w->c, cnf_times(w->kh, w->kw)), sizeof(float)) &&
           is_vector_or_absent(&o[5], w->c) &&
           (!expand || (expand->co == w->c && is_pointwise(expand, in, &o[2], &o[3]) &&
                        check_epilogue(&expand->epilogue, &none, &none, 0, 0, 0, 0))) &&
           (!project || (project->ci == w->c && is_pointwise(project, out, &o[6], &o[7]))) &&
           (!project || check_epilogue(&w->epilogue, &none, &none, 0, 0, 0, 0)) &&
           (project || !residual->present) &&
           check_epilogue(last, &none, residual, w->n, w->oh, w->ow, co);
}

/* ---- pooling and resizing -------------------------------------------------------------------- */

/* A table of taps that reads `inputs` positions; `each`: 0, or the taps of every output. */
static int is_table(const cnf_operand *o, int64_t outputs, int64_t inputs, int64_t each)
{
    const int64_t head = (outputs + 2) / 2 * 2;
    if (!o->data || !is_vector(o, head, sizeof(int32_t)))
        return 0;
    const int32_t *first = (const int32_t *)o->data;
    const cnf_tap *taps = cnf_taps(first, outputs);
    if (first[0] != 0)
        return 0;
    for (int64_t i = 0; i < outputs; i++)
        if (first[i + 1] < first[i] || (each && first[i + 1] - first[i] != each))
            return 0;
    if (!is_vector(o, head + 2 * (int64_t)first[outputs], sizeof(int32_t)))
        return 0;
    for (int32_t i = 0; i < first[outputs]; i++)
        if (!within(taps[i].at, 0, inputs - 1))
            return 0;
    return 1;
}

static int check_gather(const cnf_gather *d, const cnf_operand *y, const cnf_operand *x,
                        const cnf_operand *rows, const cnf_operand *cols)
{
    return is_image(x, d->n, d->h, d->w, d->c, d->x_pitch) &&
           is_image(y, d->n, d->oh, d->ow, d->c, d->y_pitch) && d->col_taps >= 0 &&
           is_table(rows, d->oh, d->h, 0) && is_table(cols, d->ow, d->w, d->col_taps);
}

static int check_max_pool2d(const void *descriptor, const cnf_operand *o)
{
    const cnf_gather *d = descriptor;
    return check_gather(d, &o[0], &o[2], &o[3], &o[4]) && within(d->wide_index, 0, 1) &&
           (!o[1].present ||
            is_vector(&o[1], cnf_times(cnf_times(d->n, d->c), cnf_times(d->oh, d->ow)),
                      d->wide_index ? sizeof(float) : 1));
}

static int check_resample(const void *descriptor, const cnf_operand *o)
{
    return check_gather(descriptor, &o[0], &o[1], &o[2], &o[3]);
}

/* ---- norms, softmax, indices ----------------------------------------------------------------- */

static int check_norm(const cnf_norm *d, const cnf_operand *y, const cnf_operand *x)
{
    const int64_t pixels = cnf_times(d->segments, d->rows);
    return SIZES(d->segments, d->rows, d->c, d->groups) && d->c % d->groups == 0 &&
           are_pixels(x, pixels, d->c, d->x_pitch) && are_pixels(y, pixels, d->c, d->y_pitch);
}

static int check_norm_forward(const void *descriptor, const cnf_operand *o)
{
    const cnf_norm *d = descriptor;
    const int64_t statistics = cnf_times(d->segments, d->groups);
    return check_norm(d, &o[0], &o[5]) && is_vector(&o[1], statistics, sizeof(float)) &&
           is_vector(&o[2], statistics, sizeof(float)) && !o[3].present && !o[4].present &&
           is_vector_or_absent(&o[6], d->c) && is_vector_or_absent(&o[7], d->c) && !o[8].present;
}

static int check_norm_evaluate(const void *descriptor, const cnf_operand *o)
{
    const cnf_norm *d = descriptor;
    return check_norm(d, &o[0], &o[1]) && is_vector(&o[2], d->c, sizeof(float)) &&
           is_vector(&o[3], d->c, sizeof(float)) && is_vector_or_absent(&o[4], d->c) &&
           is_vector_or_absent(&o[5], d->c);
}

static int check_layer_norm(const void *descriptor, const cnf_operand *o)
{
    const cnf_layer_norm *d = descriptor;
    return SIZES(d->rows, d->c) && are_pixels(&o[0], d->rows, d->c, d->y_pitch) &&
           are_pixels(&o[3], d->rows, d->c, d->x_pitch) &&
           is_vector(&o[1], d->rows, sizeof(float)) && is_vector(&o[2], d->rows, sizeof(float)) &&
           is_vector_or_absent(&o[4], d->c) && is_vector_or_absent(&o[5], d->c);
}

static int check_local_norm(const void *descriptor, const cnf_operand *o)
{
    const cnf_local_norm *d = descriptor;
    return SIZES(d->rows, d->c) && within(d->size, 1, MOST_STEP) &&
           are_pixels(&o[0], d->rows, d->c, d->y_pitch) &&
           are_pixels(&o[1], d->rows, d->c, d->x_pitch);
}

static int check_softmax(const void *descriptor, const cnf_operand *o)
{
    const cnf_softmax *d = descriptor;
    return SIZES(d->rows, d->c) && are_pixels(&o[0], d->rows, d->c, d->y_pitch) &&
           are_pixels(&o[1], d->rows, d->c, d->x_pitch);
}

/* The row numbers are checked as they are used, and must not change meanwhile. */
static int check_take(const void *descriptor, const cnf_operand *o)
{
    const cnf_index *d = descriptor;
    if (!SIZES(d->count, d->rows, d->inner))
        return 0;
    const int64_t written = cnf_times(d->count, d->inner);
    const int64_t numbers = d->count * (int64_t)sizeof(int64_t);
    return is_vector(&o[0], written, sizeof(float)) &&
           is_vector(&o[1], cnf_times(d->rows, d->inner), sizeof(float)) &&
           is_vector(&o[2], d->count, sizeof(int64_t)) &&
           (o[0].base != o[2].base || o[0].offset >= o[2].offset + numbers ||
            o[2].offset >= o[0].offset + written * (int64_t)sizeof(float));
}

static int (*const checks[cnf_primitive_count])(const void *descriptor, const cnf_operand *o) = {
    [cnf_id_unary_forward] = check_unary,
    [cnf_id_binary_forward] = check_binary,
    [cnf_id_ternary_forward] = check_ternary,
    [cnf_id_fill] = check_fill,
    [cnf_id_copy] = check_copy,
    [cnf_id_reduce] = check_reduce,
    [cnf_id_arg_extreme] = check_arg_extreme,
    [cnf_id_gemm_forward] = check_gemm,
    [cnf_id_conv2d_forward] = check_conv2d_forward,
    [cnf_id_conv2d_scaled_forward] = check_conv2d_scaled_forward,
    [cnf_id_conv2d_backward_input] = check_conv2d_backward_input,
    [cnf_id_depthwise_forward] = check_depthwise_forward,
    [cnf_id_separable_forward] = check_separable_forward,
    [cnf_id_max_pool2d_forward] = check_max_pool2d,
    [cnf_id_resample] = check_resample,
    [cnf_id_norm_forward] = check_norm_forward,
    [cnf_id_norm_evaluate] = check_norm_evaluate,
    [cnf_id_layer_norm_forward] = check_layer_norm,
    [cnf_id_local_norm_forward] = check_local_norm,
    [cnf_id_softmax_forward] = check_softmax,
    [cnf_id_log_softmax_forward] = check_softmax,
    [cnf_id_take] = check_take,
};

int cnf_call_is_sound(int primitive, const void *descriptor, const cnf_operand *operands)
{
    for (int k = 0; k < cnf_primitive_written(primitive); k++)
        if (operands[k].present && !operands[k].writable)
            return 0;
    return checks[primitive] && checks[primitive](descriptor, operands);
}
