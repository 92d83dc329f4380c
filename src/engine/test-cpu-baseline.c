/* Proves what several processors have in common, and what stands apart. */
#include "engine/cpu-baseline.h"

static HostCpu cpu_of(const char *vendor, const char *model, const char *names) {
    HostCpu cpu = {0};
    g_auto(GStrv) words = g_strsplit(names, " ", -1);
    host_cpu_set_vendor(&cpu, vendor);
    host_cpu_set_model(&cpu, model);
    for (char **word = words; *word; word++)
        host_cpu_add_feature_names(&cpu, *word);
    return cpu;
}

static char *joined(const HostCpu *cpu) {
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < cpu->feature_names.n; i++)
        g_string_append_printf(text, "%s%s", i ? " " : "", cpu->feature_names.items[i]);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void expect(
    const HostCpu *const *cpus, size_t n, const char *vendor, const char *model, const char *names) {
    g_auto(HostCpu) baseline = {0};
    cpu_baseline(cpus, n, &baseline);
    g_autofree char *common = joined(&baseline);
    g_assert_cmpstr(common, ==, names);
    g_assert_cmpstr(baseline.vendor, ==, vendor);
    g_assert_cmpstr(baseline.model, ==, model);
    g_assert_cmpint(baseline.features, ==, (int64_t)baseline.feature_names.n);
}

static void test_the_older_one_decides(void) {
    g_auto(HostCpu) older = cpu_of("Intel", "Haswell", "sse4.2 aes avx2"),
                    newer = cpu_of("Intel", "Skylake", "avx512f avx2 aes sse4.2");
    const HostCpu *const both[] = {&newer, &older};
    expect(both, 2, "Intel", "Haswell", "aes avx2 sse4.2");
    expect(both, 1, "Intel", "Skylake", "aes avx2 avx512f sse4.2");
    expect(both, 0, NULL, NULL, "");
}

static void test_neither_may_have_all(void) {
    g_auto(HostCpu) one = cpu_of("Intel", "Skylake", "aes avx2 hle"),
                    other = cpu_of("AMD", "EPYC", "aes avx2 sse4a"), bare = cpu_of("AMD", "old", "mmx mmx");
    const HostCpu *const cpus[] = {&one, &other, &bare};
    expect(cpus, 2, NULL, NULL, "aes avx2");
    expect(cpus, 3, NULL, NULL, "");
    expect(cpus + 1, 2, "AMD", NULL, "");
    expect(cpus + 2, 1, "AMD", "old", "mmx"); /* said twice */
}

static void test_what_one_has_beyond(void) {
    g_auto(HostCpu) one = cpu_of("Intel", "a", "x d b a c"), other = cpu_of("Intel", "b", "a y");
    g_auto(GStrv) beyond = cpu_beyond(&one, &other), none = cpu_beyond(&one, &one);
    g_autofree char *few = cpu_names_text(beyond, 2), *all = cpu_names_text(beyond, 9),
                    *nothing = cpu_names_text(none, 2);
    g_assert_cmpstr(few, ==, "b, c and 2 more");
    g_assert_cmpstr(all, ==, "b, c, d, x");
    g_assert_cmpstr(nothing, ==, "");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-baseline/older", test_the_older_one_decides);
    g_test_add_func("/cpu-baseline/neither", test_neither_may_have_all);
    g_test_add_func("/cpu-baseline/beyond", test_what_one_has_beyond);
    return g_test_run();
}
