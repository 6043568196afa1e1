/* steps.h: an optimiser's hyperparameters as its leaf kernel reads them, worked out once a call
 * in double and rounded once. ops/optim.c fills them, tiles/optim.inc reads them. */
#ifndef CNF_STEPS_H
#define CNF_STEPS_H

typedef struct {
    float lr, weight_decay;
    float momentum, one_minus_dampening;
    int nesterov, first;
} cnf_sgd_step;

typedef struct {
    float param_scale;     /* 1 - lr * weight_decay where the decay is decoupled, else 1 */
    float grad_decay;      /* weight_decay where it is part of the gradient, else 0 */
    float one_minus_beta1, beta2, one_minus_beta2, eps;
    float root_correction2; /* sqrt(1 - beta2^step) */
    float step_size;        /* lr / (1 - beta1^step) */
} cnf_adam_step;

typedef struct {
    float lr, weight_decay, eps;
    float alpha, one_minus_alpha;
    float momentum;
} cnf_rmsprop_step;

#endif
