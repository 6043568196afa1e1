/* gemm.c: C[b] = A[b] B[b], batches of matrices with any strides. A and B are read in place where
 * one of A's strides is 1; panels of B, and A where it must be, are packed per task.
 * Convolution and linear layers do not come here: they pack their weights once (implicit_gemm.c). */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

#define DEPTH_BLOCK 256   /* as in implicit_gemm.c: one panel in L1 */
#define TASK_ROWS 224
#define TASK_COLUMNS 256

typedef struct {
    float *c;
    const float *a, *b;
    const cnf_gemm *d;
    int64_t row_blocks, column_blocks;
    float *scratch;
} gemm_job;

static size_t thread_floats(void)
{
    return (size_t)(DEPTH_BLOCK * (cnf_kernel->panel + TASK_ROWS));
}

size_t cnf_gemm_forward_scratch(const cnf_gemm *d)
{
    (void)d;
    return sizeof(float) * thread_floats() * (size_t)cnf_threads();
}

/* panel[depth][panel] = B[depth, columns], zeros beyond them. */
static void pack_panel(float *panel, const float *b, const cnf_gemm *d, int64_t depth, int64_t columns)
{
    const int64_t width = cnf_kernel->panel;
    for (int64_t p = 0; p < depth; p++, panel += width) {
        const float *row = b + p * d->b_row;
        if (d->b_col == 1)
            memcpy(panel, row, sizeof(float) * (size_t)columns);
        else
            for (int64_t j = 0; j < columns; j++)
                panel[j] = row[j * d->b_col];
        memset(panel + columns, 0, sizeof(float) * (size_t)(width - columns));
    }
}

/* block[depth][TASK_ROWS] = transposed A, for an A that has no unit stride. */
static void pack_rows(float *block, const float *a, const cnf_gemm *d, int64_t rows, int64_t depth)
{
    for (int64_t p = 0; p < depth; p++)
        for (int64_t i = 0; i < rows; i++)
            block[p * TASK_ROWS + i] = a[i * d->a_row + p * d->a_col];
}

static void gemm_task(const void *context, int64_t index, int thread)
{
    const gemm_job *job = context;
    const cnf_gemm *d = job->d;
    const int64_t width = cnf_kernel->panel;
    const int64_t column = index % job->column_blocks * TASK_COLUMNS;
    const int64_t row = index / job->column_blocks % job->row_blocks * TASK_ROWS;
    int64_t batch = index / job->column_blocks / job->row_blocks;
    const int64_t rows = cnf_min(TASK_ROWS, d->m - row);
    const int64_t columns = cnf_min(TASK_COLUMNS, d->n - column);
    const float *a = job->a + row * d->a_row, *b = job->b + column * d->b_col;
    float *c = job->c + row * d->c_row + column;
    for (int64_t axis = d->rank - 1; axis >= 0; axis--) {
        const int64_t i = batch % d->size[axis];
        batch /= d->size[axis];
        a += i * d->a_batch[axis];
        b += i * d->b_batch[axis];
        c += i * d->c_batch[axis];
    }
    float *panel = job->scratch + (size_t)thread * thread_floats();
    float *block = panel + DEPTH_BLOCK * width;
    const int packed = d->a_row != 1 && d->a_col != 1;
    for (int64_t p = 0; p == 0 || p < d->k; p += DEPTH_BLOCK) {
        const cnf_segment segment = {0, cnf_min(DEPTH_BLOCK, d->k - p)};
        const float *a_p = a + p * d->a_col;
        if (packed)
            pack_rows(block, a_p, d, rows, segment.length);
        for (int64_t j = 0; j < columns; j += width) {
            const int64_t n = cnf_min(width, columns - j);
            pack_panel(panel, b + p * d->b_row + j * d->b_col, d, segment.length, n);
            cnf_kernel->gemm_strip(c + j, d->c_row, rows, n, packed ? block : a_p,
                                   packed ? 1 : d->a_row, packed ? TASK_ROWS : d->a_col, &segment, 1,
                                   panel, NULL, p > 0);
        }
    }
}

cnf_status cnf_gemm_forward(float *c, const float *a, const float *b, const cnf_gemm *d, void *scratch)
{
    gemm_job job = {c, a, b, d, cnf_ceil_div(d->m, TASK_ROWS), cnf_ceil_div(d->n, TASK_COLUMNS), scratch};
    int64_t batches = 1;
    for (int64_t axis = 0; axis < d->rank; axis++)
        batches *= d->size[axis];
    double flops = 2.0 * (double)(batches * d->m) * (double)d->n * (double)(d->k + 1);
    cnf_parallel(batches * job.row_blocks * job.column_blocks, flops * CNF_NS_PER_FLOP, gemm_task, &job);
    return CNF_OK;
}
