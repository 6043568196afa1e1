/* embed.c: classifies an image with a saved model, without Python.
 *
 *     cc -O3 -fopenmp -Icsrc examples/embed.c $(find csrc -name '*.c') -lm -lpthread -o embed
 *     ./embed digits.safetensors digit.pgm
 *
 * The model is one that Python saved with an example, `compiled.save(path, example=image)`. The
 * image is a PGM or PPM file for a model of raw images, uint8 (1, H, W, C), or the input's bytes as
 * they are, such as float32 (1, C, H, W). Prints the best classes and their scores. */
#include <stdio.h>
#include <stdlib.h>

#include "cnnfast.h"

#define BEST 3

static void fail(const char *what, const char *why)
{
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

/* Skips the header of a binary PNM file, if there is one; its sizes must be the model's. */
static void skip_header(FILE *file, const char *path, const cnf_array *input)
{
    int kind, width, height, most;
    const int64_t *size = input->size;
    if (fscanf(file, "P%d %d %d %d", &kind, &width, &height, &most) != 4) {
        rewind(file);
        return;
    }
    fgetc(file); /* one white space, then the pixels */
    if (input->type != CNF_UINT8 || input->rank != 4 || most != 255 ||
        size[3] != (kind == 5 ? 1 : 3) || size[1] != height || size[2] != width)
        fail(path, "the model takes images of another size, or no raw images");
}

static void *read_image(const char *path, const cnf_array *input)
{
    void *data = malloc(input->bytes);
    FILE *file = fopen(path, "rb");
    if (!file || !data)
        fail(path, "cannot be read");
    skip_header(file, path, input);
    if (fread(data, 1, input->bytes, file) != input->bytes || fgetc(file) != EOF)
        fail(path, "has not as many bytes as the model's input");
    fclose(file);
    return data;
}

static void print_best(float *scores, int64_t count)
{
    for (int i = 0; i < BEST && i < count; i++) {
        int64_t best = 0;
        for (int64_t c = 1; c < count; c++)
            best = scores[c] > scores[best] ? c : best;
        printf("%lld %.6g\n", (long long)best, scores[best]);
        scores[best] = -__builtin_inff();
    }
}

int main(int count, char **arguments)
{
    cnf_model *model;
    char message[CNF_MESSAGE];
    if (count != 3)
        fail(arguments[0], "expected a model and an image");
    if (cnf_model_open(&model, arguments[1], message) != CNF_OK)
        fail(arguments[1], message);
    const cnf_array *input = cnf_model_input(model, 0), *output = cnf_model_output(model, 0);
    if (!input || !output || cnf_model_input(model, 1) || output->type != CNF_FLOAT32)
        fail(arguments[1], "expected a model of one input and one float32 result");
    void *image = read_image(arguments[2], input);
    float *scores = malloc(output->bytes);
    if (!scores || cnf_model_run(model, (const void *[]){image}, (void *[]){scores}) != CNF_OK)
        fail(arguments[1], "cannot be run");
    print_best(scores, (int64_t)(output->bytes / sizeof(float)));
    cnf_model_close(model);
    free(image);
    free(scores);
    return 0;
}
