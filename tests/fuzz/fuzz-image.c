/*
 * Foreign disk images: signatures, and qemu-img's report about an image. An input that begins with a brace is
 * a report; any other one is a file, in which "~" stands for a byte of zero.
 */
#include <string.h>
#include <sys/mman.h>
#include "base/file.h"
#include "fuzz.h"
#include "image/qemu-img.h"

enum { MAX_SIZE = 65536 };

const char *const fuzz_seeds[] = {
    "QFI\xfb~~~\x03~~~~~~~~~~~~",
    "KDMV~~~~",
    "# Disk DescriptorFile\nversion=1\n",
    "vhdxfile",
    "conectix",
    "<<< Oracle VM VirtualBox Disk Image >>>\n~~~~~~~~~~~~~~~~~~~~~~~~\x7f\x10\xda\xbe",
    "{\"format\":\"qcow2\",\"virtual-size\":1048576,\"format-specific\":{\"type\":\"qcow2\",\"data\":{"
    "\"compat\":\"1.1\",\"corrupt\":false}}}",
    "{\"format\":\"qcow2\",\"virtual-size\":1,\"backing-filename\":\"/etc/passwd\"}",
    "{\"format\":\"vmdk\",\"virtual-size\":1048576,\"format-specific\":{\"data\":{\"cid\":1,\"parent-cid\":"
    "4294967295,\"extents\":[{\"filename\":\"/image\"}]}}}",
    "{\"format\":\"raw\",\"virtual-size\":-1,\"encrypted\":true}",
    NULL,
};

static void judge(const char *report) {
    for (ImageFormat format = IMAGE_FORMAT_RAW; format < IMAGE_FORMAT_MAX; format++) {
        g_auto(Error) err = {0};
        uint64_t bytes = 0;
        if (qemu_img_judge(report, format, &bytes, &err))
            g_assert_true(bytes > 0 && bytes <= INT64_MAX);
        else
            g_assert_cmpint(err.code, ==, ERROR_FOREIGN_IMAGE);
    }
}

static void probe(const uint8_t *data, size_t size) {
    g_autofree uint8_t *bytes = g_memdup2(size ? data : (const uint8_t *)"", size ? size : 1);
    fd_auto int fd = memfd_create("image", MFD_CLOEXEC);
    g_auto(Error) err = {0};
    for (size_t i = 0; i < size; i++)
        if (bytes[i] == '~')
            bytes[i] = 0;
    g_assert_true(fd_write_all(fd, bytes, size, NULL));
    ImageFormat format = IMAGE_FORMAT_MAX;
    if (image_format_probe(fd, size, &format, &err))
        g_assert_cmpint((int)format, <, (int)IMAGE_FORMAT_MAX);
    else
        g_assert_cmpint(err.code, ==, ERROR_FOREIGN_IMAGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size = MIN(size, MAX_SIZE);
    if (size > 0 && data[0] == '{') {
        g_autofree char *report = g_strndup((const char *)data, size);
        judge(report);
    } else {
        probe(data, size);
    }
    return 0;
}
