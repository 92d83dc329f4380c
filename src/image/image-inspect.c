/* Decide the format, let the jailed qemu-img read it, check the claim; then convert and check the result. */
#include "image/image-inspect.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "image/qemu-img.h"
#include "image/space-watch.h"

#define MIB (UINT64_C(1) << 20)
enum {
    CONVERT_TIMEOUT_MS = 24 * 60 * 60 * 1000,
    CONVERT_CPU_S = 12 * 60 * 60,
    CONVERT_OUTPUT_LIMIT = 16 * 1024 * 1024
};

static bool decide_format(const ImageSource *source, ImageInfo *info, Error *err) {
    struct stat status;
    fd_auto int fd = open(source->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "opening %s", source->path);
    if (!S_ISREG(status.st_mode))
        return error_set(err, ERROR_FOREIGN_IMAGE, NULL, "the image is not a regular file");
    ImageFormat found = IMAGE_FORMAT_UNKNOWN;
    info->file_bytes = (uint64_t)status.st_size;
    if (source->declared == IMAGE_FORMAT_RAW) {
        /* A guest can write any signature into its raw disk: the user's word stands. */
        info->format = IMAGE_FORMAT_RAW;
        image_format_probe(fd, info->file_bytes, &info->looks_like, NULL);
        return true;
    }
    if (!image_format_probe(fd, info->file_bytes, &found, err))
        return false;
    if (found == IMAGE_FORMAT_UNKNOWN && source->declared == IMAGE_FORMAT_UNKNOWN)
        return error_set(
            err, ERROR_FOREIGN_IMAGE, NULL, "the image's format is not known; if it is raw, say so");
    if (source->declared != IMAGE_FORMAT_UNKNOWN && source->declared != found)
        return error_set(err, ERROR_FOREIGN_IMAGE, NULL, "the image is not %s but %s",
            image_format_name(source->declared), image_format_name(found));
    info->format = found;
    return true;
}

bool image_inspect(const ImageSource *source, const Cancel *cancel, ImageInfo *ret, Error *err) {
    g_assert(source->virtual_limit_bytes > 0);
    ImageInfo info = {0};
    if (!decide_format(source, &info, err) || !jail_lend(source->path, source->first_id, err) ||
        !qemu_img_info(source->path, info.format, source->first_id, cancel, &info.virtual_bytes, err))
        return false;
    if (info.virtual_bytes > source->virtual_limit_bytes)
        return error_set(err, ERROR_TOO_LARGE, NULL,
            "the image claims %" G_GUINT64_FORMAT " bytes, the limit is %" G_GUINT64_FORMAT,
            info.virtual_bytes, source->virtual_limit_bytes);
    *ret = info;
    return true;
}

/* --- conversion
 * ------------------------------------------------------------------------------------------------- */

typedef struct Conversion {
    const ImageSource *source;
    const ImageProgress *progress;
    const Cancel *cancel;
    ImageFormat format;
    ImageInfo info;
    int percent;
} Conversion;

/* "    (12.34/100%)" */
static void take_line(const char *line, void *data) {
    Conversion *conversion = data;
    const char *number = strchr(line, '(');
    if (!number || !strstr(number, "/100%"))
        return;
    int percent = (int)CLAMP(g_ascii_strtod(number + 1, NULL), 0, 99);
    if (percent <= conversion->percent)
        return;
    conversion->percent = percent;
    progress_report(conversion->progress, percent, "converting");
}

static bool run(Conversion *conversion, const char *folder, Error *err) {
    const ImageSource *source = conversion->source;
    uint64_t size = conversion->info.virtual_bytes;
    g_autofree char *options = qemu_img_options(conversion->info.format);
    g_autoptr(SpaceWatch) watch = space_watch_new(folder, conversion->cancel);
    const JailBind binds[] = {{source->path, QEMU_IMG_SOURCE}, {folder, "/work", .is_writable = true}};
    const JailSpec spec = {.kind = JAIL_SINGLE,
        .first_id = source->first_id,
        .binds = binds,
        .n_binds = G_N_ELEMENTS(binds),
        .folder = "/work",
        .argv = (const char *const[]){"qemu-img", "convert", "-p", "--image-opts", "-O",
            image_format_driver(conversion->format), options, "/work/disk", NULL},
        .limits = {.cpu_s = CONVERT_CPU_S, .file_bytes = size + size / 64 + 64 * MIB},
        .timeout_ms = CONVERT_TIMEOUT_MS,
        .output_limit = CONVERT_OUTPUT_LIMIT,
        .cancel = space_watch_cancel(watch),
        .on_line = take_line,
        .on_line_data = conversion};
    g_auto(Error) failed = {0};
    bool is_done = jail_run(&spec, NULL, &failed);
    if (!space_watch_end(watch, err))
        return false;
    if (is_done)
        return true;
    bool is_full = failed.message && strstr(failed.message, "No space left on device");
    error_move(err, &failed);
    return is_full ? error_wrap(err, ERROR_NO_SPACE, "no space to convert the image") : false;
}

static bool check_result(Conversion *conversion, const char *path, ImageInfo *ret, Error *err) {
    const ImageSource made = {.path = path,
        .declared = conversion->format,
        .first_id = conversion->source->first_id,
        .virtual_limit_bytes = conversion->source->virtual_limit_bytes};
    if (!image_inspect(&made, conversion->cancel, ret, err))
        return error_wrap(err, ERROR_NONE, "the converted image is not good");
    if (ret->virtual_bytes != conversion->info.virtual_bytes)
        return error_set(
            err, ERROR_FOREIGN_IMAGE, NULL, "the converted image has another size than the source claimed");
    return true;
}

bool image_convert(const ImageSource *source, const char *destination, ImageFormat format,
    const ImageProgress *progress, const Cancel *cancel, ImageInfo *ret, Error *err) {
    g_assert(format == IMAGE_FORMAT_RAW || format == IMAGE_FORMAT_QCOW2);
    Conversion conversion = {.source = source, .progress = progress, .cancel = cancel, .format = format};
    ImageInfo result = {0};
    g_autofree char *parent = g_path_get_dirname(destination);
    g_autoptr(JailFolder) folder = NULL;
    struct stat status;
    if (lstat(destination, &status) == 0)
        return error_set(err, ERROR_EXISTS, NULL, "%s exists", destination);
    progress_report(progress, 0, "inspecting");
    if (!image_inspect(source, cancel, &conversion.info, err) ||
        !qemu_img_check(source->path, conversion.info.format, source->first_id, cancel, err) ||
        !jail_folder_new(parent, JAIL_SINGLE, source->first_id, &folder, err) ||
        !run(&conversion, folder, err))
        return false;
    /* Checked while it still lies in the jail's folder: nothing unchecked ever has the destination's name. */
    g_autofree char *made = g_build_filename(folder, "disk", NULL);
    if (!check_result(&conversion, made, &result, err) ||
        !jail_folder_take(folder, "disk", destination, 0600, err))
        return false;
    progress_report(progress, 100, "converted");
    if (ret)
        *ret = result;
    return true;
}
