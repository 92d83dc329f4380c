/* Proves that files arrive as they were, holes included, and that what goes wrong is told. */
#include "agent/carry.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"

enum { SIZE = 48 << 20, PIECE = 300 * 1000 };

typedef struct Lab {
    char *folder, *from, *to;
    int ends[2];
    GThread *receiver;
    Error received; /* by the receiver, until it is joined */
} Lab;

static char *path_of(const char *name, void *data) {
    const Lab *lab = data;
    return strcmp(name, "disk") == 0   ? g_strdup(lab->to)
           : strcmp(name, "lost") == 0 ? g_strdup("/nowhere/at/all")
                                       : NULL;
}

static void *receive(void *data) {
    Lab *lab = data;
    carry_receive(lab->ends[1], path_of, lab, &lab->received);
    fd_close(&lab->ends[1]);
    return NULL;
}

static void set_up(Lab *lab, const void *data G_GNUC_UNUSED) {
    lab->folder = g_dir_make_tmp("lodge-carry-XXXXXX", NULL);
    lab->from = g_build_filename(lab->folder, "from", NULL);
    lab->to = g_build_filename(lab->folder, "to", NULL);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lab->ends), ==, 0);
}

static void begin(Lab *lab) {
    lab->receiver = g_thread_new("receiver", receive, lab);
}

static void end(Lab *lab) {
    fd_close(&lab->ends[0]);
    g_thread_join(g_steal_pointer(&lab->receiver));
}

static void tear_down(Lab *lab, const void *data G_GNUC_UNUSED) {
    fd_close(&lab->ends[0]);
    fd_close(&lab->ends[1]);
    error_clear(&lab->received);
    tree_remove(lab->folder, NULL);
    g_free(lab->folder);
    g_free(lab->from);
    g_free(lab->to);
}

/* Two pieces far apart, and zeros that are written. */
static void make_sparse(const char *path) {
    g_autofree char *bytes = g_malloc0(PIECE);
    fd_auto int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    g_assert_cmpint(pwrite(fd, bytes, PIECE, 8 << 20), ==, PIECE);
    for (size_t i = 0; i < PIECE; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    g_assert_cmpint(pwrite(fd, bytes, PIECE, 12345), ==, PIECE);
    g_assert_cmpint(pwrite(fd, bytes, PIECE, SIZE - PIECE), ==, PIECE);
}

static void expect_same(const Lab *lab) {
    g_autofree char *one = NULL, *other = NULL;
    gsize n = 0, n_other = 0;
    g_assert_true(g_file_get_contents(lab->from, &one, &n, NULL));
    g_assert_true(g_file_get_contents(lab->to, &other, &n_other, NULL));
    g_assert_cmpuint(n, ==, n_other);
    g_assert_true(memcmp(one, other, n) == 0);
}

static void test_a_file_arrives_with_its_holes(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    struct stat status;
    make_sparse(lab->from);
    g_assert_true(g_file_set_contents(lab->to, "what was there before", -1, NULL));
    Carrying carrying = {.fd = lab->ends[0], .total = carry_weight(lab->from)};
    begin(lab);
    g_assert_true(carry_send(&carrying, "disk", lab->from, &err));
    expect_same(lab);
    g_assert_cmpint(stat(lab->to, &status), ==, 0);
    g_assert_cmpuint(carry_weight(lab->to), <, 4 * PIECE);
    g_assert_cmpuint(carrying.carried, >=, 2 * PIECE);
    /* Another one on the same way: shorter, so nothing of the first stays. */
    g_assert_true(g_file_set_contents(lab->from, "", 0, NULL));
    g_assert_true(carry_send(&carrying, "disk", lab->from, &err));
    expect_same(lab);
    end(lab);
    g_assert_false(error_is_set(&lab->received));
}

static void test_its_pace_is_kept(Lab *lab, const void *data G_GNUC_UNUSED) {
    make_sparse(lab->from);
    Carrying carrying = {.fd = lab->ends[0], .bandwidth = 2 * PIECE};
    int64_t began_us = g_get_monotonic_time();
    begin(lab);
    g_assert_true(carry_send(&carrying, "disk", lab->from, NULL));
    g_assert_cmpint(g_get_monotonic_time() - began_us, >, G_USEC_PER_SEC / 2);
    end(lab);
}

static void expect_refused(Lab *lab, const char *name, ErrorCode code) {
    g_auto(Error) err = {0};
    make_sparse(lab->from);
    Carrying carrying = {.fd = lab->ends[0]};
    begin(lab);
    g_assert_false(carry_send(&carrying, name, lab->from, &err));
    g_assert_cmpint(err.code, ==, code);
    end(lab);
    g_assert_cmpint(lab->received.code, ==, code);
}

static void test_the_source_is_told_why(Lab *lab, const void *data G_GNUC_UNUSED) {
    expect_refused(lab, "unknown", ERROR_NOT_FOUND);
}

static void test_a_target_that_cannot_write_says_so(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    make_sparse(lab->from);
    Carrying carrying = {.fd = lab->ends[0]};
    begin(lab);
    g_assert_false(carry_send(&carrying, "lost", lab->from, &err));
    g_assert_nonnull(strstr(err.message, "the other host cannot take it"));
    end(lab);
}

static void test_a_broken_way_is_noticed(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    make_sparse(lab->from);
    Carrying carrying = {.fd = lab->ends[0]};
    fd_close(&lab->ends[1]);
    g_assert_false(carry_send(&carrying, "disk", lab->from, &err));
    g_assert_cmpint(err.code, ==, ERROR_LOST);
}

static void *cancel_later(void *cancel) {
    g_usleep(50 * 1000);
    cancel_trigger(cancel);
    return NULL;
}

static void test_nobody_waits_for_ever(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_auto(Error) err = {0};
    g_autoptr(Cancel) cancel = cancel_new();
    make_sparse(lab->from);
    Carrying carrying = {.fd = lab->ends[0], .cancel = cancel}; /* nobody reads */
    GThread *thread = g_thread_new("cancel", cancel_later, cancel);
    g_assert_false(carry_send(&carrying, "disk", lab->from, &err));
    g_assert_cmpint(err.code, ==, ERROR_CANCELLED);
    g_thread_join(thread);
}

/* Frames by hand: kind, length, offset, what follows. */
static void frame(Lab *lab, char kind, uint32_t length, uint64_t offset, const char *bytes) {
    uint32_t length_be = GUINT32_TO_BE(length);
    uint64_t offset_be = GUINT64_TO_BE(offset);
    char header[16] = {kind};
    memcpy(header + 4, &length_be, sizeof length_be);
    memcpy(header + 8, &offset_be, sizeof offset_be);
    g_assert_true(fd_write_all(lab->ends[0], header, sizeof header, NULL));
    g_assert_true(fd_write_all(lab->ends[0], bytes, strlen(bytes), NULL));
}

static void expect_code(Lab *lab, ErrorCode code) {
    end(lab);
    g_assert_cmpint(lab->received.code, ==, code);
}

static void test_what_was_changed_on_the_way_is_refused(Lab *lab, const void *data G_GNUC_UNUSED) {
    begin(lab);
    frame(lab, 'F', 4, 100, "disk");
    frame(lab, 'D', 3, 97, "abc");
    frame(lab, 'E', 4, 0, "0000");
    expect_code(lab, ERROR_CORRUPT);
}

static void test_pieces_stay_within_their_file(Lab *lab, const void *data G_GNUC_UNUSED) {
    begin(lab);
    frame(lab, 'F', 4, 100, "disk");
    frame(lab, 'D', 3, 98, "abc");
    expect_code(lab, ERROR_PROTOCOL);
}

static void test_nonsense_is_refused(Lab *lab, const void *data) {
    const char *kind = data;
    begin(lab);
    frame(lab, kind[0], kind[1] ? 1U << 30 : 1, 0, "x");
    expect_code(lab, ERROR_PROTOCOL);
}

static void test_half_a_frame_is_a_loss(Lab *lab, const void *data G_GNUC_UNUSED) {
    begin(lab);
    frame(lab, 'F', 9, 100, "disk");
    expect_code(lab, ERROR_LOST);
}

static void test_a_link_is_not_followed(Lab *lab, const void *data G_GNUC_UNUSED) {
    g_autofree char *victim = g_build_filename(lab->folder, "victim", NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_set_contents(victim, "precious", -1, NULL));
    g_assert_cmpint(symlink(victim, lab->to), ==, 0);
    g_auto(Error) err = {0};
    make_sparse(lab->from);
    Carrying carrying = {.fd = lab->ends[0]};
    begin(lab);
    g_assert_false(carry_send(&carrying, "disk", lab->from, &err));
    end(lab);
    g_assert_true(g_file_get_contents(victim, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
#define ADD(name, data, function) g_test_add("/carry/" name, Lab, data, set_up, function, tear_down)
    ADD("holes", NULL, test_a_file_arrives_with_its_holes);
    ADD("pace", NULL, test_its_pace_is_kept);
    ADD("unknown", NULL, test_the_source_is_told_why);
    ADD("cannot-write", NULL, test_a_target_that_cannot_write_says_so);
    ADD("broken", NULL, test_a_broken_way_is_noticed);
    ADD("cancel", NULL, test_nobody_waits_for_ever);
    ADD("changed", NULL, test_what_was_changed_on_the_way_is_refused);
    ADD("outside", NULL, test_pieces_stay_within_their_file);
    ADD("kind", "Z", test_nonsense_is_refused);
    ADD("data-first", "D", test_nonsense_is_refused);
    ADD("end-first", "E", test_nonsense_is_refused);
    ADD("too-long", "D!", test_nonsense_is_refused);
    ADD("half", NULL, test_half_a_frame_is_a_loss);
    ADD("link", NULL, test_a_link_is_not_followed);
    return g_test_run();
}
