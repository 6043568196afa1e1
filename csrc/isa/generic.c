/* generic.c: every tile compiled for the baseline of the platform. */
#include "kernels.h"
#include "vec_generic.h"

#define CNF_ISA generic
#include "table.inc"
