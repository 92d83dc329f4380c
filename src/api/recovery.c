/* A recovery kit is made; a lost manager is made anew: what comes before its job. */
#include "api/api-internal.h"
#include "api/password.h"

enum { KIT_BODY_BYTES = 9 << 20 };

/* ---- system.recovery-kit ---- */

static void kit_made(const json_t *kit, const Error *err, void *data) {
    ApiCall *call = data;
    if (err)
        call_fail(call, err);
    else
        call_reply_json(call, 200, kit, NULL, 0);
    call_release(call);
}

/* In the parameters it could be shown with them. */
static char *take_secret(ApiCall *call, const char *name) {
    char *secret = g_strdup(json_text_at(call->parameters, name));
    json_object_del(call->parameters, name);
    return secret;
}

void handle_recovery_kit(ApiCall *call) {
    const ApiOptions *options = &call->api->options;
    g_auto(Error) err = {0};
    if (!options->make_kit)
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager makes no recovery kits");
    if (error_is_set(&err) || !call_decode_parameters(call, &err)) {
        call_fail(call, &err);
        return;
    }
    char *passphrase = take_secret(call, "passphrase");
    call_hold(call);
    options->make_kit(passphrase, kit_made, call, options->hook_data);
    secret_free(passphrase);
}

/* ---- system.rebuild ---- */

static void prepared(const json_t *result, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) inner = {0};
    if (err)
        error_copy(&inner, err);
    else if (call->api->is_closed)
        error_set(&inner, ERROR_UNREACHABLE, NULL, "the manager ends");
    json_decref(call->parameters);
    call->parameters = json_incref((json_t *)result);
    if (error_is_set(&inner))
        call_fail(call, &inner);
    else if (call->is_dry_run)
        call_reply_json(call, 200, result, NULL, 0);
    else
        call_submit(call);
    call_release(call);
}

void handle_rebuild(ApiCall *call) {
    const ApiOptions *options = &call->api->options;
    g_auto(Error) err = {0};
    if (!options->prepare_rebuild)
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager cannot be made anew");
    if (error_is_set(&err) || !call_decode_parameters(call, &err) ||
        !call_check_permission(call, NULL, &err)) {
        call_fail(call, &err);
        return;
    }
    call_hold(call);
    options->prepare_rebuild(call->parameters, call->is_dry_run, prepared, call, options->hook_data);
}

void recovery_begin(ApiCall *call) {
    if (call->id == METHOD_SYSTEM_REBUILD && call->who.name)
        http_request_set_body_limit(call->request, KIT_BODY_BYTES);
}
