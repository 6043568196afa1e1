/* plan.c: runs a plan, a list of primitives whose operands are offsets from a few bases.
 *
 * A call of a compiled model hands in its bases: the arena that holds everything between input and
 * output, the caller's arrays, the new results. So one plan serves any number of threads at once.
 * The arena and the scratch, of which all primitives share the largest, are one block; a workspace
 * keeps a few such blocks from one call to the next. */
#include <stdlib.h>
#include <time.h>

#include "../machine/machine.h"
#include "primitives.h"

#define SIZE_BITS 48 /* no allocation is larger (machine/memory.c) */

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* The largest scratch of the plan's calls. It depends on the number of threads, so what was found is
 * kept together with that number, in one word that other threads read whole. */
static size_t largest_scratch(cnf_plan *plan)
{
    const uint64_t threads = (uint64_t)cnf_threads() << SIZE_BITS;
    uint64_t known = __atomic_load_n(&plan->scratch, __ATOMIC_RELAXED);
    if (known >> SIZE_BITS == threads >> SIZE_BITS)
        return known & (((uint64_t)1 << SIZE_BITS) - 1);
    size_t largest = 0;
    for (size_t i = 0; i < plan->count; i++) {
        size_t bytes = cnf_primitive_scratch(plan->calls[i].primitive, plan->calls[i].descriptor);
        largest = bytes > largest ? bytes : largest;
    }
    __atomic_store_n(&plan->scratch, threads | largest, __ATOMIC_RELAXED);
    return largest;
}

static cnf_status run_calls(const cnf_plan *plan, void *const *bases, void *scratch,
                            double *started)
{
    cnf_status status = CNF_OK;
    for (size_t i = 0; i < plan->count && status == CNF_OK; i++) {
        const cnf_plan_call *call = &plan->calls[i];
        void *buffers[CNF_MAX_BUFFERS];
        for (int k = 0; k < CNF_MAX_BUFFERS; k++)
            buffers[k] = (void *)((uintptr_t)bases[call->base[k]] + (uintptr_t)call->offset[k]);
        if (started)
            started[i] = now();
        status = cnf_primitive_run(call->primitive, buffers, call->descriptor, scratch);
    }
    if (started)
        started[plan->count] = now();
    return status;
}

cnf_status cnf_plan_run(cnf_plan *plan, cnf_workspace *workspace, void **bases, int threads,
                        double *started)
{
    cnf_call_scope scope = cnf_enter();
    cnf_limit_threads(threads);
    size_t arena = (plan->arena + CNF_CACHE_LINE - 1) / CNF_CACHE_LINE * CNF_CACHE_LINE;
    char *block = cnf_workspace_take(workspace, arena + largest_scratch(plan));
    cnf_status status = CNF_OUT_OF_MEMORY;
    if (block) {
        bases[CNF_BASE_NONE] = NULL;
        bases[CNF_BASE_ARENA] = block;
        status = run_calls(plan, bases, block + arena, started);
        cnf_workspace_give(workspace, block);
    }
    cnf_leave(scope);
    return status;
}

/* Before each block stands its size, in a line of its own so that the block stays aligned. */
static size_t *size_of(void *block) { return (size_t *)((char *)block - CNF_CACHE_LINE); }

static void discard(void *block)
{
    if (block)
        cnf_memory_return((char *)block - CNF_CACHE_LINE);
}

void *cnf_workspace_take(cnf_workspace *workspace, size_t bytes)
{
    void *block = NULL;
    for (int i = 0; i < CNF_WORKSPACE_BLOCKS && !block; i++)
        if (__atomic_load_n(&workspace->block[i], __ATOMIC_RELAXED))
            block = __atomic_exchange_n(&workspace->block[i], NULL, __ATOMIC_ACQUIRE);
    if (block && *size_of(block) >= bytes)
        return block;
    discard(block);
    char *memory = cnf_memory_take(bytes + CNF_CACHE_LINE);
    if (!memory)
        return NULL;
    block = memory + CNF_CACHE_LINE;
    *size_of(block) = bytes;
    return block;
}

void cnf_workspace_give(cnf_workspace *workspace, void *block)
{
    for (int i = 0; i < CNF_WORKSPACE_BLOCKS; i++) {
        void *empty = NULL;
        if (__atomic_compare_exchange_n(&workspace->block[i], &empty, block, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return;
    }
    discard(block);
}

void cnf_workspace_clear(cnf_workspace *workspace)
{
    for (int i = 0; i < CNF_WORKSPACE_BLOCKS; i++)
        discard(__atomic_exchange_n(&workspace->block[i], NULL, __ATOMIC_ACQUIRE));
}
