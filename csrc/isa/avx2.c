/* avx2.c: every tile compiled with the words of vec_avx2.h. The pragma raises the instruction set
 * for this file alone, so nothing of it leaks into code that runs on older machines. */
#if defined(__x86_64__)
#include "kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "vec_avx2.h"

#define CNF_ISA avx2
#include "table.inc"

#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int cnf_no_avx2; /* ISO C wants one declaration in a file */
#endif
