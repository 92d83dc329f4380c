/*
 * Runs a fuzzer without libFuzzer:
 *   fuzz-x [RUNS [SEED]]   mutates the seeds that often; the same SEED gives the same inputs
 *   fuzz-x - < FILE        runs one input, to repeat a finding
 *   fuzz-x --seeds FOLDER  writes the seeds as files: a first corpus for libFuzzer
 * The input that runs is kept in memory and written to standard error when the process aborts.
 */
#include <glib.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "fuzz.h"

enum { INPUT_LIMIT = 65536, MAX_MUTATIONS = 8, DEFAULT_RUNS = 10000 };

static const uint8_t *volatile current_data;
static volatile size_t current_size;

/* The sanitizers' findings too end in SIGABRT, so that the input is shown. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "abort_on_error=1";
}

static void on_abort(int number G_GNUC_UNUSED) {
    static const char title[] = "\n--- the input that failed ---\n";
    ssize_t n = write(STDERR_FILENO, title, sizeof title - 1);
    n = write(STDERR_FILENO, current_data, current_size);
    (void)n;
}

static int run(const uint8_t *data, size_t size) {
    current_data = data;
    current_size = size;
    return LLVMFuzzerTestOneInput(data, size);
}

static guint any_position(GRand *random, const GByteArray *input) {
    return (guint)g_rand_int_range(random, 0, (int)input->len);
}

static guint any_length(GRand *random, guint available, guint limit) {
    guint length = 1 + g_rand_int(random) % limit;
    return MIN(length, available);
}

static void insert_seed(GRand *random, GByteArray *input, guint n_seeds) {
    const char *seed = fuzz_seeds[g_rand_int_range(random, 0, (int)n_seeds)];
    g_byte_array_append(input, (const guint8 *)seed, (guint)strlen(seed));
}

static void mutate(GRand *random, GByteArray *input, guint n_seeds) {
    static const char interesting[] = "{}[]\",:\\\n0-9e.tn\xff";
    if (input->len == 0 || input->len > INPUT_LIMIT) {
        g_byte_array_set_size(input, 0);
        insert_seed(random, input, n_seeds);
        return;
    }
    guint at = any_position(random, input);
    switch (g_rand_int_range(random, 0, 7)) {
    case 0:
        input->data[at] ^= (uint8_t)(1 << g_rand_int_range(random, 0, 8));
        break;
    case 1:
        input->data[at] = (uint8_t)g_rand_int(random);
        break;
    case 2:
        input->data[at] = (uint8_t)interesting[g_rand_int_range(random, 0, (int)sizeof interesting)];
        break;
    case 3:
        g_byte_array_remove_range(input, at, any_length(random, input->len - at, 16));
        break;
    case 4: { /* a piece once more */
        guint length = any_length(random, input->len - at, 256);
        g_autofree uint8_t *piece = g_memdup2(input->data + at, length);
        g_byte_array_append(input, piece, length);
        break;
    }
    case 5:
        insert_seed(random, input, n_seeds);
        break;
    default:
        g_byte_array_set_size(input, at);
        break;
    }
}

static void run_mutations(uint64_t runs, uint32_t seed) {
    guint n_seeds = 0;
    for (; fuzz_seeds[n_seeds]; n_seeds++)
        run((const uint8_t *)fuzz_seeds[n_seeds], strlen(fuzz_seeds[n_seeds]));
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    for (uint64_t i = 0; i < runs; i++) {
        g_autoptr(GByteArray) input = g_byte_array_new();
        insert_seed(random, input, n_seeds);
        for (int n = g_rand_int_range(random, 0, MAX_MUTATIONS); n > 0; n--)
            mutate(random, input, n_seeds);
        run(input->data, input->len);
    }
    g_print("%" G_GUINT64_FORMAT " runs, seed %u: no finding\n", runs, seed);
}

static int write_seeds(const char *folder) {
    for (guint i = 0; fuzz_seeds[i]; i++) {
        g_autofree char *path = g_strdup_printf("%s/seed-%u", folder, i);
        if (!g_file_set_contents(path, fuzz_seeds[i], -1, NULL))
            return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGABRT, on_abort);
    if (argc == 3 && g_str_equal(argv[1], "--seeds"))
        return write_seeds(argv[2]);
    if (argc > 1 && g_str_equal(argv[1], "-")) {
        g_autofree uint8_t *data = g_malloc(INPUT_LIMIT);
        ssize_t n = read(STDIN_FILENO, data, INPUT_LIMIT);
        return n < 0 ? 2 : run(data, (size_t)n);
    }
    uint64_t runs = DEFAULT_RUNS, seed = 1;
    if ((argc > 1 && !g_ascii_string_to_unsigned(argv[1], 10, 1, UINT32_MAX, &runs, NULL)) ||
        (argc > 2 && !g_ascii_string_to_unsigned(argv[2], 10, 0, UINT32_MAX, &seed, NULL))) {
        g_printerr("usage: %s [RUNS [SEED]] | - | --seeds FOLDER\n", argv[0]);
        return 2;
    }
    run_mutations(runs, (uint32_t)seed);
    return 0;
}
