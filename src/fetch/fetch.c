/*
 * libcurl with everything off that is not needed: HTTP and HTTPS only, five redirects, no proxy, no cookies,
 * no credentials from files, certificates checked. A try that breaks off goes on with a range, and only if
 * the server still has the same version.
 */
#include "fetch/fetch.h"
#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>
#include "fetch/address.h"

enum { REDIRECTS = 5, CONNECT_S = 30, STALL_S = 60, TRIES = 5, PAUSE_S = 1, VALIDATOR_LIMIT = 200 };

typedef struct Fetch {
    const FetchSpec *spec;
    CURL *handle;
    struct ifaddrs *own;
    uint64_t offset; /* bytes in the file */
    char validator[VALIDATOR_LIMIT + 1];
    const char *refusal; /* why an address was refused */
    bool has_begun;      /* this answer's first bytes came */
    bool is_too_large;
    int write_errno;
    time_t shown;
} Fetch;

static bool say_error(const char *code, const char *text) {
    printf("error %s %s\n", code, text);
    return false;
}

/* ---- what libcurl asks ---- */

static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
    Fetch *fetch = data;
    fetch->refusal = address_refusal(&address->addr, fetch->own, fetch->spec->allows_own);
    if (fetch->refusal || purpose != CURLSOCKTYPE_IPCXN)
        return CURL_SOCKET_BAD;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

/* A strong ETag names a version; a new answer (after a redirect) forgets the one before. */
static size_t take_header(char *bytes, size_t size, size_t count, void *data) {
    Fetch *fetch = data;
    size_t length = size * count, name = strlen("ETag:");
    if (length > 5 && strncmp(bytes, "HTTP/", 5) == 0)
        fetch->validator[0] = '\0';
    if (length <= name || strncasecmp(bytes, "ETag:", name) != 0)
        return length;
    const char *value = bytes + name + strspn(bytes + name, " \t");
    size_t room = length - (size_t)(value - bytes), n = 0;
    while (n < room && value[n] > ' ' && value[n] < 127)
        n++;
    if (n > 2 && n <= VALIDATOR_LIMIT && value[0] == '"') {
        memcpy(fetch->validator, value, n);
        fetch->validator[n] = '\0';
    }
    return length;
}

/* 206 goes on; anything else is the whole. */
static bool begin(Fetch *fetch) {
    long status = 0;
    curl_easy_getinfo(fetch->handle, CURLINFO_RESPONSE_CODE, &status);
    fetch->has_begun = true;
    if (status != 206)
        fetch->offset = 0;
    if (ftruncate(fetch->spec->fd, (off_t)fetch->offset) < 0)
        return false;
    if (fetch->validator[0])
        printf("validator %s\n", fetch->validator);
    return true;
}

static size_t take_data(char *bytes, size_t size, size_t count, void *data) {
    Fetch *fetch = data;
    size_t length = size * count, done = 0;
    if (!fetch->has_begun && !begin(fetch)) {
        fetch->write_errno = errno;
        return 0;
    }
    fetch->is_too_large = length > fetch->spec->limit_bytes - fetch->offset;
    while (!fetch->is_too_large && done < length) {
        ssize_t n = pwrite(fetch->spec->fd, bytes + done, length - done, (off_t)fetch->offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fetch->write_errno = errno;
            return 0;
        }
        fetch->offset += (uint64_t)n;
        done += (size_t)n;
    }
    return done;
}

static int take_progress(void *data, curl_off_t total, curl_off_t now, curl_off_t to_send, curl_off_t sent) {
    Fetch *fetch = data;
    time_t second = time(NULL);
    (void)to_send;
    (void)sent;
    if (second == fetch->shown || !fetch->has_begun)
        return 0;
    fetch->shown = second;
    uint64_t before = fetch->offset > (uint64_t)now ? fetch->offset - (uint64_t)now : 0;
    printf("progress %" PRIu64 " %" PRIu64 "\n", fetch->offset, total > 0 ? before + (uint64_t)total : 0);
    return 0;
}

/* ---- one try ---- */

static void set_limits(Fetch *fetch) {
    CURL *handle = fetch->handle;
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(handle, CURLOPT_MAXREDIRS, (long)REDIRECTS);
    curl_easy_setopt(handle, CURLOPT_PROXY, "");
    curl_easy_setopt(handle, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_FAILONERROR, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
    curl_easy_setopt(handle, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)fetch->spec->limit_bytes);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, fetch);
}

static void set_callbacks(Fetch *fetch) {
    CURL *handle = fetch->handle;
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, fetch);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_data);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, fetch);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, take_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, fetch);
}

static CURLcode try_once(Fetch *fetch, char *error_text, long *ret_status) {
    char range[32], condition[VALIDATOR_LIMIT + 16];
    struct curl_slist *headers = NULL;
    fetch->handle = curl_easy_init();
    fetch->has_begun = false;
    error_text[0] = '\0';
    curl_easy_setopt(fetch->handle, CURLOPT_URL, fetch->spec->url);
    curl_easy_setopt(fetch->handle, CURLOPT_ERRORBUFFER, error_text);
    curl_easy_setopt(fetch->handle, CURLOPT_USERAGENT, "lodge/" LODGE_VERSION);
    set_limits(fetch);
    set_callbacks(fetch);
    if (fetch->offset > 0 && fetch->validator[0]) {
        snprintf(range, sizeof range, "%" PRIu64 "-", fetch->offset);
        snprintf(condition, sizeof condition, "If-Range: %s", fetch->validator);
        headers = curl_slist_append(NULL, condition);
        curl_easy_setopt(fetch->handle, CURLOPT_RANGE, range);
        curl_easy_setopt(fetch->handle, CURLOPT_HTTPHEADER, headers);
    } else {
        fetch->offset = 0;
    }
    CURLcode code = curl_easy_perform(fetch->handle);
    curl_easy_getinfo(fetch->handle, CURLINFO_RESPONSE_CODE, ret_status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(fetch->handle);
    return code;
}

/* ---- what came of it ---- */

static bool is_curable(CURLcode code) {
    return code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_OPERATION_TIMEDOUT ||
           code == CURLE_GOT_NOTHING;
}

static bool explain(const Fetch *fetch, CURLcode code, long status, const char *error_text) {
    char text[128];
    if (fetch->refusal)
        return say_error("denied", fetch->refusal);
    if (fetch->is_too_large || code == CURLE_FILESIZE_EXCEEDED)
        return say_error("too-large", "the file is larger than allowed");
    if (fetch->write_errno)
        return say_error(fetch->write_errno == ENOSPC ? "no-space" : "io", strerror(fetch->write_errno));
    if (code == CURLE_HTTP_RETURNED_ERROR) {
        snprintf(text, sizeof text, "the server answered with status %ld", status);
        return say_error(status == 404 || status == 410 ? "not-found" : "failed", text);
    }
    if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL)
        return say_error("invalid", "the address is not one that can be fetched");
    if (code == CURLE_TOO_MANY_REDIRECTS)
        return say_error("failed", "the server redirects too often");
    return say_error(code == CURLE_OPERATION_TIMEDOUT ? "timed-out" : "failed",
        error_text[0] ? error_text : curl_easy_strerror(code));
}

static bool finish(Fetch *fetch) {
    if (!fetch->has_begun && ftruncate(fetch->spec->fd, 0) < 0)
        return say_error("io", strerror(errno));
    if (fsync(fetch->spec->fd) < 0)
        return say_error(errno == ENOSPC ? "no-space" : "io", strerror(errno));
    printf("done\n");
    return true;
}

static bool fetch_with_tries(Fetch *fetch) {
    char error_text[CURL_ERROR_SIZE];
    for (int i = 1;; i++) {
        uint64_t before = fetch->offset;
        long status = 0;
        CURLcode code = try_once(fetch, error_text, &status);
        if (code == CURLE_OK)
            return finish(fetch);
        if (status == 416 && before > 0 && i < TRIES) { /* another version, shorter than what is here */
            fetch->offset = 0;
            continue;
        }
        bool goes_on = fetch->validator[0] && fetch->offset > before;
        if (!is_curable(code) || !goes_on || i == TRIES)
            return explain(fetch, code, status, error_text);
        sleep(PAUSE_S);
    }
}

bool fetch(const FetchSpec *spec) {
    off_t end = lseek(spec->fd, 0, SEEK_END);
    Fetch fetch = {.spec = spec, .offset = end > 0 ? (uint64_t)end : 0};
    if (spec->validator && strlen(spec->validator) <= VALIDATOR_LIMIT)
        memcpy(fetch.validator, spec->validator, strlen(spec->validator) + 1);
    if (fetch.offset > spec->limit_bytes)
        fetch.offset = 0;
    if (getifaddrs(&fetch.own) < 0)
        return say_error("internal", "this host does not tell its own addresses");
    bool ok = fetch_with_tries(&fetch);
    freeifaddrs(fetch.own);
    return ok;
}
