/* Definitions and disk notes as JSON files. */
#include "storage/definition.h"
#include <dirent.h>
#include <errno.h>
#include <string.h>
#include "base/file.h"

enum { FOLDER_LIMIT = 200000 };

static bool json_file_write(const char *path, const json_t *json, Error *err) {
    g_autofree char *text = json_to_pretty_text(json);
    return file_replace(path, text, strlen(text), 0600, err);
}

static bool json_file_read(const char *path, json_t **ret_json, Error *err) {
    g_autofree char *text = NULL;
    size_t length = 0;
    if (!file_read(path, DEFINITION_LIMIT, &text, &length, err))
        return false;
    g_autoptr(json_t) json = json_parse(text, length, err);
    if (!json)
        return error_wrap(err, ERROR_CORRUPT, "%s is damaged", path);
    const json_t *format = json_object_get(json, "format");
    if (!json_is_integer(format))
        return error_set(err, ERROR_CORRUPT, NULL, "%s has no format number", path);
    if (json_integer_value(format) > REPOSITORY_FORMAT)
        return error_set(err, ERROR_NEWER_FORMAT, NULL,
            "%s has format %" JSON_INTEGER_FORMAT ", this version reads up to %d", path,
            json_integer_value(format), REPOSITORY_FORMAT);
    *ret_json = g_steal_pointer(&json);
    return true;
}

bool definition_write(const char *path, const TypeDescriptor *type, const void *object, Error *err) {
    g_autoptr(json_t) definition = model_encode(type, object, MODEL_ENCODE_REPLICA);
    g_autoptr(json_t) json = json_pack("{si}", "format", REPOSITORY_FORMAT);
    json_object_update(json, definition);
    return json_file_write(path, json, err);
}

bool definition_read(const char *path, const TypeDescriptor *type, void *object, Error *err) {
    memset(object, 0, type->size);
    g_autoptr(json_t) json = NULL;
    if (!json_file_read(path, &json, err))
        return false;
    if (!model_decode(type, json, MODEL_STORED, object, err))
        return error_wrap(err, ERROR_CORRUPT, "%s is damaged", path);
    return true;
}

/* True unless it is another error than that nothing is there. */
static bool may_be_missing(bool is_read, Error *take_failure, Error *err) {
    if (is_read)
        return true;
    if (take_failure->code != ERROR_NOT_FOUND) {
        error_move(err, take_failure);
        return false;
    }
    error_clear(take_failure);
    return true;
}

bool definition_read_any(const char *path, const TypeDescriptor *type, void *object, Error *err) {
    Error failure = {0};
    bool is_read = definition_read(path, type, object, &failure);
    return may_be_missing(is_read, &failure, err);
}

static char *note_path(const Repository *repository, const char *disk_id) {
    return g_strdup_printf("%s/disks/%s.json", repository->path, disk_id);
}

void disk_note_clear(DiskNote *note) {
    g_clear_pointer(&note->vm, g_free);
    g_clear_pointer(&note->template, g_free);
    g_clear_pointer(&note->backing, g_free);
}

static void note_free(void *data) {
    disk_note_clear(data);
    g_free(data);
}

bool disk_note_write(const Repository *repository, const char *disk_id, const DiskNote *note, Error *err) {
    g_autofree char *path = note_path(repository, disk_id);
    g_autoptr(json_t) json = json_pack("{si ss ss* ss* ss*}", "format", REPOSITORY_FORMAT, "id", disk_id,
        "vm", note->vm, "template", note->template, "backing", note->backing);
    return json_file_write(path, json, err);
}

bool disk_note_read(const Repository *repository, const char *disk_id, DiskNote *ret_note, Error *err) {
    static const char *const members[] = {"vm", "template", "backing"};
    g_autofree char *path = note_path(repository, disk_id);
    g_autoptr(json_t) json = NULL;
    if (!json_file_read(path, &json, err))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
        if (json_object_get(json, members[i]) && !json_text_at(json, members[i]))
            return error_set(err, ERROR_CORRUPT, NULL, "%s is damaged: %s is no text", path, members[i]);
    *ret_note = (DiskNote){.vm = g_strdup(json_text_at(json, "vm")),
        .template = g_strdup(json_text_at(json, "template")),
        .backing = g_strdup(json_text_at(json, "backing"))};
    return true;
}

bool disk_note_read_any(const Repository *repository, const char *disk_id, DiskNote *ret_note, Error *err) {
    Error failure = {0};
    *ret_note = (DiskNote){0};
    bool is_read = disk_note_read(repository, disk_id, ret_note, &failure);
    return may_be_missing(is_read, &failure, err);
}

static bool note_take_in(
    const Repository *repository, const char *name, GPtrArray *damaged, GHashTable *notes, Error *err) {
    g_autofree char *id = g_strndup(name, strlen(name) - strlen(".json"));
    g_auto(Error) failure = {0};
    DiskNote note = {0};
    if (disk_note_read(repository, id, &note, &failure)) {
        g_hash_table_replace(notes, g_steal_pointer(&id), g_memdup2(&note, sizeof note));
        return true;
    }
    if (failure.code == ERROR_NOT_FOUND) /* removed since it was listed */
        return true;
    if (damaged && (failure.code == ERROR_CORRUPT || failure.code == ERROR_NEWER_FORMAT)) {
        g_ptr_array_add(damaged, g_strdup(name));
        return true;
    }
    error_move(err, &failure);
    return false;
}

bool disk_notes_read(const Repository *repository, GPtrArray *damaged, GHashTable **ret_notes, Error *err) {
    g_autofree char *folder = g_build_filename(repository->path, "disks", NULL);
    g_autoptr(GPtrArray) names = NULL;
    if (!folder_list(folder, &names, err))
        return false;
    g_autoptr(GHashTable) notes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, note_free);
    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        if (g_str_has_suffix(name, ".json") && !note_take_in(repository, name, damaged, notes, err))
            return false;
    }
    *ret_notes = g_steal_pointer(&notes);
    return true;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool folder_list(const char *path, GPtrArray **ret_names, Error *err) {
    DIR *folder = opendir(path);
    if (!folder)
        return error_set_errno(err, errno, "reading the folder %s", path);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    bool is_too_long = false;
    for (struct dirent *entry; !is_too_long && (entry = readdir(folder));) {
        if (entry->d_name[0] != '.')
            g_ptr_array_add(names, g_strdup(entry->d_name));
        is_too_long = names->len > FOLDER_LIMIT;
    }
    closedir(folder);
    if (is_too_long)
        return error_set(err, ERROR_TOO_LARGE, NULL, "%s holds more than %d files", path, FOLDER_LIMIT);
    g_ptr_array_sort(names, compare_names);
    *ret_names = g_steal_pointer(&names);
    return true;
}
