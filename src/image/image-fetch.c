/* The file goes to the jail's identity and comes back; the helper's lines are foreign text. */
#include "image/image-fetch.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "image/jail.h"

enum {
    FETCH_TIMEOUT_MS = 24 * 60 * 60 * 1000,
    FETCH_CPU_S = 6 * 60 * 60,
    VERSION_LIMIT = 256,
    REASON_LIMIT = 500
};
#define JAIL_FILE "/fetched"
#define JAIL_HELPER "/lodge-fetch"
#define ADDRESS_SPACE_BYTES (UINT64_C(1) << 30)

typedef struct Run {
    const ImageFetch *fetch;
    const ImageProgress *progress;
    char *version_path;
    Error fault; /* what the helper said */
} Run;

static void run_clear(Run *run) {
    g_free(run->version_path);
    error_clear(&run->fault);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Run, run_clear)

/* ---- what the helper says ---- */

static void take_progress(Run *run, const char *numbers) {
    char *rest = NULL;
    uint64_t done = g_ascii_strtoull(numbers, &rest, 10), total = g_ascii_strtoull(rest, NULL, 10);
    g_autofree char *phase = g_strdup_printf("fetching: %" PRIu64 " MiB", done >> 20);
    bool is_known = total > 0 && done <= total && total <= UINT64_MAX / 100;
    progress_report(run->progress, is_known ? (int)(done * 100 / total) : 0, phase);
}

static void take_fault(Run *run, const char *words) {
    /* Not ERROR_UNREACHABLE, which says of a call that the host could not be asked. */
    static const ErrorCode expected[] = {ERROR_NOT_FOUND, ERROR_DENIED, ERROR_TOO_LARGE, ERROR_NO_SPACE,
        ERROR_TIMED_OUT, ERROR_INVALID, ERROR_IO};
    g_auto(GStrv) parts = g_strsplit(words, " ", 2);
    ErrorCode code = ERROR_TOOL_FAILED;
    for (size_t i = 0; parts[0] && i < G_N_ELEMENTS(expected); i++)
        if (strcmp(parts[0], error_info(expected[i])->name) == 0)
            code = expected[i];
    const char *reason = parts[0] && parts[1] ? parts[1] : "no reason given";
    g_autofree char *text = g_utf8_make_valid(reason, (gssize)strnlen(reason, REASON_LIMIT));
    if (!error_is_set(&run->fault))
        error_set(&run->fault, code, "/source", "it cannot be fetched: %s", text);
}

static void take_line(const char *line, void *data) {
    Run *run = data;
    if (g_str_has_prefix(line, "progress "))
        take_progress(run, line + strlen("progress "));
    else if (g_str_has_prefix(line, "error "))
        take_fault(run, line + strlen("error "));
    else if (g_str_has_prefix(line, "validator ") && strlen(line) < VERSION_LIMIT)
        file_replace(
            run->version_path, line + strlen("validator "), strlen(line + strlen("validator ")), 0600, NULL);
}

/* ---- the file ---- */

static bool make_file(const ImageFetch *fetch, Error *err) {
    fd_auto int fd = open(fetch->path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set_errno(err, errno, "making the file to fetch into");
    return jail_give(fd, fetch->first_id, err);
}

/* No process of the jail lives any more. */
static bool take_file_back(const ImageFetch *fetch, Error *err) {
    fd_auto int fd = open(fetch->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchown(fd, 0, 0) < 0 || fchmod(fd, 0600) < 0)
        return error_set_errno(err, errno, "taking back what was fetched");
    return true;
}

static bool run_helper(Run *run, const char *input, const Cancel *cancel, Error *err) {
    const ImageFetch *fetch = run->fetch;
    g_autofree char *limit = g_strdup_printf("%" PRIu64, fetch->limit_bytes);
    const JailBind binds[] = {{fetch->helper, JAIL_HELPER}, {fetch->path, JAIL_FILE, .is_writable = true}};
    const JailSpec spec = {.kind = JAIL_SINGLE,
        .first_id = fetch->first_id,
        .argv = (const char *const[]){JAIL_HELPER, JAIL_FILE, limit,
            fetch->allows_own ? "--allow-this-machine" : NULL, NULL},
        .binds = binds,
        .n_binds = G_N_ELEMENTS(binds),
        .has_network = true,
        .limits = {.cpu_s = FETCH_CPU_S,
            .address_space_bytes = ADDRESS_SPACE_BYTES,
            .file_bytes = fetch->limit_bytes},
        .timeout_ms = FETCH_TIMEOUT_MS,
        .output_limit = 64 << 20,
        .stdin_data = input,
        .cancel = cancel,
        .on_line = take_line,
        .on_line_data = run};
    g_auto(Error) failed = {0};
    if (jail_run(&spec, NULL, &failed))
        return true;
    if (failed.code == ERROR_TOOL_FAILED && error_is_set(&run->fault))
        error_move(err, &run->fault);
    else
        error_move(err, &failed);
    return false;
}

bool image_fetch(const ImageFetch *fetch, const ImageProgress *progress, const Cancel *cancel, Error *err) {
    g_auto(Run) run = {.fetch = fetch, .progress = progress};
    run.version_path = g_strconcat(fetch->path, ".version", NULL);
    g_autofree char *version = NULL;
    if (strpbrk(fetch->url, "\r\n"))
        return error_set(err, ERROR_INVALID, "/source", "source: is not an address");
    file_read(run.version_path, VERSION_LIMIT, &version, NULL, NULL);
    g_autofree char *input = g_strdup_printf("%s\n%s\n", fetch->url, version ? version : "");
    progress_report(progress, 0, "fetching");
    if (!make_file(fetch, err))
        return false;
    bool is_fetched = run_helper(&run, input, cancel, err);
    return take_file_back(fetch, is_fetched ? err : NULL) && is_fetched;
}
