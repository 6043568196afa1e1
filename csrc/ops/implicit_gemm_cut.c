/* implicit_gemm_cut.c: how a grid is cut (see implicit_gemm.h).
 *
 * Decides, from shapes, the tile and the number of threads: how many channels, pixels and columns a
 * task takes, whether its source is copied or read in place, and how that copy is laid out. The cut
 * of the channels, and of the pixels where sums are taken a block of them, depends on shapes alone:
 * so do the bits. Called by implicit_gemm.c, conv2d_backward_weight.c and, for the order of the
 * depth, implicit_gemm_pack.c. */
#include "implicit_gemm.h"

#include "../isa/kernels.h"
#include "../machine/machine.h"

/* Channels of a source block where there are several taps: with 64, nine taps are three passes. */
#define CHANNEL_BLOCK 64
/* Source block: 128 KiB of L2. Pixels and columns of a task: its target is 344 KiB at most. */
#define BLOCK_FLOATS (32 * 1024)
#define TASK_PIXELS 336
#define TASK_COLUMNS 256
/* Pixels of a task whose depth is one pass and whose taps overlap: its target is not read again and
 * need not stay in L2, and fewer rows of source are copied twice. First layers at 224 x 224 gain 9 to
 * 13 %; with at least 8 instead of 16 tasks nothing more. */
#define ONE_PASS_PIXELS 1792
#define ONE_PASS_TASKS 16
/* With so many tasks a thread one of them more or less hardly shows. */
#define MANY_TASKS 16
/* Cycles of makespan(), and the gain that is worth another cut. */
#define PANEL_CYCLES 6.0
#define PIXEL_CYCLES 0.5
#define WORTH_CUTTING 0.98

int64_t cnf_axis_span(const cnf_axis *a, int64_t outputs)
{
    return outputs > 0 && a->taps > 0 ? (outputs - 1) * a->step + (a->taps - 1) * a->tap + 1 : 0;
}

static int in_bounds(const cnf_axis *a)
{
    return a->first >= 0 && a->first + cnf_axis_span(a, a->outputs) <= a->size;
}

int64_t cnf_block_channels(const cnf_grid *g)
{
    const int64_t most = g->h.taps * g->w.taps > 1 ? CHANNEL_BLOCK : CNF_DEPTH_BLOCK;
    return cnf_max(1, cnf_min(g->channels, most));
}

/* Pixels whose distance is a multiple of 1024 bytes fall into few sets of L1 (cnf_pitch). */
static int conflicts(int64_t pitch) { return pitch % 256 == 0; }

/* The size of equal parts of `total`, none above `most`: 28 in parts of 12 are 10, 10 and 8. */
static int64_t equal_part(int64_t total, int64_t most)
{
    return total > 0 ? cnf_ceil_div(total, cnf_ceil_div(total, most)) : 1;
}

/* A stride without taps between, and lines that leave a tile fewer sums than the multipliers need
 * (two a cycle, each done after four): copied without the gaps, the lines make one matrix. */
static int leaves_short_tiles(const cnf_grid *g)
{
    const int64_t tiles = cnf_max(1, cnf_ceil_div(g->w.outputs, cnf_kernel->tile_rows));
    const int64_t vectors = cnf_kernel->panel / cnf_kernel->lanes;
    return g->h.taps == 1 && g->w.taps == 1 && g->w.step > 1 && g->w.outputs * vectors < 8 * tiles;
}

/* Source pixels that so many outputs read along one axis: a single tap leaves out those between. */
static int64_t read_by(const cnf_axis *a, int64_t outputs)
{
    return a->taps == 1 ? outputs : cnf_axis_span(a, outputs);
}

static int64_t read_pixels(const cnf_grid *g, int64_t rows, int64_t cols)
{
    return read_by(&g->h, rows) * read_by(&g->w, cols);
}

/* Cut the pixels so that a block's source fits BLOCK_FLOATS and its target `most_pixels`. The
 * source is copied where it needs padding, is scaled or its pitch conflicts, and where `copy` says so. */
void cnf_block_pixels(const cnf_grid *g, cnf_blocking *b, int64_t most_pixels, int copy)
{
    int64_t taps = g->h.taps * g->w.taps;
    b->copied = copy || g->prologue || !in_bounds(&g->h) || !in_bounds(&g->w) ||
                conflicts(g->w.step * g->source_pitch) || leaves_short_tiles(g);
    /* A copy leaves out what the stride skips. */
    b->h_skip = b->copied && g->h.taps == 1 ? g->h.step : 1;
    b->w_skip = b->copied && g->w.taps == 1 ? g->w.step : 1;
    b->h_step = g->h.step / b->h_skip;
    b->w_step = g->w.step / b->w_skip;
    b->channels_per_block = cnf_block_channels(g);
    b->channel_blocks = cnf_max(1, cnf_ceil_div(g->channels, b->channels_per_block));
    int64_t c = b->channels_per_block;

    b->cols = equal_part(g->w.outputs, most_pixels);
    while (b->cols > 16 && read_pixels(g, 1, b->cols) * c > BLOCK_FLOATS)
        b->cols = cnf_ceil_div(b->cols, 2);
    b->rows = equal_part(g->h.outputs, cnf_max(1, most_pixels / b->cols));
    while (b->rows > 1 && read_pixels(g, b->rows, b->cols) * c > BLOCK_FLOATS)
        b->rows = equal_part(g->h.outputs, b->rows - 1);
    b->images = 1;
    if (b->rows == g->h.outputs && b->cols == g->w.outputs) {
        int64_t floats = cnf_max(1, read_pixels(g, b->rows, b->cols) * c);
        int64_t pixels = b->rows * b->cols;
        int64_t most_images = cnf_min(BLOCK_FLOATS / floats, most_pixels / pixels);
        b->images = equal_part(g->n, cnf_max(1, most_images));
    }
    b->image_blocks = cnf_ceil_div(g->n, b->images);
    b->row_blocks = cnf_ceil_div(g->h.outputs, b->rows);
    b->col_blocks = cnf_ceil_div(g->w.outputs, b->cols);

    b->block_h = cnf_ceil_div(cnf_axis_span(&g->h, b->rows), b->h_skip);
    b->block_w = cnf_ceil_div(cnf_axis_span(&g->w, b->cols), b->w_skip);
    b->pixel = b->copied ? c + (conflicts(b->w_step * c) ? 16 : 0) : g->source_pitch;
    b->row = b->copied ? b->block_w * b->pixel : g->w.size * g->source_pitch;
    b->image = b->copied ? b->block_h * b->row : g->h.size * g->w.size * g->source_pitch;
    b->block_floats = b->copied ? (size_t)(b->images * b->image) : 0;
    b->merged = g->w.taps > 1 && g->w.tap == 1 && b->pixel == g->channels && b->channel_blocks == 1;
    b->depth_blocks = cnf_ceil_div(taps * b->channels_per_block, CNF_DEPTH_BLOCK);
}

/* Cut the pixels of one axis into `parts`: images, else rows, else columns. */
static void cut_pixels(const cnf_grid *g, cnf_blocking *b, int64_t parts)
{
    if (b->images > 1 || (b->rows == g->h.outputs && b->cols == g->w.outputs && g->n > 1)) {
        b->images = cnf_max(1, cnf_ceil_div(g->n, parts));
        b->image_blocks = cnf_ceil_div(g->n, b->images);
    } else if (g->h.outputs > 1) {
        b->rows = cnf_ceil_div(g->h.outputs, parts);
        b->row_blocks = cnf_ceil_div(g->h.outputs, b->rows);
    } else {
        b->cols = cnf_ceil_div(g->w.outputs, parts);
        b->col_blocks = cnf_ceil_div(g->w.outputs, b->cols);
    }
}

static void cut_columns(const cnf_grid *g, cnf_blocking *b, int64_t parts)
{
    b->columns_per_block = cnf_max(1, cnf_ceil_div(cnf_panels(g), parts)) * cnf_kernel->panel;
    b->column_blocks = cnf_ceil_div(g->columns, b->columns_per_block); /* 0: nothing to compute */
}

int64_t cnf_pixel_blocks(const cnf_blocking *b)
{
    return b->image_blocks * b->row_blocks * b->col_blocks;
}

int64_t cnf_grid_tasks(const cnf_grid *g, const cnf_blocking *b)
{
    return cnf_pixel_blocks(b) * b->column_blocks * g->groups;
}

/* Cycles until the last thread is done, of each unit of depth: a micro-tile multiplies for as many
 * cycles as it has rows, a panel comes from L2 or L3 once a task, and so does a source pixel. */
static double makespan(const cnf_grid *g, const cnf_blocking *b)
{
    const double tiles = (double)cnf_ceil_div(b->images * b->rows * b->cols, cnf_kernel->tile_rows);
    const double in_panel = tiles * (double)cnf_kernel->tile_rows + PANEL_CYCLES;
    const double source = (double)(b->images * read_pixels(g, b->rows, b->cols)) /
                          (double)cnf_max(1, g->h.taps * g->w.taps);
    const double task = (double)(b->columns_per_block / cnf_kernel->panel) * in_panel +
                        PIXEL_CYCLES * source;
    return (double)cnf_ceil_div(cnf_grid_tasks(g, b), cnf_threads()) * task;
}

static int64_t task_pixels(const cnf_grid *g)
{
    const int64_t taps = g->h.taps * g->w.taps, pixels = g->n * g->h.outputs * g->w.outputs;
    if (taps == 1 || taps * g->channels > CNF_DEPTH_BLOCK)
        return TASK_PIXELS;
    return cnf_max(TASK_PIXELS, cnf_min(ONE_PASS_PIXELS, pixels / ONE_PASS_TASKS));
}

double cnf_grid_work(const cnf_grid *g)
{
    const double flops = 2.0 * (double)(g->n * g->h.outputs * g->w.outputs) *
                         (double)(g->groups * g->columns) * (double)(cnf_depth(g) + 1);
    return flops * CNF_NS_PER_FLOP;
}

void cnf_block_grid(const cnf_grid *g, cnf_blocking *b)
{
    cnf_block_pixels(g, b, task_pixels(g), 0);
    cut_columns(g, b, cnf_max(1, cnf_ceil_div(g->columns, TASK_COLUMNS)));
}

/* Where there are few tasks, cut them so that the threads end together. The columns are cut freely,
 * and the pixels too unless sums are taken a block of them: the cut must not show in those. */
void cnf_cut_grid(const cnf_grid *g, cnf_blocking *b)
{
    const int64_t tasks = cnf_grid_tasks(g, b), threads = cnf_threads_for(cnf_grid_work(g));
    if (tasks == 0 || tasks >= MANY_TASKS * threads || threads == 1)
        return;
    const int fixed = g->epilogue && g->epilogue->sums;
    const int64_t parts = cnf_max(b->image_blocks, cnf_max(b->row_blocks, b->col_blocks));
    const int64_t column_parts = b->column_blocks;
    cnf_blocking best = *b;
    double least = makespan(g, b);
    for (int64_t p = parts; p <= (fixed ? parts : parts + 2 * threads); p++) {
        cnf_blocking tried = *b;
        if (p > parts)
            cut_pixels(g, &tried, p);
        for (int64_t q = column_parts; q <= column_parts + 2 * threads; q++) {
            cut_columns(g, &tried, q);
            const double cycles = makespan(g, &tried);
            if (cycles < WORTH_CUTTING * least) {
                best = tried;
                least = cycles;
            }
        }
    }
    *b = best;
}
