/* threads.c: how many threads, and the only OpenMP region of the engine.
 *
 * The default count is the smallest of the affinity mask, the cgroup's CPU quota and the physical
 * cores; CNNFAST_NUM_THREADS, then OMP_NUM_THREADS, override it. A forked child runs serially:
 * libgomp's threads do not survive fork, and its next region would wait for them for ever. */
#define _GNU_SOURCE
#include "machine.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#define MAX_THREADS 256
/* Waking a second thread costs about 5 us on an idle core; 20 us of work pays for it. */
#define GATE_NS 20000.0

static int chosen_threads;   /* 0: not asked for, use the default */
static int default_threads;  /* found once */
#ifdef _OPENMP
static int openmp_before;    /* omp_get_max_threads() when the count was last decided on */
#endif
static int forked;           /* this process is a child of one that used the engine */
static _Thread_local int call_threads; /* of the call that runs on this thread; 0 outside */

static double first_number(const char *path, double *second)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    double first = -1;
    int found = fscanf(file, second ? "%lf %lf" : "%lf", &first, second);
    fclose(file);
    return found == (second ? 2 : 1) ? first : -1;
}

/* CPUs that the cgroup's quota allows, rounded down; 0 when there is no quota. */
static int quota_cpus(void)
{
    double period = 0;
    double quota = first_number("/sys/fs/cgroup/cpu.max", &period); /* version 2: "max" fails */
    if (quota <= 0) {
        quota = first_number("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", NULL);
        period = first_number("/sys/fs/cgroup/cpu/cpu.cfs_period_us", NULL);
    }
    if (quota <= 0 || period <= 0)
        return 0;
    return quota < period ? 1 : (int)(quota / period);
}

/* Physical cores among the CPUs that the process may run on: a CPU counts when it is the lowest
 * of its allowed siblings. Systems that tell nothing count every CPU. */
static int affinity_cores(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    int cores = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        char path[96];
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
                 cpu);
        double lowest = first_number(path, NULL);
        cores += lowest < 0 || lowest == cpu || !CPU_ISSET((int)lowest, &set);
    }
    return cores > 0 ? cores : 1;
#else
    return 1;
#endif
}

static int environment_threads(const char *name)
{
    const char *text = getenv(name);
    int threads = text ? atoi(text) : 0;
    return threads > 0 ? threads : 0;
}

static int find_default_threads(void)
{
    int threads = environment_threads("CNNFAST_NUM_THREADS");
    if (!threads)
        threads = environment_threads("OMP_NUM_THREADS");
    if (!threads) {
        int quota = quota_cpus();
        threads = affinity_cores();
        if (quota > 0 && quota < threads)
            threads = quota;
    }
    return threads < MAX_THREADS ? threads : MAX_THREADS;
}

static void after_fork_in_child(void) { forked = 1; }

__attribute__((constructor)) static void start(void)
{
    default_threads = find_default_threads();
#ifdef _OPENMP
    openmp_before = omp_get_max_threads();
#endif
    pthread_atfork(NULL, NULL, after_fork_in_child);
}

int cnf_has_openmp(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int cnf_get_threads(void)
{
    int threads = chosen_threads ? chosen_threads : default_threads;
    if (forked || !cnf_has_openmp())
        return 1;
#ifdef _OPENMP
    /* threadpoolctl and omp_set_num_threads lower OpenMP's own count: follow them downwards. */
    int limit = omp_get_max_threads();
    if (limit < openmp_before && limit < threads)
        threads = limit;
#endif
    return threads;
}

int cnf_set_threads(int threads)
{
    chosen_threads = threads < 0 ? 0 : threads > MAX_THREADS ? MAX_THREADS : threads;
#ifdef _OPENMP
    openmp_before = omp_get_max_threads(); /* this decision overrides earlier limits */
#endif
    return cnf_get_threads();
}

cnf_call_scope cnf_enter(void)
{
    cnf_call_scope scope = {cnf_denormals_flush(), call_threads};
    call_threads = cnf_get_threads();
    return scope;
}

void cnf_leave(cnf_call_scope scope)
{
    call_threads = scope.outer_threads;
    cnf_denormals_restore(scope.denormals);
}

void cnf_limit_threads(int most)
{
    if (most > 0 && most < call_threads)
        call_threads = most;
}

int cnf_threads(void) { return call_threads ? call_threads : cnf_get_threads(); }

int cnf_threads_for(double work) { return work < GATE_NS ? 1 : cnf_threads(); }

#ifdef _OPENMP
/* A thread's own share of the tasks: neighbours in index share a cache, so each thread starts on
 * a contiguous range and takes from the others' only when its own is done. It leaves them their
 * last task: they are about to finish the one before, and what a task wrote is dear to fetch from a
 * core with another L3 (300 ns a line) when the next call gives it back to its owner. */
typedef struct {
    _Alignas(CNF_CACHE_LINE) int64_t next;
    int64_t end;
} task_range;

static void run_ranges(task_range *ranges, int count, cnf_task *task, const void *context)
{
    const int thread = omp_get_thread_num(), owners = omp_get_num_threads(); /* perhaps < count */
    for (int i = 0; i < count; i++) {
        const int owner = (thread + i) % count;
        task_range *range = &ranges[owner];
        const int64_t end = range->end - (i > 0 && owner < owners);
        int64_t index;
        while (__atomic_load_n(&range->next, __ATOMIC_RELAXED) < end
               && (index = __atomic_fetch_add(&range->next, 1, __ATOMIC_RELAXED)) < range->end)
            task(context, index, thread);
    }
}
#endif

void cnf_parallel(int64_t tasks, double work, cnf_task *task, const void *context)
{
#ifdef _OPENMP
    const int threads = (int)cnf_min(cnf_threads_for(work), tasks);
    if (threads > 1) {
        task_range ranges[MAX_THREADS];
        for (int t = 0; t < threads; t++)
            ranges[t] = (task_range){tasks * t / threads, tasks * (t + 1) / threads};
#pragma omp parallel num_threads(threads)
        {
            unsigned mode = cnf_denormals_flush();
            run_ranges(ranges, threads, task, context);
            cnf_denormals_restore(mode);
        }
        return;
    }
#else
    (void)work;
#endif
    for (int64_t i = 0; i < tasks; i++)
        task(context, i, 0);
}
