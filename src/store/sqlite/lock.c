/* The lock beside the store's file. */
#include "store/sqlite/lock.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>

bool lock_take(const char *path, int *ret_fd, Error *err) {
    g_autofree char *lock_path = g_strconcat(path, ".lock", NULL);
    fd_auto int fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "opening %s", lock_path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return error_set(err, ERROR_IN_USE, NULL, "the store %s is open already", path);
        return error_set_errno(err, errno, "locking %s", lock_path);
    }
    *ret_fd = fd_steal(&fd);
    return true;
}
