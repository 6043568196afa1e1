/* model.c: opens a saved model, whose plan is the tensor "plan" of a safetensors file, and runs it.
 *
 * The plan is a row of int64 words, which cnnfast/compiler/plan_file.py writes:
 *     magic, version, threads, arena bytes, number of inputs, outputs, constants, calls
 *     each input, then each output: type, rank, sizes, name
 *     each constant: the name of its tensor
 *     each call: primitive; base and offset of each of its operands; its descriptor
 * A name is its length, then its bytes and zeros up to a whole word, at least one. Bases are
 * numbered as in cnf_plan_call; the constants follow the inputs and outputs. Convolutions stand
 * there with their weights as they are, OIHW: the algorithm is chosen and the weight packed here,
 * for the instruction set in use. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "saved.h"

#define MAGIC 0x316e616c70666e63 /* "cnfplan1"; other bytes where words are stored the other way */
#define FORMAT 1 /* another one when the meaning of a word or a descriptor changes */
#define MOST_THREADS 65536

typedef struct {
    const float *weight;
    int primitive; /* that packs it */
    cnf_conv2d geometry;
    float *packed;
} packing;

struct cnf_model {
    cnf_plan plan;
    cnf_workspace workspace;
    cnf_array ends[CNF_MAX_ENDS]; /* inputs, then outputs */
    int inputs, outputs, threads;
    cnf_plan_call *calls;
    char *descriptors;
    packing *packings;
    size_t packed;
    const char *isa; /* the weights are packed for it */
    void *mapped;
    size_t mapped_bytes;
};

/* ---- the version of plans -------------------------------------------------------------------- */

/* FNV-1a, 64 bits (Fowler, Noll and Vo). */
static uint64_t mix(uint64_t hash, const void *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    return hash;
}

static uint64_t mix_name(uint64_t hash, const char *name)
{
    return mix(hash, name, strlen(name) + 1);
}

int64_t cnf_plan_version(void)
{
    uint64_t hash = mix(14695981039346656037u, &(int64_t){FORMAT}, sizeof(int64_t));
    for (int i = 0; i < cnf_primitive_count; i++) {
        const int64_t sizes[] = {cnf_primitive_buffers(i), cnf_primitive_written(i),
                                 (int64_t)cnf_primitive_descriptor_size(i)};
        hash = mix(mix_name(hash, cnf_primitive_name(i)), sizes, sizeof sizes);
    }
    for (int i = 0; i < cnf_unary_count; i++)
        hash = mix_name(hash, cnf_unary_name(i));
    for (int i = 0; i < cnf_binary_count; i++)
        hash = mix_name(hash, cnf_binary_name(i));
    for (int i = 0; i < cnf_ternary_count; i++)
        hash = mix_name(hash, cnf_ternary_name(i));
    return (int64_t)hash;
}

/* ---- reading --------------------------------------------------------------------------------- */

typedef struct {
    const char *at, *end;
    int ended; /* something was asked for beyond the end; it was given zeros */
} reader;

static int64_t take_word(reader *r)
{
    int64_t word = 0;
    if (r->end - r->at < (int64_t)sizeof word) {
        r->ended = 1;
        return 0;
    }
    memcpy(&word, r->at, sizeof word);
    r->at += sizeof word;
    return word;
}

/* `count` bytes and those up to a whole word; NULL beyond the end. */
static const char *take_bytes(reader *r, int64_t count)
{
    const int64_t words = count / 8 + (count % 8 != 0);
    const char *bytes = r->at;
    if (count < 0 || words > (r->end - r->at) / 8) {
        r->ended = 1;
        return NULL;
    }
    r->at += 8 * words;
    return bytes;
}

/* A name with a zero behind it, and its length; NULL where there is none. */
static const char *take_name(reader *r, int64_t *length)
{
    *length = take_word(r);
    if (*length < 0 || *length >= r->end - r->at)
        return NULL;
    const char *name = take_bytes(r, *length + 1);
    return name && name[*length] == 0 ? name : NULL;
}

/* What a model is read into, and what is needed while that goes on. */
typedef struct {
    cnf_model *model;
    cnf_tensors tensors;
    reader plan;
    cnf_operand *constants; /* a row for each constant: its first byte as an operand */
    int64_t constant_count;
    char *message;
} opening;

static cnf_status refuse(const opening *o, const char *what)
{
    return cnf_bad_file(o->message, "the plan in the file is damaged: %s", what);
}

static cnf_status read_end(opening *o, cnf_array *end)
{
    int64_t length, elements = 1;
    end->type = take_word(&o->plan);
    end->rank = take_word(&o->plan);
    if (end->type < 0 || end->type >= CNF_TYPE_COUNT || end->rank < 0 || end->rank > CNF_MAX_RANK)
        return refuse(o, "an input or output of no known type or rank");
    for (int64_t axis = 0; axis < end->rank; axis++) {
        end->size[axis] = take_word(&o->plan);
        if (end->size[axis] < 1)
            return refuse(o, "an input or output with an axis below 1");
        elements = cnf_times(elements, end->size[axis]);
    }
    end->bytes = (size_t)cnf_times(elements, cnf_type_size((int)end->type));
    end->name = take_name(&o->plan, &length);
    if (!end->name || end->bytes > (size_t)CNF_MOST_BYTES)
        return refuse(o, "an input or output without a name, or larger than memory");
    return CNF_OK;
}

static cnf_status read_constants(opening *o)
{
    if (o->constant_count < 0 || o->constant_count > (o->plan.end - o->plan.at) / 8)
        return refuse(o, "the number of its constants");
    o->constants = calloc((size_t)o->constant_count + 1, sizeof *o->constants);
    if (!o->constants)
        return CNF_OUT_OF_MEMORY;
    for (int64_t i = 0; i < o->constant_count; i++) {
        int64_t length;
        const char *name = take_name(&o->plan, &length);
        const cnf_tensor *tensor = NULL;
        if (name)
            tensor = cnf_tensors_find(&o->tensors, name, (size_t)length);
        if (!tensor)
            return refuse(o, "a constant that is no tensor of the file");
        o->constants[i] = (cnf_operand){.present = 1, .after = tensor->bytes, .data = tensor->data};
    }
    return CNF_OK;
}

/* The operand `offset` bytes into the memory of `base`, as far as that exists. */
static int find_operand(const opening *o, int64_t base, int64_t offset, cnf_operand *operand)
{
    const cnf_model *model = o->model;
    const int64_t ends = model->inputs + model->outputs, first_constant = CNF_BASE_FIRST + ends;
    *operand = (cnf_operand){0};
    if (base == CNF_BASE_NONE)
        return offset == 0;
    operand->present = 1;
    if (base == CNF_BASE_ARENA) {
        operand->after = (int64_t)model->plan.arena;
        operand->writable = 1;
    } else if (base >= CNF_BASE_FIRST && base < first_constant) {
        operand->after = (int64_t)model->ends[base - CNF_BASE_FIRST].bytes;
        operand->writable = base >= CNF_BASE_FIRST + model->inputs;
    } else if (base >= first_constant && base - first_constant < o->constant_count) {
        *operand = o->constants[base - first_constant];
    } else {
        return 0;
    }
    if (offset < 0 || offset > operand->after)
        return 0;
    operand->base = base, operand->offset = offset;
    operand->before = offset, operand->after -= offset;
    operand->data += operand->data ? offset : 0;
    return 1;
}

/* One call; its descriptor is copied to `descriptor`. */
static cnf_status read_call(opening *o, cnf_plan_call *call, char *descriptor)
{
    cnf_operand operands[CNF_MAX_BUFFERS] = {0};
    const int64_t primitive = take_word(&o->plan);
    if (primitive < 0 || primitive >= cnf_primitive_count)
        return refuse(o, "a primitive that there is not");
    call->primitive = (int)primitive;
    call->descriptor = descriptor;
    for (int k = 0; k < cnf_primitive_buffers(call->primitive); k++) {
        const int64_t base = take_word(&o->plan), offset = take_word(&o->plan);
        cnf_operand *operand = &operands[k];
        if (!find_operand(o, base, offset, operand))
            return refuse(o, "an operand outside of all memory");
        call->base[k] = operand->data ? CNF_BASE_NONE : (int32_t)base;
        call->offset[k] = operand->data ? (int64_t)(uintptr_t)operand->data : offset;
    }
    const size_t size = cnf_primitive_descriptor_size(call->primitive);
    const char *bytes = take_bytes(&o->plan, (int64_t)size);
    if (!bytes)
        return refuse(o, "it ends early");
    memcpy(descriptor, bytes, size);
    if (!cnf_call_is_sound(call->primitive, descriptor, operands))
        return cnf_bad_file(o->message, "the plan in the file is damaged, or has a primitive that "
                            "is not for inference: a call of %s does not fit its operands",
                            cnf_primitive_name(call->primitive));
    return CNF_OK;
}

static cnf_status read_calls(opening *o, int64_t count)
{
    cnf_model *model = o->model;
    const size_t room = (size_t)(o->plan.end - o->plan.at); /* descriptors are a part of it */
    if (count < 0 || count > (int64_t)room / 8)
        return refuse(o, "the number of its calls");
    model->calls = calloc((size_t)count + 1, sizeof *model->calls);
    model->descriptors = malloc(room + 1);
    model->packings = calloc(2 * (size_t)count + 1, sizeof *model->packings); /* two a call */
    if (!model->calls || !model->descriptors || !model->packings)
        return CNF_OUT_OF_MEMORY;
    model->plan.calls = model->calls;
    model->plan.count = (size_t)count;
    char *descriptor = model->descriptors;
    for (int64_t i = 0; i < count; i++) {
        cnf_status status = read_call(o, &model->calls[i], descriptor);
        if (status != CNF_OK)
            return status;
        descriptor += (cnf_primitive_descriptor_size(model->calls[i].primitive) + 7) / 8 * 8;
    }
    return CNF_OK;
}

static cnf_status read_plan(opening *o)
{
    cnf_model *model = o->model;
    const int64_t magic = take_word(&o->plan), version = take_word(&o->plan);
    if (magic != MAGIC || version != cnf_plan_version())
        return cnf_bad_file(o->message, "the plan in the file was written by another version of "
                            "cnnfast: save the model again with this one");
    const int64_t threads = take_word(&o->plan), arena = take_word(&o->plan);
    const int64_t inputs = take_word(&o->plan), outputs = take_word(&o->plan);
    o->constant_count = take_word(&o->plan);
    const int64_t calls = take_word(&o->plan);
    if (threads < 0 || threads > MOST_THREADS || arena < 0 || arena > CNF_MOST_BYTES ||
        inputs < 0 || inputs > CNF_MAX_ENDS || outputs < 0 || outputs > CNF_MAX_ENDS - inputs)
        return refuse(o, "threads, arena or the numbers of inputs and outputs");
    model->threads = (int)threads, model->plan.arena = (size_t)arena;
    model->inputs = (int)inputs, model->outputs = (int)outputs;
    model->plan.ends = inputs + outputs;
    cnf_status status = CNF_OK;
    for (int64_t i = 0; i < inputs + outputs && status == CNF_OK; i++)
        status = read_end(o, &model->ends[i]);
    if (status == CNF_OK)
        status = read_constants(o);
    if (status == CNF_OK)
        status = read_calls(o, calls);
    if (status == CNF_OK && (o->plan.ended || o->plan.at != o->plan.end))
        return refuse(o, "its length");
    return status;
}

/* ---- packing --------------------------------------------------------------------------------- */

/* What the packed weight depends on: nothing of the images. */
static cnf_conv2d geometry_of(const cnf_conv2d *d)
{
    cnf_conv2d geometry = *d;
    geometry.n = geometry.h = geometry.w = geometry.oh = geometry.ow = 1;
    geometry.x_pitch = d->ci, geometry.y_pitch = d->co;
    geometry.epilogue = (cnf_epilogue){0};
    return geometry;
}

/* The weight of `d`, operand number `operand`, as the primitive that `id` packs for reads it. */
static cnf_status pack_operand(cnf_model *model, cnf_plan_call *call, int operand, int id,
                               const cnf_conv2d *d)
{
    packing p = {(const float *)(uintptr_t)call->offset[operand], id, geometry_of(d), NULL};
    for (size_t i = 0; i < model->packed && !p.packed; i++) {
        const packing *other = &model->packings[i];
        if (other->weight == p.weight && other->primitive == p.primitive &&
            memcmp(&other->geometry, &p.geometry, sizeof p.geometry) == 0)
            p.packed = other->packed;
    }
    if (!p.packed) {
        const int backward = id == cnf_id_conv2d_pack_backward;
        p.packed = cnf_allocate(sizeof(float) * cnf_conv2d_packed_size(&p.geometry, backward) + 1);
        if (!p.packed)
            return CNF_OUT_OF_MEMORY;
        model->packings[model->packed++] = p;
        cnf_status status = cnf_execute(p.primitive, (void *[]){p.packed, (void *)p.weight},
                                        &p.geometry);
        if (status != CNF_OK)
            return status;
    }
    call->offset[operand] = (int64_t)(uintptr_t)p.packed;
    return CNF_OK;
}

static cnf_status pack_separable(cnf_model *model, cnf_plan_call *call)
{
    cnf_separable *d = (cnf_separable *)call->descriptor;
    cnf_status status = CNF_OK;
    if (d->expand.co)
        status = pack_operand(model, call, 2, cnf_id_conv2d_pack_forward, &d->expand);
    if (d->project.co && status == CNF_OK)
        status = pack_operand(model, call, 6, cnf_id_conv2d_pack_forward, &d->project);
    return status;
}

/* Chooses a convolution's algorithm and gives it its weight as that reads it. What the file says was
 * another machine's choice; all but plain ones are direct everywhere. */
static cnf_status pack(cnf_model *model, cnf_plan_call *call)
{
    cnf_conv2d *d = (cnf_conv2d *)call->descriptor; /* or begins with it */
    switch (call->primitive) {
    case cnf_id_conv2d_forward:
        d->algorithm = cnf_conv2d_choose(d, CNF_CONV2D_FORWARD);
        if (d->algorithm == CNF_CONV2D_WINOGRAD_INLINE) /* reads the weight as it is */
            return CNF_OK;
        return pack_operand(model, call, 3, cnf_id_conv2d_pack_forward, d);
    case cnf_id_conv2d_scaled_forward:
        d->algorithm = CNF_CONV2D_DIRECT;
        return pack_operand(model, call, 4, cnf_id_conv2d_pack_forward, d);
    case cnf_id_conv2d_backward_input:
        d->algorithm = CNF_CONV2D_DIRECT;
        return pack_operand(model, call, 2, cnf_id_conv2d_pack_backward, d);
    case cnf_id_separable_forward:
        return pack_separable(model, call);
    default:
        return CNF_OK;
    }
}

/* ---- models ---------------------------------------------------------------------------------- */

static cnf_status open_into(cnf_model *model, const void *bytes, size_t size, char *message)
{
    opening o = {.model = model, .message = message};
    cnf_status status = cnf_tensors_read(&o.tensors, bytes, size, message);
    const cnf_tensor *plan = cnf_tensors_find(&o.tensors, "plan", 4);
    if (status == CNF_OK && !plan)
        status = cnf_bad_file(message, "the file has no plan: save the model with "
                              "CompiledModel.save(path, example=...)");
    if (status == CNF_OK) {
        o.plan = (reader){plan->data, plan->data + plan->bytes, 0};
        status = read_plan(&o);
    }
    free(o.constants);
    free(o.tensors.tensors);
    model->isa = cnf_isa_name();
    for (size_t i = 0; i < model->plan.count && status == CNF_OK; i++)
        status = pack(model, &model->calls[i]);
    return status;
}

cnf_status cnf_model_open_bytes(cnf_model **model, const void *bytes, size_t size, char *message)
{
    *model = NULL;
    if ((uintptr_t)bytes % sizeof(int64_t) != 0) {
        cnf_bad_file(message, "the bytes of a model must stand at a multiple of %zu",
                     sizeof(int64_t));
        return CNF_BAD_ARGUMENT;
    }
    cnf_model *made = calloc(1, sizeof *made);
    cnf_status status = made ? open_into(made, bytes, size, message) : CNF_OUT_OF_MEMORY;
    if (status == CNF_OK)
        *model = made;
    else
        cnf_model_close(made);
    if (status == CNF_OUT_OF_MEMORY)
        cnf_bad_file(message, "there is not enough memory to open the model");
    return status;
}

cnf_status cnf_model_open(cnf_model **model, const char *path, char *message)
{
    struct stat about;
    void *bytes = MAP_FAILED;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    *model = NULL;
    if (file >= 0 && fstat(file, &about) == 0)
        bytes = mmap(NULL, (size_t)about.st_size, PROT_READ, MAP_PRIVATE, file, 0);
    const int error = errno;
    if (file >= 0)
        close(file);
    if (bytes == MAP_FAILED)
        return cnf_bad_file(message, "%s: %s", path, strerror(error));
    cnf_status status = cnf_model_open_bytes(model, bytes, (size_t)about.st_size, message);
    if (status != CNF_OK) {
        munmap(bytes, (size_t)about.st_size);
        return status;
    }
    (*model)->mapped = bytes;
    (*model)->mapped_bytes = (size_t)about.st_size;
    madvise(bytes, (size_t)about.st_size, MADV_DONTNEED); /* what was packed is not read again */
    return CNF_OK;
}

void cnf_model_close(cnf_model *model)
{
    if (!model)
        return;
    for (size_t i = 0; i < model->packed; i++)
        cnf_release(model->packings[i].packed);
    cnf_workspace_clear(&model->workspace);
    if (model->mapped)
        munmap(model->mapped, model->mapped_bytes);
    free(model->packings);
    free(model->descriptors);
    free(model->calls);
    free(model);
}

const cnf_array *cnf_model_input(const cnf_model *model, int index)
{
    return index >= 0 && index < model->inputs ? &model->ends[index] : NULL;
}

const cnf_array *cnf_model_output(const cnf_model *model, int index)
{
    return index >= 0 && index < model->outputs ? &model->ends[model->inputs + index] : NULL;
}

cnf_status cnf_model_run(cnf_model *model, const void *const *inputs, void *const *outputs)
{
    void *ends[CNF_MAX_ENDS];
    if (model->isa != cnf_isa_name())
        return CNF_BAD_ARGUMENT;
    for (int i = 0; i < model->inputs + model->outputs; i++) {
        void *data = i < model->inputs ? (void *)inputs[i] : outputs[i - model->inputs];
        if (!data || (uintptr_t)data % (uintptr_t)cnf_type_size((int)model->ends[i].type) != 0)
            return CNF_BAD_ARGUMENT;
        ends[i] = data;
    }
    return cnf_plan_run(&model->plan, &model->workspace, ends, model->threads, NULL);
}
