/* Online backup by SQLite's backup interface (https://www.sqlite.org/backup.html), and restore. */
#include "store/sqlite/backup.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "store/sqlite/lock.h"
#include "store/sqlite/schema.h"

enum { PAGES_A_STEP = 1024 };

/* Makes it empty and private; SQLite takes an empty file for a new database and keeps its mode. */
static bool make_file(const char *path, Error *err) {
    fd_auto int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 || error_set_errno(err, errno, "making %s", path);
}

static bool sync_file(const char *path, Error *err) {
    fd_auto int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) < 0)
        return error_set_errno(err, errno, "saving %s", path);
    return true;
}

static bool copy_pages(SqliteConnection *from, SqliteConnection *to, const Cancel *cancel, Error *err) {
    sqlite3_backup *backup = sqlite3_backup_init(to->db, "main", from->db, "main");
    if (!backup)
        return connection_fail(to, sqlite3_errcode(to->db), err);
    int result = SQLITE_OK;
    bool is_wanted = true;
    while (result == SQLITE_OK && is_wanted) {
        result = sqlite3_backup_step(backup, PAGES_A_STEP);
        is_wanted = cancel_check(cancel, err);
    }
    int end = sqlite3_backup_finish(backup);
    if (!is_wanted)
        return false;
    return result == SQLITE_DONE || connection_fail(to, end != SQLITE_OK ? end : result, err);
}

/* The open read transaction keeps one snapshot, so that commits meanwhile do not make the copy start again.
 */
static bool copy_snapshot(SqliteConnection *from, SqliteConnection *to, const Cancel *cancel, Error *err) {
    int64_t revision = 0;
    if (!connection_run(from, "BEGIN", err) || !meta_get(from, "revision", &revision, err) ||
        !copy_pages(from, to, cancel, err))
        return false;
    /* WAL is a mark in the header; without it the copy is one file that any version opens. */
    return connection_run(from, "ROLLBACK", err) && connection_run(to, "PRAGMA journal_mode = DELETE", err) &&
           schema_check(to, err) && schema_check_pages(to, err);
}

static bool copy_store(const char *source, const char *target, const Cancel *cancel, Error *err) {
    g_autoptr(SqliteConnection) from = connection_open(source, SQLITE_OPEN_READWRITE, err);
    g_autoptr(SqliteConnection) to = from ? connection_open(target, SQLITE_OPEN_READWRITE, err) : NULL;
    return to && copy_snapshot(from, to, cancel, err);
}

static char *temporary_name(const char *path) {
    return g_strdup_printf("%s.tmp-%d-%08x", path, (int)getpid(), g_random_int());
}

bool backup_write(const char *source, const char *target, const Cancel *cancel, Error *err) {
    g_autofree char *folder = g_path_get_dirname(target);
    g_autofree char *temporary = temporary_name(target);
    if (access(target, F_OK) == 0)
        return error_set(err, ERROR_EXISTS, NULL, "%s exists already", target);
    if (!make_file(temporary, err))
        return false;
    bool is_copied = copy_store(source, temporary, cancel, err) && sync_file(temporary, err);
    if (is_copied && renameat2(AT_FDCWD, temporary, AT_FDCWD, target, RENAME_NOREPLACE) < 0)
        is_copied = error_set_errno(err, errno, "making %s", target);
    if (!is_copied) {
        unlink(temporary);
        return error_wrap(err, ERROR_NONE, "the backup was not made");
    }
    return folder_sync(folder, err);
}

/* Copies byte by byte: opening a backup that lies on a read-only medium as a database would want to write
 * beside it. */
static bool copy_file(const char *source, const char *target, Error *err) {
    fd_auto int from = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat status;
    if (from < 0 || fstat(from, &status) < 0)
        return error_set_errno(err, errno, "opening %s", source);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_INVALID, NULL, "%s is not a regular file", source);
    fd_auto int to = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return error_set_errno(err, errno, "making %s", target);
    char block[65536];
    ssize_t n = 0;
    while ((n = read(from, block, sizeof block)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "reading %s", source);
        if (!fd_write_all(to, block, (size_t)n, err))
            return error_wrap(err, ERROR_NONE, "copying to %s", target);
    }
    return true;
}

/* 0 when there is no store that could tell. */
static int64_t epoch_of(const char *path) {
    int64_t epoch = 0;
    g_autoptr(SqliteConnection) connection = connection_open(path, SQLITE_OPEN_READWRITE, NULL);
    if (connection && schema_check(connection, NULL))
        meta_get(connection, "epoch", &epoch, NULL);
    return epoch;
}

bool store_check_file(const char *backup_path, char **ret_uuid, Error *err) {
    g_autoptr(SqliteConnection) connection = connection_open(backup_path, SQLITE_OPEN_READWRITE, err);
    return connection && schema_check(connection, err) && schema_check_pages(connection, err) &&
           connection_ask(connection, "SELECT value FROM meta WHERE name = 'uuid'", ret_uuid, err);
}

static bool prepare_copy(const char *path, int64_t old_epoch, Error *err) {
    g_autoptr(SqliteConnection) connection = connection_open(path, SQLITE_OPEN_READWRITE, err);
    int64_t epoch = 0;
    return connection && schema_check(connection, err) && schema_check_pages(connection, err) &&
           meta_get(connection, "epoch", &epoch, err) &&
           meta_set(connection, "epoch", MAX(epoch, old_epoch) + 1, err);
}

/* Folds the write-ahead log into the file. A store that is too damaged for that keeps its log beside. */
static void fold_log(const char *path) {
    g_autoptr(SqliteConnection) connection = connection_open(path, SQLITE_OPEN_READWRITE, NULL);
    if (connection)
        connection_run(connection, "PRAGMA wal_checkpoint(TRUNCATE)", NULL);
}

static bool keep_file(const char *path, const char *kept, const char *suffix, Error *err) {
    g_autofree char *from = g_strconcat(path, suffix, NULL);
    g_autofree char *to = g_strconcat(kept, suffix, NULL);
    if (link(from, to) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "keeping %s as %s", from, to);
    return true;
}

static bool remove_file(const char *path, const char *suffix, Error *err) {
    g_autofree char *name = g_strconcat(path, suffix, NULL);
    if (unlink(name) < 0 && errno != ENOENT)
        return error_set_errno(err, errno, "removing %s", name);
    return true;
}

/* The old file has two names until the rename; at every moment `path` is the old store or the new one. An old
 * log must be gone before: SQLite would play it into the new file. */
static bool swap_in(const char *copy, const char *path, const Clock *clock, Error *err) {
    g_autofree char *time = time_to_text(clock_realtime_ns(clock));
    g_autofree char *kept = g_strdup_printf("%s.before-restore-%s", path, time);
    g_autofree char *folder = g_path_get_dirname(path);
    fold_log(path);
    if (!keep_file(path, kept, "", err) || !keep_file(path, kept, "-wal", err) || !folder_sync(folder, err))
        return false;
    if (!remove_file(path, "-wal", err) || !remove_file(path, "-shm", err))
        return false;
    if (rename(copy, path) < 0)
        return error_set_errno(err, errno, "replacing %s", path);
    return folder_sync(folder, err);
}

bool store_restore_file(const char *backup_path, const char *store_path, const Clock *clock, Error *err) {
    fd_auto int lock = -1;
    if (!lock_take(store_path, &lock, err))
        return false;
    g_autofree char *copy = temporary_name(store_path);
    int64_t old_epoch = access(store_path, F_OK) == 0 ? epoch_of(store_path) : 0;
    bool is_restored = copy_file(backup_path, copy, err) && prepare_copy(copy, old_epoch, err) &&
                       sync_file(copy, err) && swap_in(copy, store_path, clock, err);
    if (is_restored)
        return true;
    unlink(copy);
    return error_wrap(err, ERROR_NONE, "the backup %s was not restored", backup_path);
}
