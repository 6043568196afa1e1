/* ladder.c: chooses the instruction set. Each rung is a table of kernels, slowest first; the best
 * one that the machine has is taken when the library loads. */
#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include "../machine/machine.h"

extern const cnf_kernels cnf_kernels_generic;
#if defined(__x86_64__)
extern const cnf_kernels cnf_kernels_avx2, cnf_kernels_avx512;
#elif defined(__aarch64__)
extern const cnf_kernels cnf_kernels_neon;
#endif

static const cnf_kernels *rungs[4] = {&cnf_kernels_generic};
static int rung_count = 1;
const cnf_kernels *cnf_kernel = &cnf_kernels_generic;

__attribute__((constructor)) static void climb(void)
{
#if defined(__x86_64__)
    cnf_cpu_features features = cnf_detect_cpu();
    if (features.avx2)
        rungs[rung_count++] = &cnf_kernels_avx2;
    if (features.avx512)
        rungs[rung_count++] = &cnf_kernels_avx512;
#elif defined(__aarch64__)
    rungs[rung_count++] = &cnf_kernels_neon; /* part of the baseline: nothing to detect */
#endif
    cnf_kernel = rungs[rung_count - 1];
    const char *forced = getenv("CNNFAST_ISA");
    if (forced)
        cnf_set_isa(forced); /* an unknown name leaves the best; the binding warns */
}

const char *cnf_isa_name(void) { return cnf_kernel->isa; }
int cnf_isa_count(void) { return rung_count; }
const char *cnf_isa_available(int index) { return rungs[index]->isa; }

cnf_status cnf_set_isa(const char *name)
{
    for (int i = 0; i < rung_count; i++) {
        if (strcmp(rungs[i]->isa, name) == 0) {
            cnf_kernel = rungs[i];
            return CNF_OK;
        }
    }
    return CNF_BAD_ARGUMENT;
}
