/* box.c: ordering, merging and walking of strided boxes. */
#include "box.h"

#include "../machine/machine.h"

static int64_t magnitude(int64_t a) { return a < 0 ? -a : a; }

/* Whether axis a lies inside axis b in memory: by operand 0, then by the next where it ties. */
static int inside(const cnf_box *box, int a, int b)
{
    for (int k = 0; k < box->operands; k++) {
        int64_t sa = magnitude(box->stride[k][a]), sb = magnitude(box->stride[k][b]);
        if (sa != sb)
            return sa < sb;
    }
    return 0;
}

static void swap_axes(cnf_box *box, int a, int b)
{
    int64_t size = box->size[a];
    box->size[a] = box->size[b];
    box->size[b] = size;
    for (int k = 0; k < box->operands; k++) {
        int64_t stride = box->stride[k][a];
        box->stride[k][a] = box->stride[k][b];
        box->stride[k][b] = stride;
    }
}

/* Whether the outer axis just continues the inner one, for every operand. */
static int continues(const cnf_box *box, int inner, int outer)
{
    for (int k = 0; k < box->operands; k++)
        if (box->stride[k][outer] != box->stride[k][inner] * box->size[inner])
            return 0;
    return 1;
}

cnf_box cnf_box_make(int64_t rank, const int64_t *size, int operands,
                     const int64_t *const *strides)
{
    cnf_box box = {.operands = operands};
    for (int64_t axis = rank - 1; axis >= 0; axis--) {
        if (size[axis] == 1)
            continue;
        int at = box.rank++;
        box.size[at] = size[axis];
        for (int k = 0; k < operands; k++)
            box.stride[k][at] = strides[k][axis];
        for (; at > 0 && inside(&box, at, at - 1); at--)
            swap_axes(&box, at, at - 1);
    }
    int last = 0;
    for (int axis = 1; axis < box.rank; axis++) {
        if (continues(&box, last, axis))
            box.size[last] *= box.size[axis];
        else
            swap_axes(&box, ++last, axis);
    }
    if (box.rank == 0) {
        box.size[0] = 1;
        for (int k = 0; k < operands; k++)
            box.stride[k][0] = 1;
    }
    box.rank = last + 1;
    return box;
}

int64_t cnf_box_count(const cnf_box *box, int from_axis)
{
    int64_t count = 1;
    for (int axis = from_axis; axis < box->rank; axis++)
        count *= box->size[axis];
    return count;
}

int64_t cnf_box_offset(const cnf_box *box, int operand, int64_t index, int from_axis)
{
    int64_t offset = 0;
    for (int axis = from_axis; axis < box->rank; axis++) {
        offset += index % box->size[axis] * box->stride[operand][axis];
        index /= box->size[axis];
    }
    return offset;
}

typedef struct {
    const cnf_box *box;
    cnf_box_visit *visit;
    const void *context;
    int64_t rows, rows_per_task, pieces, longest;
} walk;

static void walk_task(const void *context, int64_t index, int thread)
{
    const walk *w = context;
    const cnf_box *box = w->box;
    int64_t row = index / w->pieces * w->rows_per_task;
    int64_t end = cnf_min(w->rows, row + w->rows_per_task);
    int64_t start = index % w->pieces * w->longest;
    int64_t n = cnf_min(w->longest, box->size[0] - start);
    int64_t neighbours = box->rank > 1 ? box->size[1] : 1;
    (void)thread;
    while (row < end) {
        int64_t rows = cnf_min(neighbours - row % neighbours, end - row);
        int64_t offsets[CNF_BOX_OPERANDS];
        for (int k = 0; k < box->operands; k++)
            offsets[k] = start * box->stride[k][0] + cnf_box_offset(box, k, row, 1);
        w->visit(w->context, offsets, rows, n);
        row += rows;
    }
}

void cnf_box_walk(const cnf_box *box, int64_t longest, double cost, cnf_box_visit *visit,
                  const void *context)
{
    int64_t rows = cnf_box_count(box, 1), n = box->size[0];
    if (rows == 0 || n == 0)
        return;
    walk w = {box, visit, context, .rows = rows, .longest = cnf_min(n, longest)};
    w.pieces = cnf_ceil_div(n, w.longest);
    w.rows_per_task = cnf_min(rows, cnf_ceil_div(CNF_TASK_ELEMENTS, w.longest));
    int64_t tasks = cnf_ceil_div(rows, w.rows_per_task) * w.pieces;
    cnf_parallel(tasks, (double)(rows * n) * cost, walk_task, &w);
}
