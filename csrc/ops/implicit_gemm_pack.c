/* implicit_gemm_pack.c: the weights of grids in the order in which their products read them.
 *
 *     packed[group][panel][depth][panel width], depth = (channel block, tap row, tap col, channel)
 *
 * w: OIHW, or a view of it with the kernel turned round; zeros stand beyond the last column. Called by
 * ops/conv2d.c and ops/conv2d_backward_input.c. */
#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "implicit_gemm.h"

/* Kernels of which a grid takes some taps pass through a buffer of so many, or go tap by tap. */
#define MOST_TAPS 64
/* Channels whose kernels are fetched ahead: 72 lines of 3x3 kernels are on their way at a time,
 * and packing runs at the memory's speed (0.24 ms instead of 1.07 for 512x256x3x3). */
#define CHANNELS_AHEAD 4

typedef struct {
    const cnf_packing *grids;
    int64_t count;
    const float *w;
} pack_job;

/* Where the taps of a channel go: tap t to at[t * next]. */
typedef struct {
    float *at;
    int64_t next;
} tap_places;

static tap_places places_of(const cnf_packing *p, int64_t group, int64_t j, int64_t channel)
{
    const cnf_grid *g = &p->grid;
    const int64_t panel = cnf_kernel->panel, most = cnf_block_channels(g);
    const int64_t first = channel / most * most, channels = cnf_min(most, g->channels - first);
    const int64_t row = first * g->h.taps * g->w.taps + channel - first;
    return (tap_places){p->packed + ((group * cnf_panels(g) + j) * cnf_depth(g) + row) * panel,
                        channels * panel};
}

/* One channel of one panel: its kernels, transposed, are rows of each grid's depth. */
static void pack_channel(const pack_job *job, int64_t group, int64_t j, int64_t channel,
                         int64_t columns)
{
    const int64_t panel = cnf_kernel->panel;
    float kernel[MOST_TAPS * CNF_MAX_PANEL]; /* [kernel taps][panel] */
    int transposed = 0;
    for (int64_t i = 0; i < job->count; i++) {
        const cnf_packing *p = &job->grids[i];
        const cnf_weight_order *o = &p->order;
        const cnf_grid *g = &p->grid;
        const int64_t taps = g->h.taps * g->w.taps;
        const float *w = job->w + group * o->group + j * panel * o->column + channel * o->channel;
        const tap_places to = places_of(p, group, j, channel);
        if (taps == o->taps) { /* all of them, forward or backward */
            const int64_t first = o->start == 0 ? 0 : taps - 1, next = o->start == 0 ? to.next : -to.next;
            cnf_kernel->transpose(to.at + first * to.next, next, w, o->column, columns, taps);
            continue;
        }
        if (!transposed && o->taps <= MOST_TAPS)
            cnf_kernel->transpose(kernel, panel, w, o->column, columns, o->taps);
        transposed = 1;
        for (int64_t tap = 0; tap < taps; tap++) {
            const int64_t k = o->start + tap / g->w.taps * o->tap_row + tap % g->w.taps * o->tap_col;
            if (o->taps > MOST_TAPS)
                cnf_kernel->transpose(to.at + tap * to.next, panel, w + k, o->column, columns, 1);
            else
                for (int64_t c = 0; c < columns; c++)
                    to.at[tap * to.next + c] = kernel[k * panel + c];
        }
    }
}

/* One panel of every grid: packed[depth][panel], depth = (channel block, tap row, tap col, channel). */
static void pack_task(const void *context, int64_t index, int thread)
{
    (void)thread;
    const pack_job *job = context;
    const cnf_packing *first = job->grids;
    const cnf_grid *g = &first->grid;
    const cnf_weight_order *o = &first->order;
    const int64_t panel = cnf_kernel->panel, group = index / cnf_panels(g), j = index % cnf_panels(g);
    const int64_t columns = cnf_min(panel, g->columns - j * panel);
    for (int64_t i = 0; columns < panel && i < job->count; i++) {
        const int64_t floats = cnf_depth(&job->grids[i].grid) * panel;
        memset(job->grids[i].packed + index * floats, 0, sizeof(float) * (size_t)floats);
    }
    if (o->taps == 1 && cnf_depth(g) > 0) { /* 1x1: a matrix, transposed or not */
        const float *w = job->w + group * o->group + j * panel * o->column;
        float *to = first->packed + index * cnf_depth(g) * panel;
        if (o->channel == 1)
            cnf_kernel->transpose(to, panel, w, o->column, columns, g->channels);
        else
            for (int64_t c = 0; c < g->channels; c++)
                memcpy(to + c * panel, w + c * o->channel, sizeof(float) * (size_t)columns);
        return;
    }
    for (int64_t channel = 0; channel < g->channels; channel++) {
        /* In an input gradient a channel's kernels lie together, but the next channel's far away. */
        const float *w = job->w + group * o->group + j * panel * o->column +
                         (channel + CHANNELS_AHEAD) * o->channel;
        for (int64_t i = 0; o->column == o->taps && i < columns * o->taps; i += CNF_CACHE_LINE / 4)
            __builtin_prefetch(w + i);
        pack_channel(job, group, j, channel, columns);
    }
}

void cnf_grids_pack(const cnf_packing *grids, int64_t count, const float *w)
{
    const cnf_grid *g = &grids[0].grid;
    pack_job job = {grids, count, w};
    double bytes = 8.0 * (double)(g->groups * g->columns * g->channels * grids[0].order.taps);
    cnf_parallel(g->groups * cnf_panels(g), bytes * CNF_NS_PER_BYTE, pack_task, &job);
}
