/* main.c: runs the C tests on the instruction sets of this machine, or on those named.
 *
 *     engine_tests [ISA ...]
 *
 * The first line names the instruction set that the engine took by itself (CNNFAST_ISA forces one).
 * Built and run by tests/test_c_api.py here and by tests/neon.sh for AArch64 under qemu. */
#include <stdio.h>

#include "check.h"

#define EACH_TEST(X)                                                                            \
    X(machine) X(gemm) X(conv2d) X(winograd) X(depthwise) X(max_pool) X(resample)               \
    X(batch_norm) X(layer_norm) X(local_norm) X(softmax) X(cross_entropy) X(unary)              \
    X(unary_backward) X(binary) X(special_values) X(copy) X(index) X(dropout) X(counter)          \
    X(reduction) X(optimizers)

#define DECLARE(name) void test_##name(void);
EACH_TEST(DECLARE)

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define ENTRY(name) {#name, test_##name},
    EACH_TEST(ENTRY)
};

static int run_all(const char *isa)
{
    const int count = (int)(sizeof tests / sizeof tests[0]), before = failures();
    if (cnf_set_isa(isa) != CNF_OK) {
        fprintf(stderr, "this machine has no %s\n", isa);
        return 1;
    }
    for (int i = 0; i < count; i++) {
        free_arrays();
        describe("%s", tests[i].name);
        tests[i].run();
    }
    printf("%s: %d tests, %d failures\n", isa, count, failures() - before);
    return failures() > before;
}

int main(int argc, char **argv)
{
    int bad = 0;
    printf("took %s\n", cnf_isa_name());
    for (int i = 1; i < argc; i++)
        bad |= run_all(argv[i]);
    for (int i = 0; argc == 1 && i < cnf_isa_count(); i++)
        bad |= run_all(cnf_isa_available(i));
    return bad;
}
