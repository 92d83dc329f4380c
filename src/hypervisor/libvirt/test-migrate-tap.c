/* Proves that the one reply is found in a stream that comes in pieces of any size, and nothing else is. */
#include <glib.h>
#include <string.h>
#include "hypervisor/libvirt/migrate-tap.h"

static void add(GByteArray *stream, uint32_t program, uint32_t procedure, uint32_t type, uint32_t status,
    uint32_t extra) {
    const uint32_t words[] = {28 + extra, program, 1, procedure, type, 7, status};
    for (size_t i = 0; i < G_N_ELEMENTS(words); i++) {
        uint32_t big = GUINT32_TO_BE(words[i]);
        g_byte_array_append(stream, (const uint8_t *)&big, sizeof big);
    }
    for (uint32_t i = 0; i < extra; i++)
        g_byte_array_append(stream, (const uint8_t *)"\x13", 1);
}

enum { REMOTE = 0x20008086, OTHER = 0x20008087 };

static void add_others(GByteArray *stream) {
    add(stream, REMOTE, 305, 1, 0, 400);
    add(stream, REMOTE, 306, 0, 0, 40); /* a call */
    add(stream, REMOTE, 306, 1, 1, 99); /* an error */
    add(stream, OTHER, 306, 1, 0, 12);  /* of another program */
    add(stream, REMOTE, 15, 2, 0, 0);
}

/* How many bytes had been fed when it was found; 0: never. */
static size_t found_after(const GByteArray *stream, size_t piece) {
    LibvirtTap tap = {0};
    size_t found = 0;
    for (size_t at = 0; at < stream->len; at += piece) {
        size_t n = MIN(piece, stream->len - at);
        if (!libvirt_tap_feed(&tap, stream->data + at, n))
            continue;
        g_assert_cmpuint(found, ==, 0);
        found = at + n;
    }
    return found;
}

static void test_one_reply_is_found(void) {
    g_autoptr(GByteArray) stream = g_byte_array_new();
    add_others(stream);
    for (size_t piece = 1; piece < 64; piece++)
        g_assert_cmpuint(found_after(stream, piece), ==, 0);
    add(stream, REMOTE, 306, 1, 0, 77);
    size_t end = stream->len;
    add_others(stream);
    for (size_t piece = 1; piece < 700; piece++) {
        size_t found = found_after(stream, piece);
        g_assert_cmpuint(found, >=, end);
        g_assert_cmpuint(found, <, end + piece);
    }
}

static void test_nonsense_tells_nothing(void) {
    static const uint32_t lengths[] = {0, 27, 32 * 1024 * 1024 + 5, UINT32_MAX};
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++) {
        g_autoptr(GByteArray) stream = g_byte_array_new();
        add(stream, REMOTE, 306, 1, 0, 0);
        uint32_t big = GUINT32_TO_BE(lengths[i]);
        memcpy(stream->data, &big, sizeof big);
        add(stream, REMOTE, 306, 1, 0, 0);
        g_assert_cmpuint(found_after(stream, 5), ==, 0);
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migrate-tap/found", test_one_reply_is_found);
    g_test_add_func("/migrate-tap/nonsense", test_nonsense_tells_nothing);
    return g_test_run();
}
