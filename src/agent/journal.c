/* The journal: a store and its image in memory. */
#include "agent/journal.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { RANGE = 500 };
#define CLAIM_FLOOR_KEY "claim-floor"
#define NEXT_ACTION_KEY "next-action"
#define ACTION_PREFIX "action/"
#define KEPT_KEY "kept"

struct Journal {
    Store *store;
    char *host, *owner;
    int64_t epoch, next_sequence;
    GHashTable *claims;     /* object -> int64_t * */
    int64_t claim_floor;    /* of objects whose claims were forgotten */
    GHashTable *operations; /* id -> Operation */
    GHashTable *networks;   /* id -> json_t * */
    GHashTable *migrations; /* id -> json_t * */
    GQueue *actions;        /* AgentLocalAction, by their sequence */
    int64_t next_action;
    json_t *kept;      /* NULL: nothing */
    bool is_releasing; /* that it has no owner is on its way to the disk */
};

Operation *operation_new(const char *id, AgentMethodId method) {
    Operation *operation = g_new0(Operation, 1);
    *operation = (Operation){.references = 1,
        .id = g_strdup(id),
        .method = method,
        .state = OPERATION_STATE_RUNNING,
        .waiters = g_ptr_array_new(),
        .cancel = cancel_new()};
    return operation;
}

Operation *operation_ref(Operation *operation) {
    operation->references++;
    return operation;
}

void operation_unref(Operation *operation) {
    if (!operation || --operation->references > 0)
        return;
    g_assert(operation->waiters->len == 0);
    g_ptr_array_unref(operation->waiters);
    cancel_unref(operation->cancel);
    json_decref(operation->result);
    error_clear(&operation->error);
    g_free(operation->id);
    g_free(operation->key);
    g_free(operation);
}

static void release_operation(void *data) {
    operation_unref(data);
}

static void release_json(void *data) {
    json_decref(data);
}

/* ---- reading, at start ---- */

static void take_operation(Journal *journal, const char *id, const json_t *json) {
    const char *method = json_text_at(json, "method");
    Operation *operation = operation_new(id, method ? agent_method_find(method) : AGENT_METHOD_MAX);
    const char *name = json_text_at(json, "state");
    int state = name ? model_enum_value(&operation_state_enum, name) : -1;
    operation->state =
        state < 0 || state == OPERATION_STATE_RUNNING ? OPERATION_STATE_INTERRUPTED : (OperationState)state;
    operation->sequence = json_integer_value(json_object_get(json, "sequence"));
    operation->result = json_incref(json_object_get(json, "result"));
    if (operation->state == OPERATION_STATE_FAILED)
        error_from_json(json_object_get(json, "error"), &operation->error);
    journal->next_sequence = MAX(journal->next_sequence, operation->sequence + 1);
    g_hash_table_replace(journal->operations, operation->id, operation);
}

static void action_release(void *action) {
    agent_local_action_free(action);
}

/* Keys are in the order of the sequences. */
static void take_action(Journal *journal, const json_t *json) {
    AgentLocalAction *action = g_new0(AgentLocalAction, 1);
    if (!agent_local_action_decode(json, MODEL_STORED, action, NULL)) {
        agent_local_action_free(action);
        return;
    }
    if (!action->outcome)
        agent_local_action_set_outcome(action, error_info(ERROR_LOST)->name);
    g_queue_push_tail(journal->actions, action);
}

static void take_item(Journal *journal, const char *key, const json_t *json) {
    if (strcmp(key, "host") == 0) {
        journal->host = g_strdup(json_text_at(json, "id"));
    } else if (strcmp(key, "owner") == 0) {
        journal->owner = g_strdup(json_text_at(json, "manager"));
        journal->epoch = json_integer_value(json_object_get(json, "epoch"));
    } else if (strcmp(key, CLAIM_FLOOR_KEY) == 0) {
        journal->claim_floor = json_integer_value(json_object_get(json, "revision"));
    } else if (g_str_has_prefix(key, "claim/")) {
        int64_t revision = json_integer_value(json_object_get(json, "revision"));
        g_hash_table_replace(
            journal->claims, g_strdup(key + strlen("claim/")), g_memdup2(&revision, sizeof revision));
    } else if (g_str_has_prefix(key, "network/")) {
        g_hash_table_replace(
            journal->networks, g_strdup(key + strlen("network/")), json_incref((json_t *)json));
    } else if (g_str_has_prefix(key, "migration/")) {
        g_hash_table_replace(
            journal->migrations, g_strdup(key + strlen("migration/")), json_incref((json_t *)json));
    } else if (strcmp(key, NEXT_ACTION_KEY) == 0) {
        journal->next_action = json_integer_value(json_object_get(json, "sequence"));
    } else if (strcmp(key, KEPT_KEY) == 0) {
        journal->kept = json_incref((json_t *)json);
    } else if (g_str_has_prefix(key, ACTION_PREFIX)) {
        take_action(journal, json);
    } else if (g_str_has_prefix(key, "operation/")) {
        take_operation(journal, key + strlen("operation/"), json);
    }
}

static json_t *item_json(const StoreItem *item, Error *err) {
    size_t length = 0;
    const char *text = g_bytes_get_data(item->value, &length);
    json_t *json = json_parse(text, length, err);
    if (!json)
        error_wrap(err, ERROR_CORRUPT, "the journal's record %s is damaged", item->key);
    return json;
}

static bool read_all(Journal *journal, Error *err) {
    g_autofree char *after = NULL;
    for (bool has_more = true; has_more;) {
        g_auto(StoreRange) range = {0};
        if (!store_range(journal->store, "", after, RANGE, &range, err))
            return false;
        for (size_t i = 0; i < range.n_items; i++) {
            g_autoptr(json_t) json = item_json(&range.items[i], err);
            if (!json)
                return false;
            take_item(journal, range.items[i].key, json);
        }
        has_more = range.has_more && range.n_items > 0;
        g_free(after);
        after = has_more ? g_strdup(range.items[range.n_items - 1].key) : NULL;
    }
    return true;
}

static void put_json(StoreTransaction *transaction, const char *key, json_t *take_json) {
    g_autofree char *text = json_to_text(take_json);
    store_transaction_put(transaction, key, text, strlen(text), 0);
    json_decref(take_json);
}

static bool name_host(Journal *journal, Error *err) {
    if (journal->host)
        return true;
    journal->host = g_uuid_string_random();
    StoreTransaction *transaction = store_transaction_new();
    put_json(transaction, "host", json_pack("{ss}", "id", journal->host));
    return store_commit_wait(journal->store, transaction, NULL, err);
}

Journal *journal_open(const char *path, Error *err) {
    Store *store = store_open_sqlite(path, NULL, clock_system(), err);
    if (!store)
        return NULL;
    Journal *journal = g_new0(Journal, 1);
    journal->store = store;
    journal->claims = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    journal->operations = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, release_operation);
    journal->networks = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, release_json);
    journal->migrations = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, release_json);
    journal->actions = g_queue_new();
    journal->next_action = 1;
    if (read_all(journal, err) && name_host(journal, err))
        return journal;
    journal_close(journal);
    return NULL;
}

void journal_close(Journal *journal) {
    if (!journal)
        return;
    store_close(journal->store);
    g_hash_table_unref(journal->operations);
    g_hash_table_unref(journal->networks);
    g_hash_table_unref(journal->migrations);
    g_queue_free_full(journal->actions, action_release);
    g_hash_table_unref(journal->claims);
    json_decref(journal->kept);
    g_free(journal->host);
    g_free(journal->owner);
    g_free(journal);
}

const char *journal_host(const Journal *journal) {
    return journal->host;
}

const char *journal_owner(const Journal *journal) {
    return journal->is_releasing ? NULL : journal->owner;
}

int64_t journal_epoch(const Journal *journal) {
    return journal->epoch;
}

int64_t journal_claim(const Journal *journal, const char *object) {
    const int64_t *revision = g_hash_table_lookup(journal->claims, object);
    return revision ? *revision : journal->claim_floor;
}

Operation *journal_find(const Journal *journal, const char *id) {
    return g_hash_table_lookup(journal->operations, id);
}

GList *journal_operations(const Journal *journal) {
    return g_hash_table_get_values(journal->operations);
}

/* ---- changes ---- */

static void set_claim_floor(Journal *journal, int64_t revision) {
    StoreTransaction *transaction = store_transaction_new();
    journal->claim_floor = revision;
    put_json(transaction, CLAIM_FLOOR_KEY, json_pack("{sI}", "revision", (json_int_t)revision));
    store_commit(journal->store, transaction, NULL, NULL);
}

/* The floor first: killed in between, more is refused and never less. */
static void forget_claims(Journal *journal, int64_t up_to, int64_t floor) {
    GHashTableIter each;
    void *object, *revision;
    set_claim_floor(journal, floor);
    g_hash_table_iter_init(&each, journal->claims);
    while (g_hash_table_iter_next(&each, &object, &revision)) {
        if (*(int64_t *)revision > up_to)
            continue;
        StoreTransaction *transaction = store_transaction_new();
        g_autofree char *key = g_strdup_printf("claim/%s", (const char *)object);
        store_transaction_delete(transaction, key);
        store_commit(journal->store, transaction, NULL, NULL);
        g_hash_table_iter_remove(&each);
    }
}

static int compare_revisions(const void *a, const void *b) {
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

/* Revisions come from one counter: the lower half is that of the objects that were left alone longest. */
static void bound_claims(Journal *journal) {
    guint n = g_hash_table_size(journal->claims);
    if (n <= JOURNAL_CLAIMS_LIMIT)
        return;
    g_autofree int64_t *revisions = g_new(int64_t, n);
    GHashTableIter each;
    void *revision;
    g_hash_table_iter_init(&each, journal->claims);
    for (guint i = 0; g_hash_table_iter_next(&each, NULL, &revision); i++)
        revisions[i] = *(int64_t *)revision;
    qsort(revisions, n, sizeof *revisions, compare_revisions);
    forget_claims(journal, revisions[n / 2], revisions[n / 2]);
}

static void forget_owner(Journal *journal);

void journal_own(Journal *journal, const char *owner, int64_t epoch, StoreDoneFn done, void *data) {
    char *copy = g_strdup(owner); /* may be the old owner itself */
    if (epoch > journal->epoch)   /* calls of earlier epochs are refused; revisions may begin again lower */
        forget_claims(journal, INT64_MAX, 0);
    if (journal->is_releasing)
        forget_owner(journal);
    g_free(journal->owner);
    journal->owner = copy;
    journal->epoch = epoch;
    StoreTransaction *transaction = store_transaction_new();
    put_json(transaction, "owner", json_pack("{ss sI}", "manager", copy, "epoch", (json_int_t)epoch));
    store_commit(journal->store, transaction, done, data);
}

static char *operation_key(const char *id) {
    return g_strdup_printf("operation/%s", id);
}

static json_t *operation_to_json(const Operation *operation) {
    json_t *json = json_pack("{ss ss sI}", "method", agent_methods[operation->method].name, "state",
        model_enum_name(&operation_state_enum, (int)operation->state), "sequence",
        (json_int_t)operation->sequence);
    if (operation->state == OPERATION_STATE_DONE)
        json_object_set(json, "result", operation->result);
    if (operation->state == OPERATION_STATE_FAILED)
        json_object_set_new(json, "error", error_to_json(&operation->error));
    return json;
}

static void put_operation(StoreTransaction *transaction, const Operation *operation) {
    g_autofree char *key = operation_key(operation->id);
    put_json(transaction, key, operation_to_json(operation));
}

/* The oldest result that nobody fetched makes room. */
static bool make_room(Journal *journal, StoreTransaction *transaction) {
    if (g_hash_table_size(journal->operations) < JOURNAL_OPERATIONS_LIMIT)
        return true;
    const Operation *oldest = NULL;
    GHashTableIter each;
    void *value;
    g_hash_table_iter_init(&each, journal->operations);
    while (g_hash_table_iter_next(&each, NULL, &value)) {
        const Operation *operation = value;
        if (operation->state != OPERATION_STATE_RUNNING &&
            (!oldest || operation->sequence < oldest->sequence))
            oldest = operation;
    }
    if (!oldest)
        return false;
    g_autofree char *key = operation_key(oldest->id);
    store_transaction_delete(transaction, key);
    g_hash_table_remove(journal->operations, oldest->id);
    return true;
}

static void put_claim(Journal *journal, StoreTransaction *transaction, const JournalClaim *claim) {
    if (claim->revision <= journal_claim(journal, claim->object))
        return;
    g_hash_table_replace(
        journal->claims, g_strdup(claim->object), g_memdup2(&claim->revision, sizeof claim->revision));
    g_autofree char *key = g_strdup_printf("claim/%s", claim->object);
    put_json(transaction, key, json_pack("{sI}", "revision", (json_int_t)claim->revision));
}

void journal_begin(Journal *journal, Operation *operation, const JournalClaim *claims, size_t n_claims,
    StoreDoneFn done, void *data) {
    StoreTransaction *transaction = store_transaction_new();
    if (!make_room(journal, transaction)) {
        g_auto(Error) err = {0};
        error_set(&err, ERROR_BUSY, NULL, "%d operations run", JOURNAL_OPERATIONS_LIMIT);
        store_transaction_free(transaction);
        done(0, &err, data);
        return;
    }
    operation->sequence = journal->next_sequence++;
    g_hash_table_replace(journal->operations, operation->id, operation_ref(operation));
    put_operation(transaction, operation);
    for (size_t i = 0; i < n_claims; i++)
        put_claim(journal, transaction, &claims[i]);
    store_commit(journal->store, transaction, done, data);
    bound_claims(journal);
}

void journal_end(Journal *journal, Operation *operation, StoreDoneFn done, void *data) {
    StoreTransaction *transaction = store_transaction_new();
    put_operation(transaction, operation);
    store_commit(journal->store, transaction, done, data);
}

void journal_forget(Journal *journal, const char *id) {
    const Operation *operation = journal_find(journal, id);
    if (!operation || operation->state == OPERATION_STATE_RUNNING)
        return;
    StoreTransaction *transaction = store_transaction_new();
    g_autofree char *key = operation_key(id);
    store_transaction_delete(transaction, key);
    store_commit(journal->store, transaction, NULL, NULL);
    g_hash_table_remove(journal->operations, id);
}

bool journal_is_busy(const Journal *journal) {
    GHashTableIter each;
    void *value;
    g_hash_table_iter_init(&each, journal->operations);
    while (g_hash_table_iter_next(&each, NULL, &value))
        if (((const Operation *)value)->state == OPERATION_STATE_RUNNING)
            return true;
    return false;
}

typedef struct Release {
    Journal *journal;
    StoreDoneFn done;
    void *data;
} Release;

/* The next owner's claims begin low again, and it asks for nobody else's results. Unless somebody owns it
 * already. */
static void forget_owner(Journal *journal) {
    journal->is_releasing = false;
    g_autoptr(GList) operations = journal_operations(journal);
    for (const GList *item = operations; item; item = item->next) {
        g_autofree char *id = g_strdup(((const Operation *)item->data)->id);
        journal_forget(journal, id);
    }
    forget_claims(journal, INT64_MAX, 0);
    g_clear_pointer(&journal->owner, g_free);
    journal->epoch = 0;
}

static void release_is_durable(int64_t revision, const Error *err, void *data) {
    Release *release = data;
    if (!err && release->journal->is_releasing)
        forget_owner(release->journal);
    release->journal->is_releasing = false;
    release->done(revision, err, release->data);
    g_free(release);
}

void journal_release(Journal *journal, StoreDoneFn done, void *data) {
    Release *release = g_new0(Release, 1);
    *release = (Release){journal, done, data};
    StoreTransaction *transaction = store_transaction_new();
    journal->is_releasing = true;
    store_transaction_delete(transaction, "owner");
    store_commit(journal->store, transaction, release_is_durable, release);
}

/* ---- migrations ---- */

typedef struct MigrationPut {
    Journal *journal;
    char *id;
    json_t *record;
    StoreDoneFn done;
    void *data;
} MigrationPut;

static void migration_is_durable(int64_t revision, const Error *err, void *data) {
    MigrationPut *put = data;
    if (err)
        json_decref(put->record);
    else
        g_hash_table_replace(put->journal->migrations, g_strdup(put->id), put->record);
    if (put->done)
        put->done(revision, err, put->data);
    g_free(put->id);
    g_free(put);
}

void journal_migration_put(
    Journal *journal, const char *id, json_t *take_record, StoreDoneFn done, void *data) {
    MigrationPut *put = g_new0(MigrationPut, 1);
    *put = (MigrationPut){journal, g_strdup(id), take_record, done, data};
    StoreTransaction *transaction = store_transaction_new();
    g_autofree char *key = g_strdup_printf("migration/%s", id);
    put_json(transaction, key, json_incref(take_record));
    store_commit(journal->store, transaction, migration_is_durable, put);
}

void journal_migration_delete(Journal *journal, const char *id, StoreDoneFn done, void *data) {
    StoreTransaction *transaction = store_transaction_new();
    g_autofree char *key = g_strdup_printf("migration/%s", id);
    store_transaction_delete(transaction, key);
    g_hash_table_remove(journal->migrations, id);
    store_commit(journal->store, transaction, done, data);
}

const json_t *journal_migration(const Journal *journal, const char *id) {
    return g_hash_table_lookup(journal->migrations, id);
}

GHashTable *journal_migrations(const Journal *journal) {
    return journal->migrations;
}

/* ---- what was done without the manager ---- */

static char *action_key(int64_t sequence) {
    return g_strdup_printf(ACTION_PREFIX "%020" G_GINT64_FORMAT, sequence);
}

static void put_action(StoreTransaction *transaction, const AgentLocalAction *action) {
    g_autofree char *key = action_key(action->sequence);
    put_json(transaction, key, agent_local_action_encode(action, MODEL_ENCODE_ALL));
}

static void drop_oldest_action(Journal *journal, StoreTransaction *transaction) {
    AgentLocalAction *oldest = g_queue_pop_head(journal->actions);
    g_autofree char *key = action_key(oldest->sequence);
    store_transaction_delete(transaction, key);
    agent_local_action_free(oldest);
}

void journal_action_begin(Journal *journal, AgentLocalAction *action, StoreDoneFn done, void *data) {
    StoreTransaction *transaction = store_transaction_new();
    AgentLocalAction *copy = g_new0(AgentLocalAction, 1);
    if (g_queue_get_length(journal->actions) >= JOURNAL_ACTIONS_LIMIT)
        drop_oldest_action(journal, transaction);
    agent_local_action_set_sequence(action, journal->next_action++);
    agent_local_action_copy(copy, action);
    g_queue_push_tail(journal->actions, copy);
    put_json(transaction, NEXT_ACTION_KEY, json_pack("{sI}", "sequence", (json_int_t)journal->next_action));
    put_action(transaction, action);
    store_commit(journal->store, transaction, done, data);
}

void journal_action_end(Journal *journal, const AgentLocalAction *action) {
    for (const GList *item = journal->actions->head; item; item = item->next) {
        AgentLocalAction *known = item->data;
        if (known->sequence != action->sequence)
            continue;
        agent_local_action_clear(known);
        agent_local_action_copy(known, action);
        StoreTransaction *transaction = store_transaction_new();
        put_action(transaction, known);
        store_commit(journal->store, transaction, NULL, NULL);
        return;
    }
}

void journal_actions_forget(Journal *journal, int64_t through) {
    const AgentLocalAction *oldest;
    while ((oldest = g_queue_peek_head(journal->actions)) && oldest->sequence <= through && oldest->outcome) {
        StoreTransaction *transaction = store_transaction_new();
        drop_oldest_action(journal, transaction);
        store_commit(journal->store, transaction, NULL, NULL);
    }
}

void journal_actions(const Journal *journal, AgentLocalActions *ret_actions) {
    for (const GList *item = journal->actions->head; item; item = item->next) {
        const AgentLocalAction *action = item->data;
        if (!action->outcome || ret_actions->actions.n == JOURNAL_ACTIONS_PAGE)
            return;
        agent_local_action_copy(agent_local_actions_add_actions(ret_actions), action);
    }
}

/* ---- what is kept for a manager that is made anew ---- */

void journal_keep(Journal *journal, json_t *take_kept, StoreDoneFn done, void *data) {
    StoreTransaction *transaction = store_transaction_new();
    if (!journal->kept || !json_equal(journal->kept, take_kept))
        put_json(transaction, KEPT_KEY, json_incref(take_kept));
    json_decref(journal->kept);
    journal->kept = take_kept;
    store_commit(journal->store, transaction, done, data);
}

const json_t *journal_kept(const Journal *journal) {
    return journal->kept;
}

/* ---- repositories and networks ---- */

static void put_holding(Journal *journal, const char *kind, const char *id, json_t *take_json) {
    StoreTransaction *transaction = store_transaction_new();
    g_autofree char *key = g_strdup_printf("%s/%s", kind, id);
    put_json(transaction, key, take_json);
    store_commit(journal->store, transaction, NULL, NULL);
}

static void delete_holding(Journal *journal, const char *kind, const char *id) {
    StoreTransaction *transaction = store_transaction_new();
    g_autofree char *key = g_strdup_printf("%s/%s", kind, id);
    store_transaction_delete(transaction, key);
    store_commit(journal->store, transaction, NULL, NULL);
}

void journal_repository_put(Journal *journal, const Repository *repository) {
    put_holding(
        journal, "repository", repository->id, repository_encode(repository, MODEL_ENCODE_DEFINITION));
}

void journal_repository_delete(Journal *journal, const char *id) {
    delete_holding(journal, "repository", id);
}

void journal_network_put(Journal *journal, const Network *network) {
    g_autoptr(json_t) json = network_encode(network, MODEL_ENCODE_DEFINITION);
    json_t *known = g_hash_table_lookup(journal->networks, network->id);
    if (known && json_equal(known, json))
        return;
    g_hash_table_replace(journal->networks, g_strdup(network->id), json_incref(json));
    put_holding(journal, "network", network->id, json_incref(json));
}

void journal_network_delete(Journal *journal, const char *id) {
    g_hash_table_remove(journal->networks, id);
    delete_holding(journal, "network", id);
}

static bool add_networks(const Journal *journal, AgentHoldings *holdings, Error *err) {
    GHashTableIter each;
    void *json;
    g_hash_table_iter_init(&each, journal->networks);
    while (g_hash_table_iter_next(&each, NULL, &json))
        if (!network_decode(json, MODEL_STORED, agent_holdings_add_networks(holdings), err))
            return false;
    return true;
}

bool journal_holdings(const Journal *journal, AgentHoldings *holdings, Error *err) {
    g_autoptr(GPtrArray) repositories = NULL;
    if (!journal_repositories(journal, &repositories, err))
        return false;
    for (guint i = 0; i < repositories->len; i++)
        repository_copy(agent_holdings_add_repositories(holdings), repositories->pdata[i]);
    return add_networks(journal, holdings, err);
}

static void repository_release(void *data) {
    repository_free(data);
}

bool journal_repositories(const Journal *journal, GPtrArray **ret_repositories, Error *err) {
    g_auto(StoreRange) range = {0};
    if (!store_range(journal->store, "repository/", NULL, RANGE, &range, err))
        return false;
    g_autoptr(GPtrArray) repositories = g_ptr_array_new_with_free_func(repository_release);
    for (size_t i = 0; i < range.n_items; i++) {
        g_autoptr(json_t) json = item_json(&range.items[i], err);
        if (!json)
            return false;
        Repository *repository = g_new0(Repository, 1);
        g_ptr_array_add(repositories, repository);
        if (!repository_decode(json, MODEL_STORED, repository, err))
            return false;
    }
    *ret_repositories = g_steal_pointer(&repositories);
    return true;
}
