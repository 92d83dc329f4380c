#include "engine/cpu-baseline.h"
#include <string.h>

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
