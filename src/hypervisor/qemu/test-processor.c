/* Asks the libvirt that the test program has started for itself. */
#include "hypervisor/qemu/test-processor.h"
#include <string.h>
#include "hypervisor/qemu/host-cpu.h"

/* What libvirt would give to emulated guests can be asked for anywhere, and is told in the same words. */
void test_processor_is_told(void) {
    virConnect *connection = virConnectOpen("qemu:///system");
    g_auto(HostCpu) cpu = {0};
    g_assert_nonnull(connection);
    g_assert_true(qemu_cpu_ask(connection, "qemu", &cpu));
    g_assert_nonnull(cpu.vendor);
    g_assert_nonnull(cpu.model);
    g_assert_cmpint(cpu.features, >, 20);
    g_test_message("%s, %s, %d features", cpu.vendor, cpu.model, (int)cpu.features);
    virConnectClose(connection);
}

static bool has_name(const HostCpu *cpu, const char *name) {
    for (size_t i = 0; i < cpu->feature_names.n; i++)
        if (!strcmp(cpu->feature_names.items[i], name))
            return true;
    return false;
}

/* What libvirt says that the running domain has of the processor. */
static void read_given(virDomain *domain, HostCpu *ret_cpu) {
    g_autofree char *live = virDomainGetXMLDesc(domain, 0);
    const char *begin = strstr(live, "<cpu"), *end = strstr(live, "</cpu>");
    g_assert_true(begin && end);
    g_autofree char *element = g_strndup(begin, (gsize)(end - begin) + strlen("</cpu>"));
    g_test_message("%s", element);
    g_assert_true(qemu_cpu_read(element, ret_cpu));
}

/* What libvirt would give to an emulated guest, without three features of it: a guest starts with just that.
 */
void test_common_processor_is_given(void) {
    virConnect *connection = virConnectOpen("qemu:///system");
    g_auto(HostCpu) cpu = {0}, given = {0};
    g_auto(CpuLevel) level = {0};
    g_assert_nonnull(connection);
    g_assert_true(qemu_cpu_ask(connection, "qemu", &cpu));
    cpu_level_set_vendor(&level, cpu.vendor);
    cpu_level_set_model(&level, cpu.model);
    for (size_t i = 0; i < cpu.feature_names.n; i++)
        if (i < 3)
            cpu_level_add_absent_names(&level, cpu.feature_names.items[i]);
        else
            cpu_level_add_feature_names(&level, cpu.feature_names.items[i]);
    for (size_t i = 0; i < cpu.absent_names.n; i++)
        cpu_level_add_absent_names(&level, cpu.absent_names.items[i]);
    g_autofree char *open = qemu_cpu_element(&level), *element = g_strconcat(open, "  </cpu>\n", NULL);
    g_assert_cmpint(virConnectCompareHypervisorCPU(connection, NULL, "x86_64", NULL, "qemu", element, 0), >=,
        VIR_CPU_COMPARE_IDENTICAL); /* the host has that or more */
    g_autofree char *xml =
        g_strdup_printf("<domain type='qemu'><name>lodge-test-cpu</name><memory>65536</memory>"
                        "<os><type arch='x86_64' machine='q35'>hvm</type></os>%s</domain>",
            element);
    virDomain *domain =
        virDomainCreateXML(connection, xml, VIR_DOMAIN_START_AUTODESTROY | VIR_DOMAIN_START_PAUSED);
    g_assert_nonnull(domain);
    read_given(domain, &given);
    g_assert_cmpstr(given.model, ==, level.model);
    for (size_t i = 0; i < level.feature_names.n; i++)
        g_assert_true(has_name(&given, level.feature_names.items[i]));
    for (size_t i = 0; i < level.absent_names.n; i++)
        g_assert_false(has_name(&given, level.absent_names.items[i]));
    virDomainDestroy(domain);
    virDomainFree(domain);
    virConnectClose(connection);
}
