/* Proves that the jail has walls: what is inside sees, keeps and reaches nothing that it was not given. Needs
 * root. */
#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/file.h"
#include "image/jail.h"

typedef struct Fixture {
    char *parent, *folder;
} Fixture;

static JailKind kind_of(const void *data) {
    return (JailKind)GPOINTER_TO_INT(data);
}

static void set_up(Fixture *fixture, const void *data) {
    JailKind kind = kind_of(data);
    g_auto(Error) err = {0};
    fixture->parent = g_dir_make_tmp("lodge-jail-XXXXXX", NULL);
    g_assert_nonnull(fixture->parent);
    g_assert_true(jail_folder_new(fixture->parent, kind, 0, &fixture->folder, &err));
}

static void tear_down(Fixture *fixture, const void *data G_GNUC_UNUSED) {
    jail_folder_free(g_steal_pointer(&fixture->folder));
    g_assert_true(tree_remove(fixture->parent, NULL));
    g_free(fixture->parent);
}

/* Runs a shell line in the jail with the fixture's folder at /work. */
static bool run_line(const Fixture *fixture, JailKind kind, const char *line, char **ret_output, Error *err) {
    const JailBind binds[] = {{fixture->folder, "/work", .is_writable = true}};
    const JailSpec spec = {.kind = kind,
        .argv = (const char *const[]){"sh", "-c", line, NULL},
        .binds = binds,
        .n_binds = 1,
        .folder = "/work",
        .timeout_ms = 20000};
    return jail_run(&spec, ret_output, err);
}

static char *output_of(const Fixture *fixture, JailKind kind, const char *line) {
    char *output = NULL;
    g_auto(Error) err = {0};
    bool ok = run_line(fixture, kind, line, &output, &err);
    g_autofree char *text = ok ? NULL : error_text(&err);
    g_assert_cmpstr(text, ==, NULL);
    return output;
}

static void test_jail_does_not_see_the_hosts_files(Fixture *fixture, const void *data) {
    g_autofree char *output = output_of(fixture, kind_of(data),
        "for p in /root /etc/shadow /etc/passwd /home /var/lib/dpkg /boot /run /dev/kvm /dev/sda /sys/block; "
        "do "
        "[ -e $p ] && echo $p; done; ls -A /tmp");
    g_assert_cmpstr(output, ==, "");
}

static void test_jail_writes_nowhere_but_in_its_folder(Fixture *fixture, const void *data) {
    g_autofree char *output = output_of(fixture, kind_of(data),
        "echo x > /dev/null || echo null; for p in / /usr /usr/bin /etc /var /dev /proc/sys/kernel/hostname; "
        "do "
        "t=$p; [ -d $p ] && t=$p/x; (echo x > $t) 2>/dev/null && echo $p; done; echo x > /work/x; cat "
        "/work/x");
    g_assert_cmpstr(output, ==, "x\n");
}

/* Connects from inside to a listener of this process; the same line with the network proves that it can work.
 */
static void test_jail_has_no_network_unless_given(Fixture *fixture G_GNUC_UNUSED, const void *data) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    fd_auto int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    g_assert_cmpint(bind(listener, (struct sockaddr *)&address, length), ==, 0);
    g_assert_cmpint(listen(listener, 1), ==, 0);
    g_assert_cmpint(getsockname(listener, (struct sockaddr *)&address, &length), ==, 0);
    g_autofree char *line =
        g_strdup_printf("use IO::Socket::INET; print IO::Socket::INET->new(\"127.0.0.1:%d\") ? 1 : 0",
            ntohs(address.sin_port));
    for (int has_network = 0; has_network <= 1; has_network++) {
        g_auto(Error) err = {0};
        g_autofree char *output = NULL;
        const JailSpec spec = {.kind = kind_of(data),
            .has_network = has_network,
            .timeout_ms = 20000,
            .argv = (const char *const[]){"perl", "-e", line, NULL}};
        g_assert_true(jail_run(&spec, &output, &err));
        g_assert_cmpstr(output, ==, has_network ? "1" : "0");
    }
}

typedef struct Crowd {
    const Fixture *fixture;
    Cancel *cancel;
    Error err;
} Crowd;

static void *hold_processes(void *data) {
    Crowd *crowd = data;
    const JailBind binds[] = {{crowd->fixture->folder, "/work", .is_writable = true}};
    const JailSpec spec = {.kind = JAIL_SINGLE,
        .binds = binds,
        .n_binds = 1,
        .timeout_ms = 60000,
        .cancel = crowd->cancel,
        .argv = (const char *const[]){
            "sh", "-c", "for i in $(seq 200); do sleep 60 & done; : > /work/full; wait", NULL}};
    jail_run(&spec, NULL, &crowd->err);
    return NULL;
}

/* The kernel counts processes by user, and all jails of a range share theirs. */
static void test_jails_do_not_starve_each_other(Fixture *fixture, const void *data) {
    g_autoptr(Cancel) cancel = cancel_new();
    g_autofree char *full = g_build_filename(fixture->folder, "full", NULL);
    Crowd crowd = {fixture, cancel, {0}};
    GThread *thread = g_thread_new("crowd", hold_processes, &crowd);
    for (int i = 0; i < 1000 && !g_file_test(full, G_FILE_TEST_EXISTS); i++)
        g_usleep(10000);
    g_assert_true(g_file_test(full, G_FILE_TEST_EXISTS));
    g_autofree char *output = output_of(fixture, kind_of(data), "true | true; echo runs");
    g_assert_cmpstr(output, ==, "runs\n");
    cancel_trigger(cancel);
    g_thread_join(thread);
    g_assert_cmpint(crowd.err.code, ==, ERROR_CANCELLED);
    error_clear(&crowd.err);
}

static void test_jail_does_not_see_other_processes(Fixture *fixture, const void *data) {
    g_autofree char *line =
        g_strdup_printf("kill -0 %d 2>/dev/null && echo seen; [ $$ -lt 20 ] && echo small", getpid());
    g_autofree char *output = output_of(fixture, kind_of(data), line);
    g_assert_cmpstr(output, ==, "small\n");
}

static void test_single_jail_has_one_unprivileged_identity(Fixture *fixture, const void *data) {
    g_autofree char *output = output_of(fixture, kind_of(data),
        "id -u; id -G; touch /work/mine; chown 0 /work/mine 2>/dev/null && echo chown; "
        "unshare -U true 2>/dev/null && echo namespace; mount -t tmpfs t /work 2>/dev/null && echo mount; "
        "true");
    g_assert_cmpstr(output, ==, "2065536\n2065536\n");
    g_autofree char *path = g_build_filename(fixture->folder, "mine", NULL);
    struct stat status;
    g_assert_cmpint(lstat(path, &status), ==, 0);
    g_assert_cmpint(status.st_uid, ==, JAIL_DEFAULT_FIRST_ID + JAIL_MAP_COUNT);
}

static void test_single_jail_keeps_no_capability(Fixture *fixture, const void *data) {
    /* capget(2) through perl: there is no /proc to read them from. 126 and the version are x86_64's. */
    g_autofree char *output = output_of(fixture, kind_of(data),
        "perl -e '$h=pack(\"Li\",0x20080522,0);$d=\"\\0\"x24;syscall(125,$h,$d);print unpack(\"H*\",$d)'");
    g_assert_cmpstr(output, ==, "000000000000000000000000000000000000000000000000");
}

static void test_build_jail_is_root_only_inside(Fixture *fixture, const void *data) {
    g_autofree char *output = output_of(fixture, kind_of(data),
        "id -u; touch a b; chown 33:33 b; mknod d b 8 0 2>/dev/null && echo device; mkdir m; mount -t tmpfs "
        "t m && "
        "echo mounted");
    g_assert_cmpstr(output, ==, "0\nmounted\n");
    g_autofree char *path = g_build_filename(fixture->folder, "b", NULL);
    struct stat status;
    g_assert_cmpint(lstat(path, &status), ==, 0);
    g_assert_cmpint(status.st_uid, ==, JAIL_DEFAULT_FIRST_ID + 33);
}

static void test_jail_limits_file_size(Fixture *fixture, const void *data) {
    g_auto(Error) err = {0};
    g_assert_false(run_line(fixture, kind_of(data), "exec head -c 17000000 /dev/zero > big", NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_TOOL_FAILED);
}

#define WRITE_FOREVER "setsid sh -c 'while :; do echo x >> /work/alive; sleep 0.05; done' & wait"

typedef struct Canceller {
    Cancel *cancel;
    char *marker;
} Canceller;

static void *cancel_when_marked(void *data) {
    Canceller *canceller = data;
    for (int i = 0; i < 1000 && !g_file_test(canceller->marker, G_FILE_TEST_EXISTS); i++)
        g_usleep(10000);
    cancel_trigger(canceller->cancel);
    return NULL;
}

static void assert_nothing_writes(const Fixture *fixture) {
    g_autofree char *alive = g_build_filename(fixture->folder, "alive", NULL);
    struct stat before, after;
    g_usleep(200000);
    g_assert_cmpint(stat(alive, &before), ==, 0);
    g_usleep(300000);
    g_assert_cmpint(stat(alive, &after), ==, 0);
    g_assert_cmpint(before.st_size, ==, after.st_size);
}

static void test_cancel_ends_the_jail_with_its_children(Fixture *fixture, const void *data) {
    g_autoptr(Cancel) cancel = cancel_new();
    Canceller canceller = {cancel, g_build_filename(fixture->folder, "alive", NULL)};
    GThread *thread = g_thread_new("cancel", cancel_when_marked, &canceller);
    const JailBind binds[] = {{fixture->folder, "/work", .is_writable = true}};
    const JailSpec spec = {.kind = kind_of(data),
        .binds = binds,
        .n_binds = 1,
        .timeout_ms = 20000,
        .cancel = cancel,
        .argv = (const char *const[]){"sh", "-c", WRITE_FOREVER, NULL}};
    g_auto(Error) err = {0};
    g_assert_false(jail_run(&spec, NULL, &err));
    g_assert_cmpint(err.code, ==, ERROR_CANCELLED);
    g_thread_join(thread);
    g_free(canceller.marker);
    assert_nothing_writes(fixture);
}

static void test_death_of_the_caller_ends_the_jail(Fixture *fixture, const void *data) {
    g_autofree char *alive = g_build_filename(fixture->folder, "alive", NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run_line(fixture, kind_of(data), WRITE_FOREVER, NULL, NULL);
        _exit(0);
    }
    for (int i = 0; i < 1000 && !g_file_test(alive, G_FILE_TEST_EXISTS); i++)
        g_usleep(10000);
    g_assert_cmpint(kill(pid, SIGKILL), ==, 0);
    g_assert_cmpint(waitpid(pid, NULL, 0), ==, pid);
    assert_nothing_writes(fixture);
    g_assert_true(jail_folders_sweep(fixture->parent, NULL));
    g_assert_false(g_file_test(fixture->folder, G_FILE_TEST_EXISTS));
}

static void test_a_link_is_not_taken_out_of_the_jail(Fixture *fixture, const void *data) {
    g_free(output_of(fixture, kind_of(data), "ln -s /etc/passwd link; echo good > file"));
    g_autofree char *destination = g_build_filename(fixture->parent, "taken", NULL);
    g_auto(Error) err = {0};
    g_assert_false(jail_folder_take(fixture->folder, "link", destination, 0600, &err));
    error_clear(&err);
    g_assert_true(jail_folder_take(fixture->folder, "file", destination, 0600, &err));
    struct stat status;
    g_assert_cmpint(lstat(destination, &status), ==, 0);
    g_assert_cmpint(status.st_uid, ==, 0);
    g_assert_cmpint(status.st_mode & 07777, ==, 0600);
}

static void test_only_possible_id_ranges_are_accepted(void) {
    g_auto(Error) err = {0};
    g_assert_true(jail_range_check(0, &err));
    g_assert_false(jail_range_check(1000, &err));
    g_assert_cmpint(err.code, ==, ERROR_INVALID);
}

#define ADD(name, kind, function) \
    g_test_add("/jail/" name, Fixture, GINT_TO_POINTER(kind), set_up, function, tear_down)
#define ADD_BOTH(name, function)                \
    ADD("single/" name, JAIL_SINGLE, function); \
    ADD("build/" name, JAIL_BUILD, function)

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    if (geteuid() != 0) {
        g_print("1..0 # SKIP jails need root\n");
        return 77;
    }
    ADD_BOTH("files-hidden", test_jail_does_not_see_the_hosts_files);
    ADD_BOTH("writes-only-own", test_jail_writes_nowhere_but_in_its_folder);
    ADD_BOTH("no-network", test_jail_has_no_network_unless_given);
    ADD_BOTH("no-processes", test_jail_does_not_see_other_processes);
    ADD_BOTH("cancel", test_cancel_ends_the_jail_with_its_children);
    ADD_BOTH("orphan", test_death_of_the_caller_ends_the_jail);
    ADD_BOTH("take", test_a_link_is_not_taken_out_of_the_jail);
    ADD("single/identity", JAIL_SINGLE, test_single_jail_has_one_unprivileged_identity);
    ADD("single/capabilities", JAIL_SINGLE, test_single_jail_keeps_no_capability);
    ADD("single/many", JAIL_SINGLE, test_jails_do_not_starve_each_other);
    ADD("single/file-size", JAIL_SINGLE, test_jail_limits_file_size);
    ADD("build/identity", JAIL_BUILD, test_build_jail_is_root_only_inside);
    g_test_add_func("/jail/range", test_only_possible_id_ranges_are_accepted);
    return g_test_run();
}
