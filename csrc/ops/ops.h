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

/* optim: everything but grad is updated in place; momentum_buffer and grad_avg may be NULL */
cnf_status cnf_sgd_update(float *param, const float *grad, float *momentum_buffer,
                          const cnf_sgd *d, void *scratch);
cnf_status cnf_adam_update(float *param, const float *grad, float *exp_avg, float *exp_avg_sq,
                           const cnf_adam *d, void *scratch);
cnf_status cnf_rmsprop_update(float *param, const float *grad, float *square_avg,
                              float *momentum_buffer, float *grad_avg, const cnf_rmsprop *d,
                              void *scratch);

#endif
