/* chunks.h: how sums over the rows of a (rows, c) matrix are cut, by the shape alone so that the
 * bits do not depend on the thread count. ops/norm.c and ops/layer_norm.c sum by it.
 *
 * A task is a chunk of rows by a slab of channels; inside it, blocks of rows are summed in float
 * and blocks add up in double. */
#ifndef CNF_CHUNKS_H
#define CNF_CHUNKS_H

#include "../machine/machine.h"

/* 256 rows of a column block are 64 KB, which a second pass finds in L2, and few enough for a sum
 * in float. */
#define BLOCK_ROWS 256
/* Channels in a slab: its block's sums fit the stack. */
#define SLAB 256
/* Chunks at most, which bounds their sums' memory, and floats in one at least. */
#define MAX_CHUNKS 32
#define CHUNK_FLOATS 16384

/* Rows in a chunk, whole blocks; rows, c > 0. */
static inline int64_t cnf_chunk_rows(int64_t rows, int64_t c)
{
    int64_t wanted = cnf_max(cnf_ceil_div(rows, MAX_CHUNKS),
                             cnf_ceil_div(CHUNK_FLOATS, cnf_min(c, SLAB)));
    return cnf_round_up(wanted, BLOCK_ROWS);
}

#endif
