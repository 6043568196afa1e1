/* saved.h: the three steps from the bytes of a file to a model that runs: tensors.c reads the
 * file's header, model.c the plan in it, check.c says whether a call of the plan stays inside its
 * operands. Nothing in the bytes is trusted, and no step reads outside of them. */
#ifndef CNF_SAVED_H
#define CNF_SAVED_H

#include "../cnnfast.h"

/* Writes a message and returns CNF_BAD_FILE; `message` may be NULL. */
__attribute__((format(printf, 2, 3)))
cnf_status cnf_bad_file(char *message, const char *format, ...);

/* ---- tensors.c ------------------------------------------------------------------------------- */

typedef struct {
    const char *name; /* as between the quotes of the header: names with escapes meet no other */
    size_t length;    /* of the name */
    const char *data;
    int64_t bytes;
} cnf_tensor;

typedef struct {
    cnf_tensor *tensors;
    size_t count, room;
} cnf_tensors;

/* Lists the tensors of a safetensors file. The caller frees the list, whatever is returned. */
cnf_status cnf_tensors_read(cnf_tensors *list, const void *bytes, size_t size, char *message);
const cnf_tensor *cnf_tensors_find(const cnf_tensors *list, const char *name, size_t length);

/* ---- check.c --------------------------------------------------------------------------------- */

/* No memory of a plan is larger (machine/memory.c); below it, sums of 64 bits cannot overflow. */
#define CNF_MOST_BYTES ((int64_t)1 << 46)

/* a * b, or a number beyond CNF_MOST_BYTES where it is, or where one of them is negative. */
int64_t cnf_times(int64_t a, int64_t b);

/* Where an operand of a call stands. */
typedef struct {
    int present, writable;
    int64_t base, offset;  /* as in cnf_plan_call; a constant has a base of its own */
    int64_t before, after; /* bytes of its memory before its first element, and from there on */
    const char *data;      /* of a constant; NULL for any other */
} cnf_operand;

/* Whether the call has sense and touches nothing beyond its operands, whatever values they hold. */
int cnf_call_is_sound(int primitive, const void *descriptor, const cnf_operand *operands);

#endif
