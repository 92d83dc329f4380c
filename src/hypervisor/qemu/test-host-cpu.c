/* Proves what is read of a host's processor out of libvirt's words. */
#include "hypervisor/qemu/host-cpu.h"
#include <string.h>

static const char capabilities[] =
    "<domainCapabilities>\n  <cpu>\n"
    "    <mode name='host-passthrough' supported='yes'>\n      <enum name='hostPassthroughMigratable'/>\n    "
    "</mode>\n"
    "    <mode name='host-model' supported='yes'>\n"
    "      <model fallback='forbid'>Skylake-Client-IBRS</model>\n      <vendor>Intel</vendor>\n"
    "      <feature policy='require' name='ss'/>\n      <feature policy='disable' name='hle'/>\n    </mode>\n"
    "    <mode name='custom' supported='yes'>\n      <model usable='yes'>qemu64</model>\n    </mode>\n"
    "  </cpu>\n</domainCapabilities>\n";

static const char expanded[] =
    "<cpu mode='custom' match='exact'>\n  <model fallback='forbid'>Skylake-Client-IBRS</model>\n"
    "  <vendor>Intel</vendor>\n  <feature policy='require' name='ss'/>\n"
    "  <feature policy='require' name='avx2'/>\n  <feature policy='disable' name='hle'/>\n</cpu>\n";

static void test_the_definition_is_found(void) {
    g_autofree char *definition = qemu_cpu_definition(capabilities);
    g_assert_nonnull(definition);
    g_assert_true(g_str_has_prefix(definition, "<cpu mode='custom' match='exact'>"));
    g_assert_true(g_str_has_suffix(definition, "</cpu>"));
    g_assert_nonnull(strstr(definition, "Skylake-Client-IBRS"));
    g_assert_null(strstr(definition, "qemu64"));
    g_assert_null(strstr(definition, "mode name"));
}

static void test_there_may_be_none(void) {
    g_assert_null(qemu_cpu_definition("<cpu><mode name='host-model' supported='no'/></cpu>"));
    g_assert_null(qemu_cpu_definition("<cpu><mode name='host-model' supported='yes'>"));
    g_assert_null(qemu_cpu_definition(""));
}

static void test_features_are_read(void) {
    g_auto(HostCpu) cpu = {0};
    g_assert_true(qemu_cpu_read(expanded, &cpu));
    g_assert_cmpstr(cpu.vendor, ==, "Intel");
    g_assert_cmpstr(cpu.model, ==, "Skylake-Client-IBRS");
    g_assert_cmpint(cpu.features, ==, 2);
    g_assert_cmpstr(cpu.feature_names.items[0], ==, "ss");
    g_assert_cmpstr(cpu.feature_names.items[1], ==, "avx2");
    g_assert_cmpuint(cpu.absent_names.n, ==, 1);
    g_assert_cmpstr(cpu.absent_names.items[0], ==, "hle");
}

static void test_what_is_broken_is_no_processor(void) {
    static const char *const broken[] = {"", "<cpu>", "<cpu/>", "<cpu><model>a</model></cpu>",
        "<cpu><feature policy='disable' name='a'/></cpu>", "<cpu><feature name='a'/>"};
    for (size_t i = 0; i < G_N_ELEMENTS(broken); i++) {
        g_auto(HostCpu) cpu = {0};
        g_assert_false(qemu_cpu_read(broken[i], &cpu));
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/host-cpu/definition", test_the_definition_is_found);
    g_test_add_func("/host-cpu/none", test_there_may_be_none);
    g_test_add_func("/host-cpu/features", test_features_are_read);
    g_test_add_func("/host-cpu/broken", test_what_is_broken_is_no_processor);
    return g_test_run();
}
