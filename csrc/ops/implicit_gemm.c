/* implicit_gemm.c: running of grids; implicit_gemm_cut.c cuts them (see implicit_gemm.h).
 *
 * For each block of pixels and columns: for each block of channels, the source pixels with their
 * padding stand in one buffer (or in place, where nothing is padded); there, tap (t, u) of a strip
 * of output pixels is a matrix at a fixed offset, so a tile walks all taps as segments of one
 * reduction:   source[pixels, taps x channels] * packed[taps x channels, columns] -> target.
 * The depth order is (channel block, tap row, tap col, channel). */
#include "implicit_gemm.h"

#include <string.h>

#include "../isa/kernels.h"
#include "../machine/machine.h"

/* So few pixels use a weight once or twice, so it comes from memory: its panels are fetched ahead. */
#define FETCHING_PIXELS 672
/* Weights of a single pixel that L2 holds from one call to the next; others are fetched ahead. */
#define ROW_BYTES (512 * 1024)
/* Pixels fetched ahead of the one that is copied. */
#define PIXELS_AHEAD 12

int64_t cnf_panels(const cnf_grid *g) { return cnf_ceil_div(g->columns, cnf_kernel->panel); }

int64_t cnf_depth(const cnf_grid *g) { return g->h.taps * g->w.taps * g->channels; }

size_t cnf_grid_packed_size(const cnf_grid *g)
{
    return (size_t)(g->groups * cnf_panels(g) * cnf_depth(g) * cnf_kernel->panel);
}

static int maps_to_itself(const cnf_axis *a)
{
    return a->taps == 1 && a->step == 1 && a->first == 0 && a->outputs == a->size;
}

void cnf_grid_flatten(cnf_grid *g)
{
    if (!maps_to_itself(&g->h) || !maps_to_itself(&g->w) ||
        g->target_row != g->w.outputs * g->target_pixel ||
        g->target_image != g->h.outputs * g->target_row)
        return;
    int64_t pixels = g->n * g->h.outputs * g->w.outputs;
    g->n = 1;
    g->h = (cnf_axis){1, 1, 0, 1, 1, 1};
    g->w = (cnf_axis){pixels, 1, 0, 1, 1, pixels};
}

cnf_grid cnf_grid_of(const cnf_conv2d *d)
{
    return (cnf_grid){
        .h = {d->oh, d->stride_h, -d->pad_top, d->kh, d->dilation_h, d->h},
        .w = {d->ow, d->stride_w, -d->pad_left, d->kw, d->dilation_w, d->w},
        .n = d->n,
        .groups = d->groups,
        .channels = d->ci / d->groups,
        .columns = d->co / d->groups,
        .source_pitch = d->x_pitch,
        .target_image = d->oh * d->ow * d->y_pitch,
        .target_row = d->ow * d->y_pitch,
        .target_pixel = d->y_pitch,
        .epilogue = &d->epilogue,
        .residual_image = d->oh * d->ow * d->epilogue.residual_pitch,
        .residual_row = d->ow * d->epilogue.residual_pitch,
    };
}

cnf_grid cnf_grid_forward(const cnf_conv2d *d)
{
    cnf_grid g = cnf_grid_of(d);
    cnf_grid_flatten(&g);
    return g;
}

/* Copy pixels x0, x0 + skip, ... of one source row, `width` of them, zeros outside of the image.
 * `scale`, or NULL: the prologue's for these channels of this image. */
static void copy_row(float *to, const float *row, int64_t x0, int64_t skip, int64_t width,
                     const cnf_grid *g, int64_t channels, int64_t to_pitch, const float *scale,
                     const float *shift)
{
    int64_t left = x0 < 0 ? cnf_min(width, cnf_ceil_div(-x0, skip)) : 0;
    int64_t right = x0 < g->w.size ? cnf_ceil_div(g->w.size - x0, skip) : 0;
    right = cnf_max(left, cnf_min(width, right));
    memset(to, 0, sizeof(float) * (size_t)(left * to_pitch));
    memset(to + right * to_pitch, 0, sizeof(float) * (size_t)((width - right) * to_pitch));
    if (scale) {
        cnf_kernel->scale_pixels(to + left * to_pitch, to_pitch,
                                 row + (x0 + left * skip) * g->source_pitch, skip * g->source_pitch,
                                 right - left, channels, scale, shift, g->prologue->low,
                                 g->prologue->high);
        return;
    }
    if (g->source_pitch == channels && to_pitch == channels && skip == 1) {
        memcpy(to + left * channels, row + (x0 + left) * channels,
               sizeof(float) * (size_t)((right - left) * channels));
        return;
    }
    for (int64_t x = left; x < right; x++) {
        const float *pixel = row + (x0 + x * skip) * g->source_pitch;
        /* Pixels lie apart, so the hardware does not foresee the next ones. */
        for (int64_t c = 0; c < channels; c += CNF_CACHE_LINE / 4)
            __builtin_prefetch(pixel + PIXELS_AHEAD * skip * g->source_pitch + c);
        memcpy(to + x * to_pitch, pixel, sizeof(float) * (size_t)channels);
    }
}

const float *cnf_source_block(const cnf_grid *g, const cnf_blocking *b, float *block, int64_t group,
                              int64_t image, int64_t images, int64_t row, int64_t rows, int64_t col,
                              int64_t cols, int64_t channel, int64_t channels)
{
    int64_t y0 = g->h.first + row * g->h.step, x0 = g->w.first + col * g->w.step;
    int64_t height = cnf_ceil_div(cnf_axis_span(&g->h, rows), b->h_skip);
    int64_t width = cnf_ceil_div(cnf_axis_span(&g->w, cols), b->w_skip);
    const cnf_prologue *prologue = g->prologue;
    const int64_t first = group * g->channels + channel;
    const float *source = g->source + first;
    const float *shift = prologue && prologue->shift ? prologue->shift + first : NULL;
    int64_t source_row = g->w.size * g->source_pitch;
    if (!b->copied)
        return source + (image * g->h.size + y0) * source_row + x0 * g->source_pitch;
    for (int64_t i = 0; i < images; i++) {
        const float *from = source + (image + i) * g->h.size * source_row;
        const float *scale =
            prologue ? prologue->scale + (image + i) * prologue->scale_image + first : NULL;
        for (int64_t y = 0; y < height; y++) {
            float *to = block + i * b->image + y * b->row;
            const int64_t row_y = y0 + y * b->h_skip;
            if (row_y < 0 || row_y >= g->h.size)
                memset(to, 0, sizeof(float) * (size_t)(width * b->pixel));
            else
                copy_row(to, from + row_y * source_row, x0, b->w_skip, width, g, channels, b->pixel,
                         scale, shift);
        }
    }
    return block;
}

/* The taps of a channel block as runs of contiguous depth, cut where a pass ends. Returns how many
 * segments; starts[i] is the first of pass i, and passes are `passes` in number. */
static int64_t list_segments(const cnf_grid *g, const cnf_blocking *b, int64_t channels,
                             cnf_segment *segments, int64_t *starts, int64_t *passes)
{
    int64_t run = b->merged ? g->w.taps * channels : channels;
    int64_t runs = b->merged ? g->h.taps : g->h.taps * g->w.taps;
    int64_t depth = runs * run, count = 0;
    *passes = cnf_max(1, cnf_ceil_div(depth, CNF_DEPTH_BLOCK));
    /* Passes of whole runs where a run is short, so that no pass ends with a stub. */
    int64_t quantum = run <= CNF_DEPTH_BLOCK / 2 && !b->merged ? run : 1;
    starts[0] = 0;
    int64_t done = 0;
    for (int64_t pass = 0; pass < *passes; pass++) {
        int64_t end = depth * (pass + 1) / *passes;
        if (pass + 1 < *passes)
            end = cnf_min(depth, cnf_round_up(end, cnf_max(1, quantum)));
        while (done < end) {
            int64_t index = done / run, inside = done % run;
            int64_t length = cnf_min(run - inside, end - done);
            int64_t t = b->merged ? index : index / g->w.taps;
            int64_t u = b->merged ? 0 : index % g->w.taps;
            segments[count++] = (cnf_segment){
                t * g->h.tap * b->row + u * g->w.tap * b->pixel + inside, length};
            done += length;
        }
        starts[pass + 1] = count;
    }
    return count;
}

static int64_t most_segments(const cnf_grid *g, const cnf_blocking *b)
{
    return g->h.taps * g->w.taps + b->depth_blocks + 1;
}

/* Scratch: partial sums a pixel block; the segments of a full and of the last channel block; a
 * source block a thread. */
typedef struct {
    double *sums; /* [pixel blocks][2][groups * columns], or NULL */
    cnf_segment *segments[2];
    int64_t *starts[2];
    int64_t passes[2];
    float *blocks;
    size_t block_stride;
} grid_scratch;

static size_t lay_out(const cnf_grid *g, const cnf_blocking *b, char *base, grid_scratch *s)
{
    size_t segments = (size_t)cnf_round_up(most_segments(g, b) * (int64_t)sizeof(cnf_segment), 64);
    size_t starts = (size_t)cnf_round_up((b->depth_blocks + 2) * (int64_t)sizeof(int64_t), 64);
    size_t at = 0;
    s->sums = NULL;
    if (g->epilogue && g->epilogue->sums) {
        s->sums = (double *)base;
        at += cnf_sums_bytes(cnf_pixel_blocks(b), g->groups * g->columns);
    }
    for (int i = 0; i < 2; i++) {
        s->segments[i] = (cnf_segment *)(base + at);
        at += segments;
        s->starts[i] = (int64_t *)(base + at);
        at += starts;
    }
    s->blocks = (float *)(base + at);
    s->block_stride = (size_t)cnf_round_up((int64_t)b->block_floats, 16);
    return at + s->block_stride * sizeof(float) * (size_t)cnf_threads();
}

size_t cnf_grid_scratch(const cnf_grid *g)
{
    cnf_blocking b;
    grid_scratch s;
    cnf_block_grid(g, &b);
    return lay_out(g, &b, NULL, &s);
}

typedef struct {
    const cnf_grid *g;
    const cnf_blocking *b;
    const grid_scratch *s;
    const cnf_finish *finish; /* of the last pass, or NULL */
    const float *bias;        /* where the sums begin, or NULL; */
    int accumulate;           /* or they begin with what stands in the target */
    const float *residual;    /* what the last pass adds, or NULL, and its strides */
    int64_t residual_image, residual_row, residual_pixel;
} grid_job;

/* One task: a block of pixels by a block of columns, and where its operands begin. */
typedef struct {
    int64_t images, rows, cols, columns;
    float *target;
    const float *packed, *bias, *residual; /* the last two may be NULL */
    double *sums;                          /* of these pixels, or NULL */
    cnf_ahead source;                      /* rows that the next task copies, or nothing */
} grid_block;

/* The rows below a block are the next task's: fetched meanwhile, they are copied from L2. Images from
 * memory, as MobileNet's first layer has at batch 64, take 9 % less time. */
static cnf_ahead next_source(const cnf_grid *g, const cnf_blocking *b, int64_t group, int64_t image,
                             int64_t row)
{
    if (!b->copied || b->images > 1 || b->col_blocks * b->column_blocks * b->channel_blocks > 1)
        return cnf_nothing_ahead;
    const int64_t below = g->h.first + row * g->h.step + cnf_axis_span(&g->h, b->rows);
    const int64_t pixels = b->rows * g->h.step * g->w.size;
    const float *at = g->source + group * g->channels +
                      (image * g->h.size + below) * g->w.size * g->source_pitch;
    return (cnf_ahead){(const char *)at, 4 * pixels * g->source_pitch};
}

/* One panel of one pass: all strips of pixels, so that it stays in L1 while they use it. */
static void run_panel(const grid_job *job, const grid_block *t, int64_t column, const float *source,
                      const float *weights, const float *next, const cnf_segment *segments,
                      int64_t count, int accumulate, cnf_finish *finish)
{
    const cnf_grid *g = job->g;
    const cnf_blocking *b = job->b;
    const float *bias = t->bias ? t->bias + column : NULL;
    const int64_t n = cnf_min(cnf_kernel->panel, t->columns - column);
    const int64_t a_pixel = b->w_step * b->pixel, a_line = b->h_step * b->row;
    /* Lines that follow each other without a gap are one strip. */
    const int joined = a_line == t->cols * a_pixel && g->target_row == t->cols * g->target_pixel &&
                       (!t->residual || job->residual_row == t->cols * job->residual_pixel);
    const int64_t cols = joined ? t->rows * t->cols : t->cols, rows = joined ? 1 : t->rows;
    /* Small images: a strip takes the same pixel of several images. */
    const int across = t->images > cols;
    const int64_t strips = rows * (across ? cols : t->images);
    const int64_t pixels = across ? t->images : cols, a_row = across ? b->image : a_pixel;
    const int64_t c_row = across ? g->target_image : g->target_pixel;
    /* The first panel meets pixels that may come from memory: a micro-tile's are fetched while the
     * one before is computed. Where few pixels use a weight, what is multiplied next is. */
    const int64_t fetched = column == 0 && !b->copied ? 4 * pixels * a_row : 0;
    int64_t panel_bytes = 0;
    for (int64_t s = 0; s < count && g->n * g->h.outputs * g->w.outputs <= FETCHING_PIXELS; s++)
        panel_bytes += 4 * cnf_kernel->panel * segments[s].length;
    if (finish)
        finish->residual_pitch = across ? job->residual_image : job->residual_pixel;
    for (int64_t strip = 0; strip < strips; strip++) {
        const int64_t image = across ? 0 : strip / rows, k = across ? strip % cols : 0;
        const int64_t i = across ? strip / cols : strip % rows;
        if (finish && t->residual)
            finish->residual = t->residual + image * job->residual_image + i * job->residual_row +
                               k * job->residual_pixel + column;
        const float *pixel = source + image * b->image + i * a_line + k * a_pixel;
        cnf_ahead ahead = {(const char *)(pixel + cnf_kernel->tile_rows * a_row), fetched};
        if (column == 0 && t->source.bytes > 0)
            ahead = (cnf_ahead){t->source.at + t->source.bytes * strip / strips,
                                t->source.bytes / strips};
        if (panel_bytes > 0)
            ahead = (cnf_ahead){(const char *)next + panel_bytes * strip / strips, panel_bytes / strips};
        cnf_kernel->gemm_strip_finish(
            t->target + image * g->target_image + i * g->target_row + k * g->target_pixel + column,
            c_row, pixels, n, pixel, a_row, 1, segments, count, weights, bias, accumulate, ahead, finish);
    }
}

/* One pass of a single pixel; 0 where its weights do not stay in L2. */
static int run_row(const grid_job *job, const grid_block *t, const float *source,
                   const float *packed, const cnf_segment *segments, int64_t count, int accumulate,
                   int last)
{
    const int64_t panel_floats = cnf_depth(job->g) * cnf_kernel->panel;
    cnf_finish finish;
    if (t->images * t->rows * t->cols > 1 || t->sums || (job->finish && job->finish->streams) ||
        4 * panel_floats * cnf_panels(job->g) > ROW_BYTES)
        return 0;
    if (job->finish) {
        finish = *job->finish;
        finish.residual = t->residual;
    }
    cnf_kernel->gemm_row(t->target, t->columns, source, segments, count, packed, panel_floats,
                         t->bias, accumulate, last && job->finish ? &finish : NULL);
    return 1;
}

static void run_pass(const grid_job *job, const grid_block *t, const float *source,
                     const float *packed, const cnf_segment *segments, int64_t count,
                     int accumulate, int last)
{
    const int64_t panel = cnf_kernel->panel, panel_stride = cnf_depth(job->g);
    int64_t depth = 0;
    if (run_row(job, t, source, packed, segments, count, accumulate, last))
        return;
    for (int64_t s = 0; s < count; s++)
        depth += segments[s].length;
    for (int64_t column = 0; column < t->columns; column += panel) {
        const float *weights = packed + column * panel_stride;
        /* What is multiplied next: this pass's next panel, or the next pass's first. */
        const float *next = column + panel < t->columns ? weights + panel * panel_stride
                                                        : packed + panel * depth;
        if (!last || !job->finish) {
            run_panel(job, t, column, source, weights, next, segments, count, accumulate, NULL);
            continue;
        }
        cnf_moments moments;
        cnf_finish finish = *job->finish;
        moments.rows = 0;
        finish.moments = t->sums ? &moments : NULL;
        run_panel(job, t, column, source, weights, next, segments, count, accumulate, &finish);
        if (t->sums) {
            double *sum = t->sums + column;
            cnf_moments_store(&moments, cnf_min(panel, t->columns - column), sum,
                              sum + job->g->groups * job->g->columns);
        }
    }
}

static void grid_task(const void *context, int64_t index, int thread)
{
    const grid_job *job = context;
    const cnf_grid *g = job->g;
    const cnf_blocking *b = job->b;
    const int64_t column = index % b->column_blocks * b->columns_per_block;
    int64_t rest = index / b->column_blocks;
    const int64_t pixel_block = rest % cnf_pixel_blocks(b), group = rest / cnf_pixel_blocks(b);
    const int64_t col = rest % b->col_blocks * b->cols;
    rest /= b->col_blocks;
    const int64_t row = rest % b->row_blocks * b->rows;
    rest /= b->row_blocks;
    const int64_t image = rest % b->image_blocks * b->images;
    const int64_t panel = cnf_kernel->panel, channel_of_y = group * g->columns + column;
    const grid_block t = {
        .images = cnf_min(b->images, g->n - image),
        .rows = cnf_min(b->rows, g->h.outputs - row),
        .cols = cnf_min(b->cols, g->w.outputs - col),
        .columns = cnf_min(b->columns_per_block, g->columns - column),
        .target = g->target + image * g->target_image + row * g->target_row +
                  col * g->target_pixel + channel_of_y,
        .packed = g->packed + (group * cnf_panels(g) * panel + column) * cnf_depth(g),
        .bias = job->bias ? job->bias + channel_of_y : NULL,
        .residual = job->residual ? job->residual + image * job->residual_image +
                                        row * job->residual_row + col * job->residual_pixel +
                                        channel_of_y
                                  : NULL,
        .sums = job->s->sums ? job->s->sums + pixel_block * 2 * g->groups * g->columns +
                                   channel_of_y
                             : NULL,
        .source = next_source(g, b, group, image, row),
    };
    const float *packed = t.packed;
    float *block = job->s->blocks + (size_t)thread * job->s->block_stride;
    int accumulate = job->accumulate;
    for (int64_t k = 0; k < b->channel_blocks; k++) {
        const int64_t channel = k * b->channels_per_block;
        const int64_t channels = cnf_min(b->channels_per_block, g->channels - channel);
        const int short_block = channels < b->channels_per_block;
        const cnf_segment *segments = job->s->segments[short_block];
        const int64_t *starts = job->s->starts[short_block];
        const int64_t passes = job->s->passes[short_block];
        const float *source = cnf_source_block(g, b, block, group, image, t.images, row, t.rows, col,
                                               t.cols, channel, channels);
        for (int64_t pass = 0; pass < passes; pass++) {
            const int64_t first = starts[pass], count = starts[pass + 1] - first;
            const int last = k + 1 == b->channel_blocks && pass + 1 == passes;
            run_pass(job, &t, source, packed, segments + first, count, accumulate, last);
            for (int64_t s = 0; s < count; s++)
                packed += segments[first + s].length * panel;
            accumulate = 1;
        }
    }
    if (job->finish && job->finish->streams)
        cnf_stream_end();
}

void cnf_grid_run(const cnf_grid *g, void *scratch)
{
    cnf_blocking b;
    grid_scratch s;
    cnf_finish finish;
    cnf_block_grid(g, &b);
    cnf_cut_grid(g, &b);
    lay_out(g, &b, scratch, &s);
    list_segments(g, &b, b.channels_per_block, s.segments[0], s.starts[0], &s.passes[0]);
    int64_t left = g->channels - (b.channel_blocks - 1) * b.channels_per_block;
    list_segments(g, &b, left, s.segments[1], s.starts[1], &s.passes[1]);
    grid_job job = {.g = g, .b = &b, .s = &s, .bias = g->bias};
    const int one_pass = b.channel_blocks == 1 && s.passes[left < b.channels_per_block] == 1;
    if (g->epilogue) {
        finish = cnf_finish_make(g->epilogue);
        finish.streams = one_pass && g->residual != g->target &&
                         cnf_finish_streams(&finish, g->epilogue, g->target,
                                            g->n * g->h.outputs * g->w.outputs, g->target_pixel,
                                            g->columns);
        if (finish.streams || cnf_finish_needed(g->epilogue, g->residual))
            job.finish = &finish;
        job.residual = g->residual;
        job.residual_image = g->residual_image;
        job.residual_row = g->residual_row;
        job.residual_pixel = g->epilogue->residual_pitch;
    }
    if (g->residual && g->residual == g->target && !one_pass) {
        /* The first pass would overwrite it: begin with it, and add the bias at the end. */
        job.accumulate = 1;
        job.bias = NULL;
        job.residual = g->bias;
        job.residual_image = job.residual_row = job.residual_pixel = 0;
    }
    cnf_parallel(cnf_grid_tasks(g, &b), cnf_grid_work(g), grid_task, &job);
    if (s.sums)
        cnf_sums_join(g->sums, s.sums, cnf_pixel_blocks(&b), g->groups * g->columns);
}
