/* primitives.h: one primitive by its number, without a scope and with scratch that the caller has. */
#ifndef CNF_PRIMITIVES_H
#define CNF_PRIMITIVES_H

#include "../cnnfast.h"

/* Bytes that `cnf_primitive_run` needs behind `scratch`; depends on the running call's threads. */
size_t cnf_primitive_scratch(int primitive, const void *descriptor);
cnf_status cnf_primitive_run(int primitive, void *const *buffers, const void *descriptor,
                             void *scratch);

#endif
