#include "manager/local-actions.h"
#include <string.h>
#include "base/clock.h"
#include "base/log.h"

enum { TEXT_LENGTH = 250 };
#define MARK_PREFIX "meta/local-actions/" /* and a host's id: the highest sequence that was taken note of */

struct LocalActions {
    Inventory *inventory;
    Fleet *fleet;
    GHashTable *takings; /* host id -> Taking */
    bool is_stopping;
};

/* A host is asked, page by page, until it has no more. */
typedef struct Taking {
    LocalActions *actions;
    char *host_id;
    int64_t through; /* of the page that is being taken */
    bool is_again;   /* there may be more since */
} Taking;

static void taking_free(void *data) {
    Taking *taking = data;
    g_free(taking->host_id);
    g_free(taking);
}

LocalActions *local_actions_new(Inventory *inventory, Fleet *fleet) {
    LocalActions *actions = g_new0(LocalActions, 1);
    *actions = (LocalActions){.inventory = inventory, .fleet = fleet};
    actions->takings = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, taking_free);
    return actions;
}

void local_actions_stop(LocalActions *actions) {
    actions->is_stopping = true;
}

void local_actions_free(LocalActions *actions) {
    if (!actions)
        return;
    g_hash_table_unref(actions->takings);
    g_free(actions);
}

/* ---- how far ---- */

static char *mark_key(const char *host_id) {
    return g_strconcat(MARK_PREFIX, host_id, NULL);
}

static int64_t mark_of(const Taking *taking) {
    g_autofree char *key = mark_key(taking->host_id);
    g_auto(StoreItem) item = {0};
    if (!store_get(inventory_store(taking->actions->inventory), key, &item, NULL))
        return 0;
    g_autofree char *text = g_strndup(g_bytes_get_data(item.value, NULL), g_bytes_get_size(item.value));
    return g_ascii_strtoll(text, NULL, 10);
}

/* ---- one line: its time is that of taking note, as of all lines; its text says when it was done ---- */

static void audit(const Taking *taking, const AgentLocalAction *action) {
    Inventory *inventory = taking->actions->inventory;
    const Object *host = inventory_get(inventory, RESOURCE_HOST, taking->host_id);
    const Object *vm = inventory_get(inventory, RESOURCE_VM, action->vm);
    g_autofree char *object = g_strconcat("vm/", action->vm, NULL);
    g_autofree char *source = g_strdup_printf("host %.100s", host ? host->name : taking->host_id);
    g_autofree char *uid = g_strdup_printf("uid %" G_GINT64_FORMAT, action->uid);
    g_autoptr(GDateTime) when = g_date_time_new_from_unix_utc(action->time / NS_PER_S);
    g_autofree char *time = when ? g_date_time_format(when, "%Y-%m-%dT%H:%M:%SZ") : NULL;
    g_autofree char *text = g_strdup_printf("on the host itself, without the manager, at %s%s%s",
        time ? time : "?", action->text ? ": " : "", action->text ? action->text : "");
    g_autofree char *limited = g_utf8_substring(text, 0, MIN(g_utf8_strlen(text, -1), TEXT_LENGTH));
    g_auto(Event) event = {0};
    event_set_principal(&event, action->uid == 0 ? "root" : uid);
    event_set_source(&event, source);
    event_set_method(&event, action->method);
    event_set_object(&event, object);
    event_set_name(
        &event, vm ? vm->name : action->name); /* an agent that died may not have come to its name */
    event_set_outcome(&event, action->outcome);
    event_set_text(&event, limited);
    inventory_audit(inventory, &event);
}

/* ---- asking, in the order in which it happens ---- */

static void ask(Taking *taking);

static void end(Taking *taking) {
    LocalActions *actions = taking->actions;
    g_autofree char *host_id = taking->is_again ? g_strdup(taking->host_id) : NULL;
    g_hash_table_remove(actions->takings, taking->host_id);
    if (host_id)
        local_actions_take(actions, host_id);
}

static void forgotten(const json_t *result G_GNUC_UNUSED, const Error *err, void *data) {
    if (err)
        end(data); /* it is asked again when it is back; the mark knows what was taken */
    else
        ask(data);
}

/* The lines were written before: they are durable too. */
static void marked(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    Taking *taking = data;
    LocalActions *actions = taking->actions;
    if (err || actions->is_stopping)
        end(taking);
    else
        fleet_ask(actions->fleet, taking->host_id, AGENT_METHOD_LOCAL_FORGET,
            json_pack("{sI}", "through", (json_int_t)taking->through), forgotten, taking);
}

static void arrived(const json_t *result, const Error *err, void *data) {
    Taking *taking = data;
    LocalActions *actions = taking->actions;
    g_auto(AgentLocalActions) page = {0};
    if (err || actions->is_stopping || !agent_local_actions_decode(result, MODEL_STORED, &page, NULL) ||
        page.actions.n == 0) {
        end(taking);
        return;
    }
    int64_t mark = mark_of(taking);
    for (size_t i = 0; i < page.actions.n; i++) {
        const AgentLocalAction *action = &page.actions.items[i];
        if (action->sequence > mark && action->vm && action->method)
            audit(taking, action);
        taking->through = action->sequence;
    }
    log_info("the host %s was operated without this manager: %zu actions", taking->host_id, page.actions.n);
    g_autofree char *key = mark_key(taking->host_id);
    g_autofree char *text = g_strdup_printf("%" G_GINT64_FORMAT, MAX(mark, taking->through));
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, text, strlen(text), 0);
    store_commit(inventory_store(actions->inventory), transaction, marked, taking);
}

static void ask(Taking *taking) {
    fleet_ask(taking->actions->fleet, taking->host_id, AGENT_METHOD_LOCAL_ACTIONS, NULL, arrived, taking);
}

void local_actions_take(LocalActions *actions, const char *host_id) {
    Taking *known = g_hash_table_lookup(actions->takings, host_id);
    if (actions->is_stopping)
        return;
    if (known) {
        known->is_again = true;
        return;
    }
    Taking *taking = g_new0(Taking, 1);
    *taking = (Taking){.actions = actions, .host_id = g_strdup(host_id)};
    g_hash_table_insert(actions->takings, taking->host_id, taking);
    ask(taking);
}
