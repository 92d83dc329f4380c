#include "engine/cpu-baseline.h"
#include <string.h>

enum { LEVEL_ID_LENGTH = 16 };

static GHashTable *names_of(const HostCpu *cpu) {
    GHashTable *names = g_hash_table_new(g_str_hash, g_str_equal);
    for (size_t i = 0; i < cpu->feature_names.n; i++)
        g_hash_table_add(names, cpu->feature_names.items[i]);
    return names;
}

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* In order, each once; borrowed from the processor. */
static GPtrArray *sorted_names(const HostCpu *cpu) {
    g_autoptr(GHashTable) names = names_of(cpu);
    GPtrArray *sorted = g_ptr_array_new();
    GHashTableIter each;
    void *name;
    g_hash_table_iter_init(&each, names);
    while (g_hash_table_iter_next(&each, &name, NULL))
        g_ptr_array_add(sorted, name);
    g_ptr_array_sort(sorted, compare);
    return sorted;
}

/* Takes away what is in `names`, or (`keeps`) what is not. */
static void filter(GPtrArray *sorted, GHashTable *names, bool keeps) {
    guint n = 0;
    for (guint i = 0; i < sorted->len; i++)
        if (g_hash_table_contains(names, sorted->pdata[i]) == keeps)
            sorted->pdata[n++] = sorted->pdata[i];
    g_ptr_array_set_size(sorted, (int)n);
}

static const char *common_vendor(const HostCpu *const *cpus, size_t n_cpus) {
    for (size_t i = 1; i < n_cpus; i++)
        if (g_strcmp0(cpus[i]->vendor, cpus[0]->vendor) != 0)
            return NULL;
    return cpus[0]->vendor;
}

static const char *model_without_more(const HostCpu *const *cpus, size_t n_cpus, guint n_features) {
    for (size_t i = 0; i < n_cpus; i++) {
        g_autoptr(GHashTable) names = names_of(cpus[i]);
        if (g_hash_table_size(names) == n_features)
            return cpus[i]->model;
    }
    return NULL;
}

void cpu_baseline(const HostCpu *const *cpus, size_t n_cpus, HostCpu *ret_baseline) {
    *ret_baseline = (HostCpu){0};
    if (n_cpus == 0)
        return;
    g_autoptr(GPtrArray) common = sorted_names(cpus[0]);
    for (size_t i = 1; i < n_cpus; i++) {
        g_autoptr(GHashTable) names = names_of(cpus[i]);
        filter(common, names, true);
    }
    for (guint i = 0; i < common->len; i++)
        host_cpu_add_feature_names(ret_baseline, common->pdata[i]);
    host_cpu_set_features(ret_baseline, common->len);
    host_cpu_set_vendor(ret_baseline, common_vendor(cpus, n_cpus));
    if (ret_baseline->vendor)
        host_cpu_set_model(ret_baseline, model_without_more(cpus, n_cpus, common->len));
}

/* ---- what guests are given ---- */

/* Borrowed; in `cpus`' order. */
static GPtrArray *of_same_vendor(const HostCpu *own, const HostCpu *const *cpus, size_t n_cpus) {
    GPtrArray *same = g_ptr_array_new();
    for (size_t i = 0; i < n_cpus; i++)
        if (g_strcmp0(cpus[i]->vendor, own->vendor) == 0)
            g_ptr_array_add(same, (void *)(uintptr_t)cpus[i]);
    return same;
}

/* Of two with as little beyond: the one that the guest starts on, whose hypervisor knows its model for
 * certain, else by name. */
static const HostCpu *base_of(const HostCpu *own, const GPtrArray *cpus, const HostCpu *baseline) {
    const HostCpu *found = own->model ? own : NULL;
    g_auto(GStrv) of_found = cpu_beyond(own, baseline);
    guint least = g_strv_length(of_found);
    for (guint i = 0; i < cpus->len; i++) {
        const HostCpu *cpu = cpus->pdata[i];
        g_auto(GStrv) beyond = cpu_beyond(cpu, baseline);
        guint n = g_strv_length(beyond);
        bool is_better =
            !found || n < least || (n == least && found != own && g_strcmp0(cpu->model, found->model) < 0);
        if (!cpu->model || !is_better)
            continue;
        found = cpu;
        least = n;
    }
    return found;
}

static char *level_id(const CpuLevel *level) {
    g_autoptr(json_t) json = cpu_level_encode(level, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json),
                    *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    return g_strndup(sum, LEVEL_ID_LENGTH);
}

static void fill_level(const HostCpu *base, const HostCpu *baseline, CpuLevel *level) {
    g_autoptr(GHashTable) common = names_of(baseline);
    g_autoptr(GPtrArray) absent = sorted_names(base);
    filter(absent, common, false);
    for (size_t i = 0; i < base->absent_names.n; i++)
        if (!g_hash_table_contains(common, base->absent_names.items[i]))
            g_ptr_array_add(absent, base->absent_names.items[i]);
    g_ptr_array_sort(absent, compare);
    cpu_level_set_vendor(level, base->vendor);
    cpu_level_set_model(level, base->model);
    cpu_level_set_features(level, (int64_t)baseline->feature_names.n);
    for (size_t i = 0; i < baseline->feature_names.n; i++)
        cpu_level_add_feature_names(level, baseline->feature_names.items[i]);
    for (guint i = 0; i < absent->len; i++)
        cpu_level_add_absent_names(level, absent->pdata[i]);
    g_autofree char *id = level_id(level);
    cpu_level_set_id(level, id);
}

bool cpu_level_for(const HostCpu *own, const HostCpu *const *cpus, size_t n_cpus, CpuLevel *ret_level) {
    g_autoptr(GPtrArray) same = of_same_vendor(own, cpus, n_cpus);
    g_auto(HostCpu) baseline = {0};
    cpu_baseline((const HostCpu *const *)same->pdata, same->len, &baseline);
    g_auto(GStrv) beyond = cpu_beyond(own, &baseline);
    const HostCpu *base = base_of(own, same, &baseline);
    if (same->len == 0 || !beyond[0] || baseline.feature_names.n == 0 || !base)
        return false;
    *ret_level = (CpuLevel){0};
    fill_level(base, &baseline, ret_level);
    return true;
}

void cpu_of_level(const CpuLevel *level, HostCpu *ret_cpu) {
    *ret_cpu = (HostCpu){0};
    host_cpu_set_vendor(ret_cpu, level->vendor);
    host_cpu_set_model(ret_cpu, level->model);
    host_cpu_set_features(ret_cpu, level->features);
    for (size_t i = 0; i < level->feature_names.n; i++)
        host_cpu_add_feature_names(ret_cpu, level->feature_names.items[i]);
}

char **cpu_beyond(const HostCpu *cpu, const HostCpu *other) {
    g_autoptr(GPtrArray) sorted = sorted_names(cpu);
    g_autoptr(GHashTable) names = names_of(other);
    filter(sorted, names, false);
    g_ptr_array_add(sorted, NULL);
    return g_strdupv((char **)sorted->pdata);
}

char *cpu_names_text(char *const *names, size_t most) {
    g_autoptr(GString) text = g_string_new(NULL);
    size_t n = 0;
    for (; names[n]; n++)
        if (n < most)
            g_string_append_printf(text, "%s%s", n ? ", " : "", names[n]);
    if (n > most)
        g_string_append_printf(text, " and %zu more", n - most);
    return g_string_free(g_steal_pointer(&text), FALSE);
}
