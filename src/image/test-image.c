/*
 * Hostile and ordinary images: what is refused, what is read, what comes out of a conversion. Images are made
 * by qemu-img and then bent. Needs root and qemu-img.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"
#include "image/image-inspect.h"
#include "image/qemu-img.h"
#include "image/space-watch.h"

#define MIB (UINT64_C(1) << 20)

typedef struct Fixture {
    char *folder, *path;
} Fixture;

static void set_up(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    fixture->folder = g_dir_make_tmp("lodge-image-XXXXXX", NULL);
    fixture->path = g_build_filename(fixture->folder, "image", NULL);
}

static void tear_down(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_assert_true(tree_remove(fixture->folder, NULL));
    g_free(fixture->folder);
    g_free(fixture->path);
}

static void create(const Fixture *fixture, const char *format, const char *option, const char *value) {
    const char *const argv[] = {
        "qemu-img", "create", "-q", "-f", format, fixture->path, "8M", option, value, NULL};
    const ProcessSpec spec = {.argv = argv, .folder = fixture->folder};
    g_auto(Error) err = {0};
    g_assert_true(process_run(&spec, NULL, &err));
}

static void patch(const Fixture *fixture, off_t offset, const char *bytes, size_t length) {
    fd_auto int fd = open(fixture->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    g_assert_cmpint(pwrite(fd, bytes, length, offset), ==, (gssize)length);
}

static bool inspect(const Fixture *fixture, ImageFormat declared, ImageInfo *ret, Error *err) {
    const ImageSource source = {
        .path = fixture->path, .declared = declared, .virtual_limit_bytes = 1024 * MIB};
    return image_inspect(&source, NULL, ret, err);
}

static void assert_refused(const Fixture *fixture, ImageFormat declared, ErrorCode code, const char *reason) {
    ImageInfo info;
    g_auto(Error) err = {0};
    g_assert_false(inspect(fixture, declared, &info, &err));
    g_autofree char *text = error_text(&err);
    g_test_message("%s", text);
    g_assert_cmpint(err.code, ==, code);
    g_assert_nonnull(strstr(text, reason));
}

static void test_every_format_is_recognised(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    static const ImageFormat formats[] = {
        IMAGE_FORMAT_QCOW2, IMAGE_FORMAT_VMDK, IMAGE_FORMAT_VDI, IMAGE_FORMAT_VHD, IMAGE_FORMAT_VHDX};
    for (size_t i = 0; i < G_N_ELEMENTS(formats); i++) {
        ImageInfo info = {0};
        g_auto(Error) err = {0};
        create(fixture, image_format_driver(formats[i]), NULL, NULL);
        bool ok = inspect(fixture, IMAGE_FORMAT_UNKNOWN, &info, &err);
        g_autofree char *text = ok ? NULL : error_text(&err);
        g_assert_cmpstr(text, ==, NULL);
        g_assert_cmpint(info.format, ==, formats[i]);
        g_assert_cmpuint(info.virtual_bytes, >=, 8 * MIB); /* VHD rounds up to its geometry */
        g_assert_cmpuint(info.virtual_bytes, <, 9 * MIB);
        g_assert_cmpint(image_format_from_name(image_format_name(formats[i])), ==, formats[i]);
        unlink(fixture->path);
    }
}

static void test_raw_is_raw_only_on_the_users_word(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    ImageInfo info = {0};
    g_auto(Error) err = {0};
    create(fixture, "raw", NULL, NULL);
    assert_refused(fixture, IMAGE_FORMAT_UNKNOWN, ERROR_FOREIGN_IMAGE, "not known");
    g_assert_true(inspect(fixture, IMAGE_FORMAT_RAW, &info, &err));
    g_assert_cmpuint(info.virtual_bytes, ==, 8 * MIB);
    g_assert_cmpint(info.looks_like, ==, IMAGE_FORMAT_UNKNOWN);
}

static void test_raw_that_looks_like_qcow2_stays_raw(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    ImageInfo info = {0};
    g_auto(Error) err = {0};
    create(fixture, "qcow2", "-o", "backing_file=/etc/passwd,backing_fmt=raw");
    uint64_t length = 0;
    struct stat status;
    g_assert_cmpint(stat(fixture->path, &status), ==, 0);
    length = (uint64_t)status.st_size;
    g_assert_true(inspect(fixture, IMAGE_FORMAT_RAW, &info, &err));
    g_assert_cmpuint(info.virtual_bytes, ==, (length + 511) / 512 * 512);
    g_assert_cmpint(info.looks_like, ==, IMAGE_FORMAT_QCOW2);
}

static void test_backing_file_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    create(fixture, "qcow2", "-o", "backing_file=/etc/passwd,backing_fmt=raw");
    assert_refused(fixture, IMAGE_FORMAT_UNKNOWN, ERROR_FOREIGN_IMAGE, "has a backing file");
}

static void test_backing_file_with_a_protocol_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    static const char name[] = "json:{\"driver\":\"nbd\",\"host\":\"127.0.0.1\"}";
    create(fixture, "qcow2", NULL, NULL);
    /* qcow2: the name's offset (64 bits) lies at byte 8, its length (32 bits) at byte 16, both big-endian. */
    const char header[] = {0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, (char)(sizeof name - 1)};
    patch(fixture, 8, header, sizeof header);
    patch(fixture, 4096, name, sizeof name - 1);
    assert_refused(fixture, IMAGE_FORMAT_UNKNOWN, ERROR_FOREIGN_IMAGE, "has a backing file");
}

static void test_external_data_file_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    create(fixture, "qcow2", "-o", "data_file=data,data_file_raw=on");
    assert_refused(fixture, IMAGE_FORMAT_UNKNOWN, ERROR_FOREIGN_IMAGE, "data");
}

static void test_data_file_that_exists_in_the_jail_is_refused(
    Fixture *fixture, const void *data G_GNUC_UNUSED) {
    static const char report[] =
        "{\"format\":\"qcow2\",\"virtual-size\":1048576,\"format-specific\":{\"type\":\"qcow2\","
        "\"data\":{\"data-file\":\"/usr/bin/env\",\"data-file-raw\":true}}}";
    uint64_t size = 0;
    g_auto(Error) err = {0};
    (void)fixture;
    g_assert_false(qemu_img_judge(report, IMAGE_FORMAT_QCOW2, &size, &err));
    g_assert_cmpint(err.code, ==, ERROR_FOREIGN_IMAGE);
}

static void test_vmdk_descriptor_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    static const char text[] =
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType=\"monolithicFlat\"\n"
        "RW 16 FLAT \"/etc/passwd\" 0\n";
    patch(fixture, 0, text, sizeof text - 1);
    assert_refused(fixture, IMAGE_FORMAT_UNKNOWN, ERROR_FOREIGN_IMAGE, "descriptor");
    assert_refused(fixture, IMAGE_FORMAT_VMDK, ERROR_FOREIGN_IMAGE, "descriptor");
}

/* Replaces the descriptor inside a sparse VMDK (at sector 1) so that it names a file that the jail has. */
static void test_vmdk_with_another_extent_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    static const char text[] = "# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\n"
                               "createType=\"monolithicFlat\"\n\nRW 16 FLAT \"/usr/bin/env\" 0\n";
    char descriptor[1024] = {0};
    memcpy(descriptor, text, sizeof text);
    create(fixture, "vmdk", NULL, NULL);
    patch(fixture, 512, descriptor, sizeof descriptor);
    patch(fixture, 12, "\0\0\0\0\0\0\0\0", 8); /* a capacity of 0 makes readers follow the descriptor */
    assert_refused(fixture, IMAGE_FORMAT_UNKNOWN, ERROR_FOREIGN_IMAGE, "image");
}

static void test_a_file_shorter_than_its_header_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    static const ImageFormat formats[] = {
        IMAGE_FORMAT_QCOW2, IMAGE_FORMAT_VMDK, IMAGE_FORMAT_VDI, IMAGE_FORMAT_VHD, IMAGE_FORMAT_VHDX};
    static const off_t lengths[] = {0, 1, 4, 8, 40, 64};
    for (size_t i = 0; i < G_N_ELEMENTS(formats) * G_N_ELEMENTS(lengths); i++) {
        ImageInfo info;
        g_auto(Error) err = {0};
        create(fixture, image_format_driver(formats[i / G_N_ELEMENTS(lengths)]), NULL, NULL);
        g_assert_cmpint(truncate(fixture->path, lengths[i % G_N_ELEMENTS(lengths)]), ==, 0);
        g_assert_false(inspect(fixture, IMAGE_FORMAT_UNKNOWN, &info, &err));
        g_assert_cmpint(err.code, ==, ERROR_FOREIGN_IMAGE);
        unlink(fixture->path);
    }
}

static void test_a_claim_beyond_the_limit_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    create(fixture, "qcow2", NULL, NULL);
    patch(fixture, 24, "\0\0\0\x40\0\0\0\0", 8); /* the virtual size: 256 GiB */
    ImageInfo info;
    g_auto(Error) err = {0};
    g_assert_false(inspect(fixture, IMAGE_FORMAT_UNKNOWN, &info, &err));
    g_assert_true(err.code == ERROR_TOO_LARGE || err.code == ERROR_FOREIGN_IMAGE);
}

static void test_a_link_is_refused(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_assert_cmpint(symlink("/etc/shadow", fixture->path), ==, 0);
    ImageInfo info;
    g_assert_false(inspect(fixture, IMAGE_FORMAT_RAW, &info, NULL));
}

static void count_report(int percent, const char *phase G_GNUC_UNUSED, void *data) {
    *(int *)data = percent;
}

static void test_conversion_keeps_the_content(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    int percent = -1;
    const ImageProgress progress = {.report = count_report, .data = &percent};
    g_autofree char *raw = g_build_filename(fixture->folder, "raw", NULL), *content = NULL;
    g_autofree char *qcow2 = g_build_filename(fixture->folder, "qcow2", NULL);
    g_auto(Error) err = {0};
    ImageInfo info = {0};
    create(fixture, "raw", NULL, NULL);
    patch(fixture, (off_t)(5 * MIB), "hello", 5);
    const ImageSource first = {fixture->path, IMAGE_FORMAT_RAW, 1024 * MIB, 0};
    g_assert_true(image_convert(&first, qcow2, IMAGE_FORMAT_QCOW2, &progress, NULL, &info, &err));
    g_assert_cmpint(percent, ==, 100);
    g_assert_cmpint(info.format, ==, IMAGE_FORMAT_QCOW2);
    const ImageSource second = {qcow2, IMAGE_FORMAT_UNKNOWN, 1024 * MIB, 0};
    g_assert_true(image_convert(&second, raw, IMAGE_FORMAT_RAW, NULL, NULL, &info, &err));
    size_t length = 0;
    g_assert_true(file_read(raw, 16 * MIB, &content, &length, &err));
    g_assert_cmpuint(length, ==, 8 * MIB);
    g_assert_cmpint(memcmp(content + 5 * MIB, "hello", 5), ==, 0);
    struct stat status;
    g_assert_cmpint(stat(raw, &status), ==, 0);
    g_assert_cmpint(status.st_blocks, <, 1024); /* sparse */
    g_assert_cmpint(status.st_uid, ==, 0);
    g_assert_false(image_convert(&second, raw, IMAGE_FORMAT_RAW, NULL, NULL, &info, &err));
    g_assert_cmpint(err.code, ==, ERROR_EXISTS);
}

static void test_a_refused_conversion_leaves_nothing(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_autofree char *raw = g_build_filename(fixture->folder, "raw", NULL);
    create(fixture, "qcow2", "-o", "backing_file=/etc/passwd,backing_fmt=raw");
    const ImageSource source = {fixture->path, IMAGE_FORMAT_UNKNOWN, 1024 * MIB, 0};
    g_auto(Error) err = {0};
    g_assert_false(image_convert(&source, raw, IMAGE_FORMAT_RAW, NULL, NULL, NULL, &err));
    g_autoptr(GDir) dir = g_dir_open(fixture->folder, 0, NULL);
    g_assert_cmpstr(g_dir_read_name(dir), ==, "image");
    g_assert_null(g_dir_read_name(dir));
}

static void test_a_cut_image_is_not_converted(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_autofree char *raw = g_build_filename(fixture->folder, "raw", NULL);
    g_autofree char *qcow2 = g_build_filename(fixture->folder, "qcow2", NULL);
    g_auto(Error) err = {0};
    create(fixture, "raw", NULL, NULL);
    for (off_t at = 0; at < (off_t)(8 * MIB); at += 4096)
        patch(fixture, at, "data", 4);
    const ImageSource first = {fixture->path, IMAGE_FORMAT_RAW, 1024 * MIB, 0};
    g_assert_true(image_convert(&first, qcow2, IMAGE_FORMAT_QCOW2, NULL, NULL, NULL, &err));
    g_assert_cmpint(truncate(qcow2, (off_t)(4 * MIB)), ==, 0);
    const ImageSource second = {qcow2, IMAGE_FORMAT_QCOW2, 1024 * MIB, 0};
    g_assert_false(image_convert(&second, raw, IMAGE_FORMAT_RAW, NULL, NULL, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_FOREIGN_IMAGE);
    g_assert_cmpstr(err.message, ==, "the image is damaged or cut short");
}

/* Compressed to almost nothing, `mebibytes` when it is written out. */
static void create_bomb(const Fixture *fixture, const char *path, size_t mebibytes) {
    g_autofree char *data = g_malloc(MIB);
    memset(data, 'x', MIB);
    unlink(fixture->path);
    for (size_t i = 0; i < mebibytes; i++)
        patch(fixture, (off_t)(i * MIB), data, MIB);
    const char *const argv[] = {
        "qemu-img", "convert", "-q", "-c", "-f", "raw", "-O", "qcow2", fixture->path, path, NULL};
    g_auto(Error) err = {0};
    g_assert_true(process_run(&(ProcessSpec){.argv = argv}, NULL, &err));
}

/* In a file system of 64 MiB that only this process sees: 60 fit in, but then VMs could write no more. */
static void test_conversion_leaves_a_reserve(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_autofree char *small = g_build_filename(fixture->folder, "small", NULL);
    g_autofree char *bomb = g_build_filename(fixture->folder, "bomb", NULL);
    g_autofree char *raw = g_build_filename(small, "raw", NULL);
    const ImageSource source = {bomb, IMAGE_FORMAT_QCOW2, 1024 * MIB, 0};
    g_auto(Error) err = {0};
    g_assert_true(folder_make(small, 0711, NULL));
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        g_test_skip("no mount namespace can be made here");
        return;
    }
    g_assert_cmpint(mount("tmpfs", small, "tmpfs", 0, "size=64m,mode=0711"), ==, 0);
    create_bomb(fixture, bomb, 60);
    g_assert_false(image_convert(&source, raw, IMAGE_FORMAT_RAW, NULL, NULL, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_NO_SPACE);
    g_autoptr(GDir) dir = g_dir_open(small, 0, NULL);
    g_assert_null(g_dir_read_name(dir));
    create_bomb(fixture, bomb, 40);
    g_assert_true(image_convert(&source, raw, IMAGE_FORMAT_RAW, NULL, NULL, NULL, NULL));
    g_assert_cmpint(umount2(small, MNT_DETACH), ==, 0);
}

static void test_watch_passes_a_cancel_on(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_autoptr(Cancel) cancel = cancel_new();
    g_autoptr(SpaceWatch) watch = space_watch_new(fixture->folder, cancel);
    struct pollfd stop = {.fd = cancel_fd(space_watch_cancel(watch)), .events = POLLIN};
    g_assert_cmpint(poll(&stop, 1, 0), ==, 0);
    cancel_trigger(cancel);
    g_assert_cmpint(poll(&stop, 1, 10000), ==, 1);
    g_assert_true(space_watch_end(watch, NULL));
}

static void test_only_a_disc_is_a_disc(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    patch(fixture, 40000, "data", 4);
    fd_auto int fd = open(fixture->path, O_RDONLY | O_CLOEXEC);
    g_assert_false(image_check_disc(fd, &err));
    g_assert_cmpint(err.code, ==, ERROR_FOREIGN_IMAGE);
    patch(fixture, 32769, "CD001", 5);
    g_assert_true(image_check_disc(fd, NULL));
    patch(fixture, 32769, "BEA01", 5);
    g_assert_true(image_check_disc(fd, NULL));
}

#define ADD(name, function) g_test_add("/image/" name, Fixture, NULL, set_up, function, tear_down)

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_autofree char *program = g_find_program_in_path("qemu-img");
    if (geteuid() != 0 || !program) {
        g_print("1..0 # SKIP reading images needs root and qemu-img\n");
        return 77;
    }
    ADD("formats", test_every_format_is_recognised);
    ADD("raw-declared", test_raw_is_raw_only_on_the_users_word);
    ADD("raw-like-qcow2", test_raw_that_looks_like_qcow2_stays_raw);
    ADD("disc", test_only_a_disc_is_a_disc);
    ADD("backing-file", test_backing_file_is_refused);
    ADD("backing-protocol", test_backing_file_with_a_protocol_is_refused);
    ADD("data-file", test_external_data_file_is_refused);
    ADD("data-file-in-jail", test_data_file_that_exists_in_the_jail_is_refused);
    ADD("vmdk-descriptor", test_vmdk_descriptor_is_refused);
    ADD("vmdk-extent", test_vmdk_with_another_extent_is_refused);
    ADD("truncated", test_a_file_shorter_than_its_header_is_refused);
    ADD("limit", test_a_claim_beyond_the_limit_is_refused);
    ADD("link", test_a_link_is_refused);
    ADD("convert", test_conversion_keeps_the_content);
    ADD("convert-cut", test_a_cut_image_is_not_converted);
    ADD("convert-refused", test_a_refused_conversion_leaves_nothing);
    ADD("convert-leaves-a-reserve", test_conversion_leaves_a_reserve);
    ADD("cancel-through-the-watch", test_watch_passes_a_cancel_on);
    return g_test_run();
}
