/* memory.c: a pool of aligned buffers under tensors and scratch.
 *
 * A training step frees and takes the same sizes again and again; handing them back to the system
 * costs a page fault for every 4 KiB of every step. Freed blocks wait in lists by size class (four
 * classes an octave, so at most a quarter is wasted) until the pool holds more than its bound. */
#define _GNU_SOURCE
#include "machine.h"

#include <pthread.h>
#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __linux__
#include <sys/mman.h>
#endif

#define SMALLEST_LOG2 6 /* 64 bytes */
#define CLASSES (4 * (48 - SMALLEST_LOG2))
#define HUGE_PAGE ((size_t)2 << 20)
#define CACHE_BOUND ((size_t)2 << 30) /* bytes that may wait in the lists */

/* Stands before every block, in a line of its own so that the block stays aligned. */
typedef struct block {
    struct block *next;
    int size_class;
} block;
_Static_assert(sizeof(block) <= CNF_CACHE_LINE, "the header fits the line before the block");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static block *waiting[CLASSES];
static size_t cached;

static void lock_pool(void) { pthread_mutex_lock(&lock); }
static void unlock_pool(void) { pthread_mutex_unlock(&lock); }

/* A fork while another thread holds the lock would leave it held in the child for ever. */
__attribute__((constructor)) static void start(void)
{
    pthread_atfork(lock_pool, unlock_pool, unlock_pool);
}

static size_t class_bytes(int size_class)
{
    size_t octave = (size_t)1 << (SMALLEST_LOG2 + size_class / 4);
    return octave + octave / 4 * (size_t)(size_class % 4);
}

static int class_of(size_t bytes)
{
    int log2 = SMALLEST_LOG2;
    while (((size_t)2 << log2) <= bytes)
        log2++;
    int size_class = 4 * (log2 - SMALLEST_LOG2);
    while (class_bytes(size_class) < bytes)
        size_class++;
    return size_class;
}

void *cnf_memory_take(size_t bytes)
{
    size_t alignment = bytes >= HUGE_PAGE ? HUGE_PAGE : CNF_CACHE_LINE;
    void *memory = NULL;
    if (posix_memalign(&memory, alignment, bytes) != 0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE)
        madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return memory;
}

void cnf_memory_return(void *memory) { free(memory); }

static block *from_system(int size_class)
{
    block *taken = cnf_memory_take(class_bytes(size_class) + CNF_CACHE_LINE);
    if (taken)
        taken->size_class = size_class;
    return taken;
}

void *cnf_allocate(size_t bytes)
{
    if (bytes > (size_t)1 << 46)
        return NULL;
    int size_class = class_of(bytes);
    lock_pool();
    block *taken = waiting[size_class];
    if (taken) {
        waiting[size_class] = taken->next;
        cached -= class_bytes(size_class);
    }
    unlock_pool();
    if (!taken && !(taken = from_system(size_class))) {
        cnf_memory_trim(0); /* what waits in other classes may be just what is missing */
        taken = from_system(size_class);
    }
    return taken ? (char *)taken + CNF_CACHE_LINE : NULL;
}

void cnf_release(void *pointer)
{
    if (!pointer)
        return;
    block *freed = (block *)((char *)pointer - CNF_CACHE_LINE);
    size_t bytes = class_bytes(freed->size_class);
    lock_pool();
    int keep = cached + bytes <= CACHE_BOUND;
    if (keep) {
        freed->next = waiting[freed->size_class];
        waiting[freed->size_class] = freed;
        cached += bytes;
    }
    unlock_pool();
    if (!keep)
        free(freed);
}

size_t cnf_memory_trim(size_t keep)
{
    lock_pool();
    for (int size_class = CLASSES - 1; size_class >= 0; size_class--) {
        while (waiting[size_class] && cached > keep) {
            block *freed = waiting[size_class];
            waiting[size_class] = freed->next;
            cached -= class_bytes(size_class);
            free(freed);
        }
    }
    size_t left = cached;
    unlock_pool();
#ifdef __GLIBC__
    if (keep == 0)
        malloc_trim(0); /* glibc keeps free pages between blocks that are in use: 115 MB after
                         * a ResNet-50 was read from an ONNX file */
#endif
    return left;
}

/* Pixels whose distance is a multiple of 1024 bytes share few sets of the L1 cache: a 14-row tile
 * would overflow its 8 ways (1x1 convolution, C = 1024: 111 GFLOP/s dense, 202 with 16 more). */
size_t cnf_pitch(size_t channels) { return channels % 256 == 0 ? channels + 16 : channels; }
