/* The report is written by a program that read foreign bytes: it is foreign too. */
#include "image/qemu-img.h"
#include <jansson.h>
#include <string.h>

enum {
    INFO_TIMEOUT_MS = 60000,
    INFO_CPU_S = 30,
    CHECK_TIMEOUT_MS = 60 * 60 * 1000,
    CHECK_CPU_S = 1800,
    REPORT_LIMIT = 256 * 1024,
    CHECK_OUTPUT_LIMIT = 64 * 1024 * 1024
};
#define ADDRESS_SPACE_BYTES (UINT64_C(2) << 30)
#define NO_PARENT INT64_C(0xffffffff) /* VMDK: parentCID of an image that stands alone */

char *qemu_img_options(ImageFormat format) {
    return g_strdup_printf("driver=%s,file.driver=file,file.filename=" QEMU_IMG_SOURCE ",file.locking=off",
        image_format_driver(format));
}

static bool refuse(Error *err, const char *reason) {
    return error_set(err, ERROR_FOREIGN_IMAGE, NULL, "the image %s", reason);
}

static bool judge_extents(const json_t *extents, Error *err) {
    size_t n = json_array_size(extents);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(extents, i), "filename"));
        if (!name || strcmp(name, QEMU_IMG_SOURCE) != 0)
            return refuse(err, "keeps data in another file");
    }
    return n == 1 || refuse(err, "has not exactly one extent");
}

/* What each format can say about other files. Only qcow2 and VMDK report details; vdi, vpc, vhdx with a
 * parent are refused by qemu-img itself. */
static bool judge_details(const json_t *report, ImageFormat format, Error *err) {
    const json_t *data = json_object_get(json_object_get(report, "format-specific"), "data");
    if (json_object_get(data, "data-file") || json_object_get(data, "data-file-raw"))
        return refuse(err, "has an external data file");
    if (json_object_get(data, "encrypt"))
        return refuse(err, "is encrypted");
    if (json_is_true(json_object_get(data, "corrupt")))
        return refuse(err, "is marked as damaged");
    if (format != IMAGE_FORMAT_VMDK)
        return true;
    if (json_integer_value(json_object_get(data, "parent-cid")) != NO_PARENT)
        return refuse(err, "has a parent image");
    return judge_extents(json_object_get(data, "extents"), err);
}

static bool judge(const json_t *report, ImageFormat format, uint64_t *ret_virtual_bytes, Error *err) {
    static const char *const backing[] = {"backing-filename", "full-backing-filename", "backing-image"};
    const char *name = json_string_value(json_object_get(report, "format"));
    if (!name || strcmp(name, image_format_driver(format)) != 0)
        return refuse(err, "was not read as what it is");
    for (size_t i = 0; i < G_N_ELEMENTS(backing); i++)
        if (json_object_get(report, backing[i]))
            return refuse(err, "has a backing file");
    if (json_is_true(json_object_get(report, "encrypted")))
        return refuse(err, "is encrypted");
    if (!judge_details(report, format, err))
        return false;
    json_int_t size = json_integer_value(json_object_get(report, "virtual-size"));
    if (size <= 0)
        return refuse(err, "has no size");
    *ret_virtual_bytes = (uint64_t)size;
    return true;
}

bool qemu_img_judge(const char *text, ImageFormat format, uint64_t *ret_virtual_bytes, Error *err) {
    json_t *report = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    bool ok = report
                  ? judge(report, format, ret_virtual_bytes, err)
                  : error_set(err, ERROR_FOREIGN_IMAGE, NULL, "qemu-img's report about the image is no JSON");
    json_decref(report);
    return ok;
}

bool qemu_img_info(const char *host_path, ImageFormat format, uint32_t first_id, const Cancel *cancel,
    uint64_t *ret_virtual_bytes, Error *err) {
    g_autofree char *options = qemu_img_options(format), *report = NULL;
    const JailBind binds[] = {{host_path, QEMU_IMG_SOURCE}};
    const JailSpec spec = {.kind = JAIL_SINGLE,
        .first_id = first_id,
        .binds = binds,
        .n_binds = G_N_ELEMENTS(binds),
        .argv = (const char *const[]){"qemu-img", "info", "--output=json", "--image-opts", options, NULL},
        .limits = {.cpu_s = INFO_CPU_S, .address_space_bytes = ADDRESS_SPACE_BYTES},
        .timeout_ms = INFO_TIMEOUT_MS,
        .output_limit = REPORT_LIMIT,
        .cancel = cancel};
    if (!jail_run(&spec, &report, err)) {
        if (!err || err->code != ERROR_TOOL_FAILED)
            return false;
        return error_wrap(
            err, ERROR_FOREIGN_IMAGE, "the image cannot be read as %s", image_format_name(format));
    }
    return qemu_img_judge(report, format, ret_virtual_bytes, err);
}

bool qemu_img_check(
    const char *host_path, ImageFormat format, uint32_t first_id, const Cancel *cancel, Error *err) {
    /* qemu-img(1): 0 good, 3 only lost space, 63 the format has no check. process_run says the status in its
     * message. */
    static const char *const good[] = {" ended with status 3:", " ended with status 63:"};
    g_autofree char *options = qemu_img_options(format);
    const JailBind binds[] = {{host_path, QEMU_IMG_SOURCE}};
    const JailSpec spec = {.kind = JAIL_SINGLE,
        .first_id = first_id,
        .binds = binds,
        .n_binds = G_N_ELEMENTS(binds),
        .argv = (const char *const[]){"qemu-img", "check", "-q", "--image-opts", options, NULL},
        .limits = {.cpu_s = CHECK_CPU_S},
        .timeout_ms = CHECK_TIMEOUT_MS,
        .output_limit = CHECK_OUTPUT_LIMIT,
        .cancel = cancel};
    g_auto(Error) failed = {0};
    if (jail_run(&spec, NULL, &failed))
        return true;
    for (size_t i = 0; i < G_N_ELEMENTS(good); i++)
        if (failed.code == ERROR_TOOL_FAILED && strstr(failed.message, good[i]))
            return true;
    bool is_damaged = failed.code == ERROR_TOOL_FAILED;
    error_move(err, &failed);
    return is_damaged ? error_wrap(err, ERROR_FOREIGN_IMAGE, "the image is damaged or cut short") : false;
}
