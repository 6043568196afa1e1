/* saved.c: saved models from C, for tests/test_saved_in_c.py.
 *
 *     saved run MODEL INPUTS RESULTS   runs a model on a file of all inputs, one behind the other
 *     saved damage MODEL FIRST LAST    opens each beginning of the file, then the file as each of
 *                                      these seeds damages it, and runs whatever opens
 *
 * Built with sanitizers, every byte that is read stands in a block of its own size. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cnnfast.h"

#define MOST_BYTES (1 << 24) /* of the inputs and outputs of a damaged model that is run */

static void expect(int truth, const char *what)
{
    if (!truth) {
        fprintf(stderr, "expected %s\n", what);
        exit(1);
    }
}

static char *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    expect(file && fseek(file, 0, SEEK_END) == 0, "a file");
    *size = (size_t)ftell(file);
    char *bytes = malloc(*size + 1);
    rewind(file);
    expect(fread(bytes, 1, *size, file) == *size, "as many bytes as a file has");
    fclose(file);
    return bytes;
}

/* Runs a model on `data`, all inputs one behind the other, or on zeros; returns the status. */
static cnf_status run(cnf_model *model, const char *data, FILE *results)
{
    void *inputs[CNF_MAX_ENDS] = {0}, *outputs[CNF_MAX_ENDS] = {0};
    size_t bytes = 0;
    cnf_status status = CNF_OUT_OF_MEMORY;
    for (int i = 0; cnf_model_input(model, i); i++)
        bytes += cnf_model_input(model, i)->bytes;
    for (int i = 0; cnf_model_output(model, i); i++)
        bytes += cnf_model_output(model, i)->bytes;
    if (bytes <= MOST_BYTES) {
        for (int i = 0; cnf_model_input(model, i); i++) {
            const cnf_array *end = cnf_model_input(model, i);
            inputs[i] = calloc(1, end->bytes);
            if (data)
                memcpy(inputs[i], data, end->bytes);
            data += data ? end->bytes : 0;
        }
        for (int i = 0; cnf_model_output(model, i); i++)
            outputs[i] = malloc(cnf_model_output(model, i)->bytes);
        status = cnf_model_run(model, (const void *const *)inputs, outputs);
    }
    for (int i = 0; cnf_model_output(model, i) && results && status == CNF_OK; i++)
        fwrite(outputs[i], 1, cnf_model_output(model, i)->bytes, results);
    for (int i = 0; i < CNF_MAX_ENDS; i++) {
        free(inputs[i]);
        free(outputs[i]);
    }
    return status;
}

static int run_files(const char *model_path, const char *inputs_path, const char *results_path)
{
    char message[CNF_MESSAGE];
    cnf_model *model;
    size_t size;
    if (cnf_model_open(&model, model_path, message) != CNF_OK) {
        fprintf(stderr, "%s\n", message);
        return 1;
    }
    char *data = read_file(inputs_path, &size);
    FILE *results = fopen(results_path, "wb");
    expect(run(model, data, NULL) == CNF_OK && run(model, data, results) == CNF_OK, "two runs");
    fclose(results);
    for (int i = 0; cnf_model_output(model, i); i++)
        printf("%s\n", cnf_model_output(model, i)->name);
    cnf_model_close(model);
    free(data);
    return 0;
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Vigna's splitmix64. */
static uint64_t random_word(uint64_t *state)
{
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int64_t odd_number(uint64_t *state, int64_t value)
{
    static const int64_t odd[] = {0, 1, 2, 3, 4, 7, 8, 16, 64, 255, 4096, 1 << 20, INT32_MAX,
                                  (int64_t)1 << 32, (int64_t)1 << 46, INT64_MAX};
    const uint64_t choice = random_word(state);
    const int64_t number = odd[choice % (sizeof odd / sizeof odd[0])];
    switch (choice >> 60 & 7) {
    case 0: return -number;
    case 1: return (int64_t)((uint64_t)value + (uint64_t)number);
    case 2: return (int64_t)((uint64_t)value - (uint64_t)number);
    case 3: return (int64_t)((uint64_t)value * 2);
    case 4: return value / 2;
    default: return number;
    }
}

/* One change: of a byte anywhere or of the header, or, most often, of a word of the plan. */
static void damage(char *bytes, size_t size, size_t plan, size_t words, uint64_t *state)
{
    const uint64_t choice = random_word(state), place = random_word(state);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    if (choice % 8 == 0) {
        bytes[place % size] ^= (char)(1 << (choice >> 8) % 8);
    } else if (choice % 8 == 1 && header < size) {
        bytes[8 + place % header] = "\"{}[],:0123456789F \\"[(choice >> 8) % 20];
    } else {
        int64_t word;
        char *at = bytes + plan + place % words * sizeof word;
        memcpy(&word, at, sizeof word);
        word = odd_number(state, word);
        memcpy(at, &word, sizeof word);
    }
}

static cnf_status try(const char *bytes, size_t size, int *opened)
{
    char message[CNF_MESSAGE] = "";
    cnf_model *model;
    char *alone = malloc(size + !size);
    memcpy(alone, bytes, size);
    cnf_status status = cnf_model_open_bytes(&model, alone, size, message);
    expect((status == CNF_OK) == (model != NULL), "a model where the status says so");
    expect((status == CNF_OK) == (message[0] == 0), "a message where there is no model");
    if (model) {
        ++*opened;
        status = run(model, NULL, NULL);
        cnf_model_close(model);
    }
    free(alone);
    return status;
}

static int damage_file(const char *path, uint64_t first, uint64_t last)
{
    size_t size;
    char *bytes = read_file(path, &size), *copy = malloc(size);
    const char *plan = memmem(bytes, size, "cnfplan1", 8);
    int opened = 0, ran = 0;
    expect(try(bytes, size, &opened) == CNF_OK && opened == 1 && plan, "a model");
    for (size_t length = 0; length < size; length++)
        expect(try(bytes, length, &opened) == CNF_BAD_FILE, "a refusal of a part of a file");
    opened = 0;
    const size_t words = (size_t)(bytes + size - plan) / sizeof(int64_t);
    for (uint64_t seed = first; seed < last; seed++) {
        uint64_t state = seed;
        memcpy(copy, bytes, size);
        for (uint64_t changes = 1 + random_word(&state) % 3; changes > 0; changes--)
            damage(copy, size, (size_t)(plan - bytes), words, &state);
        ran += try(copy, size, &opened) == CNF_OK;
    }
    printf("%d %d\n", opened, ran);
    free(bytes);
    free(copy);
    return 0;
}

int main(int count, char **arguments)
{
    expect(count == 5, "run MODEL INPUTS RESULTS, or damage MODEL FIRST LAST");
    if (strcmp(arguments[1], "run") == 0)
        return run_files(arguments[2], arguments[3], arguments[4]);
    return damage_file(arguments[2], strtoull(arguments[3], NULL, 10),
                       strtoull(arguments[4], NULL, 10));
}
