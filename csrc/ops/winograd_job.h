/* winograd_job.h: one direction of a convolution by F(4x4, 3x3), as its drivers share it: winograd.c,
 * and winograd_few.c for few tiles. */
#ifndef CNF_WINOGRAD_JOB_H
#define CNF_WINOGRAD_JOB_H

#include "epilogue.h"
#include "winograd.h"

/* A weight OIHW as one direction reads it. */
typedef struct {
    const float *w;
    int64_t channels, columns, channel, column; /* sizes, then strides in w */
    int64_t first_tap, tap;                     /* rotated by 180 degrees: 8 and -1 */
} cnf_weight_view;

/* One direction of a convolution: the target's pixels from the source's. */
typedef struct {
    float *target;
    const float *source, *packed, *bias;
    int inlined; /* what stands for the packed weight is the weight */
    cnf_weight_view weight;
    int64_t n, source_h, source_w, source_pitch, target_h, target_w, target_pitch;
    int64_t channels, columns, pad_top, pad_left;
    cnf_tiling tiling;
    int64_t block;                          /* tiles of a task */
    int64_t blocks, column_blocks;          /* tasks */
    int64_t panels, panels_per_block;
    int fetching;                           /* each product fetches the weights of the next */
    int few;                                /* tiles: winograd_few.c */
    int64_t v_pitch, v_stride;              /* floats from a tile of V to the next; from a point */
    int64_t m_pitch, m_stride;              /* of M */
    int64_t u_stride;                       /* from a point of an inline weight to the next */
    float *scratch;
    size_t thread_floats;
    size_t sums_bytes; /* of the partial sums, which stand before the threads' scratch */
    double *partial;   /* [blocks][2][columns], or NULL */
    const cnf_finish *finish; /* or NULL */
    const float *residual;    /* or NULL */
} cnf_winograd_job;

/* V of `count` tiles from `first` on, of `channels` channels from `channel` on. */
void cnf_winograd_transform_input(const cnf_winograd_job *job, int64_t first, int64_t count,
                                  int64_t channel, int64_t channels, float *v);

/* The result of some columns of a block of tiles, with the epilogue if there is one. */
void cnf_winograd_finish(const cnf_winograd_job *job, int64_t block, const float *m, int64_t column,
                         int64_t columns);

/* Few tiles: what `job` lacks, and all of the work. */
void cnf_winograd_few_plan(cnf_winograd_job *job);
void cnf_winograd_few_run(const cnf_winograd_job *job, double work);

#endif
