/* Proves what several processors have in common, and what stands apart. */
#include "engine/cpu-baseline.h"
#include <string.h>

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

/* ---- what guests are given ---- */

static char *absent(const CpuLevel *level) {
    g_autoptr(GString) text = g_string_new(NULL);
    for (size_t i = 0; i < level->absent_names.n; i++)
        g_string_append_printf(text, "%s%s", i ? " " : "", level->absent_names.items[i]);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void expect_level(const HostCpu *own, const HostCpu *const *cpus, size_t n, const char *model,
    const char *names, const char *not_there) {
    g_auto(CpuLevel) level = {0};
    g_auto(HostCpu) cpu = {0};
    bool is_less = cpu_level_for(own, cpus, n, &level);
    g_assert_true(is_less == (model != NULL));
    if (!model)
        return;
    cpu_of_level(&level, &cpu);
    g_autofree char *common = joined(&cpu), *without = absent(&level);
    g_assert_cmpstr(level.model, ==, model);
    g_assert_cmpstr(level.vendor, ==, own->vendor);
    g_assert_cmpstr(common, ==, names);
    g_assert_cmpstr(without, ==, not_there);
    for (size_t i = 0; i < n; i++) { /* that is what it is for */
        g_auto(GStrv) beyond = cpu_beyond(&cpu, cpus[i]);
        g_assert_true(!beyond[0] || g_strcmp0(cpus[i]->vendor, own->vendor) != 0);
    }
}

/* Haswell lacks what its model stands for (hle): a newer host that has it must leave it away, too. */
static void test_guests_get_what_generations_have_in_common(void) {
    g_auto(HostCpu) haswell = cpu_of("Intel", "Haswell", "aes avx2 sse4.2"),
                    skylake = cpu_of("Intel", "Skylake", "aes avx2 avx512f hle sse4.2"),
                    icelake = cpu_of("Intel", "Icelake", "aes avx2 avx512f vaes sse4.2"),
                    epyc = cpu_of("AMD", "EPYC", "aes avx2 sse4.2 sse4a");
    host_cpu_add_absent_names(&haswell, "hle");
    host_cpu_add_absent_names(&haswell, "rtm");
    const HostCpu *const all[] = {&icelake, &haswell, &skylake, &epyc};
    expect_level(&skylake, all, 4, "Haswell", "aes avx2 sse4.2", "hle rtm");
    expect_level(&icelake, all, 4, "Haswell", "aes avx2 sse4.2", "hle rtm");
    expect_level(&haswell, all, 4, NULL, NULL, NULL); /* has nothing beyond */
    expect_level(&epyc, all, 4, NULL, NULL, NULL);    /* the only one of its maker */
    const HostCpu *const newer[] = {&icelake, &skylake};
    expect_level(&icelake, newer, 2, "Icelake", "aes avx2 avx512f sse4.2", "vaes");
    expect_level(&skylake, newer, 2, "Skylake", "aes avx2 avx512f sse4.2", "hle");
    const HostCpu *const alone[] = {&skylake};
    expect_level(&skylake, alone, 1, NULL, NULL, NULL);
    expect_level(&skylake, alone, 0, NULL, NULL, NULL);
}

static void test_nothing_in_common_or_no_model_changes_nothing(void) {
    g_auto(HostCpu) one = cpu_of("Intel", NULL, "a b"), other = cpu_of("Intel", NULL, "a"),
                    foreign = cpu_of("Intel", "x", "c"), named = cpu_of("Intel", "y", "a b");
    const HostCpu *const nameless[] = {&one, &other}, *const apart[] = {&named, &foreign},
                         *const half[] = {&named, &other};
    expect_level(&one, nameless, 2, NULL, NULL, NULL);
    expect_level(&named, apart, 2, NULL, NULL, NULL);
    expect_level(&named, half, 2, "y", "a", "b"); /* the one without a model is not taken */
}

static void test_a_level_has_one_name(void) {
    g_auto(HostCpu) one = cpu_of("Intel", "n", "a b c"), again = cpu_of("Intel", "n", "c b a"),
                    old = cpu_of("Intel", "o", "b a");
    const HostCpu *const first[] = {&one, &old}, *const second[] = {&old, &again};
    g_auto(CpuLevel) level = {0}, same = {0};
    g_assert_true(cpu_level_for(&one, first, 2, &level));
    g_assert_true(cpu_level_for(&again, second, 2, &same));
    g_assert_cmpstr(level.id, ==, same.id);
    g_assert_cmpuint(strlen(level.id), ==, 16);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cpu-baseline/older", test_the_older_one_decides);
    g_test_add_func("/cpu-baseline/neither", test_neither_may_have_all);
    g_test_add_func("/cpu-baseline/beyond", test_what_one_has_beyond);
    g_test_add_func("/cpu-baseline/generations", test_guests_get_what_generations_have_in_common);
    g_test_add_func("/cpu-baseline/nothing-in-common", test_nothing_in_common_or_no_model_changes_nothing);
    g_test_add_func("/cpu-baseline/level", test_a_level_has_one_name);
    return g_test_run();
}
