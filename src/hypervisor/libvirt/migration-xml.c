/* Read and written again element by element; a disk is put off until its alias is known, which comes last. */
#include "hypervisor/libvirt/migration-xml.h"
#include <string.h>
#include "hypervisor/libvirt/domain.h"

typedef struct Rewriting {
    const MigrationPaths *paths;
    GString *out;
    GPtrArray *aliases; /* of the disks, in their order; NULL: none */
    guint disk;         /* the next one */
    int depth, disk_depth, skip_depth;
    bool is_counting; /* first only the aliases are read */
    Error *err;
} Rewriting;

static const char *value_of(const char **names, const char **values, const char *wanted) {
    for (size_t i = 0; names[i]; i++)
        if (!strcmp(names[i], wanted))
            return values[i];
    return NULL;
}

/* The disk of ours that libvirt's alias stands for; NULL: a medium of its own, or none. */
static const HypervisorDisk *disk_of(const Rewriting *self) {
    const char *alias = self->disk_depth && self->disk - 1 < self->aliases->len
                            ? g_ptr_array_index(self->aliases, self->disk - 1)
                            : NULL;
    for (size_t i = 0; alias && i < self->paths->vm->n_disks; i++) {
        g_autofree char *own = domain_alias(self->paths->vm->disks[i].disk->id);
        if (!strcmp(own, alias))
            return &self->paths->vm->disks[i];
    }
    return NULL;
}

static bool is_path(const char *path, const char *here, const char *there) {
    return here && there && strcmp(path, here) == 0;
}

/* Of the same file on the other host; newly allocated. */
static char *moved_path(const Rewriting *self, const char *path) {
    const HypervisorVm *here = self->paths->here, *there = self->paths->vm;
    if (here && is_path(path, here->seed_path, there->seed_path))
        return g_strdup(there->seed_path);
    if (here && is_path(path, here->kernel_path, there->kernel_path))
        return g_strdup(there->kernel_path);
    if (here && is_path(path, here->initrd_path, there->initrd_path))
        return g_strdup(there->initrd_path);
    size_t length = strlen(self->paths->state_folder);
    if (strncmp(path, self->paths->state_folder, length) == 0 && path[length] == '/')
        return g_strconcat(self->paths->state_folder_there, path + length, NULL);
    return g_strdup(path);
}

/* Of the same network on the other host; newly allocated. */
static char *moved_bridge(const Rewriting *self, const char *bridge) {
    const HypervisorVm *here = self->paths->here, *there = self->paths->vm;
    for (size_t i = 0; here && i < here->n_nics; i++) {
        const Network *own = here->nics[i].network;
        if (!own || own->kind != NETWORK_KIND_BRIDGE || g_strcmp0(own->bridge, bridge) != 0)
            continue;
        for (size_t k = 0; k < there->n_nics; k++)
            if (there->nics[k].network && g_strcmp0(there->nics[k].network->id, own->id) == 0)
                return g_strdup(there->nics[k].network->bridge);
    }
    return g_strdup(bridge);
}

static char *new_value(const Rewriting *self, const char *element, const char *name, const char *value) {
    const HypervisorDisk *disk = disk_of(self);
    bool is_own = self->disk_depth && self->depth == self->disk_depth + 1;
    if (is_own && disk && disk->path && !strcmp(element, "source") && !strcmp(name, "file"))
        return g_strdup(disk->path);
    if (is_own && disk && !strcmp(element, "driver") && !strcmp(name, "type"))
        return g_strdup(disk->disk->format == DISK_FORMAT_RAW ? "raw" : "qcow2");
    if (!self->disk_depth && !strcmp(element, "source") && !strcmp(name, "bridge"))
        return moved_bridge(self, value);
    return moved_path(self, value);
}

static void starts(GMarkupParseContext *context, const char *element, const char **names, const char **values,
    void *data, GError **error) {
    (void)context, (void)error;
    Rewriting *self = data;
    self->depth++;
    if (self->skip_depth)
        return;
    if (!strcmp(element, "disk") && !self->disk_depth) {
        self->disk_depth = self->depth;
        self->disk++;
        if (self->is_counting)
            g_ptr_array_add(self->aliases, NULL);
    }
    if (self->is_counting) {
        if (!strcmp(element, "alias") && self->disk_depth && self->depth == self->disk_depth + 1)
            self->aliases->pdata[self->disk - 1] = g_strdup(value_of(names, values, "name"));
        return;
    }
    /* A copy is whole: it has nothing below it. */
    if (!strcmp(element, "backingStore") && disk_of(self) && !self->paths->same_disks) {
        self->skip_depth = self->depth;
        return;
    }
    /* Whether libvirt owns the files is a matter of where they lie. */
    if (!strcmp(element, "seclabel") && self->disk_depth && !self->paths->vm->shares_files) {
        self->skip_depth = self->depth;
        return;
    }
    g_string_append_printf(self->out, "<%s", element);
    for (size_t i = 0; names[i]; i++) {
        g_autofree char *value = new_value(self, element, names[i], values[i]);
        domain_add(self->out, " %s='%s'", names[i], value);
    }
    g_string_append_c(self->out, '>');
    bool was_shared = self->paths->here && self->paths->here->shares_files;
    if (!strcmp(element, "source") && self->disk_depth && self->depth == self->disk_depth + 1 &&
        self->paths->vm->shares_files && !was_shared)
        g_string_append(self->out, "<seclabel model='dac' relabel='no'></seclabel>");
}

static void ends(GMarkupParseContext *context, const char *element, void *data, GError **error) {
    (void)context, (void)error;
    Rewriting *self = data;
    if (!self->skip_depth && !self->is_counting)
        g_string_append_printf(self->out, "</%s>", element);
    if (self->skip_depth == self->depth)
        self->skip_depth = 0;
    if (self->disk_depth == self->depth)
        self->disk_depth = 0;
    self->depth--;
}

static void text_comes(
    GMarkupParseContext *context, const char *text, size_t length, void *data, GError **error) {
    (void)context, (void)error;
    Rewriting *self = data;
    if (self->skip_depth || self->is_counting)
        return;
    g_autofree char *copy = g_strndup(text, length), *moved = moved_path(self, copy);
    domain_add(self->out, "%s", moved);
}

static bool parse(Rewriting *self, const char *xml, Error *err) {
    static const GMarkupParser parser = {.start_element = starts, .end_element = ends, .text = text_comes};
    g_autoptr(GMarkupParseContext) context = g_markup_parse_context_new(&parser, 0, self, NULL);
    g_autoptr(GError) fault = NULL;
    self->depth = self->disk_depth = self->skip_depth = 0;
    self->disk = 0;
    return (g_markup_parse_context_parse(context, xml, -1, &fault) &&
               g_markup_parse_context_end_parse(context, &fault)) ||
           error_set(err, ERROR_HYPERVISOR, NULL, "libvirt's definition of the VM is not understood: %s",
               fault->message);
}

static bool has_all_disks(const Rewriting *self, Error *err) {
    for (size_t i = 0; i < self->paths->vm->n_disks; i++) {
        const Disk *disk = self->paths->vm->disks[i].disk;
        g_autofree char *alias = domain_alias(disk->id);
        bool is_there = disk->detached || !self->paths->vm->disks[i].path; /* an empty drive may be none */
        for (guint k = 0; k < self->aliases->len && !is_there; k++)
            is_there = g_strcmp0(g_ptr_array_index(self->aliases, k), alias) == 0;
        if (!is_there)
            return error_set(err, ERROR_HYPERVISOR, NULL, "the VM runs without its disk %s", disk->name);
    }
    return true;
}

char *migration_xml(const char *running, const MigrationPaths *paths, Error *err) {
    g_autoptr(GString) out = g_string_new(NULL);
    g_autoptr(GPtrArray) aliases = g_ptr_array_new_with_free_func(g_free);
    Rewriting self = {.paths = paths, .out = out, .aliases = aliases, .is_counting = true};
    if (!parse(&self, running, err) || !has_all_disks(&self, err))
        return NULL;
    self.is_counting = false;
    if (!parse(&self, running, err))
        return NULL;
    return g_string_free(g_steal_pointer(&out), FALSE);
}
