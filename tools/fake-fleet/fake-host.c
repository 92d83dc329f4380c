/* Keys, owner, connections and reports of one pretended agent. */
#include "fake-host.h"
#include <string.h>
#include "base/log.h"

enum { PROTOCOL_VERSION = 1, MOST_CLIENTS = 32, MOST_CALLS = 256, REPORT_MS = 50 };
#define KEY_FORMAT "host/%05d"

/* ---- what is stored ---- */

static char *key_in_store(const FakeHost *host) {
    return g_strdup_printf(KEY_FORMAT, host->number);
}

void fake_host_save(FakeHost *host, StoreDoneFn done, void *data) {
    g_autofree char *key = key_in_store(host);
    g_autoptr(json_t) json = json_pack("{ss ss ss* ss* sI}", "certificate", host->identity.certificate_pem,
        "key", host->identity.key_pem, "owner", host->owner, "authority", host->authority_pem, "epoch",
        (json_int_t)host->epoch);
    g_autofree char *text = json_to_text(json);
    StoreTransaction *transaction = store_transaction_new();
    store_transaction_put(transaction, key, text, strlen(text), 0);
    store_commit(host->shared->store, transaction, done, data);
}

/* False without an error when there is nothing. */
static bool load(FakeHost *host, Error *err) {
    g_autofree char *key = key_in_store(host);
    g_auto(StoreItem) item = {0};
    g_auto(Error) missing = {0};
    if (!store_get(host->shared->store, key, &item, &missing)) {
        if (missing.code != ERROR_NOT_FOUND)
            error_move(err, &missing);
        return false;
    }
    size_t length = 0;
    const char *text = g_bytes_get_data(item.value, &length);
    g_autoptr(json_t) json = json_parse(text, length, err);
    if (!json)
        return false;
    host->identity.certificate_pem = g_strdup(json_text_at(json, "certificate"));
    host->identity.key_pem = g_strdup(json_text_at(json, "key"));
    host->owner = g_strdup(json_text_at(json, "owner"));
    host->authority_pem = g_strdup(json_text_at(json, "authority"));
    host->epoch = json_integer_value(json_object_get(json, "epoch"));
    return (host->identity.certificate_pem && host->identity.key_pem) ||
           error_set(err, ERROR_CORRUPT, NULL, "the stored state of the host %d is damaged", host->number);
}

static bool make_identity(FakeHost *host, Error *err) {
    g_autofree char *uri = g_strconcat(TLS_URI_PREFIX "host:", host->id, NULL);
    const char *const names[] = {uri, NULL};
    const TlsSubject subject = {host->name, names, TLS_ROLE_BOTH};
    if (!tls_identity_make_own(&subject, clock_system(), &host->identity, err))
        return false;
    fake_host_save(host, NULL, NULL);
    return true;
}

static bool load_or_make(FakeHost *host, Error *err) {
    g_auto(Error) fault = {0};
    if (load(host, &fault))
        return true;
    if (!error_is_set(&fault))
        return make_identity(host, err);
    error_move(err, &fault);
    return false;
}

/* ---- who comes ---- */

static bool is_owners(const FakeHost *host, const TlsShown *shown) {
    return host->owner && host->authority_pem && shown && shown->is_trusted &&
           g_strcmp0(tls_shown_name(shown, TLS_URI_PREFIX "manager:"), host->owner) == 0;
}

static bool check(const TlsShown *shown, void *data, Error *err) {
    const FakeHost *host = data;
    if (is_owners(host, shown))
        return true;
    if (host->owner)
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host belongs to the manager %s: %s", host->owner,
            shown->flaw ? shown->flaw : "it is another one");
    return shown->key_fingerprint ||
           error_set(err, ERROR_DENIED, NULL, "who shows no certificate is not spoken to");
}

bool fake_client_is_owner(const FakeClient *client) {
    const FakeHost *host = client->host;
    const RpcStream *stream = client->connection ? rpc_connection_stream(client->connection) : NULL;
    bool has_proved = host->owner && g_strcmp0(client->proved_for, host->owner) == 0;
    return has_proved || (stream && is_owners(host, rpc_stream_shown(stream)));
}

static void client_free(void *data) {
    FakeClient *client = data;
    rpc_connection_free(client->connection);
    g_free(client->proved_for);
    g_free(client);
}

static void on_closed(RpcConnection *connection G_GNUC_UNUSED, const Error *why, void *data) {
    FakeClient *client = data;
    log_debug("%s: a connection ended: %s", client->host->name, why->message);
    g_ptr_array_remove(client->host->clients, client);
}

static void on_stream(RpcStream *take_stream, const RpcPeer *peer G_GNUC_UNUSED, void *data) {
    FakeHost *host = data;
    FakeClient *client = g_new0(FakeClient, 1);
    client->host = host;
    const RpcOptions options = {
        .lookup = fake_answer_lookup,
        .on_closed = on_closed,
        .data = client,
        .software = "fake-fleet " LODGE_VERSION,
        .lowest_version = PROTOCOL_VERSION,
        .highest_version = PROTOCOL_VERSION,
        .max_requests = MOST_CALLS,
    };
    client->connection = rpc_connection_new(take_stream, RPC_ACCEPTOR, &options);
    g_ptr_array_add(host->clients, client);
}

static void end_others(FakeHost *host, const FakeClient *keep) {
    for (guint i = host->clients->len; i > 0; i--)
        if (g_ptr_array_index(host->clients, i - 1) != keep)
            g_ptr_array_remove_index(host->clients, i - 1);
}

bool fake_host_reload(FakeHost *host, const FakeClient *keep, Error *err) {
    g_autofree char *key = NULL;
    const TlsCredentialsOptions options = {.certificate_pem = host->identity.certificate_pem,
        .key_pem = host->identity.key_pem,
        .authority_pem = host->authority_pem,
        .protocol = RPC_TLS_PROTOCOL,
        .priority = TLS_PRIORITY_1_3};
    if (!tls_key_fingerprint(host->identity.certificate_pem, &key, err))
        return false;
    TlsCredentials *credentials = tls_credentials_new(&options, err);
    if (!credentials)
        return false;
    tls_credentials_unref(host->credentials);
    host->credentials = credentials;
    g_free(host->key);
    host->key = g_steal_pointer(&key);
    if (host->listener)
        rpc_listener_set_credentials(host->listener, credentials);
    if (keep)
        end_others(host, keep);
    return true;
}

bool fake_host_listen(FakeHost *host, Error *err) {
    const RpcListenerOptions options = {
        .address = &host->address,
        .tls = {.credentials = host->credentials, .check = check, .data = host},
        .max_connections = MOST_CLIENTS,
        .on_stream = on_stream,
        .data = host,
    };
    host->listener = rpc_listener_new(&options, err);
    return host->listener != NULL;
}

/* ---- reports ---- */

static void fill_report(const FakeHost *host, AgentStateReport *report) {
    for (guint i = 0; i < host->changed->len; i++)
        world_fill_vm_state(host->shared->world, host->number, g_array_index(host->changed, int, i),
            agent_state_report_add_vms(report));
    if (host->is_host_changed)
        world_fill_host(host->shared->world, host->number, agent_state_report_put_host(report));
}

static void send_report(FakeHost *host) {
    g_auto(AgentStateReport) report = {0};
    bool is_filled = false;
    for (guint i = 0; i < host->clients->len; i++) {
        const FakeClient *client = g_ptr_array_index(host->clients, i);
        if (!client->is_owner || !rpc_connection_is_ready(client->connection))
            continue;
        if (!is_filled)
            fill_report(host, &report);
        is_filled = true;
        rpc_event(client->connection, "state", agent_state_report_encode(&report, MODEL_ENCODE_ALL), NULL);
        host->shared->n_reports++;
    }
    g_array_set_size(host->changed, 0);
    host->is_host_changed = false;
}

static gboolean report_now(void *data) {
    FakeHost *host = data;
    host->report_source = 0;
    send_report(host);
    return G_SOURCE_REMOVE;
}

void fake_host_changed(FakeHost *host, int vm) {
    host->is_host_changed = true; /* how much memory is free, and how many VMs run */
    if (vm >= 0)
        g_array_append_val(host->changed, vm);
    if (!host->report_source)
        host->report_source = g_timeout_add(REPORT_MS, report_now, host);
}

void fake_host_beat(FakeHost *host, int n) {
    world_beat(host->shared->world, host->number, n, host->changed);
    host->is_host_changed = true;
    g_clear_handle_id(&host->report_source, g_source_remove);
    send_report(host);
}

/* ---- life ---- */

FakeHost *fake_host_new(FakeShared *shared, int number, const RpcAddress *address, Error *err) {
    FakeHost *host = g_new0(FakeHost, 1);
    host->shared = shared;
    host->number = number;
    host->id = world_host_id(shared->world, number);
    host->name = world_host_name(number);
    host->address = (RpcAddress){.host = g_strdup(address->host), .port = address->port};
    host->clients = g_ptr_array_new_with_free_func(client_free);
    host->operations = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)json_decref);
    host->claims = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    host->changed = g_array_new(FALSE, FALSE, sizeof(int));
    if (load_or_make(host, err) && fake_host_reload(host, NULL, err))
        return host;
    fake_host_free(host);
    return NULL;
}

void fake_host_free(FakeHost *host) {
    if (!host)
        return;
    g_clear_handle_id(&host->report_source, g_source_remove);
    rpc_listener_free(host->listener);
    g_ptr_array_unref(host->clients);
    g_hash_table_unref(host->operations);
    g_hash_table_unref(host->claims);
    json_decref(host->kept);
    g_array_unref(host->changed);
    tls_credentials_unref(host->credentials);
    tls_identity_clear(&host->identity);
    rpc_address_clear(&host->address);
    g_free(host->owner);
    g_free(host->authority_pem);
    g_free(host->key);
    g_free(host->id);
    g_free(host->name);
    g_free(host);
}
