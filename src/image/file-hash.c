/* One buffer, one loop. */
#include "image/file-hash.h"
#include <errno.h>
#include <unistd.h>

enum { BLOCK = 1 << 20 };

bool file_hash(int fd, uint64_t size_bytes, const ImageProgress *progress, const Cancel *cancel,
    char **ret_sha256, Error *err) {
    g_autoptr(GChecksum) checksum = g_checksum_new(G_CHECKSUM_SHA256);
    g_autofree guint8 *block = g_malloc(BLOCK);
    for (uint64_t done = 0;;) {
        ssize_t n = read(fd, block, BLOCK);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return error_set_errno(err, errno, "reading a file for its checksum");
        if (n == 0)
            break;
        g_checksum_update(checksum, block, n);
        done += (uint64_t)n;
        if (!cancel_check(cancel, err))
            return false;
        if (done <= size_bytes)
            progress_report(progress, (int)(done * 100 / size_bytes), "checking the checksum");
    }
    *ret_sha256 = g_strdup(g_checksum_get_string(checksum));
    return true;
}
