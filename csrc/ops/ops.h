/* ops.h: the C functions behind the primitives, and the scratch that each asks for. */
#ifndef CNF_OPS_H
#define CNF_OPS_H

#include "../cnnfast.h"

/* element-wise */
cnf_status cnf_unary_forward(float *y, const float *x, const cnf_elementwise *d, void *scratch);
cnf_status cnf_unary_backward(float *dx, const float *dy, const float *saved,
                              const cnf_elementwise *d, void *scratch);
cnf_status cnf_binary_forward(float *y, const float *a, const float *b, const cnf_elementwise *d,
                              void *scratch);
cnf_status cnf_ternary_forward(float *y, const float *a, const float *b, const float *c,
                               const cnf_elementwise *d, void *scratch);
cnf_status cnf_fill(float *y, const cnf_elementwise *d, void *scratch);
cnf_status cnf_copy(float *y, const void *x, const cnf_copy_box *d, void *scratch);

/* reduction */
cnf_status cnf_reduce(float *y, const float *x, const cnf_reduce_box *d, void *scratch);
size_t cnf_reduce_scratch(const cnf_reduce_box *d);
cnf_status cnf_arg_extreme(int64_t *y, const float *x, const cnf_arg_box *d, void *scratch);

/* gemm */
cnf_status cnf_gemm_forward(float *c, const float *a, const float *b, const cnf_gemm *d, void *scratch);
size_t cnf_gemm_forward_scratch(const cnf_gemm *d);

/* conv2d: sums, bias and residual may be NULL; the residual may be y */
cnf_status cnf_conv2d_pack_forward(float *packed, const float *w, const cnf_conv2d *d, void *scratch);
cnf_status cnf_conv2d_pack_backward(float *packed, const float *w, const cnf_conv2d *d, void *scratch);
cnf_status cnf_conv2d_forward(float *y, double *sums, const float *x, const float *packed,
                              const float *bias, const float *residual, const cnf_conv2d *d,
                              void *scratch);
size_t cnf_conv2d_forward_scratch(const cnf_conv2d *d);
cnf_status cnf_conv2d_scaled_forward(float *y, const float *x, const float *scale,
                                     const float *shift, const float *packed, const float *bias,
                                     const float *residual, const cnf_conv2d_scaled *d,
                                     void *scratch); /* shift may be NULL, too */
size_t cnf_conv2d_scaled_forward_scratch(const cnf_conv2d_scaled *d);
cnf_status cnf_conv2d_backward_input(float *dx, const float *dy, const float *packed,
                                     const float *bias, const cnf_conv2d *d, void *scratch);
size_t cnf_conv2d_backward_input_scratch(const cnf_conv2d *d);
cnf_status cnf_conv2d_backward_weight(float *dw, const float *x, const float *dy,
                                      const cnf_conv2d *d, void *scratch);
size_t cnf_conv2d_backward_weight_scratch(const cnf_conv2d *d);

/* depthwise: sums, bias and residual may be NULL */
cnf_status cnf_depthwise_forward(float *y, double *sums, const float *x, const float *weight,
                                 const float *bias, const float *residual, const cnf_depthwise *d,
                                 void *scratch);
cnf_status cnf_depthwise_backward_input(float *dx, const float *dy, const float *weight,
                                        const cnf_depthwise *d, void *scratch);
cnf_status cnf_depthwise_backward_weight(float *dw, const float *x, const float *dy,
                                         const cnf_depthwise *d, void *scratch);
size_t cnf_depthwise_forward_scratch(const cnf_depthwise *d);
size_t cnf_depthwise_backward_input_scratch(const cnf_depthwise *d);
size_t cnf_depthwise_backward_weight_scratch(const cnf_depthwise *d);

/* separable: all biases and the residual may be NULL, and the weights of what there is not */
cnf_status cnf_separable_forward(float *y, const float *x, const float *expand,
                                 const float *expand_bias, const float *weight, const float *bias,
                                 const float *project, const float *project_bias,
                                 const float *residual, const cnf_separable *d, void *scratch);
size_t cnf_separable_forward_scratch(const cnf_separable *d);

/* pool */
cnf_status cnf_max_pool2d_forward(float *y, void *index, const float *x, const int32_t *rows,
                                  const int32_t *cols, const cnf_gather *d, void *scratch);
cnf_status cnf_max_pool2d_backward(float *dx, const float *dy, const void *index,
                                   const int32_t *rows, const int32_t *cols, const cnf_gather *d,
                                   void *scratch);

/* norm: weight, bias, the running statistics, dx, dweight and dbias may be NULL, and sums: those of x
 * and of x^2 a channel, [2][c], that a convolution's epilogue took; only of one segment */
size_t cnf_norm_scratch(const cnf_norm *d);
cnf_status cnf_norm_forward(float *y, float *mean, float *invstd, float *running_mean,
                            float *running_var, const float *x, const float *weight,
                            const float *bias, const double *sums, const cnf_norm *d,
                            void *scratch);
cnf_status cnf_norm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                             const float *x, const float *mean, const float *invstd,
                             const float *weight, const cnf_norm *d, void *scratch);
cnf_status cnf_norm_evaluate(float *y, const float *x, const float *running_mean,
                             const float *running_var, const float *weight, const float *bias,
                             const cnf_norm *d, void *scratch);
cnf_status cnf_norm_evaluate_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                      const float *x, const float *running_mean,
                                      const float *running_var, const float *weight,
                                      const cnf_norm *d, void *scratch);
size_t cnf_layer_norm_scratch(const cnf_layer_norm *d);
cnf_status cnf_layer_norm_forward(float *y, float *mean, float *invstd, const float *x,
                                  const float *weight, const float *bias, const cnf_layer_norm *d,
                                  void *scratch);
cnf_status cnf_layer_norm_backward(float *dx, float *dweight, float *dbias, const float *dy,
                                   const float *x, const float *mean, const float *invstd,
                                   const float *weight, const cnf_layer_norm *d, void *scratch);
size_t cnf_local_norm_scratch(const cnf_local_norm *d);
cnf_status cnf_local_norm_forward(float *y, const float *x, const cnf_local_norm *d, void *scratch);
cnf_status cnf_local_norm_backward(float *dx, const float *dy, const float *x,
                                   const cnf_local_norm *d, void *scratch);

/* softmax: the backward functions take the forward's y; weight may be NULL */
cnf_status cnf_softmax_forward(float *y, const float *x, const cnf_softmax *d, void *scratch);
cnf_status cnf_softmax_backward(float *dx, const float *dy, const float *y, const cnf_softmax *d,
                                void *scratch);
cnf_status cnf_log_softmax_forward(float *y, const float *x, const cnf_softmax *d, void *scratch);
cnf_status cnf_log_softmax_backward(float *dx, const float *dy, const float *y,
                                    const cnf_softmax *d, void *scratch);
size_t cnf_cross_entropy_scratch(const cnf_cross_entropy *d);
cnf_status cnf_cross_entropy_forward(float *loss, float *stats, float *weight_sum, const float *x,
                                     const int64_t *target, const float *weight,
                                     const cnf_cross_entropy *d, void *scratch);
cnf_status cnf_cross_entropy_backward(float *dx, const float *dy, const float *x,
                                      const float *stats, const float *weight_sum,
                                      const int64_t *target, const float *weight,
                                      const cnf_cross_entropy *d, void *scratch);
cnf_status cnf_nll_forward(float *loss, float *weight_sum, const float *x, const int64_t *target,
                           const float *weight, const cnf_cross_entropy *d, void *scratch);
cnf_status cnf_nll_backward(float *dx, const float *dy, const float *weight_sum,
                            const int64_t *target, const float *weight, const cnf_cross_entropy *d,
                            void *scratch);

/* dropout */
cnf_status cnf_dropout_apply(float *y, const float *x, const int64_t *seed, const cnf_dropout *d,
                             void *scratch);

/* counter: y may be x */
cnf_status cnf_counter_add(int64_t *y, const int64_t *x, const cnf_counter *d, void *scratch);

/* resize */
cnf_status cnf_resample(float *y, const float *x, const int32_t *rows, const int32_t *cols,
                        const cnf_gather *d, void *scratch);

/* pad */

/* index */
cnf_status cnf_take(float *y, const float *x, const int64_t *index, const cnf_index *d,
                    void *scratch);
cnf_status cnf_add_at(float *dx, const float *dy, const int64_t *index, const cnf_index *d,
                      void *scratch);

/* optim: what is not const is updated in place; momentum_buffer, max_exp_avg_sq and grad_avg may be
 * NULL. `step` is the number of steps before this one; momentum_buffer holds nothing yet where
 * `begun` is not NULL and 0. */
cnf_status cnf_sgd_update(float *param, float *momentum_buffer, int64_t *begun, const float *grad,
                          const cnf_sgd_settings *settings, const cnf_sgd *d, void *scratch);
cnf_status cnf_adam_update(float *param, float *exp_avg, float *exp_avg_sq, float *max_exp_avg_sq,
                           float *step, const float *grad, const cnf_adam_settings *settings,
                           const cnf_adam *d, void *scratch);
cnf_status cnf_rmsprop_update(float *param, float *square_avg, float *momentum_buffer,
                              float *grad_avg, float *step, const float *grad,
                              const cnf_rmsprop_settings *settings, const cnf_rmsprop *d,
                              void *scratch);

#endif
