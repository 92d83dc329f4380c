/* libarchive's filters without an archive. */
#include "image/packed-file.h"
#include <archive.h>
#include <archive_entry.h>

enum { BLOCK_BYTES = 65536 };
typedef struct archive Archive;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Archive, archive_read_free)

static bool read_all(Archive *archive, const char *path, size_t limit, GByteArray *bytes, Error *err) {
    g_autofree guint8 *block = g_malloc(BLOCK_BYTES);
    la_ssize_t n;
    while ((n = archive_read_data(archive, block, BLOCK_BYTES)) > 0) {
        if (bytes->len + (size_t)n > limit)
            return error_set(err, ERROR_TOO_LARGE, NULL, "%s is larger than %zu bytes", path, limit);
        g_byte_array_append(bytes, block, (guint)n);
    }
    return n == 0 || error_set(err, ERROR_CORRUPT, NULL, "%s: %s", path, archive_error_string(archive));
}

bool packed_file_read(const char *path, size_t limit, char **ret_data, size_t *ret_length, Error *err) {
    g_autoptr(Archive) archive = archive_read_new();
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    struct archive_entry *entry = NULL;
    archive_read_support_filter_gzip(archive);
    archive_read_support_filter_xz(archive);
    archive_read_support_filter_zstd(archive);
    archive_read_support_format_raw(archive);
    archive_read_support_format_empty(archive);
    if (archive_read_open_filename(archive, path, BLOCK_BYTES) != ARCHIVE_OK)
        return error_set(err, ERROR_IO, NULL, "%s: %s", path, archive_error_string(archive));
    int status = archive_read_next_header(archive, &entry);
    if (status == ARCHIVE_OK && !read_all(archive, path, limit, bytes, err))
        return false;
    if (status != ARCHIVE_OK && status != ARCHIVE_EOF)
        return error_set(err, ERROR_CORRUPT, NULL, "%s: %s", path, archive_error_string(archive));
    *ret_length = bytes->len;
    g_byte_array_append(bytes, (const guint8 *)"", 1);
    *ret_data = (char *)g_byte_array_free(g_steal_pointer(&bytes), FALSE);
    return true;
}
