/* From the root downwards, one folder after the other, each by the descriptor of the one before. */
#include "storage/dir-trust.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

#define FIELD "/repository/path"

enum { MAX_LINKS = 40, MADE_MODE = 0711, FOLDER_FLAGS = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

typedef struct Walk {
    int fd;      /* of the folder that was reached */
    char *place; /* its path */
    char *rest;  /* what is still to go, relative to it */
    int n_links;
    bool may_make;
} Walk;

static void walk_clear(Walk *walk) {
    fd_close(&walk->fd);
    g_free(walk->place);
    g_free(walk->rest);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Walk, walk_clear)

static bool is_trusted(uid_t uid) {
    return uid == 0 || uid == geteuid();
}

static bool check_status(const struct stat *status, const char *path, bool is_parent, Error *err) {
    if (!is_trusted(status->st_uid))
        return error_set(err, ERROR_INVALID, FIELD,
            "%s belongs to the user %u, who could lead the agent to any file: look into it and give it to "
            "root "
            "(chown root), or use another folder",
            path, status->st_uid);
    bool is_open = status->st_mode & (S_IWGRP | S_IWOTH);
    if (is_open && !(is_parent && (status->st_mode & S_ISVTX)))
        return error_set(err, ERROR_INVALID, FIELD,
            "%s can be written by others, who could lead the agent to any file: look into it and close it "
            "(chmod go-w), or use another folder",
            path);
    return true;
}

static bool check_folder(int fd, const char *path, bool is_parent, Error *err) {
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "looking at %s", path);
    return check_status(&status, path, is_parent, err);
}

static bool go_to_root(Walk *walk, Error *err) {
    fd_close(&walk->fd);
    g_free(walk->place);
    walk->place = g_strdup("/");
    walk->fd = open("/", FOLDER_FLAGS);
    return walk->fd >= 0 ? check_folder(walk->fd, "/", true, err) : error_set_errno(err, errno, "opening /");
}

/* The next name, newly allocated; empty at the end. */
static char *take_name(Walk *walk) {
    const char *start = walk->rest + strspn(walk->rest, "/");
    size_t length = strcspn(start, "/");
    char *name = g_strndup(start, length);
    char *rest = g_strdup(start + length);
    g_free(walk->rest);
    walk->rest = rest;
    return name;
}

static bool follow_link(
    Walk *walk, const char *name, const char *path, const struct stat *status, Error *err) {
    char target[PATH_MAX] = "";
    if (!is_trusted(status->st_uid))
        return error_set(err, ERROR_INVALID, FIELD,
            "%s is a symbolic link of the user %u: use the path that it leads to", path, status->st_uid);
    if (++walk->n_links > MAX_LINKS)
        return error_set_errno(err, ELOOP, "following %s", path);
    if (readlinkat(walk->fd, name, target, sizeof target - 1) < 0)
        return error_set_errno(err, errno, "reading the link %s", path);
    char *rest = g_strdup_printf("%s/%s", target, walk->rest);
    g_free(walk->rest);
    walk->rest = rest;
    return target[0] != '/' || go_to_root(walk, err);
}

static bool enter(Walk *walk, const char *name, char *take_path, Error *err) {
    g_autofree char *path = take_path;
    fd_auto int fd = openat(walk->fd, name, FOLDER_FLAGS);
    if (fd < 0)
        return error_set_errno(err, errno, "opening the folder %s", path);
    if (!check_folder(fd, path, true, err))
        return false;
    fd_close(&walk->fd);
    walk->fd = fd_steal(&fd);
    g_free(walk->place);
    walk->place = g_steal_pointer(&path);
    return true;
}

/* The mode that was asked for, whatever the umask: the hypervisor's user walks through. */
static bool make_folder(const Walk *walk, const char *name, const char *path, Error *err) {
    if (mkdirat(walk->fd, name, MADE_MODE) == 0 && fchmodat(walk->fd, name, MADE_MODE, 0) == 0)
        return true;
    /* Somebody was faster: what it is shows when it is entered. */
    return errno == EEXIST || error_set_errno(err, errno, "making the folder %s", path);
}

static bool step(Walk *walk, const char *name, Error *err) {
    g_autofree char *path = g_build_filename(walk->place, name, NULL);
    struct stat status;
    if (fstatat(walk->fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
        return S_ISLNK(status.st_mode) ? follow_link(walk, name, path, &status, err)
                                       : enter(walk, name, g_steal_pointer(&path), err);
    if (errno == ENOENT && walk->may_make && walk->rest[strspn(walk->rest, "/")])
        return error_set(err, ERROR_NOT_FOUND, "/repository/path",
            "%s does not exist: make it, or mount what should lie there; only the last folder is made", path);
    if (errno != ENOENT || !walk->may_make)
        return error_set_errno(err, errno, "looking at %s", path);
    return make_folder(walk, name, path, err) && enter(walk, name, g_steal_pointer(&path), err);
}

bool trusted_folder_open(const char *path, bool may_make, int *ret_fd, Error *err) {
    g_auto(Walk) walk = {.fd = -1, .rest = g_strdup(path), .may_make = may_make};
    if (!go_to_root(&walk, err))
        return false;
    for (;;) {
        g_autofree char *name = take_name(&walk);
        if (!name[0])
            break;
        if (!step(&walk, name, err))
            return false;
    }
    if (!check_folder(walk.fd, walk.place, false, err))
        return false;
    *ret_fd = fd_steal(&walk.fd);
    return true;
}

bool trusted_subfolder_open(int parent_fd, const char *parent, const char *name, int *ret_fd, Error *err) {
    g_autofree char *path = g_build_filename(parent, name, NULL);
    fd_auto int fd = openat(parent_fd, name, FOLDER_FLAGS);
    *ret_fd = -1;
    if (fd < 0 && errno == ENOENT)
        return true;
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR))
        return error_set(err, ERROR_INVALID, FIELD,
            "%s must be a folder of its own, no symbolic link and no file: move it away", path);
    if (fd < 0)
        return error_set_errno(err, errno, "opening the folder %s", path);
    if (!check_folder(fd, path, false, err))
        return false;
    *ret_fd = fd_steal(&fd);
    return true;
}
