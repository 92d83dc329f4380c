/*
 * What has a word in its name, id, addresses, MACs or tags, across all kinds of objects: one row for each
 * place where it is found. Looked for in memory, and encoded only where it is found.
 */
#include <string.h>
#include "api/api-internal.h"
#include "api/query.h"

#define NEEDLE "text~"
enum { LEAST = 2, MOST_ROWS = 10000 };

/* Kinds that people look for, in the order in which they are shown. */
static const ResourceId kinds[] = {RESOURCE_VM, RESOURCE_HOST, RESOURCE_TEMPLATE, RESOURCE_ISO,
    RESOURCE_NETWORK, RESOURCE_REPOSITORY, RESOURCE_POOL};

typedef struct Search {
    ApiCall *call;
    const Query *query;
    char *needle; /* in small letters */
    GPtrArray *rows;
} Search;

static bool contains(const Search *search, const char *text) {
    if (!text)
        return false;
    g_autofree char *small = g_utf8_strdown(text, -1);
    return strstr(small, search->needle) != NULL;
}

/* Where it is now, for people: "on node-7". */
static const char *place_of(const Search *search, const Object *object) {
    const Vm *vm = object->kind == RESOURCE_VM ? object->data : NULL;
    const Object *host =
        vm && vm->host ? inventory_get(search->call->api->inventory, RESOURCE_HOST, vm->host) : NULL;
    return host ? host->name : NULL;
}

static void look(Search *search, const Object *object, const char *where, const char *text) {
    if (search->rows->len >= MOST_ROWS || !contains(search, text))
        return;
    g_auto(Match) match = {0};
    match_set_kind(&match, resources[object->kind].name);
    match_set_id(&match, object->id);
    match_set_name(&match, object->name);
    match_set_place(&match, where);
    match_set_text(&match, text);
    const char *host = place_of(search, object);
    if (host)
        match_set_host(&match, host);
    g_autoptr(json_t) row = match_encode(&match, MODEL_ENCODE_PUBLIC);
    if (query_matches(search->query, row))
        g_ptr_array_add(search->rows, g_steal_pointer(&row));
}

static void look_in_vm(Search *search, const Object *object) {
    const Vm *vm = object->data;
    for (size_t i = 0; i < vm->tags.n; i++)
        look(search, object, "tag", vm->tags.items[i]);
    for (size_t i = 0; i < vm->nics.n; i++)
        look(search, object, "mac", vm->nics.items[i].mac);
    if (!vm_has(vm, VM_FIELD_STATUS))
        return;
    for (size_t i = 0; i < vm->status.addresses.n; i++)
        look(search, object, "address", vm->status.addresses.items[i].address);
}

static void look_in_host(Search *search, const Object *object) {
    const Host *host = object->data;
    for (size_t i = 0; i < host->tags.n; i++)
        look(search, object, "tag", host->tags.items[i]);
    look(search, object, "address", host->address);
    if (!host_has(host, HOST_FIELD_STATUS))
        return;
    look(search, object, "hostname", host->status.hostname);
    for (size_t i = 0; i < host->status.unmanaged.n; i++)
        look(search, object, "unmanaged", host->status.unmanaged.items[i]);
}

static void look_in(Search *search, const Object *object) {
    look(search, object, "name", object->name);
    look(search, object, "id", object->id);
    if (object->kind == RESOURCE_VM)
        look_in_vm(search, object);
    else if (object->kind == RESOURCE_HOST)
        look_in_host(search, object);
}

static void look_in_all(Search *search) {
    Inventory *inventory = search->call->api->inventory;
    for (size_t i = 0; i < G_N_ELEMENTS(kinds); i++) {
        const GPtrArray *objects = inventory_list(inventory, kinds[i]);
        g_autofree char *permission = g_strconcat(resources[kinds[i]].name, ".view", NULL);
        for (guint j = 0; j < objects->len; j++)
            if (access_check_object(inventory, &search->call->who, permission, objects->pdata[j], NULL))
                look_in(search, objects->pdata[j]);
    }
}

/* The word behind `text~`, wherever that stands in the filter. */
static char *needle_of(const HttpTarget *target, Error *err) {
    const char *filter = http_target_parameter(target, "filter");
    const char *found = filter ? strstr(filter, NEEDLE) : NULL;
    g_autofree char *word =
        found ? g_strndup(found + strlen(NEEDLE), strcspn(found + strlen(NEEDLE), ",")) : g_strdup("");
    if (strlen(word) < LEAST) {
        error_set(err, ERROR_INVALID, "/filter",
            "filter: " NEEDLE "WORD is needed, with at least %d characters to look for", LEAST);
        return NULL;
    }
    return g_utf8_strdown(word, -1);
}

void handle_match_list(ApiCall *call) {
    g_auto(Error) err = {0};
    g_autoptr(Query) query = NULL;
    const HttpTarget *target = http_request_target(call->request);
    g_autofree char *needle = needle_of(target, &err);
    if (!needle ||
        !query_parse(resources[call->method->resource].type, target, "kind,name,place", &query, &err)) {
        call_fail(call, &err);
        return;
    }
    g_autoptr(GPtrArray) rows = g_ptr_array_new_with_free_func((GDestroyNotify)json_decref);
    Search search = {.call = call, .query = query, .needle = needle, .rows = rows};
    look_in_all(&search);
    call_reply_page(call, query_page(query, rows));
}
