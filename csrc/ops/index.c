/* index.c: rows of a table taken by number, and their gradients added back.
 *
 * x is `rows` x `inner` floats, dense; `index` holds `count` row numbers; y is `count` x `inner`.
 * Indexing by arrays uses it with whole slices as rows where only the first axis is indexed, and
 * with single elements (inner = 1) otherwise. */
#include <string.h>

#include "../machine/machine.h"
#include "ops.h"

#define TASK 16384 /* floats a task */

typedef struct {
    float *y;
    const float *x;
    const int64_t *index;
    const cnf_index *d;
    int64_t each; /* rows (take) or columns (add_at) a task */
} indexing;

/* Row numbers may come from outside and change between replays: never trust them. */
static int valid(const int64_t *index, const cnf_index *d)
{
    for (int64_t i = 0; i < d->count; i++)
        if (index[i] < 0 || index[i] >= d->rows)
            return 0;
    return 1;
}

static void take_task(const void *context, int64_t task, int thread)
{
    const indexing *t = context;
    int64_t inner = t->d->inner, last = cnf_min(t->d->count, (task + 1) * t->each);
    (void)thread;
    for (int64_t i = task * t->each; i < last; i++) {
        if (inner == 1)
            t->y[i] = t->x[t->index[i]];
        else
            memcpy(t->y + i * inner, t->x + t->index[i] * inner, (size_t)inner * sizeof(float));
    }
}

cnf_status cnf_take(float *y, const float *x, const int64_t *index, const cnf_index *d,
                    void *scratch)
{
    (void)scratch;
    if (!valid(index, d))
        return CNF_BAD_ARGUMENT;
    if (d->count == 0 || d->inner == 0)
        return CNF_OK;
    indexing t = {y, x, index, d, cnf_max(1, TASK / d->inner)};
    double work = (double)(d->count * d->inner) * 8 * CNF_NS_PER_BYTE;
    cnf_parallel(cnf_ceil_div(d->count, t.each), work, take_task, &t);
    return CNF_OK;
}

/* Every task adds all rows, in order, to columns of its own: no two touch the same float. */
static void add_task(const void *context, int64_t task, int thread)
{
    const indexing *t = context;
    int64_t inner = t->d->inner, first = task * t->each, last = cnf_min(inner, first + t->each);
    (void)thread;
    for (int64_t i = 0; i < t->d->count; i++) {
        float *to = t->y + t->index[i] * inner;
        const float *from = t->x + i * inner;
        for (int64_t j = first; j < last; j++)
            to[j] += from[j];
    }
}

cnf_status cnf_add_at(float *dx, const float *dy, const int64_t *index, const cnf_index *d,
                      void *scratch)
{
    (void)scratch;
    if (!valid(index, d))
        return CNF_BAD_ARGUMENT;
    if (d->count == 0 || d->inner == 0)
        return CNF_OK;
    int64_t columns = cnf_round_up(cnf_ceil_div(TASK, d->count), CNF_CACHE_LINE / 4);
    indexing t = {dx, dy, index, d, cnf_max(columns, 64)};
    double work = (double)(d->count * d->inner) * 12 * CNF_NS_PER_BYTE;
    cnf_parallel(cnf_ceil_div(d->inner, t.each), work, add_task, &t);
    return CNF_OK;
}
