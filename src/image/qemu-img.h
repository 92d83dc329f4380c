/*
 * qemu-img in the jail: an argument vector with an explicit driver, and the check of what it reports. Private
 * to src/image. Blocks; any thread.
 */
#pragma once
#include "base/cancel.h"
#include "image/image-format.h"
#include "image/jail.h"

#define QEMU_IMG_SOURCE "/image" /* where the jail sees the image */

/* "driver=qcow2,…" for --image-opts; newly allocated. */
char *qemu_img_options(ImageFormat format);

/* `qemu-img info` on host_path as exactly `format`. ERROR_FOREIGN_IMAGE when it cannot be read or names
 * anything but itself. */
bool qemu_img_info(const char *host_path, ImageFormat format, uint32_t first_id, const Cancel *cancel,
    uint64_t *ret_virtual_bytes, Error *err);

/* `qemu-img check`: whether the metadata leads only to what the file holds (a file cut short would else
 * become zeros without a word). Reads metadata only. Formats without such a check, and lost space, are good.
 * ERROR_FOREIGN_IMAGE otherwise. */
bool qemu_img_check(
    const char *host_path, ImageFormat format, uint32_t first_id, const Cancel *cancel, Error *err);

/* What a report (JSON text) says about an image: apart, so that hostile reports can be tested. */
bool qemu_img_judge(const char *report, ImageFormat format, uint64_t *ret_virtual_bytes, Error *err);
