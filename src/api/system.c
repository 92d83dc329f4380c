/* The installation itself: what it is, its backup; consoles, which the manager connects. */
#include "api/api-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

/* Resident pages, from proc(5), statm. */
static uint64_t memory_in_use(void) {
    g_autofree char *text = NULL;
    guint64 total = 0, resident = 0;
    if (!file_read("/proc/self/statm", 256, &text, NULL, NULL))
        return 0;
    if (sscanf(text, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT, &total, &resident) != 2)
        return 0;
    return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

void handle_system_info(ApiCall *call) {
    Api *api = call->api;
    Store *store = inventory_store(api->inventory);
    g_auto(SystemInfo) info = {0};
    system_info_set_version(&info, LODGE_VERSION);
    system_info_set_instance(&info, api->options.instance);
    system_info_set_manager(&info, store_uuid(store));
    system_info_set_epoch(&info, inventory_epoch(api->inventory));
    system_info_set_hosts(&info, inventory_list(api->inventory, RESOURCE_HOST)->len);
    system_info_set_vms(&info, inventory_list(api->inventory, RESOURCE_VM)->len);
    system_info_set_ca_fingerprint(&info, api->options.ca_fingerprint);
    system_info_set_started(&info, api->started_ns);
    system_info_set_store_epoch(&info, store_epoch(store));
    g_auto(StoreRange) range = {0};
    if (store_range(store, "pool/", NULL, 1, &range, NULL)) /* any read tells the revision */
        system_info_set_revision(&info, range.revision);
    if (api->options.fill_kit_state)
        api->options.fill_kit_state(system_info_put_recovery_kit(&info), api->options.hook_data);
    uint64_t memory = memory_in_use();
    if (memory)
        system_info_set_memory(&info, memory);
    g_autoptr(json_t) json = system_info_encode(&info, MODEL_ENCODE_PUBLIC);
    call_reply_json(call, 200, json, NULL, 0);
}

/* A backup: the store writes it beside, then the file is sent without its name. */

typedef struct Backup {
    ApiCall *call; /* held */
    char *path;
} Backup;

static bool open_backup(const char *path, int *ret_fd, uint64_t *ret_length, Error *err) {
    fd_auto int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "cannot read the backup");
    *ret_length = (uint64_t)status.st_size;
    *ret_fd = fd_steal(&fd);
    return true;
}

static void backup_written(int64_t revision, const Error *store_err, void *data) {
    Backup *backup = data;
    ApiCall *call = backup->call;
    g_auto(Error) err = {0};
    int fd = -1;
    uint64_t length = 0;
    if (store_err)
        error_copy(&err, store_err);
    else
        open_backup(backup->path, &fd, &length, &err);
    unlink(backup->path);
    if (error_is_set(&err)) {
        call_fail(call, &err);
    } else {
        call_audit(call, "ok", NULL);
        g_autofree char *name =
            g_strdup_printf("attachment; filename=\"lodge-%" G_GINT64_FORMAT ".backup\"", revision);
        HttpHeader headers[] = {{"Content-Type", "application/octet-stream"}, {"Content-Disposition", name},
            {"Cache-Control", "no-store"}, call_request_id_header(call)};
        http_reply_fd(call->request, 200, headers, G_N_ELEMENTS(headers), fd, 0, length);
    }
    call_release(call);
    g_free(backup->path);
    g_free(backup);
}

void handle_backup(ApiCall *call) {
    g_auto(Error) err = {0};
    Api *api = call->api;
    if (!api->options.backup_folder) {
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager has no folder for backups");
        call_fail(call, &err);
        return;
    }
    Backup *backup = g_new0(Backup, 1);
    backup->call = call;
    g_autofree char *id = g_uuid_string_random();
    backup->path = g_strdup_printf("%s/backup-%s.tmp", api->options.backup_folder, id);
    call_hold(call);
    if (store_backup(inventory_store(api->inventory), backup->path, backup_written, backup, &err))
        return;
    call_fail(call, &err);
    call_release(call);
    g_free(backup->path);
    g_free(backup);
}

void handle_console(ApiCall *call) {
    g_auto(Error) err = {0};
    const ApiOptions *options = &call->api->options;
    const Object *vm = call_object(call, &err);
    if (vm && !options->open_console)
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager connects no consoles");
    else if (vm && !http_request_is_websocket(call->request))
        error_set(&err, ERROR_INVALID, NULL, "a console needs a WebSocket");
    else if (vm && options->open_console(call->request, vm, options->hook_data, &err))
        call_audit(call, "ok", NULL);
    if (error_is_set(&err))
        call_fail(call, &err);
}
