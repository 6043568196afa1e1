/* primitives.c: the table of primitives and the one door through which they run.
 *
 * Expands primitives.def into adapters of one shape. `cnf_execute` is what the binding calls for
 * an eager operation; `cnf_replay` runs a recorded list of the same calls. plan.c runs them, too. */
#include "primitives.h"

#include "../machine/machine.h"
#include "../ops/ops.h"

#define CALL_1(f, b, d, s) f(b[0], d, s)
#define CALL_2(f, b, d, s) f(b[0], b[1], d, s)
#define CALL_3(f, b, d, s) f(b[0], b[1], b[2], d, s)
#define CALL_4(f, b, d, s) f(b[0], b[1], b[2], b[3], d, s)
#define CALL_5(f, b, d, s) f(b[0], b[1], b[2], b[3], b[4], d, s)
#define CALL_6(f, b, d, s) f(b[0], b[1], b[2], b[3], b[4], b[5], d, s)
#define CALL_7(f, b, d, s) f(b[0], b[1], b[2], b[3], b[4], b[5], b[6], d, s)
#define CALL_8(f, b, d, s) f(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], d, s)
#define CALL_9(f, b, d, s) f(b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], d, s)

#define cnf_no_scratch(descriptor) ((void)(descriptor), (size_t)0)

#define PRIMITIVE(name, descriptor_type, buffers, written, scratch)                             \
    static cnf_status run_##name(void *const *b, const void *descriptor, void *scratch_memory)  \
    {                                                                                           \
        return CALL_##buffers(cnf_##name, b, (const descriptor_type *)descriptor,               \
                              scratch_memory);                                                  \
    }                                                                                           \
    static size_t scratch_##name(const void *descriptor)                                        \
    {                                                                                           \
        return scratch((const descriptor_type *)descriptor);                                    \
    }
#include "primitives.def"
#undef PRIMITIVE

static const struct {
    const char *name;
    int buffers, written;
    size_t descriptor_size;
    cnf_status (*run)(void *const *, const void *, void *);
    size_t (*scratch)(const void *);
} primitives[] = {
#define PRIMITIVE(name, descriptor_type, buffers, written, scratch)                             \
    {#name, buffers, written, sizeof(descriptor_type), run_##name, scratch_##name},
#include "primitives.def"
#undef PRIMITIVE
};

int cnf_primitive_buffers(int primitive) { return primitives[primitive].buffers; }
int cnf_primitive_written(int primitive) { return primitives[primitive].written; }
size_t cnf_primitive_descriptor_size(int primitive) { return primitives[primitive].descriptor_size; }
const char *cnf_primitive_name(int primitive) { return primitives[primitive].name; }

size_t cnf_primitive_scratch(int primitive, const void *descriptor)
{
    return primitives[primitive].scratch(descriptor);
}

cnf_status cnf_primitive_run(int primitive, void *const *buffers, const void *descriptor,
                             void *scratch)
{
    return primitives[primitive].run(buffers, descriptor, scratch);
}

static cnf_status run(int primitive, void *const *buffers, const void *descriptor)
{
    void *scratch = NULL;
    size_t bytes = cnf_primitive_scratch(primitive, descriptor);
    if (bytes > 0 && !(scratch = cnf_allocate(bytes)))
        return CNF_OUT_OF_MEMORY;
    cnf_status status = cnf_primitive_run(primitive, buffers, descriptor, scratch);
    cnf_release(scratch);
    return status;
}

cnf_status cnf_execute(int primitive, void *const *buffers, const void *descriptor)
{
    cnf_call_scope scope = cnf_enter();
    cnf_status status = run(primitive, buffers, descriptor);
    cnf_leave(scope);
    return status;
}

cnf_status cnf_replay(const cnf_call *calls, size_t count)
{
    cnf_call_scope scope = cnf_enter();
    cnf_status status = CNF_OK;
    for (size_t i = 0; i < count && status == CNF_OK; i++)
        status = run(calls[i].primitive, calls[i].buffers, calls[i].descriptor);
    cnf_leave(scope);
    return status;
}
