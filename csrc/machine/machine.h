/* machine.h: what the engine knows of the machine, and the one way to run tasks on its threads. */
#ifndef CNF_MACHINE_H
#define CNF_MACHINE_H

#include "../cnnfast.h"

#define CNF_CACHE_LINE 64

/* cpu.c: features that both the processor and the system support. */
typedef struct {
    int avx2;   /* with FMA and saved ymm state */
    int avx512; /* F, BW, DQ, VL and saved zmm state */
} cnf_cpu_features;
cnf_cpu_features cnf_detect_cpu(void);

/* Flush denormals in the calling thread; returns the mode to restore afterwards. */
unsigned cnf_denormals_flush(void);
void cnf_denormals_restore(unsigned mode);

/* memory.c: aligned memory from the system, past the pool: huge pages where it is large. */
void *cnf_memory_take(size_t bytes);
void cnf_memory_return(void *memory);

/* threads.c: one call into the engine fixes its thread count and floating-point mode. */
typedef struct {
    unsigned denormals;
    int outer_threads;
} cnf_call_scope;
cnf_call_scope cnf_enter(void);
void cnf_leave(cnf_call_scope scope);
void cnf_limit_threads(int most); /* of the running call; 0: no limit */
int cnf_threads(void); /* of the running call: sizes per-thread scratch */
int cnf_threads_for(double work); /* 1 below the gate of cnf_parallel, which runs such jobs serially */

/* Run task(context, i, thread) for i in [0, tasks); `thread` < cnf_threads() picks scratch.
 * `work` is the whole job's estimated cost in nanoseconds of one core: below the gate it runs
 * serially. Results must not depend on which thread runs which task. */
typedef void cnf_task(const void *context, int64_t index, int thread);
void cnf_parallel(int64_t tasks, double work, cnf_task *task, const void *context);
#define CNF_WORTH_THREADS 1e9 /* work of any amount */

/* Rough costs for the work gate: a core's sustained rates, chosen low so that the gate errs
 * towards serial. 30 GFLOP/s and 8 GB/s hold on any x86-64 or ARM core of the last decade. */
#define CNF_NS_PER_FLOP (1.0 / 30.0)
#define CNF_NS_PER_BYTE (1.0 / 8.0)

static inline int64_t cnf_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t cnf_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t cnf_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t cnf_round_up(int64_t a, int64_t b) { return cnf_ceil_div(a, b) * b; }

#endif
