/* counter.c: adds to one 64-bit number: the batches that a batch norm has seen, which float32 would
 * not count beyond 2^24. Called by nn.BatchNorm2d and by the average of its state in ema.py. */
#include "ops.h"

cnf_status cnf_counter_add(int64_t *y, const int64_t *x, const cnf_counter *d, void *scratch)
{
    (void)scratch;
    *y = (int64_t)((uint64_t)*x + (uint64_t)d->by); /* wraps, where signed numbers may not */
    return CNF_OK;
}
