/* elementwise.c: element-wise primitives over strided boxes. */
#include "../isa/kernels.h"
#include "../machine/machine.h"
#include "ops.h"

cnf_status cnf_unary_forward(float *y, const float *x, const cnf_unary *d, void *scratch)
{
    (void)scratch;
    int64_t n = 1;
    for (int64_t axis = 0; axis < d->rank; axis++)
        n *= d->size[axis];
    cnf_kernel->unary_forward(y, x, n, (int)d->kind, d->alpha, d->beta);
    return CNF_OK;
}
