/* reduction.c: sums, products and extremes over any axes of a strided box, and their positions.
 *
 * x's axes are split into kept and reduced ones, each set ordered by x's memory. If the densest of
 * all is reduced, each output is the sum of contiguous runs ("rows"); if it is kept, a vector of
 * neighbouring outputs runs down the reduced axes ("columns"). The reduction is cut into chunks
 * whose number depends on the shape only; their sums, in double, are added in order, so the bits
 * do not depend on the thread count. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "box.h"
#include "ops.h"

#define PIECE 2048       /* elements of a row a leaf call, and of the packing buffer */
#define COLUMNS 256      /* columns that run down together */
#define SHORT 16         /* reduced runs below this length go down columns instead */
#define TASK 32768       /* elements a task */
#define ENOUGH 32        /* independent outputs that need no chunks to keep threads busy */
#define MOST_CHUNKS 64

typedef struct {
    cnf_box kept;    /* operand 0 is x, operand 1 is y */
    cnf_box reduced; /* operand 0 is x */
    int by_columns;
    int kind;
    double scale;
    int64_t outputs;        /* elements of y */
    int64_t length;         /* elements of x reduced to one */
    int64_t units, width;   /* independent jobs; outputs a job, the last of a row may have fewer */
    int64_t chunks;         /* parts of each job */
    int64_t parts_per_task; /* a part is one chunk of one unit */
    const float *x;
    float *y;
    double *partial; /* [chunks][outputs], used when chunks > 1 */
} reduction;

static cnf_box select_axes(const cnf_reduce_box *d, int64_t kept)
{
    int64_t size[CNF_MAX_RANK], x_stride[CNF_MAX_RANK], y_stride[CNF_MAX_RANK], rank = 0;
    for (int64_t axis = 0; axis < d->rank; axis++) {
        if (d->kept[axis] != kept)
            continue;
        size[rank] = d->size[axis];
        x_stride[rank] = d->x_stride[axis];
        y_stride[rank++] = kept ? d->y_stride[axis] : 0;
    }
    const int64_t *strides[] = {x_stride, y_stride};
    return cnf_box_make(rank, size, kept ? 2 : 1, strides);
}

static reduction make_reduction(const cnf_reduce_box *d)
{
    reduction r = {.kept = select_axes(d, 1), .reduced = select_axes(d, 0), .kind = (int)d->kind,
                   .scale = d->scale};
    r.outputs = cnf_box_count(&r.kept, 0);
    r.length = cnf_box_count(&r.reduced, 0);
    int64_t kept_stride = r.kept.stride[0][0], reduced_stride = r.reduced.stride[0][0];
    int kept_inside = kept_stride * kept_stride < reduced_stride * reduced_stride;
    r.by_columns = r.outputs > 1 && (kept_inside || r.reduced.size[0] < SHORT);
    r.width = r.by_columns ? cnf_min(r.kept.size[0], COLUMNS) : 1;
    r.units = r.outputs ? r.outputs / r.kept.size[0] * cnf_ceil_div(r.kept.size[0], r.width) : 0;
    int64_t unit_elements = r.width * r.length;
    r.chunks = r.units >= ENOUGH ? 1 : cnf_ceil_div(unit_elements, TASK);
    r.chunks = cnf_max(1, cnf_min(cnf_min(r.chunks, MOST_CHUNKS), r.length));
    r.parts_per_task = cnf_max(1, TASK * r.chunks / cnf_max(unit_elements, 1));
    return r;
}

static double neutral(int kind)
{
    return kind == CNF_PROD ? 1.0 : kind == CNF_MAX ? -__builtin_inf()
                                : kind == CNF_MIN ? __builtin_inf() : 0.0;
}

static double merge(int kind, double a, double b)
{
    switch (kind) {
    case CNF_PROD: return a * b;
    case CNF_MAX: return a != a || b <= a ? a : b;
    case CNF_MIN: return a != a || b >= a ? a : b;
    default: return a + b;
    }
}

static void write_output(const reduction *r, int64_t output, double value)
{
    int is_sum = r->kind == CNF_SUM || r->kind == CNF_SUM_SQUARE;
    r->y[cnf_box_offset(&r->kept, 1, output, 0)] = (float)(is_sum ? value * r->scale : value);
}

static void keep_result(const reduction *r, int64_t output, int64_t chunk, double value)
{
    if (r->chunks > 1)
        r->partial[chunk * r->outputs + output] = value;
    else
        write_output(r, output, value);
}

/* One output: elements [first, last) of its reduction. */
static double sum_row(const reduction *r, const float *x, int64_t first, int64_t last)
{
    double sum = neutral(r->kind);
    int64_t run = r->reduced.size[0], step = r->reduced.stride[0][0];
    float buffer[PIECE];
    while (first < last) {
        int64_t start = first % run;
        int64_t n = cnf_min(cnf_min(last - first, run - start), PIECE);
        const float *p = x + start * step + cnf_box_offset(&r->reduced, 0, first / run, 1);
        if (step != 1) {
            for (int64_t i = 0; i < n; i++)
                buffer[i] = p[i * step];
            p = buffer;
        }
        cnf_kernel->reduce_row(&sum, p, n, r->kind);
        first += n;
    }
    return sum;
}

#define FOLD 16 /* rows taken as one: whole vectors of every ISA */

/* `rows` rows of n dense columns, too few to fill a vector; returns how many of them were added. */
static int64_t add_folded(const reduction *r, double *sums, const float *x, int64_t rows, int64_t n)
{
    double wide[FOLD * FOLD];
    for (int64_t i = 0; i < FOLD * n; i++)
        wide[i] = neutral(r->kind);
    cnf_kernel->reduce_columns(wide, x, rows / FOLD, FOLD * n, FOLD * n, r->kind);
    for (int64_t i = 0; i < FOLD * n; i++)
        sums[i % n] = merge(r->kind, sums[i % n], wide[i]);
    return rows / FOLD * FOLD;
}

/* n neighbouring outputs: elements [first, last) of each one's reduction. */
static void sum_columns(const reduction *r, double *sums, const float *x, int64_t n, int64_t first,
                        int64_t last)
{
    int64_t run = r->reduced.size[0], row = r->reduced.stride[0][0], step = r->kept.stride[0][0];
    float buffer[PIECE];
    for (int64_t j = 0; j < n; j++)
        sums[j] = neutral(r->kind);
    while (first < last) {
        int64_t start = first % run;
        int64_t rows = cnf_min(last - first, run - start);
        const float *p = x + start * row + cnf_box_offset(&r->reduced, 0, first / run, 1);
        if (step == 1) {
            int64_t done = n < FOLD && row == n ? add_folded(r, sums, p, rows, n) : 0;
            cnf_kernel->reduce_columns(sums, p + done * row, rows - done, row, n, r->kind);
        } else {
            rows = cnf_min(rows, PIECE / n);
            for (int64_t j = 0; j < n; j++)
                for (int64_t i = 0; i < rows; i++)
                    buffer[i * n + j] = p[i * row + j * step];
            cnf_kernel->reduce_columns(sums, buffer, rows, n, n, r->kind);
        }
        first += rows;
    }
}

static void reduce_part(const reduction *r, int64_t unit, int64_t chunk)
{
    int64_t first = r->length * chunk / r->chunks, last = r->length * (chunk + 1) / r->chunks;
    if (!r->by_columns) {
        const float *x = r->x + cnf_box_offset(&r->kept, 0, unit, 0);
        keep_result(r, unit, chunk, sum_row(r, x, first, last));
        return;
    }
    double sums[COLUMNS];
    int64_t row = r->kept.size[0], blocks = cnf_ceil_div(row, r->width);
    int64_t column = unit % blocks * r->width, n = cnf_min(r->width, row - column);
    const float *x = r->x + column * r->kept.stride[0][0]
                     + cnf_box_offset(&r->kept, 0, unit / blocks, 1);
    sum_columns(r, sums, x, n, first, last);
    for (int64_t j = 0; j < n; j++)
        keep_result(r, unit / blocks * row + column + j, chunk, sums[j]);
}

static void reduce_task(const void *context, int64_t index, int thread)
{
    const reduction *r = context;
    int64_t first = index * r->parts_per_task;
    int64_t last = cnf_min(r->units * r->chunks, first + r->parts_per_task);
    (void)thread;
    for (int64_t part = first; part < last; part++)
        reduce_part(r, part / r->chunks, part % r->chunks);
}

static void merge_task(const void *context, int64_t index, int thread)
{
    const reduction *r = context;
    (void)thread;
    for (int64_t j = index * COLUMNS; j < cnf_min(r->outputs, (index + 1) * COLUMNS); j++) {
        double sum = r->partial[j];
        for (int64_t chunk = 1; chunk < r->chunks; chunk++)
            sum = merge(r->kind, sum, r->partial[chunk * r->outputs + j]);
        write_output(r, j, sum);
    }
}

size_t cnf_reduce_scratch(const cnf_reduce_box *d)
{
    reduction r = make_reduction(d);
    return r.chunks > 1 ? (size_t)(r.chunks * r.outputs) * sizeof(double) : 0;
}

cnf_status cnf_reduce(float *y, const float *x, const cnf_reduce_box *d, void *scratch)
{
    reduction r = make_reduction(d);
    r.x = x, r.y = y, r.partial = scratch;
    double work = (double)(r.outputs * r.length) * 4 * CNF_NS_PER_BYTE;
    cnf_parallel(cnf_ceil_div(r.units * r.chunks, r.parts_per_task), work, reduce_task, &r);
    if (r.chunks > 1)
        cnf_parallel(cnf_ceil_div(r.outputs, COLUMNS), (double)(r.chunks * r.outputs), merge_task,
                     &r);
    return CNF_OK;
}

/* ---- positions of extremes --------------------------------------------------------------- */

#define ARG_COLUMNS 64
#define ARG_ROW 64 /* elements that fill a leaf's chains of comparisons */

typedef struct {
    cnf_box kept; /* operand 0 is x, operand 1 is y */
    int64_t length, stride; /* of the axis */
    int largest;
    const float *x;
    int64_t *y;
} arg_extreme;

/* n neighbours along axis 0; whole vectors of columns, or a row, in a leaf as long as it meets no
 * NaN, which is better than any number, and the first of which stays. */
static int arg_in_leaf(const arg_extreme *a, const float *x, int64_t *y, int64_t n)
{
    const int64_t x_step = a->kept.stride[0][0], y_step = a->kept.stride[1][0];
    if (a->stride == 1 && a->length >= ARG_ROW) {
        for (int64_t j = 0; j < n; j++)
            if (!cnf_kernel->arg_row(y + j * y_step, x + j * x_step, a->length, a->largest))
                return 0;
        return 1;
    }
    int64_t at[ARG_COLUMNS];
    if (x_step != 1 || !cnf_kernel->arg_columns(at, x, a->length, a->stride, n, a->largest))
        return 0;
    for (int64_t j = 0; j < n; j++)
        y[j * y_step] = at[j];
    return 1;
}

/* n neighbours along axis 0: columns run down the searched axis. */
static void arg_columns(const arg_extreme *a, const float *x, int64_t *y, int64_t n)
{
    if (arg_in_leaf(a, x, y, n))
        return;
    float best[ARG_COLUMNS];
    int64_t at[ARG_COLUMNS], x_step = a->kept.stride[0][0], y_step = a->kept.stride[1][0];
    for (int64_t j = 0; j < n; j++) {
        best[j] = x[j * x_step];
        at[j] = 0;
    }
    for (int64_t i = 1; i < a->length; i++)
        for (int64_t j = 0; j < n; j++) {
            float value = x[i * a->stride + j * x_step];
            int better = a->largest ? !(value <= best[j]) : !(value >= best[j]);
            if (better && best[j] == best[j]) { /* a NaN is better than any number, and stays */
                best[j] = value;
                at[j] = i;
            }
        }
    for (int64_t j = 0; j < n; j++)
        y[j * y_step] = at[j];
}

static void arg_visit(const void *context, const int64_t *offsets, int64_t rows, int64_t n)
{
    const arg_extreme *a = context;
    for (int64_t r = 0; r < rows; r++) {
        const float *x = a->x + offsets[0] + (rows > 1 ? r * a->kept.stride[0][1] : 0);
        int64_t *y = a->y + offsets[1] + (rows > 1 ? r * a->kept.stride[1][1] : 0);
        arg_columns(a, x, y, n);
    }
}

cnf_status cnf_arg_extreme(int64_t *y, const float *x, const cnf_arg_box *d, void *scratch)
{
    (void)scratch;
    int64_t size[CNF_MAX_RANK];
    for (int64_t axis = 0; axis < d->rank; axis++)
        size[axis] = axis == d->axis ? 1 : d->size[axis];
    const int64_t *strides[] = {d->x_stride, d->y_stride};
    arg_extreme a = {cnf_box_make(d->rank, size, 2, strides), d->size[d->axis],
                     d->x_stride[d->axis], d->kind == CNF_MAX, x, y};
    if (a.length == 0)
        return CNF_BAD_ARGUMENT;
    double cost = (double)a.length * 4 * CNF_NS_PER_BYTE;
    cnf_box_walk(&a.kept, ARG_COLUMNS, cost, arg_visit, &a);
    return CNF_OK;
}
