/* tensors.c: reads the header of a safetensors file.
 *
 *     uint64 length, little-endian; `length` bytes of JSON; the data
 *     {"__metadata__": {string: string, ...},
 *      name: {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}
 *
 * Of JSON it knows these forms alone. Offsets count from the data's first byte. Called by
 * model.c. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "saved.h"

cnf_status cnf_bad_file(char *message, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (message)
        vsnprintf(message, CNF_MESSAGE, format, arguments);
    va_end(arguments);
    return CNF_BAD_FILE;
}

typedef struct {
    const char *at, *end;
} cursor;

typedef struct {
    const char *first;
    size_t length;
} string;

static int equals(string s, const char *word)
{
    return s.length == strlen(word) && memcmp(s.first, word, s.length) == 0;
}

static void skip_space(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

/* Takes `wanted`, after any white space; 0 where something else follows. */
static int take(cursor *c, char wanted)
{
    skip_space(c);
    if (c->at == c->end || *c->at != wanted)
        return 0;
    c->at++;
    return 1;
}

/* What stands between two quotes, escapes and all. */
static int take_string(cursor *c, string *s)
{
    if (!take(c, '"'))
        return 0;
    s->first = c->at;
    for (; c->at < c->end && *c->at != '"'; c->at++) {
        if ((unsigned char)*c->at < ' ')
            return 0;
        if (*c->at == '\\' && ++c->at == c->end)
            return 0;
    }
    s->length = (size_t)(c->at - s->first);
    return take(c, '"'); /* the loop stopped at it, or at the end */
}

static int take_number(cursor *c, int64_t *value)
{
    skip_space(c);
    const char *first = c->at;
    for (*value = 0; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
        if ((*value = 10 * *value + (*c->at - '0')) > CNF_MOST_BYTES)
            return 0;
    return c->at > first;
}

/* "[" numbers "]": their product, and the last two of them. */
static int take_numbers(cursor *c, int64_t *product, int64_t *last, int *count)
{
    *product = 1, *count = 0;
    if (!take(c, '['))
        return 0;
    if (take(c, ']'))
        return 1;
    do {
        last[0] = last[1];
        if (!take_number(c, &last[1]))
            return 0;
        *product = cnf_times(*product, last[1]);
        ++*count;
    } while (take(c, ','));
    return take(c, ']');
}

static int64_t bytes_of(string dtype)
{
    static const struct {
        const char *name;
        int64_t bytes;
    } known[] = {{"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2}, {"I64", 8}, {"I32", 4},
                 {"I16", 2}, {"I8", 1},  {"U64", 8},  {"U32", 4},  {"U16", 2}, {"U8", 1},
                 {"BOOL", 1}, {"C64", 8}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (equals(dtype, known[i].name))
            return known[i].bytes;
    return 0;
}

/* Behind a tensor's name; `data` and `size` are all tensors'. */
static int take_tensor(cursor *c, cnf_tensor *tensor, const char *data, int64_t size)
{
    int64_t element = 0, elements = -1, offsets[2] = {-1, -1}, unused[2] = {0};
    int count;
    if (!take(c, ':') || !take(c, '{'))
        return 0;
    do {
        string key, dtype;
        int64_t product;
        if (!take_string(c, &key) || !take(c, ':'))
            return 0;
        if (equals(key, "dtype")) {
            if (!take_string(c, &dtype) || !(element = bytes_of(dtype)))
                return 0;
        } else if (equals(key, "shape")) {
            if (!take_numbers(c, &elements, unused, &count))
                return 0;
        } else if (!equals(key, "data_offsets") || !take_numbers(c, &product, offsets, &count) ||
                   count != 2) {
            return 0;
        }
    } while (take(c, ','));
    if (!take(c, '}') || elements < 0 || offsets[0] < 0 || offsets[0] > offsets[1] ||
        offsets[1] > size || offsets[1] - offsets[0] != cnf_times(elements, element))
        return 0;
    tensor->data = data + offsets[0];
    tensor->bytes = offsets[1] - offsets[0];
    return 1;
}

static int take_metadata(cursor *c)
{
    string key, value;
    if (!take(c, ':') || !take(c, '{'))
        return 0;
    if (take(c, '}'))
        return 1;
    do {
        if (!take_string(c, &key) || !take(c, ':') || !take_string(c, &value))
            return 0;
    } while (take(c, ','));
    return take(c, '}');
}

static int grow(cnf_tensors *list)
{
    if (list->count < list->room)
        return 1;
    size_t room = 2 * list->room + 16;
    cnf_tensor *grown = realloc(list->tensors, room * sizeof *grown);
    if (!grown)
        return 0;
    list->tensors = grown, list->room = room;
    return 1;
}

cnf_status cnf_tensors_read(cnf_tensors *list, const void *bytes, size_t size, char *message)
{
    uint64_t length = 0;
    *list = (cnf_tensors){0};
    if (size >= sizeof length)
        memcpy(&length, bytes, sizeof length);
    if (size < sizeof length || length > size - sizeof length)
        return cnf_bad_file(message, "expected a safetensors file: a header and its data, found "
                            "%zu bytes where the header alone is said to have %llu", size,
                            (unsigned long long)length);
    cursor c = {(const char *)bytes + sizeof length, (const char *)bytes + sizeof length + length};
    const char *data = c.end;
    const int64_t data_size = (int64_t)(size - sizeof length - length);
    int64_t end = 0;
    if (!take(&c, '{'))
        return cnf_bad_file(message, "expected a safetensors file: its header is no JSON object");
    do {
        string name;
        cnf_tensor tensor;
        const char *start = c.at;
        int known = take_string(&c, &name);
        if (known && equals(name, "__metadata__")) {
            known = take_metadata(&c);
        } else if (known && (known = take_tensor(&c, &tensor, data, data_size))) {
            if (!grow(list))
                return CNF_OUT_OF_MEMORY;
            tensor.name = name.first, tensor.length = name.length;
            list->tensors[list->count++] = tensor;
            end = tensor.data + tensor.bytes - data > end ? tensor.data + tensor.bytes - data : end;
        }
        if (!known)
            return cnf_bad_file(message, "expected a safetensors file: the entry at byte %lld of "
                                "its header is damaged", (long long)(start - (const char *)bytes));
    } while (take(&c, ','));
    const int closed = take(&c, '}');
    skip_space(&c);
    if (!closed || c.at != c.end || end != data_size)
        return cnf_bad_file(message, "expected a safetensors file: %lld bytes of data follow a "
                            "header that names %lld", (long long)data_size, (long long)end);
    return CNF_OK;
}

const cnf_tensor *cnf_tensors_find(const cnf_tensors *list, const char *name, size_t length)
{
    for (size_t i = 0; i < list->count; i++)
        if (list->tensors[i].length == length && memcmp(list->tensors[i].name, name, length) == 0)
            return &list->tensors[i];
    return NULL;
}
