/* Messages to an agent; the list comes page by page. */
#include "manager/host-settings.h"
#include <string.h>
#include "base/log.h"

enum { MAX_ROWS = 20000 };

/* ---- telling ---- */

static json_t *modules_message(const Host *host) {
    static const HostModules open = {.present = MODEL_BIT(HOST_MODULES_FIELD_POLICY)};
    const HostModules *modules = host_has(host, HOST_FIELD_MODULES) ? &host->modules : &open;
    return json_pack("{so}", "modules", host_modules_encode(modules, MODEL_ENCODE_DEFINITION));
}

/* The status says it to people. */
static void applied(const json_t *result G_GNUC_UNUSED, const Error *err, void *data G_GNUC_UNUSED) {
    if (err && err->code != ERROR_UNREACHABLE && err->code != ERROR_UNSUPPORTED)
        log_warning("a host's list of kernel modules is not applied: %s", err->message);
}

static void control_applied(const json_t *result G_GNUC_UNUSED, const Error *err, void *data G_GNUC_UNUSED) {
    if (err && err->code != ERROR_UNREACHABLE && err->code != ERROR_UNSUPPORTED)
        log_warning("what a host's control domain keeps is not written: %s", err->message);
}

void host_settings_send(Fleet *fleet, Inventory *inventory, const char *host_id) {
    const Object *object = inventory_get(inventory, RESOURCE_HOST, host_id);
    if (!object)
        return;
    const Host *host = object->data;
    json_t *control = host_has(host, HOST_FIELD_CONTROL)
                          ? host_control_encode(&host->control, MODEL_ENCODE_DEFINITION)
                          : NULL;
    fleet_ask(fleet, host_id, AGENT_METHOD_MODULES_APPLY, modules_message(host), applied, NULL);
    fleet_ask(fleet, host_id, AGENT_METHOD_CONTROL_APPLY, json_pack("{so*}", "control", control),
        control_applied, NULL);
}

void host_modules_check(Fleet *fleet, const Host *host, HostModulesFn done, void *data) {
    fleet_ask(fleet, host->id, AGENT_METHOD_MODULES_CHECK, modules_message(host), done, data);
}

/* ---- listing ---- */

/* What is asked for page by page: the answer holds the rows under a name, and `next`. */
typedef struct Pages {
    AgentMethodId method;
    const TypeDescriptor *type; /* of an answer */
    const char *rows, *what;
} Pages;
static const Pages module_pages = {
    AGENT_METHOD_MODULES_LIST, &agent_module_list_type, "modules", "list of kernel modules"};
static const Pages foreign_pages = {
    AGENT_METHOD_VM_FOREIGN, &agent_foreign_list_type, "vms", "list of other tools' VMs"};

typedef struct Listing {
    const Pages *pages;
    Fleet *fleet;
    char *host_id, *after;
    json_t *rows;
    HostModulesFn done;
    void *data;
} Listing;

static void end(Listing *listing, const Error *err) {
    listing->done(err ? NULL : listing->rows, err, listing->data);
    json_decref(listing->rows);
    g_free(listing->host_id);
    g_free(listing->after);
    g_free(listing);
}

static bool take_page(Listing *listing, const json_t *result, bool *ret_is_last, Error *err) {
    const Pages *pages = listing->pages;
    void *page = g_malloc0(pages->type->size);
    bool is_sound = model_decode(pages->type, result, MODEL_STORED, page, err);
    model_free(pages->type, page);
    if (!is_sound)
        return false;
    json_t *rows = json_object_get(result, pages->rows);
    const char *next = json_text_at(result, "next");
    bool leads_back = next && listing->after && strcmp(next, listing->after) <= 0;
    if (leads_back || json_array_size(listing->rows) + json_array_size(rows) > MAX_ROWS)
        return error_set(err, ERROR_PROTOCOL, NULL, "the host's %s has no end", pages->what);
    json_array_extend(listing->rows, rows);
    g_free(listing->after);
    listing->after = g_strdup(next);
    *ret_is_last = !next;
    return true;
}

static void page_arrived(const json_t *result, const Error *err, void *data);

static void ask_page(Listing *listing) {
    json_t *parameters = json_pack("{ss*}", "after", listing->after);
    fleet_ask(listing->fleet, listing->host_id, listing->pages->method, parameters, page_arrived, listing);
}

static void page_arrived(const json_t *result, const Error *err, void *data) {
    Listing *listing = data;
    g_auto(Error) fault = {0};
    bool is_last = false;
    if (err || !take_page(listing, result, &is_last, &fault))
        end(listing, err ? err : &fault);
    else if (is_last)
        end(listing, NULL);
    else
        ask_page(listing);
}

static void list_pages(
    const Pages *pages, Fleet *fleet, const char *host_id, HostModulesFn done, void *data) {
    Listing *listing = g_new0(Listing, 1);
    *listing = (Listing){.pages = pages,
        .fleet = fleet,
        .host_id = g_strdup(host_id),
        .rows = json_array(),
        .done = done,
        .data = data};
    ask_page(listing);
}

void host_modules_list(Fleet *fleet, const char *host_id, HostModulesFn done, void *data) {
    list_pages(&module_pages, fleet, host_id, done, data);
}

void host_foreign_list(Fleet *fleet, const char *host_id, HostModulesFn done, void *data) {
    list_pages(&foreign_pages, fleet, host_id, done, data);
}
