/*
 * Uploads: the body of a method that takes a file goes to a host while it arrives, outside the body limit;
 * then the method's job is submitted. Headers: `Upload-Id` names the file for the caller (any short text: the
 * same file, the same text), `Upload-Length` is its whole size, `Upload-Offset` where this body begins. A
 * request with an id, an empty body and no offset asks how much is kept: 204 with Upload-Offset. Without an
 * id it is one try, which cannot be resumed.
 */
#include <string.h>
#include "api/api-internal.h"

enum { MAX_UPLOAD_ID = 128 };
#define UPLOAD_TYPE "application/octet-stream"

bool upload_is_meant(const HttpRequest *request) {
    const char *type = http_request_header(request, "Content-Type");
    return type && g_ascii_strncasecmp(type, UPLOAD_TYPE, strlen(UPLOAD_TYPE)) == 0;
}

static bool number_header(
    const ApiCall *call, const char *name, int64_t absent, int64_t *ret_number, Error *err) {
    const char *text = http_request_header(call->request, name);
    *ret_number = absent;
    if (text && !g_ascii_string_to_signed(text, 10, 0, MODEL_SIZE_MAX, ret_number, NULL))
        return error_set(err, ERROR_INVALID, NULL, "%s: must be a number of bytes", name);
    return true;
}

/* The same caller, method and Upload-Id: the same UUID (RFC 9562, version 8). Nobody else's. */
static char *upload_uuid(const ApiCall *call, const char *name) {
    const char *who = call->who.name ? call->who.name : "";
    g_autofree char *text = g_strdup_printf("%s\n%s\n%s", who, call->method->name, name);
    g_autofree char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
    return g_strdup_printf("%.8s-%.4s-8%.3s-a%.3s-%.12s", hash, hash + 8, hash + 12, hash + 15, hash + 18);
}

static bool read_headers(ApiCall *call, Error *err) {
    int64_t body = http_request_content_length(call->request), size = -1, offset = 0;
    const char *name = http_request_header(call->request, "Upload-Id");
    if (name && (!*name || strlen(name) > MAX_UPLOAD_ID))
        return error_set(err, ERROR_INVALID, NULL, "Upload-Id: 1 to %d characters", MAX_UPLOAD_ID);
    if (!number_header(call, "Upload-Length", -1, &size, err) ||
        !number_header(call, "Upload-Offset", 0, &offset, err))
        return false;
    call->upload.is_question = name && body == 0 && !http_request_header(call->request, "Upload-Offset");
    if (!call->upload.is_question && size >= 0 && body >= 0 && offset + body != size)
        return error_set(err, ERROR_INVALID, NULL, "Upload-Length: offset and body make another size");
    if (size < 0 && body >= 0 && !call->upload.is_question)
        size = offset + body;
    g_autofree char *random = g_uuid_string_random();
    call->upload.id = name ? upload_uuid(call, name) : g_steal_pointer(&random);
    call->upload.size = size;
    call->upload.offset = offset;
    return true;
}

static JobRequest job_request(const ApiCall *call) {
    return (JobRequest){.target_kind = call->method->resource,
        .parameters = call->parameters,
        .principal = call->who.name,
        .source = call->source};
}

/* All that can be known before a byte was sent. */
static bool check(ApiCall *call, Error *err) {
    if (!call->api->options.begin_upload)
        return error_set(err, ERROR_UNSUPPORTED, NULL, "this manager takes no uploads");
    if (!read_headers(call, err) || !call_decode_parameters(call, err) ||
        !call_check_permission(call, NULL, err))
        return false;
    if (json_object_get(call->parameters, "source"))
        return error_set(err, ERROR_INVALID, "/source", "source: either a URL or an upload");
    json_object_set_new(call->parameters, "upload", json_string(call->upload.id));
    const JobRequest request = job_request(call);
    g_autoptr(json_t) plan = job_dry_run(call->api->jobs, call->method->name, &request, err);
    return plan != NULL;
}

static ApiUpload upload_of(const ApiCall *call) {
    return (ApiUpload){.id = call->upload.id,
        .parameters = call->parameters,
        .size = call->upload.size,
        .offset = (uint64_t)call->upload.offset};
}

/* ---- 1. how much is kept? ---- */

static void answer_question(uint64_t kept_bytes, const Error *err, void *data) {
    ApiCall *call = data;
    g_autofree char *offset = g_strdup_printf("%" G_GUINT64_FORMAT, kept_bytes);
    HttpHeader headers[] = {{"Upload-Offset", offset}, call_request_id_header(call)};
    if (err)
        call_fail(call, err);
    else
        http_reply(call->request, 204, headers, G_N_ELEMENTS(headers), NULL);
    call_release(call);
}

/* ---- 2. the bytes, then the job ---- */

static void submitted(const char *job_id, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) gone = {0};
    const Object *job =
        job_id && !call->api->is_closed ? inventory_get(call->api->inventory, RESOURCE_JOB, job_id) : NULL;
    call->job_id = g_strdup(job_id);
    if (job) {
        call_reply_object(call, 202, job);
    } else {
        if (!err)
            error_set(&gone, ERROR_INTERNAL, NULL, "the job %s is gone", job_id);
        call_fail(call, err ? err : &gone);
    }
    call_release(call);
}

static void received(uint64_t kept_bytes, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    call->upload.receiver = NULL;
    if (err)
        error_copy(&inner, err);
    else if (call->api->is_closed)
        error_set(&inner, ERROR_UNREACHABLE, NULL, "the manager ends");
    else if (call->upload.size >= 0 && kept_bytes != (uint64_t)call->upload.size)
        error_set(&inner, ERROR_PROTOCOL, NULL, "%" G_GUINT64_FORMAT " of %" G_GINT64_FORMAT " bytes arrived",
            kept_bytes, call->upload.size);
    if (error_is_set(&inner)) {
        call_fail(call, &inner);
        call_release(call);
        return;
    }
    const JobRequest request = job_request(call);
    job_submit(call->api->jobs, call->method->name, &request, NULL, submitted, call);
}

void upload_begin(ApiCall *call) {
    g_auto(Error) err = {0};
    const ApiOptions *options = &call->api->options;
    if (!check(call, &err)) {
        call_refuse(call, NULL, &err);
        return;
    }
    const ApiUpload upload = upload_of(call);
    call_hold(call);
    if (call->upload.is_question) {
        http_request_pause(call->request);
        options->ask_upload(&upload, answer_question, call, options->hook_data);
        return;
    }
    call->upload.receiver = options->begin_upload(call->request, &upload, received, call, options->hook_data);
}

void upload_end(ApiCall *call) {
    if (call->upload.receiver)
        call->api->options.end_upload(call->upload.receiver, call->api->options.hook_data);
}
