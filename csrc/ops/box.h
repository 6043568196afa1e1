/* box.h: strided boxes, the shape of the work of element-wise operations, copies and reductions.
 *
 * A box has up to CNF_MAX_RANK axes, axis 0 the innermost, and for each operand a stride an axis
 * in elements (0: broadcast, negative: reversed). Descriptors list axes the other way round, as
 * NumPy does; cnf_box_make turns them, drops axes of size 1, orders the rest by the memory of
 * operand 0 and merges neighbours that are one axis for every operand. So a dense array becomes one
 * run, and an NHWC image with a pitch becomes pixels x channels, whatever its logical shape is. */
#ifndef CNF_BOX_H
#define CNF_BOX_H

#include "../cnnfast.h"

#define CNF_BOX_OPERANDS 4

typedef struct {
    int operands, rank; /* rank >= 1 */
    int64_t size[CNF_MAX_RANK];
    int64_t stride[CNF_BOX_OPERANDS][CNF_MAX_RANK];
} cnf_box;

/* `strides[k]` are operand k's strides, outermost first as in a descriptor. */
cnf_box cnf_box_make(int64_t rank, const int64_t *size, int operands,
                     const int64_t *const *strides);

int64_t cnf_box_count(const cnf_box *box, int from_axis); /* product of the sizes from an axis on */

/* Offset of an operand's element: `index` counts through the axes from `from_axis` on. */
int64_t cnf_box_offset(const cnf_box *box, int operand, int64_t index, int from_axis);

/* Calls visit(context, offsets, rows, n, thread) until the box is covered, on all threads: `rows`
 * neighbours along axis 1 by `n` along axis 0, at most `longest` of these, from offsets[k] of
 * operand k on. `cost` is the estimate of nanoseconds an element. */
typedef void cnf_box_visit(const void *context, const int64_t *offsets, int64_t rows, int64_t n);
void cnf_box_walk(const cnf_box *box, int64_t longest, double cost, cnf_box_visit *visit,
                  const void *context);

/* What one task should touch at least: 64 KB of each operand, in elements. */
#define CNF_TASK_ELEMENTS 16384

#endif
