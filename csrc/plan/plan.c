/* plan.c: runs a plan, a list of primitives whose operands are offsets from a few bases.
 *
 * A call of a compiled model hands in its bases: the arena that holds everything between input and
 * output, the caller's arrays, the new results. So one plan serves any number of threads at once.
 * The arena and the scratch, of which all primitives share the largest, are one block; a workspace
 * keeps a few such blocks from one call to the next. A plan may compute a batch in parts, which run
 * on a thread each. */
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

static cnf_status run_part(cnf_plan *plan, cnf_workspace *workspace, void *const *ends,
                           int64_t part, double *started)
{
    size_t arena = (plan->arena + CNF_CACHE_LINE - 1) / CNF_CACHE_LINE * CNF_CACHE_LINE;
    char *block = cnf_workspace_take(workspace, arena + largest_scratch(plan));
    if (!block)
        return CNF_OUT_OF_MEMORY;
    void *bases[CNF_BASE_FIRST + CNF_MAX_ENDS] = {[CNF_BASE_ARENA] = block};
    for (int64_t i = 0; i < plan->ends; i++)
        bases[CNF_BASE_FIRST + i] = (char *)ends[i] + part * plan->step[i];
    cnf_status status = run_calls(plan, bases, block + arena, started);
    cnf_workspace_give(workspace, block);
    return status;
}

typedef struct {
    cnf_plan *plan;
    cnf_workspace *workspace;
    void *const *ends;
    int *failed; /* the status of a part that failed */
} parts_job;

/* One part on one thread: nobody waits for anybody between its calls. */
static void part_task(const void *context, int64_t index, int thread)
{
    const parts_job *job = context;
    (void)thread;
    cnf_call_scope scope = cnf_enter();
    cnf_limit_threads(1);
    cnf_status status = run_part(job->plan, job->workspace, job->ends, index, NULL);
    if (status != CNF_OK)
        __atomic_store_n(job->failed, (int)status, __ATOMIC_RELAXED);
    cnf_leave(scope);
}

/* As many parts as share out evenly, a thread each; then the others, each on all threads. */
static cnf_status run_parts(cnf_plan *plan, cnf_workspace *workspace, void *const *ends)
{
    int failed = CNF_OK;
    const parts_job job = {plan, workspace, ends, &failed};
    const int64_t apart = plan->parts / cnf_threads() * cnf_threads();
    cnf_parallel(apart, CNF_WORTH_THREADS, part_task, &job);
    cnf_status status = (cnf_status)failed;
    for (int64_t part = apart; part < plan->parts && status == CNF_OK; part++)
        status = run_part(plan, workspace, ends, part, NULL);
    return status;
}

cnf_status cnf_plan_run(cnf_plan *plan, cnf_workspace *workspace, void *const *ends, int threads,
                        double *started)
{
    cnf_call_scope scope = cnf_enter();
    cnf_limit_threads(threads);
    cnf_status status = CNF_OK;
    if (plan->parts > 1) {
        status = run_parts(plan, workspace, ends);
        cnf_limit_threads(1);
    }
    if (status == CNF_OK && (plan->parts <= 1 || started))
        status = run_part(plan, workspace, ends, 0, started);
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
