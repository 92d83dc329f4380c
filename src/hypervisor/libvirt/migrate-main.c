/*
 * lodge-migrate URI DOMAIN FOLDER MARK [--copy-disks] [--bandwidth MIB] [--memory URI] [--written FILE]...:
 * leads one live migration as libvirt's client, paused at the end, over the sockets control, memory (or that
 * URI) and disks in FOLDER, with the definition in FOLDER/target.xml. Holds a lock on MARK.leading while it
 * does, and makes the file MARK.left, durably, once the target has all of it, the source has let go, and each
 * FILE is on its disk. Prints "progress PERCENT" lines; ends
 * with status 0, or with 1 and what libvirt said. It may be killed at any moment, whereupon both sides have
 * to be looked at; without being killed it outlives who started it, and sees the end of its sockets. It never
 * watches whether the other side is alive, because libvirt would let the source go on for a mere delay.
 */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

enum {
    PATH_LENGTH = 256,
    XML_LIMIT = 4 * 1024 * 1024,
    POLL_US = 300 * 1000,
    MOST_FOLDER = 90,
    MOST_MARK = 200,
    MOST_WRITTEN = 256,
    /* QEMU holds a guest when what is left takes less than its downtime. One that writes faster than it is
     * copied is given ever more of that, from the second round over its memory on. */
    DOWNTIME_MS = 300,
    MOST_DOWNTIME_MS = 60 * 1000,
    RAISE_AFTER_S = 10
};

typedef struct Course {
    const char *uri, *domain_id, *folder, *mark;
    const char *memory; /* NULL: the socket */
    const char *written[MOST_WRITTEN];
    size_t n_written;
    bool copies_disks, is_xen;
    unsigned long long bandwidth;
    virConnectPtr source, target;
    virDomainPtr domain;
    unsigned long long downtime_ms;
    time_t raised;
    atomic_bool is_over;
} Course;

static int fail(const char *what) {
    const char *text = virGetLastErrorMessage();
    fprintf(stderr, "%s: %s\n", what, text && *text ? text : "unknown");
    return 1;
}

static void quiet(void *data, virErrorPtr error) {
    (void)data;
    (void)error;
}

static char *read_definition(const Course *course) {
    char path[PATH_LENGTH];
    if (snprintf(path, sizeof path, "%s/target.xml", course->folder) >= (int)sizeof path)
        return NULL;
    FILE *file = fopen(path, "re");
    char *text = calloc(1, XML_LIMIT + 1);
    size_t n = file && text ? fread(text, 1, XML_LIMIT, file) : 0;
    if (file)
        fclose(file);
    if (n > 0)
        return text;
    free(text);
    return NULL;
}

static time_t now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

static void give_time(Course *course, unsigned long long round) {
    time_t now = now_s();
    if (round < 2 || course->raised == 0) {
        course->raised = now;
        return;
    }
    if (now - course->raised < RAISE_AFTER_S || course->downtime_ms >= MOST_DOWNTIME_MS)
        return;
    course->raised = now;
    course->downtime_ms *= 2;
    virDomainMigrateSetMaxDowntime(course->domain, course->downtime_ms, 0);
}

static void tell_progress(Course *course, int *last) {
    virTypedParameterPtr values = NULL;
    int n = 0, kind = 0;
    unsigned long long total = 0, processed = 0, round = 0;
    if (virDomainGetJobStats(course->domain, &kind, &values, &n, 0) == 0) {
        virTypedParamsGetULLong(values, n, VIR_DOMAIN_JOB_DATA_TOTAL, &total);
        virTypedParamsGetULLong(values, n, VIR_DOMAIN_JOB_DATA_PROCESSED, &processed);
        virTypedParamsGetULLong(values, n, VIR_DOMAIN_JOB_MEMORY_ITERATION, &round);
    }
    virTypedParamsFree(values, n);
    give_time(course, round);
    int percent = total > 0 ? (int)(processed >= total ? 99 : processed * 100 / total) : 0;
    if (percent > *last)
        printf("progress %d\n", *last = percent);
}

static void *watch(void *data) {
    Course *course = data;
    int last = -1;
    while (!course->is_over) {
        tell_progress(course, &last);
        usleep(POLL_US);
    }
    return NULL;
}

static int add_text(virTypedParameterPtr *list, int *n, int *most, const char *name, const char *value) {
    return virTypedParamsAddString(list, n, most, name, value);
}

static int lead(Course *course, const char *xml) {
    char memory[PATH_LENGTH], disks[PATH_LENGTH];
    virTypedParameterPtr list = NULL;
    int n = 0, most = 0;
    unsigned flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_PAUSED;
    if (!course->is_xen) /* whose driver knows neither, and never looks at disks */
        flags |= VIR_MIGRATE_AUTO_CONVERGE |
                 (course->copies_disks ? VIR_MIGRATE_NON_SHARED_DISK : VIR_MIGRATE_UNSAFE);
    snprintf(memory, sizeof memory, "unix://%s/memory", course->folder);
    snprintf(disks, sizeof disks, "unix://%s/disks", course->folder);
    bool is_good =
        add_text(&list, &n, &most, VIR_MIGRATE_PARAM_URI, course->memory ? course->memory : memory) == 0 &&
        add_text(&list, &n, &most, VIR_MIGRATE_PARAM_DEST_XML, xml) == 0;
    if (is_good && course->copies_disks)
        is_good = add_text(&list, &n, &most, VIR_MIGRATE_PARAM_DISKS_URI, disks) == 0;
    if (is_good && course->bandwidth > 0)
        is_good =
            virTypedParamsAddULLong(&list, &n, &most, VIR_MIGRATE_PARAM_BANDWIDTH, course->bandwidth) == 0;
    virDomainPtr there =
        is_good ? virDomainMigrate3(course->domain, course->target, list, (unsigned)n, flags) : NULL;
    int status = there ? 0 : fail("the migration failed");
    virTypedParamsFree(list, n);
    if (there)
        virDomainFree(there);
    return status;
}

/* Kept open until the end. */
static bool take_lead(const Course *course) {
    char path[PATH_LENGTH];
    snprintf(path, sizeof path, "%s.leading", course->mark);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0;
}

/* What the kernel still holds of a disk is written, so that another host reads it. */
static bool write_out(const Course *course) {
    bool is_written = true;
    for (size_t i = 0; i < course->n_written; i++) {
        int fd = open(course->written[i], O_RDONLY | O_CLOEXEC);
        is_written = fd >= 0 && fsync(fd) == 0 && is_written;
        if (fd >= 0)
            close(fd);
    }
    return is_written;
}

static bool leave_mark(const Course *course) {
    char path[PATH_LENGTH];
    if (!write_out(course))
        return false;
    snprintf(path, sizeof path, "%s.left", course->mark);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    bool is_made = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    *strrchr(path, '/') = '\0';
    int folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    is_made = folder >= 0 && fsync(folder) == 0 && is_made;
    if (folder >= 0)
        close(folder);
    return is_made;
}

static int run(Course *course) {
    char target[PATH_LENGTH];
    pthread_t watcher;
    char *xml = read_definition(course);
    if (!xml) {
        fprintf(stderr, "%s/target.xml cannot be read\n", course->folder);
        return 1;
    }
    snprintf(target, sizeof target, "%s+unix:///system?socket=%s/control", course->is_xen ? "xen" : "qemu",
        course->folder);
    course->source = virConnectOpen(course->uri);
    course->domain = course->source ? virDomainLookupByUUIDString(course->source, course->domain_id) : NULL;
    course->target = course->domain ? virConnectOpen(target) : NULL;
    int status = 1;
    if (!course->target) {
        fail(course->domain ? "the other host's libvirt" : "the domain");
    } else if (pthread_create(&watcher, NULL, watch, course) == 0) {
        status = lead(course, xml);
        if (status == 0 && !leave_mark(course)) {
            perror(course->mark);
            status = 1;
        }
        course->is_over = true;
        pthread_join(watcher, NULL);
    }
    free(xml);
    return status;
}

static bool read_options(Course *course, int argc, char **argv) {
    for (int i = 5; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strcmp(argv[i], "--copy-disks") == 0) {
            course->copies_disks = true;
            continue;
        }
        i++;
        if (value && strcmp(argv[i - 1], "--bandwidth") == 0)
            course->bandwidth = strtoull(value, NULL, 10);
        else if (value && strcmp(argv[i - 1], "--memory") == 0)
            course->memory = value;
        else if (value && strcmp(argv[i - 1], "--written") == 0 && course->n_written < MOST_WRITTEN)
            course->written[course->n_written++] = value;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    Course course = {.downtime_ms = DOWNTIME_MS};
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc < 5 || strlen(argv[3]) > MOST_FOLDER || strlen(argv[4]) > MOST_MARK ||
        !read_options(&course, argc, argv)) {
        fprintf(stderr, "usage: lodge-migrate URI DOMAIN FOLDER MARK [--copy-disks] [--bandwidth MIB] "
                        "[--memory URI] [--written FILE]...\n");
        return 2;
    }
    course.uri = argv[1];
    course.domain_id = argv[2];
    course.folder = argv[3];
    course.mark = argv[4];
    course.is_xen = strncmp(course.uri, "xen:", 4) == 0;
    if (!take_lead(&course)) {
        fprintf(stderr, "%s: somebody leads a migration of it already\n", course.mark);
        return 1;
    }
    if (virInitialize() < 0)
        return fail("lodge-migrate");
    virSetErrorFunc(NULL, quiet);
    return run(&course);
}
