/* avx512.c: every tile compiled with the words of vec_avx512.h. The pragma raises the instruction set
 * for this file alone, so nothing of it leaks into code that runs on older machines. */
#if defined(__x86_64__)
#include "kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#include "vec_avx512.h"

#define CNF_ISA avx512
#include "table.inc"

#ifdef __clang__
#pragma clang attribute pop
#endif
#else
typedef int cnf_no_avx512; /* ISO C wants one declaration in a file */
#endif
