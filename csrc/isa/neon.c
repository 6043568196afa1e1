/* neon.c: every tile compiled with the words of vec_neon.h. Advanced SIMD is part of AArch64's
 * baseline, so nothing has to be raised for this file. */
#if defined(__aarch64__)
#include "kernels.h"
#include "vec_neon.h"

#define CNF_ISA neon
#include "table.inc"
#else
typedef int cnf_no_neon; /* ISO C wants one declaration in a file */
#endif
