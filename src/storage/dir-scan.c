/* Everything that lies in a folder: definitions, and debris that belongs to nothing. */
#include <string.h>
#include "base/file.h"
#include "storage/definition.h"
#include "storage/dir.h"

enum { DEBRIS_LIMIT = 10000 };

typedef struct Scan {
    const Repository *repository;
    AgentRepositoryContent *content;
    GHashTable *notes;
    GPtrArray *damaged; /* names of notes */
    GHashTable *used;   /* names in disks/ that belong to something */
} Scan;

static void debris_add(Scan *scan, const char *folder, const char *name) {
    if (scan->content->debris.n >= DEBRIS_LIMIT)
        return;
    g_autofree char *path = g_strdup_printf("%s/%s", folder, name);
    agent_repository_content_add_debris(scan->content, path);
}

static void disk_is_used(Scan *scan, const char *id, DiskFormat format) {
    if (!id)
        return;
    g_hash_table_add(scan->used, g_strdup_printf("%s.%s", id, format == DISK_FORMAT_QCOW2 ? "qcow2" : "raw"));
    g_hash_table_add(scan->used, g_strdup_printf("%s.json", id));
}

static void take_vm(Scan *scan, const void *definition) {
    const Vm *vm = definition;
    for (size_t i = 0; i < vm->disks.n; i++)
        disk_is_used(scan, vm->disks.items[i].id, vm->disks.items[i].format);
    vm_copy(agent_repository_content_add_vms(scan->content), vm);
}

static void take_template(Scan *scan, const void *definition) {
    const Template *template = definition;
    for (size_t i = 0; i < template->disks.n; i++)
        disk_is_used(scan, template->disks.items[i].id, template->disks.items[i].format);
    template_copy(agent_repository_content_add_templates(scan->content), template);
}

static bool scan_definitions(Scan *scan, const char *folder, const TypeDescriptor *type,
    void (*take)(Scan *, const void *), Error *err) {
    g_autofree char *path = g_build_filename(scan->repository->path, folder, NULL);
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(path, &names, err))
        return false;
    void *definition = g_malloc0(type->size);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *file = g_strdup_printf("%s/%s/%s.json", path, name, type->name);
        if (definition_read(file, type, definition, NULL))
            take(scan, definition);
        else
            debris_add(scan, folder, name);
        model_clear(type, definition);
    }
    g_free(definition);
    return true;
}

/* The disk of an older build lives as long as an overlay needs it. */
static void backing_is_used(Scan *scan) {
    GHashTableIter each;
    void *note;
    g_hash_table_iter_init(&each, scan->notes);
    while (g_hash_table_iter_next(&each, NULL, &note)) {
        disk_is_used(scan, ((DiskNote *)note)->backing, DISK_FORMAT_RAW);
        disk_is_used(scan, ((DiskNote *)note)->backing, DISK_FORMAT_QCOW2);
    }
}

/* While a note cannot be read nobody knows which disk it needs: then no other file is called debris. */
static bool scan_disks(Scan *scan, Error *err) {
    for (guint i = 0; i < scan->damaged->len; i++)
        debris_add(scan, "disks", scan->damaged->pdata[i]);
    if (scan->damaged->len > 0)
        return true;
    g_autofree char *path = g_build_filename(scan->repository->path, "disks", NULL);
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(path, &names, err))
        return false;
    backing_is_used(scan);
    for (guint i = 0; i < names->len; i++)
        if (!g_hash_table_contains(scan->used, g_ptr_array_index(names, i)))
            debris_add(scan, "disks", g_ptr_array_index(names, i));
    return true;
}

static bool scan_isos(Scan *scan, Error *err) {
    g_autofree char *path = g_build_filename(scan->repository->path, "isos", NULL);
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(path, &names, err))
        return false;
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (!g_str_has_suffix(name, ".json"))
            continue;
        g_autofree char *file = g_build_filename(path, name, NULL);
        g_auto(Iso) iso = {0};
        if (definition_read(file, &iso_type, &iso, NULL))
            iso_copy(agent_repository_content_add_isos(scan->content), &iso);
        else
            debris_add(scan, "isos", name);
    }
    return true;
}

bool dir_scan(const Repository *repository, AgentRepositoryContent *ret_content, Error *err) {
    if (!dir_check(repository, err))
        return false;
    g_autoptr(GHashTable) notes = NULL;
    g_autoptr(GPtrArray) damaged = g_ptr_array_new_with_free_func(g_free);
    if (!disk_notes_read(repository, damaged, &notes, err))
        return false;
    g_autoptr(GHashTable) used = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_auto(AgentRepositoryContent) content = {0};
    Scan scan = {
        .repository = repository, .content = &content, .notes = notes, .damaged = damaged, .used = used};
    repository_copy(agent_repository_content_put_repository(&content), repository);
    repository_dir.probe(&content.repository);
    if (!scan_definitions(&scan, "vms", &vm_type, take_vm, err) ||
        !scan_definitions(&scan, "templates", &template_type, take_template, err) || !scan_isos(&scan, err) ||
        !scan_disks(&scan, err))
        return false;
    *ret_content = content;
    content = (AgentRepositoryContent){0};
    return true;
}
