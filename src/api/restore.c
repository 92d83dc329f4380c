/*
 * system.restore, in the order in which it happens: the file is received beside the store, checked in a
 * thread, named RESTORE_PENDING, answered; then the manager starts again and takes it up before it opens its
 * store.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "api/api-internal.h"
#include "base/file.h"

static const uint64_t largest_backup_bytes = UINT64_C(16) << 30;

struct Restore {
    ApiCall *call;
    char *folder, *path, *uuid;
    int fd;
    uint64_t received_bytes;
    Error err;
};

void restore_free(Restore *restore) {
    if (!restore)
        return;
    fd_close(&restore->fd);
    unlink(restore->path);
    g_free(restore->folder);
    g_free(restore->path);
    g_free(restore->uuid);
    error_clear(&restore->err);
    g_free(restore);
}

/* ---- received ---- */

static void receive(HttpRequest *request G_GNUC_UNUSED, const void *data, size_t length, void *user) {
    Restore *restore = user;
    if (error_is_set(&restore->err))
        return;
    restore->received_bytes += length;
    if (restore->received_bytes > largest_backup_bytes)
        error_set(&restore->err, ERROR_TOO_LARGE, NULL, "a backup has at most %" G_GUINT64_FORMAT " bytes",
            largest_backup_bytes);
    else
        fd_write_all(restore->fd, data, length, &restore->err);
    if (error_is_set(&restore->err))
        call_fail(restore->call, &restore->err);
}

bool restore_begin(ApiCall *call, Error *err) {
    const ApiOptions *options = &call->api->options;
    if (!options->backup_folder || !options->restored)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this manager cannot restore a backup");
    Restore *restore = g_new0(Restore, 1);
    g_autofree char *id = g_uuid_string_random();
    restore->call = call;
    restore->folder = g_strdup(options->backup_folder);
    restore->path = g_strdup_printf("%s/restore-%s.tmp", options->backup_folder, id);
    restore->fd = open(restore->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    call->restore = restore;
    if (restore->fd < 0)
        return error_set_errno(err, errno, "the backup cannot be kept");
    http_request_stream_body(call->request, receive, restore);
    return true;
}

/* ---- checked ---- */

static void check(void *data) {
    Restore *restore = data;
    if (fsync(restore->fd) < 0)
        error_set_errno(&restore->err, errno, "saving the backup");
    else if (!store_check_file(restore->path, &restore->uuid, &restore->err) &&
             restore->err.code == ERROR_CORRUPT) /* the caller's file, not ours */
        restore->err.code = ERROR_INVALID;
}

/* A machine that was lost is made anew by restoring its backup on an installation that holds nothing yet. */
static bool check_whose(const Restore *restore, Error *err) {
    Inventory *inventory = restore->call->api->inventory;
    bool is_empty = inventory_list(inventory, RESOURCE_HOST)->len == 0 &&
                    inventory_list(inventory, RESOURCE_VM)->len == 0;
    if (is_empty || g_strcmp0(restore->uuid, store_uuid(inventory_store(inventory))) == 0)
        return true;
    return error_set(err, ERROR_CONFLICT, NULL,
        "the backup is of another installation, and this one has hosts or VMs already");
}

static bool make_pending(const Restore *restore, Error *err) {
    g_autofree char *pending = g_build_filename(restore->folder, RESTORE_PENDING, NULL);
    if (rename(restore->path, pending) < 0)
        return error_set_errno(err, errno, "keeping the backup as %s", pending);
    return folder_sync(restore->folder, err);
}

static void checked(void *data) {
    Restore *restore = data;
    ApiCall *call = restore->call;
    const ApiOptions *options = &call->api->options;
    if (error_is_set(&restore->err))
        error_wrap(&restore->err, ERROR_NONE, "the backup is refused");
    if (!error_is_set(&restore->err) && check_whose(restore, &restore->err))
        make_pending(restore, &restore->err);
    if (error_is_set(&restore->err)) {
        call_fail(call, &restore->err);
    } else {
        call_audit(call, "ok", NULL);
        handle_system_info(call);
        options->restored(options->hook_data);
    }
    call_release(call);
}

void handle_restore(ApiCall *call) {
    g_auto(Error) err = {0};
    if (!call->restore) {
        error_set(&err, ERROR_INVALID, NULL, "the backup's bytes are the body of this request");
        call_fail(call, &err);
        return;
    }
    call_hold(call);
    if (work_pool_add(call->api->hashes, check, checked, call->restore, &err))
        return;
    call_fail(call, &err);
    call_release(call);
}
