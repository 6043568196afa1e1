/* gemm.c: C[b] = A[b] B[b], batches of matrices with any strides.
 *
 * B is packed into panels first, once for all rows; then each task multiplies a block of rows with a
 * block of columns. A is read in place where its strides allow; else a thread packs its rows and
 * keeps them for its next columns. Convolution and linear layers do not come here: their weights
 * are packed once a version (implicit_gemm.c). */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

#define TASK_ROWS 224
#define TASK_COLUMNS 256 /* at most: a task takes whole panels */
#define BLOCK_PITCH (CNF_DEPTH_BLOCK + 16) /* rows of a packed A spread over the sets of L1 */
#define SUM_PITCH (TASK_COLUMNS + 16)  /* so do those of a sum that several depth blocks build up */
#define BLOCK_FLOATS (TASK_ROWS * BLOCK_PITCH)
/* Depth blocks of A that a thread keeps from task to task: 3.9 MB. Deeper ones it packs again. */
#define KEPT_BLOCKS 16

/* Which rows of A a thread has packed: batch * row_blocks + row block, or -1. */
typedef struct {
    _Alignas(CNF_CACHE_LINE) int64_t number;
} kept_rows;

typedef struct {
    float *c;
    const float *a, *b;
    const cnf_gemm *d;
    int64_t rows, columns; /* of a task */
    int64_t row_blocks, column_blocks, panels;
    int64_t batches, b_batches; /* of the result; of B, where it is not broadcast */
    int64_t depth_blocks, kept_blocks;
    int64_t thread_floats;
    kept_rows *kept; /* [threads] */
    float *packed;   /* [b_batches][panels][k][panel] */
    float *scratch;  /* [threads][thread_floats]: kept_blocks of A, then one of C */
} gemm_job;

static void plan(gemm_job *job, const cnf_gemm *d)
{
    *job = (gemm_job){.d = d, .batches = 1, .b_batches = 1};
    for (int64_t axis = 0; axis < d->rank; axis++) {
        job->batches *= d->size[axis];
        job->b_batches *= d->b_batch[axis] ? d->size[axis] : 1;
    }
    job->row_blocks = cnf_ceil_div(d->m, TASK_ROWS);
    job->rows = d->m > 0 ? cnf_ceil_div(d->m, job->row_blocks) : 0;
    job->columns = TASK_COLUMNS / cnf_kernel->panel * cnf_kernel->panel;
    job->column_blocks = cnf_ceil_div(d->n, job->columns);
    job->panels = cnf_ceil_div(d->n, cnf_kernel->panel);
    job->depth_blocks = cnf_ceil_div(d->k, CNF_DEPTH_BLOCK);
    const int keeps = job->column_blocks > 1 && job->depth_blocks <= KEPT_BLOCKS;
    job->kept_blocks = keeps ? cnf_max(1, job->depth_blocks) : 1;
    job->thread_floats = job->kept_blocks * BLOCK_FLOATS + TASK_ROWS * SUM_PITCH;
}

static size_t packed_floats(const gemm_job *job)
{
    return (size_t)(job->b_batches * job->panels * job->d->k * cnf_kernel->panel);
}

size_t cnf_gemm_forward_scratch(const cnf_gemm *d)
{
    gemm_job job;
    plan(&job, d);
    return sizeof(float) * packed_floats(&job) +
           (sizeof(kept_rows) + sizeof(float) * (size_t)job.thread_floats) * (size_t)cnf_threads();
}

/* Where matrix `batch` of an operand begins; a stride of 0 broadcasts. */
static int64_t batch_offset(const cnf_gemm *d, const int64_t *strides, int64_t batch)
{
    int64_t offset = 0;
    for (int64_t axis = d->rank - 1; axis >= 0; axis--) {
        offset += batch % d->size[axis] * strides[axis];
        batch /= d->size[axis];
    }
    return offset;
}

/* The number of the B of `batch` among those that are packed, and where B of a number begins. */
static int64_t b_number(const cnf_gemm *d, int64_t batch)
{
    int64_t number = 0, step = 1;
    for (int64_t axis = d->rank - 1; axis >= 0; axis--) {
        if (d->b_batch[axis]) {
            number += batch % d->size[axis] * step;
            step *= d->size[axis];
        }
        batch /= d->size[axis];
    }
    return number;
}

static int64_t b_offset(const cnf_gemm *d, int64_t number)
{
    int64_t offset = 0;
    for (int64_t axis = d->rank - 1; axis >= 0; axis--) {
        if (d->b_batch[axis]) {
            offset += number % d->size[axis] * d->b_batch[axis];
            number /= d->size[axis];
        }
    }
    return offset;
}

/* One depth block of one panel: panel[depth][panel] = B[depth, columns], zeros beyond them. */
static void pack_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const gemm_job *job = context;
    const cnf_gemm *d = job->d;
    const int64_t width = cnf_kernel->panel;
    const int64_t first = index % job->depth_blocks * CNF_DEPTH_BLOCK;
    const int64_t depth = cnf_min(CNF_DEPTH_BLOCK, d->k - first);
    const int64_t j = index / job->depth_blocks % job->panels;
    const int64_t columns = cnf_min(width, d->n - j * width);
    const int64_t number = index / job->depth_blocks / job->panels;
    const float *b = job->b + b_offset(d, number) + first * d->b_row + j * width * d->b_col;
    float *panel = job->packed + ((number * job->panels + j) * d->k + first) * width;
    /* A call for nothing would cost a fifth of a full panel's time. */
    for (int64_t p = 0; p < depth && columns < width; p++)
        memset(panel + p * width + columns, 0, sizeof(float) * (size_t)(width - columns));
    if (d->b_row == 1) {
        cnf_kernel->transpose(panel, width, b, d->b_col, columns, depth);
    } else if (d->b_col == 1) {
        for (int64_t p = 0; p < depth; p++)
            memcpy(panel + p * width, b + p * d->b_row, sizeof(float) * (size_t)columns);
    } else {
        for (int64_t i = 0; i < columns; i++)
            for (int64_t p = 0; p < depth; p++)
                panel[p * width + i] = b[p * d->b_row + i * d->b_col];
    }
}

/* block[rows][BLOCK_PITCH] = A. */
static void pack_rows(float *block, const float *a, const cnf_gemm *d, int64_t rows, int64_t depth)
{
    for (int64_t i = 0; i < rows; i++, block += BLOCK_PITCH, a += d->a_row) {
        if (d->a_col == 1)
            memcpy(block, a, sizeof(float) * (size_t)depth);
        else
            for (int64_t p = 0; p < depth; p++)
                block[p] = a[p * d->a_col];
    }
}

/* Rows whose distance is a multiple of 1024 bytes fall into few sets of L1 (cnf_pitch). */
static int conflicts(int64_t row) { return row % 256 == 0; }

/* A is packed where it has no unit stride, and where its rows would conflict. */
static int must_pack(const cnf_gemm *d)
{
    return d->a_col == 1 ? conflicts(d->a_row) : d->a_row != 1;
}

/* One depth block, from `p` on, of one task: all its panels. */
static void multiply(const gemm_job *job, float *target, int64_t target_row, int64_t rows,
                     int64_t columns, const float *a, int64_t a_row, int64_t a_col, const float *b,
                     int64_t p)
{
    const int64_t width = cnf_kernel->panel, panel_floats = job->d->k * width;
    const cnf_segment segment = {0, cnf_min(CNF_DEPTH_BLOCK, job->d->k - p)};
    for (int64_t j = 0; j < columns; j += width) {
        const float *panel = b + j / width * panel_floats + p * width;
        /* The first panel meets rows that come from L3, so the next tile's are fetched meanwhile;
         * then what is multiplied next, this block's next panel or the next block's first. */
        const float *next = j + width < columns ? panel + panel_floats
                                                : b + (p + CNF_DEPTH_BLOCK) * width;
        cnf_ahead ahead = {(const char *)next, 4 * segment.length * width};
        if (j == 0 && a_col == 1 && a_row <= BLOCK_PITCH)
            ahead = (cnf_ahead){(const char *)(a + cnf_kernel->tile_rows * a_row), 4 * rows * a_row};
        cnf_kernel->gemm_strip(target + j, target_row, rows, cnf_min(width, columns - j), a, a_row,
                               a_col, &segment, 1, panel, NULL, p > 0, ahead);
    }
}

static void gemm_task(const void *context, int64_t index, int thread)
{
    const gemm_job *job = context;
    const cnf_gemm *d = job->d;
    const int64_t width = cnf_kernel->panel, number = index / job->column_blocks;
    const int64_t column = index % job->column_blocks * job->columns;
    const int64_t row = number % job->row_blocks * job->rows, batch = number / job->row_blocks;
    const int64_t rows = cnf_min(job->rows, d->m - row);
    const int64_t columns = cnf_min(job->columns, d->n - column);
    const float *a = job->a + batch_offset(d, d->a_batch, batch) + row * d->a_row;
    const float *b = job->packed +
                     (b_number(d, batch) * job->panels + column / width) * d->k * width;
    float *c = job->c + batch_offset(d, d->c_batch, batch) + row * d->c_row + column;
    float *blocks = job->scratch + job->thread_floats * thread;
    float *sum = blocks + job->kept_blocks * BLOCK_FLOATS;
    const int packed = must_pack(d), apart = job->depth_blocks > 1 && conflicts(d->c_row);
    const int kept = job->kept[thread].number == number;
    float *target = apart ? sum : c;
    const int64_t target_row = apart ? SUM_PITCH : d->c_row;
    for (int64_t p = 0; p == 0 || p < d->k; p += CNF_DEPTH_BLOCK) {
        float *block = blocks + p / CNF_DEPTH_BLOCK % job->kept_blocks * BLOCK_FLOATS;
        if (packed && !kept)
            pack_rows(block, a + p * d->a_col, d, rows, cnf_min(CNF_DEPTH_BLOCK, d->k - p));
        multiply(job, target, target_row, rows, columns, packed ? block : a + p * d->a_col,
                 packed ? BLOCK_PITCH : d->a_row, packed ? 1 : d->a_col, b, p);
    }
    if (job->kept_blocks >= job->depth_blocks)
        job->kept[thread].number = number;
    for (int64_t i = 0; apart && i < rows; i++)
        memcpy(c + i * d->c_row, sum + i * SUM_PITCH, sizeof(float) * (size_t)columns);
}

cnf_status cnf_gemm_forward(float *c, const float *a, const float *b, const cnf_gemm *d, void *scratch)
{
    gemm_job job;
    plan(&job, d);
    job.c = c;
    job.a = a;
    job.b = b;
    job.kept = scratch;
    job.packed = (float *)(job.kept + cnf_threads());
    job.scratch = job.packed + packed_floats(&job);
    for (int t = 0; t < cnf_threads(); t++)
        job.kept[t].number = -1;
    double bytes = 8.0 * (double)packed_floats(&job);
    double flops = 2.0 * (double)(job.batches * d->m) * (double)d->n * (double)(d->k + 1);
    if (job.batches * d->m * d->n == 0)
        return CNF_OK;
    cnf_parallel(job.b_batches * job.panels * job.depth_blocks, bytes * CNF_NS_PER_BYTE, pack_task, &job);
    cnf_parallel(job.batches * job.row_blocks * job.column_blocks, flops * CNF_NS_PER_FLOP, gemm_task,
                 &job);
    return CNF_OK;
}
