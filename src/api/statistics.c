/* What a VM uses: asked of its host each time, and not stored. */
#include "api/api-internal.h"

static void statistics_arrived(const json_t *result, const Error *err, void *data) {
    ApiCall *call = data;
    g_auto(Error) fault = {0};
    g_auto(VmStatistics) statistics = {0};
    if (err && err->code == ERROR_TIMED_OUT)
        error_set(&fault, ERROR_TIMED_OUT, NULL, "the host has not told in time what the VM uses");
    else if (err)
        error_copy(&fault, err);
    else if (call->api->is_closed)
        error_set(&fault, ERROR_UNREACHABLE, NULL, "the manager ends");
    else
        vm_statistics_decode(result, MODEL_STORED, &statistics, &fault);
    if (error_is_set(&fault)) {
        call_fail(call, &fault);
    } else {
        vm_statistics_set_id(&statistics, call->object_id);
        vm_statistics_set_name(&statistics, call->object_name);
        g_autoptr(json_t) body = vm_statistics_encode(&statistics, MODEL_ENCODE_PUBLIC);
        call_reply_json(call, 200, body, NULL, 0);
    }
    call_release(call);
}

void handle_vm_statistics(ApiCall *call) {
    g_auto(Error) err = {0};
    const ApiOptions *options = &call->api->options;
    const Object *object = call_object(call, &err);
    const Vm *vm = object ? object->data : NULL;
    if (vm && !options->read_statistics)
        error_set(&err, ERROR_UNSUPPORTED, NULL, "this manager asks no hosts for statistics");
    else if (vm && !vm->host)
        error_set(&err, ERROR_WRONG_STATE, NULL, "the VM does not run: it has no host");
    if (error_is_set(&err)) {
        call_fail(call, &err);
        return;
    }
    call_hold(call);
    options->read_statistics(vm, statistics_arrived, call, options->hook_data);
}
