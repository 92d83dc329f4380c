/*
 * The disk image formats that Lodge reads, and how to recognise them by their first and last bytes. Nothing
 * here follows what an image says. image_format_probe blocks on the disk; any thread.
 */
#pragma once
#include <stdint.h>
#include "base/error.h"

typedef enum ImageFormat {
    IMAGE_FORMAT_UNKNOWN,
    IMAGE_FORMAT_RAW,
    IMAGE_FORMAT_QCOW2,
    IMAGE_FORMAT_VMDK,
    IMAGE_FORMAT_VDI,
    IMAGE_FORMAT_VHD,
    IMAGE_FORMAT_VHDX,
    IMAGE_FORMAT_MAX
} ImageFormat;

/* "qcow2", as users write it; "unknown" for IMAGE_FORMAT_UNKNOWN. Static. */
const char *image_format_name(ImageFormat format);
/* IMAGE_FORMAT_UNKNOWN for what is none. */
ImageFormat image_format_from_name(const char *name);
/* What qemu-img calls it ("vpc" for VHD). Static; not for IMAGE_FORMAT_UNKNOWN. */
const char *image_format_driver(ImageFormat format);

/* Looks at the signatures in an open regular file of `size_bytes`. IMAGE_FORMAT_UNKNOWN when none fits: raw
 * has no signature. ERROR_FOREIGN_IMAGE for what is recognised and never taken (a VMDK descriptor that only
 * names other files). */
bool image_format_probe(int fd, uint64_t size_bytes, ImageFormat *ret_format, Error *err);

/* ERROR_FOREIGN_IMAGE unless the open file begins as a CD or DVD does: a volume descriptor of ISO 9660
 * (ECMA-119) or UDF (ECMA-167, part 2) at 32 KiB. */
bool image_check_disc(int fd, Error *err);
