/* segments.h: how a GEMM tile walks its reduction.
 *
 * The depth of a tile is cut into segments: within one, row i of A at depth p is
 * a[offset + i * a_row + p * a_depth]; the packed panel of B simply goes on. One segment is a plain
 * matrix product; one a kernel tap is a convolution that reads the image in place. */
#ifndef CNF_SEGMENTS_H
#define CNF_SEGMENTS_H

#include <stdint.h>

/* Upper bound of a panel's columns over all instruction sets, for buffers on the stack. */
#define CNF_MAX_PANEL 32
/* Depth of one pass over a panel: 256 x 32 floats = 32 KiB, the panel that stays in L1. */
#define CNF_DEPTH_BLOCK 256

typedef struct {
    int64_t offset; /* floats from the tile's base in A */
    int64_t length; /* depth of this segment */
} cnf_segment;

/* Bytes that a product's caller needs next, to be fetched while the product is computed. */
typedef struct {
    const char *at;
    int64_t bytes; /* 0: nothing */
} cnf_ahead;

static const cnf_ahead cnf_nothing_ahead = {0, 0};

#endif
