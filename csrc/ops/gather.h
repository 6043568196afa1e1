/* gather.h: what max pooling and resampling share: the tables of taps (laid out in cnnfast.h) and
 * the cut of a result into tasks.
 *
 * A task is a block of rows of the result, or, where a row reads much (global pooling), a block of
 * channels of one row. An output element is computed whole by one task, so the cut is free. */
#ifndef CNF_GATHER_H
#define CNF_GATHER_H

#include "../cnnfast.h"

/* The taps behind the table's offsets. */
static inline const cnf_tap *cnf_taps(const int32_t *table, int64_t outputs)
{
    return (const cnf_tap *)(table + (outputs + 2) / 2 * 2);
}

#define CNF_GATHER_TASK_BYTES 65536 /* leaves the L2 cache room for the next task's data */
#define CNF_GATHER_CHANNELS 64      /* least block: whole vectors of every ISA, whole cache lines */

typedef struct {
    int64_t rows;           /* n * oh */
    int64_t rows_each;      /* a task */
    int64_t channels_each;  /* a task */
    int64_t channel_blocks;
    int64_t tasks;
    int64_t bytes;          /* read and written, altogether */
} cnf_gather_cut;

static inline cnf_gather_cut cnf_cut_gather(const cnf_gather *d)
{
    cnf_gather_cut cut = {.rows = d->n * d->oh, .rows_each = 1, .channels_each = d->c};
    cut.bytes = 4 * d->n * d->c * (d->h * d->w + d->oh * d->ow);
    int64_t row_bytes = cut.bytes / (cut.rows > 0 ? cut.rows : 1) + 1;
    if (row_bytes < CNF_GATHER_TASK_BYTES) {
        cut.rows_each = CNF_GATHER_TASK_BYTES / row_bytes;
    } else {
        int64_t lines = d->c * CNF_GATHER_TASK_BYTES / row_bytes / CNF_GATHER_CHANNELS;
        cut.channels_each = (lines > 0 ? lines : 1) * CNF_GATHER_CHANNELS;
        cut.channels_each = cut.channels_each < d->c ? cut.channels_each : d->c;
    }
    cut.channel_blocks = d->c > 0 ? (d->c + cut.channels_each - 1) / cut.channels_each : 0;
    cut.tasks = (cut.rows + cut.rows_each - 1) / cut.rows_each * cut.channel_blocks;
    return cut;
}

/* Rows [row, end) and channels [c, c + channels) of the result. */
typedef struct {
    int64_t row, end, c, channels;
} cnf_gather_part;

static inline cnf_gather_part cnf_gather_part_of(const cnf_gather_cut *cut, const cnf_gather *d,
                                                 int64_t task)
{
    cnf_gather_part part;
    part.c = task % cut->channel_blocks * cut->channels_each;
    part.channels = cut->channels_each < d->c - part.c ? cut->channels_each : d->c - part.c;
    part.row = task / cut->channel_blocks * cut->rows_each;
    part.end = part.row + cut->rows_each < cut->rows ? part.row + cut->rows_each : cut->rows;
    return part;
}

#endif
