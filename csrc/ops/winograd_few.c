/* winograd_few.c: F(4x4, 3x3) forward over so few tiles that the weights are what takes time.
 *
 * The weights OIHW are read as they are, once, and transformed in registers where they meet the
 * tiles (tiles/winograd_row.inc). The threads share out the columns. Each has a V of its own,
 * [6 rows][channels][6 points][tiles]: lines that another thread wrote would take longer to come than
 * the transform takes. Called by winograd.c. */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "winograd_job.h"

#define POINTS CNF_WINOGRAD_POINTS
#define FEW CNF_WINOGRAD_FEW
/* Of a weight, a block of so many channels and columns passes at a time. Its vectors of columns, 18 KiB
 * each with AVX-512, stay in L1 while the six rows of points pass. */
#define BLOCK 32
#define BLOCK_FLOATS (9 * BLOCK * BLOCK)
/* Lines of a block that lie together: 32 kernels, one more where they start within a line. */
#define BLOCK_LINES 19
#define LINE_FLOATS (CNF_CACHE_LINE / 4)

/* A thread's scratch. */
typedef struct {
    int64_t transformed; /* whether V is there */
    float *v;            /* [6 rows][channels][6][FEW] */
    float *g;            /* [vectors of columns][BLOCK][9][lanes] */
    float *m;            /* [vectors of columns][36][FEW][lanes] */
} thread_data;

void cnf_winograd_few_plan(cnf_winograd_job *job)
{
    const int64_t lanes = cnf_kernel->lanes;
    job->few = 1;
    job->block = FEW;
    job->blocks = 1;
    job->column_blocks = cnf_ceil_div(job->columns, BLOCK);
    job->v_pitch = job->m_pitch = lanes;
    job->v_stride = job->m_stride = FEW * lanes;
    job->thread_floats = (size_t)(LINE_FLOATS + BLOCK_FLOATS + POINTS * FEW * BLOCK +
                                  POINTS * FEW * cnf_round_up(job->channels, LINE_FLOATS));
}

/* V of all channels. */
static void transform_input(const cnf_winograd_job *job, float *to)
{
    const int64_t lanes = cnf_kernel->lanes;
    float v[POINTS * FEW * CNF_MAX_PANEL]; /* [36][FEW][lanes] */
    memset(v, 0, sizeof(float) * (size_t)(POINTS * FEW * lanes)); /* what tiles lack */
    for (int64_t c = 0; c < job->channels; c += lanes) {
        const int64_t channels = cnf_min(lanes, job->channels - c);
        cnf_winograd_transform_input(job, 0, job->tiling.count, c, channels, v);
        for (int64_t row = 0; row < 6; row++)
            cnf_kernel->transpose(to + (row * job->channels + c) * 6 * FEW, 6 * FEW,
                                  v + row * 6 * job->v_stride, lanes, 6 * FEW, channels);
    }
}

/* What the first task of a thread prepares. */
static thread_data prepared(const cnf_winograd_job *job, int thread)
{
    float *own = job->scratch + (size_t)thread * job->thread_floats;
    int64_t *transformed = (int64_t *)own;
    thread_data data = {.g = own + LINE_FLOATS};
    data.m = data.g + BLOCK_FLOATS;
    data.v = data.m + POINTS * FEW * BLOCK;
    if (!*transformed) {
        transform_input(job, data.v);
        memset(data.g, 0, sizeof(float) * BLOCK_FLOATS); /* what columns lack */
        *transformed = 1;
    }
    return data;
}

/* One block of the weight meets all tiles; meanwhile the block at `next` is fetched. */
static void multiply(const cnf_winograd_job *job, int64_t column, int64_t channel, const float *next,
                     const thread_data *own)
{
    const cnf_weight_view *view = &job->weight;
    const int64_t lanes = cnf_kernel->lanes, channels = cnf_min(BLOCK, job->channels - channel);
    const int64_t end = cnf_min(BLOCK, job->columns - column);
    const float *w = view->w + column * view->column + channel * view->channel;
    for (int64_t c = 0, line = 0; c < end; c += lanes) {
        float *g = own->g + 9 * BLOCK * c, *m = own->m + POINTS * FEW * c;
        cnf_kernel->transpose(g, lanes, w + c * view->column, view->column, cnf_min(lanes, end - c),
                              9 * channels);
        for (int64_t row = 0; row < 6; row++, line += 2) {
            const int fetches = next && line < BLOCK_LINES;
            cnf_kernel->winograd_row(m + row * 6 * job->m_stride,
                                     own->v + (row * job->channels + channel) * 6 * FEW, g, channels,
                                     (int)row, channel > 0, fetches ? next + line * LINE_FLOATS : g,
                                     fetches ? view->column : 0);
        }
    }
}

/* All channels of one block of columns. */
static void column_task(const void *context, int64_t index, int thread)
{
    const cnf_winograd_job *job = context;
    const cnf_weight_view *view = &job->weight;
    const int64_t lanes = cnf_kernel->lanes, column = index * BLOCK;
    const thread_data own = prepared(job, thread);
    for (int64_t c = 0; c == 0 || c < job->channels; c += BLOCK) {
        const int64_t next = c + BLOCK < job->channels ? c + BLOCK : 0;
        const int64_t next_column = next ? column : column + BLOCK;
        const float *w = view->w + next_column * view->column + next * view->channel;
        multiply(job, column, c, next_column < job->columns ? w : NULL, &own);
    }
    const int64_t end = cnf_min(BLOCK, job->columns - column);
    for (int64_t c = 0; c < end; c += lanes)
        cnf_winograd_finish(job, 0, own.m + POINTS * FEW * c, column + c, cnf_min(lanes, end - c));
    if (job->finish && job->finish->streams)
        cnf_stream_end();
}

void cnf_winograd_few_run(const cnf_winograd_job *job, double work)
{
    for (int thread = 0; thread < cnf_threads(); thread++)
        *(int64_t *)(job->scratch + (size_t)thread * job->thread_floats) = 0;
    cnf_parallel(job->column_blocks, work, column_task, job);
}
