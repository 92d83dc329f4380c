/* The format: https://libvirt.org/formatdomaincaps.html and https://libvirt.org/formatdomain.html, "CPU
 * model". */
#include "hypervisor/qemu/host-cpu.h"
#include <string.h>
#include "hypervisor/libvirt/domain.h"
#include "hypervisor/libvirt/xml-read.h"

enum { MOST_FEATURES = 1024, LONGEST_NAME = 64 };

char *qemu_cpu_definition(const char *capabilities) {
    static const char begin[] = "<mode name='host-model' supported='yes'>", end[] = "</mode>";
    const char *first = strstr(capabilities, begin);
    const char *last = first ? strstr(first, end) : NULL;
    if (!last)
        return NULL;
    first += strlen(begin);
    return g_strdup_printf("<cpu mode='custom' match='exact'>%.*s</cpu>", (int)(last - first), first);
}

static const char *value_of(const char **names, const char **values, const char *wanted) {
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], wanted))
            return values[i];
    return NULL;
}

static void element_starts(GMarkupParseContext *context, const char *element, const char **names,
    const char **values, void *data, GError **error) {
    (void)context, (void)error;
    HostCpu *cpu = data;
    if (strcmp(element, "feature") != 0)
        return;
    const char *policy = value_of(names, values, "policy"), *name = value_of(names, values, "name");
    bool is_there = g_strcmp0(policy, "disable") != 0 && g_strcmp0(policy, "forbid") != 0;
    if (!name || strlen(name) > LONGEST_NAME)
        return;
    if (is_there && cpu->feature_names.n < MOST_FEATURES)
        host_cpu_add_feature_names(cpu, name);
    if (!is_there && cpu->absent_names.n < MOST_FEATURES)
        host_cpu_add_absent_names(cpu, name);
}

bool qemu_cpu_read(const char *definition, HostCpu *ret_cpu) {
    static const GMarkupParser parser = {.start_element = element_starts};
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(&parser, 0, ret_cpu, NULL);
    bool is_good = g_markup_parse_context_parse(context, definition, -1, NULL) &&
                   g_markup_parse_context_end_parse(context, NULL) && ret_cpu->feature_names.n > 0;
    g_autofree char *vendor = xml_text(definition, "vendor"), *model = xml_text(definition, "model");
    host_cpu_set_vendor(ret_cpu, vendor);
    host_cpu_set_model(ret_cpu, model);
    host_cpu_set_features(ret_cpu, (int64_t)ret_cpu->feature_names.n);
    return is_good;
}

/* `partial`: libvirt starts it only where the host has all of this. What QEMU really gives it is in the
 * definition of the running domain then, and each host that it moves to has to give the same. */
char *qemu_cpu_element(const CpuLevel *level) {
    GString *xml = g_string_new(NULL);
    domain_add(xml,
        "  <cpu mode='custom' match='exact' check='partial'>\n    <model fallback='forbid'>%s</model>\n",
        level->model);
    if (level->vendor)
        domain_add(xml, "    <vendor>%s</vendor>\n", level->vendor);
    for (size_t i = 0; i < level->feature_names.n; i++)
        domain_add(xml, "    <feature policy='require' name='%s'/>\n", level->feature_names.items[i]);
    for (size_t i = 0; i < level->absent_names.n; i++)
        domain_add(xml, "    <feature policy='disable' name='%s'/>\n", level->absent_names.items[i]);
    return g_string_free(xml, FALSE);
}

bool qemu_cpu_ask(virConnect *connection, const char *kind, HostCpu *ret_cpu) {
    g_autofree char *all = virConnectGetDomainCapabilities(connection, NULL, "x86_64", "q35", kind, 0);
    g_autofree char *definition = all ? qemu_cpu_definition(all) : NULL;
    const char *definitions[] = {definition};
    g_autofree char *expanded = definition
                                    ? virConnectBaselineHypervisorCPU(connection, NULL, "x86_64", NULL, kind,
                                          definitions, 1, VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES)
                                    : NULL;
    return expanded && qemu_cpu_read(expanded, ret_cpu);
}
