/* Where a VM could run: from its definition and what each driver can do. */
#include "api/api-internal.h"
#include "api/query.h"
#include "model/vm-fit.h"

static bool is_on_fake(ApiCall *call, const Vm *vm) {
    const Object *object = inventory_get(call->api->options.inventory, RESOURCE_HOST, vm->host);
    const Host *host = object ? object->data : NULL;
    return host && host_has(host, HOST_FIELD_DRIVER) && host->driver == HYPERVISOR_DRIVER_FAKE;
}

void handle_vm_modes(ApiCall *call) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = NULL;
    const Object *vm = call_object(call, &err);
    if (!vm || !call_check_permission(call, vm, &err) ||
        !query_parse(
            resources[call->method->rows].type, http_request_target(call->request), "driver", &query, &err)) {
        call_fail(call, &err);
        return;
    }
    g_autoptr(GPtrArray) fits = vm_fit_list(vm->data, is_on_fake(call, vm->data));
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    for (guint i = 0; i < fits->len; i++) {
        json_t *row = vm_fit_encode(fits->pdata[i], MODEL_ENCODE_PUBLIC);
        if (query_matches(query, row))
            g_ptr_array_add(rows, row);
        else
            json_decref(row);
    }
    call_reply_page(call, query_page(query, rows));
}
