/* Signatures as a table: from the formats' specifications (qcow2: QEMU's docs/interop; VMDK, VHD, VHDX: their
 * vendors'). */
#include "image/image-format.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name, *driver;
} formats[IMAGE_FORMAT_MAX] = {
    [IMAGE_FORMAT_UNKNOWN] = {"unknown", NULL},
    [IMAGE_FORMAT_RAW] = {"raw", "raw"},
    [IMAGE_FORMAT_QCOW2] = {"qcow2", "qcow2"},
    [IMAGE_FORMAT_VMDK] = {"vmdk", "vmdk"},
    [IMAGE_FORMAT_VDI] = {"vdi", "vdi"},
    [IMAGE_FORMAT_VHD] = {"vhd", "vpc"},
    [IMAGE_FORMAT_VHDX] = {"vhdx", "vhdx"},
};

enum { SIGNATURE_MAX = 21, FOOTER = 512 };

/* A negative offset counts from the end. UNKNOWN: recognised, and refused. */
static const struct {
    int offset;
    size_t length;
    const char bytes[SIGNATURE_MAX + 1];
    ImageFormat format;
} signatures[] = {
    {0, 7, "QFI\xfb\0\0\0", IMAGE_FORMAT_QCOW2}, /* the version, 2 or 3, is the eighth byte */
    {0, 4, "KDMV", IMAGE_FORMAT_VMDK}, {0, 21, "# Disk DescriptorFile", IMAGE_FORMAT_UNKNOWN},
    {64, 4, "\x7f\x10\xda\xbe", IMAGE_FORMAT_VDI}, {0, 8, "vhdxfile", IMAGE_FORMAT_VHDX},
    {0, 8, "conectix", IMAGE_FORMAT_VHD},
    {-FOOTER, 8, "conectix", IMAGE_FORMAT_VHD}, /* a VHD of fixed size has only a footer */
};

const char *image_format_name(ImageFormat format) {
    g_assert(format < IMAGE_FORMAT_MAX);
    return formats[format].name;
}

const char *image_format_driver(ImageFormat format) {
    g_assert(format < IMAGE_FORMAT_MAX && format != IMAGE_FORMAT_UNKNOWN);
    return formats[format].driver;
}

ImageFormat image_format_from_name(const char *name) {
    for (ImageFormat format = IMAGE_FORMAT_RAW; format < IMAGE_FORMAT_MAX; format++)
        if (strcmp(formats[format].name, name) == 0)
            return format;
    return IMAGE_FORMAT_UNKNOWN;
}

bool image_format_probe(int fd, uint64_t size_bytes, ImageFormat *ret_format, Error *err) {
    for (size_t i = 0; i < G_N_ELEMENTS(signatures); i++) {
        char found[SIGNATURE_MAX] = {0};
        int offset = signatures[i].offset;
        if (offset < 0 && size_bytes < FOOTER)
            continue;
        off_t at = offset < 0 ? (off_t)size_bytes + offset : offset;
        ssize_t n = pread(fd, found, signatures[i].length, at);
        if (n < 0)
            return error_set_errno(err, errno, "reading the image");
        if ((size_t)n < signatures[i].length || memcmp(found, signatures[i].bytes, (size_t)n) != 0)
            continue;
        if (signatures[i].format == IMAGE_FORMAT_UNKNOWN)
            return error_set(err, ERROR_FOREIGN_IMAGE, NULL,
                "this is a VMDK descriptor, which only names other files; convert it to one file first");
        *ret_format = signatures[i].format;
        return true;
    }
    *ret_format = IMAGE_FORMAT_UNKNOWN;
    return true;
}

bool image_check_disc(int fd, Error *err) {
    enum { DESCRIPTOR = 32769, LENGTH = 5 }; /* sector 16, behind the descriptor's type */
    static const char *const names[] = {"CD001", "BEA01", "NSR02", "NSR03"};
    char found[LENGTH] = {0};
    if (pread(fd, found, LENGTH, DESCRIPTOR) < 0)
        return error_set_errno(err, errno, "reading the image");
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (memcmp(found, names[i], LENGTH) == 0)
            return true;
    return error_set(err, ERROR_FOREIGN_IMAGE, NULL, "this is no CD or DVD image (ISO 9660 or UDF)");
}
