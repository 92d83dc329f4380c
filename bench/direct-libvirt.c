/*
 * The peer of bench/many-vms: clones a disk, defines and starts N guests straight through libvirt with some
 * threads, each with a connection of its own, and nothing else: no jobs, no records, no fsync.
 * In the domain's XML @NAME@, @UUID@ and @DISK@ are replaced. With --remove it ends them and removes their
 * disks. Status 1 with a message when something fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include "base/file.h"
#include "base/process.h"

enum { MAX_COUNT = 4096, MAX_THREADS = 64, XML_LIMIT = 1 << 20, QEMU_IMG_LIMIT_MS = 60000 };

typedef struct Work {
    char *uri, *prefix, *source, *folder, *template_path, *template;
    int count, n_threads;
    gboolean is_removal;
    int next, failed; /* atomic */
} Work;

static char *guest_name(const Work *work, int number) {
    return g_strdup_printf("%s-%d", work->prefix, number);
}

static char *disk_path(const Work *work, const char *name, const char *ending) {
    return g_strdup_printf("%s/%s.%s", work->folder, name, ending);
}

static bool share_blocks(const char *source, const char *path, Error *err) {
    fd_auto int from = open(source, O_RDONLY | O_CLOEXEC);
    fd_auto int to = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (from < 0 || to < 0)
        return error_set_errno(err, errno, "cloning %s", source);
    if (ioctl(to, FICLONE, from) == 0)
        return true;
    int saved = errno;
    unlink(path);
    return error_set_errno(err, saved, "sharing the blocks of %s", source);
}

static bool make_overlay(const char *source, const char *path, Error *err) {
    const char *const argv[] = {
        "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", source, path, NULL};
    const ProcessSpec spec = {.argv = argv, .timeout_ms = QEMU_IMG_LIMIT_MS};
    return process_run(&spec, NULL, err);
}

/* As the XML says, which was made for the same file system: raw files share blocks, qcow2 files are overlays.
 */
static bool clone_disk(const Work *work, const char *name, char **ret_path, Error *err) {
    bool is_overlay = strstr(work->template, "type=\"qcow2\"") || strstr(work->template, "type='qcow2'");
    *ret_path = disk_path(work, name, is_overlay ? "qcow2" : "raw");
    return is_overlay ? make_overlay(work->source, *ret_path, err)
                      : share_blocks(work->source, *ret_path, err);
}

static char *domain_text(const Work *work, const char *name, const char *disk) {
    g_autofree char *id = g_uuid_string_random();
    GString *xml = g_string_new(work->template);
    g_string_replace(xml, "@NAME@", name, 0);
    g_string_replace(xml, "@UUID@", id, 0);
    g_string_replace(xml, "@DISK@", disk, 0);
    return g_string_free(xml, FALSE);
}

static bool libvirt_failed(const char *what, const char *name, Error *err) {
    const virError *last = virGetLastError();
    return error_set(
        err, ERROR_HYPERVISOR, NULL, "%s %s: %s", what, name, last ? last->message : "no reason given");
}

static bool make_guest(const Work *work, virConnect *connection, const char *name, Error *err) {
    g_autofree char *disk = NULL;
    if (!clone_disk(work, name, &disk, err))
        return false;
    g_autofree char *xml = domain_text(work, name, disk);
    virDomain *domain = virDomainCreateXML(connection, xml, 0);
    if (!domain)
        return libvirt_failed("starting", name, err);
    virDomainFree(domain);
    return true;
}

static bool remove_guest(const Work *work, virConnect *connection, const char *name, Error *err) {
    static const char *const endings[] = {"raw", "qcow2"};
    virDomain *domain = virDomainLookupByName(connection, name);
    if (domain && virDomainDestroy(domain) < 0) {
        virDomainFree(domain);
        return libvirt_failed("ending", name, err);
    }
    if (domain)
        virDomainFree(domain);
    for (size_t i = 0; i < G_N_ELEMENTS(endings); i++) {
        g_autofree char *path = disk_path(work, name, endings[i]);
        unlink(path);
    }
    return true;
}

static void *work_on(void *data) {
    Work *work = data;
    virConnect *connection = virConnectOpen(work->uri);
    if (!connection) {
        fprintf(stderr, "direct-libvirt: %s does not answer\n", work->uri);
        g_atomic_int_inc(&work->failed);
        return NULL;
    }
    for (int number; (number = g_atomic_int_add(&work->next, 1)) <= work->count;) {
        g_autofree char *name = guest_name(work, number);
        g_auto(Error) err = {0};
        if (work->is_removal ? remove_guest(work, connection, name, &err)
                             : make_guest(work, connection, name, &err))
            continue;
        fprintf(stderr, "direct-libvirt: %s\n", err.message);
        g_atomic_int_inc(&work->failed);
    }
    virConnectClose(connection);
    return NULL;
}

static bool run(Work *work, Error *err) {
    GThread *threads[MAX_THREADS];
    if (work->count < 1 || work->count > MAX_COUNT || work->n_threads < 1 || work->n_threads > MAX_THREADS)
        return error_set(
            err, ERROR_INVALID, NULL, "--count is 1 to %d, --threads 1 to %d", MAX_COUNT, MAX_THREADS);
    if (!work->folder || (!work->is_removal && (!work->source || !work->template_path)))
        return error_set(err, ERROR_INVALID, NULL, "--folder, --source and --xml are needed; see --help");
    if (!work->is_removal && !file_read(work->template_path, XML_LIMIT, &work->template, NULL, err))
        return false;
    virInitialize();
    for (int i = 0; i < work->n_threads; i++)
        threads[i] = g_thread_new("worker", work_on, work);
    for (int i = 0; i < work->n_threads; i++)
        g_thread_join(threads[i]);
    return work->failed == 0 || error_set(err, ERROR_HYPERVISOR, NULL, "%d failed", work->failed);
}

static void be_silent(void *data, virErrorPtr error) {
    (void)data, (void)error; /* printed by us */
}

int main(int argc, char **argv) {
    Work work = {.count = 1, .n_threads = 4, .next = 1};
    const GOptionEntry entries[] = {
        {"uri", 0, 0, G_OPTION_ARG_STRING, &work.uri, "libvirt's address (qemu:///system)", "URI"},
        {"prefix", 0, 0, G_OPTION_ARG_STRING, &work.prefix, "Names are PREFIX-1, PREFIX-2… (direct)", "NAME"},
        {"source", 0, 0, G_OPTION_ARG_FILENAME, &work.source, "Disk to clone, raw", "FILE"},
        {"folder", 0, 0, G_OPTION_ARG_FILENAME, &work.folder, "Where the clones go", "FOLDER"},
        {"xml", 0, 0, G_OPTION_ARG_FILENAME, &work.template_path, "Domain with @NAME@, @UUID@, @DISK@",
            "FILE"},
        {"count", 0, 0, G_OPTION_ARG_INT, &work.count, "How many (1)", "N"},
        {"threads", 0, 0, G_OPTION_ARG_INT, &work.n_threads, "How many at once (4)", "N"},
        {"remove", 0, 0, G_OPTION_ARG_NONE, &work.is_removal, "End them and remove their disks", NULL},
        {0},
    };
    GOptionContext *context = g_option_context_new("- clones and starts guests straight through libvirt");
    g_option_context_add_main_entries(context, entries, NULL);
    GError *fault = NULL;
    bool is_good = g_option_context_parse(context, &argc, &argv, &fault);
    g_option_context_free(context);
    if (!is_good) {
        fprintf(stderr, "direct-libvirt: %s\n", fault->message);
        g_error_free(fault);
        return 2;
    }
    if (!work.uri)
        work.uri = g_strdup("qemu:///system");
    if (!work.prefix)
        work.prefix = g_strdup("direct");
    g_auto(Error) err = {0};
    virSetErrorFunc(NULL, be_silent);
    is_good = run(&work, &err);
    if (!is_good)
        fprintf(stderr, "direct-libvirt: %s\n", err.message);
    return is_good ? 0 : 1;
}
