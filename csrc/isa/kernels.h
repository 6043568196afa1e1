/* kernels.h: the leaf kernels of one instruction set as a table of pointers, and the one in use.
 * Filled at load time from what the CPU and the system offer; CNNFAST_ISA forces a rung. */
#ifndef CNF_KERNELS_H
#define CNF_KERNELS_H

#include "../cnnfast.h"
#include "../ops/epilogue.h"
#include "../ops/gather.h"
#include "../ops/segments.h"
#include "../ops/spans.h"
#include "../ops/steps.h"
#include "../ops/target_rule.h"
#include "../ops/winograd.h"

typedef struct {
    const char *isa;
    int lanes;     /* floats in a vector */
    int tile_rows; /* rows of the GEMM tile */
    int panel;     /* columns of the GEMM tile, the width of a packed panel */
#define KERNEL(type, name, arguments) type(*name) arguments;
#include "kernels.def"
#undef KERNEL
} cnf_kernels;

/* The rung in use; never NULL. */
extern const cnf_kernels *cnf_kernel;

#endif
