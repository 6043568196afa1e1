/* target_rule.h: what cross-entropy makes of a class target: worked out by ops/cross_entropy.c, read
 * by tiles/softmax.inc. The loss of class t is keep * weight[t] * nll[t] plus spread * weight[c] *
 * nll[c] summed over all classes, nll = -log softmax(x). */
#ifndef CNF_TARGET_RULE_H
#define CNF_TARGET_RULE_H

#include <stdint.h>

typedef struct {
    int64_t ignore_index;
    double keep;    /* 1 - label_smoothing */
    double spread;  /* label_smoothing / classes */
    double weights; /* sum of all class weights */
} cnf_target_rule;

#endif
