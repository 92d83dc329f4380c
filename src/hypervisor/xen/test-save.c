/* Saved domains' files, made here as the specifications say, and cut at every byte. */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "hypervisor/xen/save.h"

static void add(GByteArray *image, const void *bytes, size_t length) {
    g_byte_array_append(image, bytes, (guint)length);
}

static void add_zeros(GByteArray *image, size_t length) {
    static const uint8_t zeros[64];
    add(image, zeros, length);
}

static void add_record(GByteArray *image, uint32_t type, uint32_t length) {
    const uint32_t head[2] = {type, length};
    add(image, head, sizeof head);
    add_zeros(image, (length + 7) / 8 * 8);
}

static GByteArray *make_image(void) {
    static const char xml[] = "<domain/>";
    const uint32_t version = 2, xml_length = sizeof xml;
    GByteArray *image = g_byte_array_new();
    add(image, "libvirt-xml\n \0 \r", 16);
    add(image, &version, sizeof version);
    add(image, &xml_length, sizeof xml_length);
    add_zeros(image, 40);
    add(image, xml, sizeof xml);
    add(image, "LibxlFmt", 8);
    add_zeros(image, 8);
    add_record(image, 1, 0); /* libxc's stream follows */
    add_zeros(image, 24 + 16);
    add_record(image, 1, 37); /* pages */
    add_record(image, 0x0f, 0);
    add_record(image, 0, 0);
    add_record(image, 2, 13); /* of the device model */
    add_record(image, 0, 0);
    return image;
}

static bool is_whole(const uint8_t *bytes, size_t length) {
    int fd = memfd_create("image", MFD_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(write(fd, bytes, length), ==, (ssize_t)length);
    bool answer = xen_is_whole_image(fd);
    close(fd);
    return answer;
}

static void test_only_whole_images_count(void) {
    g_autoptr(GByteArray) image = make_image();
    for (guint length = 0; length < image->len; length++)
        g_assert_false(is_whole(image->data, length));
    g_assert_true(is_whole(image->data, image->len));
    image->data[0] = 'x';
    g_assert_false(is_whole(image->data, image->len));
}

static void test_absurd_lengths_end(void) {
    g_autoptr(GByteArray) image = make_image();
    memset(image->data + 20, 0xff, 4); /* of the XML */
    g_assert_false(is_whole(image->data, image->len));
    g_autoptr(GByteArray) other = make_image();
    memset(other->data + other->len - 28, 0xff, 4); /* of the device model's record */
    g_assert_false(is_whole(other->data, other->len));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/xen-save/only-whole-images-count", test_only_whole_images_count);
    g_test_add_func("/xen-save/absurd-lengths-end", test_absurd_lengths_end);
    return g_test_run();
}
