/* ops.h: the C functions behind the primitives, and the scratch that each asks for. */
#ifndef CNF_OPS_H
#define CNF_OPS_H

#include "../cnnfast.h"

/* element-wise */
cnf_status cnf_unary_forward(float *y, const float *x, const cnf_unary *d, void *scratch);

/* reduction */

/* gemm */

/* conv2d */

/* depthwise */

/* pool */

/* norm */

/* softmax */

/* dropout */

/* resize */

/* pad */

/* index */

/* optim */

#endif
