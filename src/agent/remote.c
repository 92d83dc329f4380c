/* Key, certificate, authority; and the code in memory only: a new start of the agent ends it. */
#include "agent/remote.h"
#include <string.h>
#include "base/file.h"
#include "tls/tls-identity.h"

#define IDENTITY "host"
enum { PEM_LIMIT = 64 * 1024 };

struct Remote {
    char *folder, *secret_path;
    const Journal *journal;
    const Clock *clock;
    TlsCredentials *credentials;
    char *key, *authority_pem; /* of the owner; NULL: it has none or is not known */
    char *code, *code_for;     /* `code_for`: the manager that proved it */
    int64_t code_end_ns, secret_next_ns;
    int tries;
    GHashTable *peers; /* id -> Peer */
};

typedef struct Peer {
    char *id, *key;
    int64_t end_ns;
} Peer;

static void peer_free(void *data) {
    Peer *peer = data;
    g_free(peer->id);
    g_free(peer->key);
    g_free(peer);
}

/* ---- key and certificates ---- */

static char *host_name_uri(const Remote *self) {
    return g_strconcat(TLS_URI_PREFIX "host:", journal_host(self->journal), NULL);
}

static bool load_or_make(const Remote *self, TlsIdentity *ret_identity, Error *err) {
    g_auto(Error) missing = {0};
    if (tls_identity_load(self->folder, IDENTITY, ret_identity, &missing))
        return true;
    if (missing.code != ERROR_NOT_FOUND) {
        error_move(err, &missing);
        return false;
    }
    g_autofree char *uri = host_name_uri(self);
    const char *const names[] = {uri, NULL};
    const TlsSubject subject = {g_get_host_name(), names, TLS_ROLE_BOTH};
    return tls_identity_make_own(&subject, self->clock, ret_identity, err) &&
           tls_identity_save(ret_identity, self->folder, IDENTITY, err);
}

static char *authority_path(const Remote *self, const char *manager) {
    return g_strdup_printf("%s/owner-%s.pem", self->folder, manager);
}

static bool load_authority(const Remote *self, char **ret_pem, Error *err) {
    const char *owner = journal_owner(self->journal);
    g_auto(Error) missing = {0};
    if (!owner)
        return true;
    g_autofree char *path = authority_path(self, owner);
    if (file_read(path, PEM_LIMIT, ret_pem, NULL, &missing) || missing.code == ERROR_NOT_FOUND)
        return true;
    error_move(err, &missing);
    return false;
}

static TlsCredentials *make_credentials(
    const char *certificate_pem, const char *key_pem, const char *authority_pem, Error *err) {
    const TlsCredentialsOptions options = {.certificate_pem = certificate_pem,
        .key_pem = key_pem,
        .authority_pem = authority_pem,
        .protocol = RPC_TLS_PROTOCOL,
        .priority = TLS_PRIORITY_1_3};
    return tls_credentials_new(&options, err);
}

bool remote_reload(Remote *remote, Error *err) {
    g_auto(TlsIdentity) identity = {0};
    g_autofree char *authority_pem = NULL, *key = NULL;
    if (!load_or_make(remote, &identity, err) || !load_authority(remote, &authority_pem, err) ||
        !tls_key_fingerprint(identity.certificate_pem, &key, err))
        return false;
    TlsCredentials *credentials =
        make_credentials(identity.certificate_pem, identity.key_pem, authority_pem, err);
    if (!credentials)
        return false;
    tls_credentials_unref(remote->credentials);
    g_free(remote->authority_pem);
    g_free(remote->key);
    remote->credentials = credentials;
    remote->authority_pem = g_steal_pointer(&authority_pem);
    remote->key = g_steal_pointer(&key);
    return true;
}

bool remote_write_authority(
    const Remote *remote, const char *manager, const char *authority_pem, Error *err) {
    g_autofree char *path = authority_path(remote, manager), *unused = NULL;
    return tls_fingerprint(authority_pem, &unused, err) && /* it is a certificate */
           file_replace(path, authority_pem, strlen(authority_pem), 0644, err);
}

bool remote_write_certificate(const Remote *remote, const char *certificate_pem, Error *err) {
    g_autofree char *path = g_strdup_printf("%s/" IDENTITY ".pem", remote->folder), *key = NULL;
    if (!tls_key_fingerprint(certificate_pem, &key, err))
        return error_prefix_field(err, "/certificate");
    if (strcmp(key, remote->key) != 0)
        return error_set(
            err, ERROR_INVALID, "/certificate", "certificate: it is for another key than this host's");
    return file_replace(path, certificate_pem, strlen(certificate_pem), 0644, err);
}

/* ---- life ---- */

Remote *remote_new(const RemoteOptions *options, Error *err) {
    g_autoptr(Remote) remote = g_new0(Remote, 1);
    remote->folder = g_build_filename(options->state_folder, "tls", NULL);
    remote->secret_path = g_strdup(options->secret_path);
    remote->journal = options->journal;
    remote->clock = options->clock;
    remote->peers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, peer_free);
    if (!folder_make(remote->folder, 0700, err))
        return NULL;
    file_replace_sweep(remote->folder, 0);
    return remote_reload(remote, err) ? g_steal_pointer(&remote) : NULL;
}

static void end_code(Remote *self) {
    g_clear_pointer(&self->code, g_free);
    g_clear_pointer(&self->code_for, g_free);
}

void remote_free(Remote *remote) {
    if (!remote)
        return;
    end_code(remote);
    g_hash_table_unref(remote->peers);
    tls_credentials_unref(remote->credentials);
    g_free(remote->authority_pem);
    g_free(remote->key);
    g_free(remote->secret_path);
    g_free(remote->folder);
    g_free(remote);
}

TlsCredentials *remote_credentials(const Remote *remote) {
    return remote->credentials;
}

const char *remote_key(const Remote *remote) {
    return remote->key;
}

/* ---- who comes ---- */

bool remote_is_owner(const Remote *remote, const TlsShown *shown) {
    const char *owner = journal_owner(remote->journal);
    if (!owner || !shown || !shown->is_trusted || !remote->authority_pem)
        return false;
    return g_strcmp0(tls_shown_name(shown, TLS_URI_PREFIX "manager:"), owner) == 0;
}

static gboolean is_over(void *id G_GNUC_UNUSED, void *value, void *clock) {
    return ((const Peer *)value)->end_ns <= clock_monotonic_ns(clock);
}

bool remote_expect(Remote *remote, const char *host_id, const char *key, int64_t seconds, Error *err) {
    g_hash_table_foreach_remove(remote->peers, is_over, (void *)remote->clock);
    if (seconds <= 0) {
        g_hash_table_remove(remote->peers, host_id);
        return true;
    }
    if (g_hash_table_size(remote->peers) >= REMOTE_PEERS_LIMIT &&
        !g_hash_table_contains(remote->peers, host_id))
        return error_set(err, ERROR_BUSY, NULL, "more than %d hosts are expected", REMOTE_PEERS_LIMIT);
    Peer *peer = g_new0(Peer, 1);
    *peer = (Peer){g_strdup(host_id), g_strdup(key), clock_monotonic_ns(remote->clock) + seconds * NS_PER_S};
    g_hash_table_replace(remote->peers, peer->id, peer);
    return true;
}

const char *remote_peer(const Remote *remote, const TlsShown *shown) {
    if (!journal_owner(remote->journal) || !shown || !shown->is_trusted || !remote->authority_pem)
        return NULL;
    const char *id = tls_shown_name(shown, TLS_URI_PREFIX "host:");
    const Peer *peer = id ? g_hash_table_lookup(remote->peers, id) : NULL;
    bool is_expected = peer && clock_monotonic_ns(remote->clock) < peer->end_ns &&
                       g_strcmp0(shown->key_fingerprint, peer->key) == 0;
    return is_expected ? peer->id : NULL;
}

static bool is_code_open(const Remote *self) {
    return self->code && self->tries > 0 && clock_monotonic_ns(self->clock) < self->code_end_ns;
}

bool remote_check(const TlsShown *shown, void *remote, Error *err) {
    const Remote *self = remote;
    const char *owner = journal_owner(self->journal);
    if (remote_is_owner(self, shown) || remote_peer(self, shown))
        return true;
    if (owner && !is_code_open(self))
        return error_set(err, ERROR_NOT_OWNER, NULL, "this host belongs to the manager %s: %s", owner,
            shown->flaw ? shown->flaw : "it is another one");
    return shown->key_fingerprint ||
           error_set(err, ERROR_DENIED, NULL, "who shows no certificate is not spoken to");
}

/* ---- the code ---- */

const char *remote_code_make(Remote *remote) {
    end_code(remote);
    remote->code = tls_code_make();
    remote->tries = REMOTE_TRIES;
    remote->code_end_ns = clock_monotonic_ns(remote->clock) + REMOTE_CODE_S * NS_PER_S;
    return remote->code;
}

static bool is_code_for(const Remote *self, const char *manager) {
    return is_code_open(self) && (!self->code_for || strcmp(self->code_for, manager) == 0);
}

/* False without *err when there is none that counts for that manager. */
static bool read_secret(const Remote *self, const char *manager, char **ret_secret, Error *err) {
    const char *owner = journal_owner(self->journal);
    g_auto(Error) missing = {0};
    if (!self->secret_path || (owner && strcmp(owner, manager) != 0))
        return false;
    if (!file_read(self->secret_path, PEM_LIMIT, ret_secret, NULL, &missing)) {
        if (missing.code != ERROR_NOT_FOUND)
            error_move(err, &missing);
        return false;
    }
    g_strstrip(*ret_secret);
    if (strlen(*ret_secret) >= TLS_SECRET_LEAST)
        return true;
    g_clear_pointer(ret_secret, g_free);
    return error_set(err, ERROR_DENIED, "/enrol_code", "the secret on this host has less than %d characters",
        TLS_SECRET_LEAST);
}

static bool may_try_secret(Remote *self, Error *err) {
    int64_t now = clock_monotonic_ns(self->clock);
    if (now < self->secret_next_ns)
        return error_set(err, ERROR_RATE_LIMITED, "/enrol_code", "a secret can be tried every %d seconds",
            REMOTE_SECRET_PAUSE_S);
    self->secret_next_ns = now + REMOTE_SECRET_PAUSE_S * NS_PER_S;
    return true;
}

bool remote_try(Remote *remote, const char *manager, RemoteCodes *ret_codes, Error *err) {
    g_autofree char *secret = NULL;
    g_auto(Error) fault = {0};
    if (read_secret(remote, manager, &secret, &fault) && may_try_secret(remote, &fault))
        ret_codes->secret = g_steal_pointer(&secret);
    if (is_code_for(remote, manager)) {
        remote->tries--;
        ret_codes->code = g_strdup(remote->code);
    }
    if (ret_codes->secret || ret_codes->code)
        return true;
    if (error_is_set(&fault)) {
        error_move(err, &fault);
        return false;
    }
    return error_set(err, ERROR_DENIED, "/enrol_code",
        "no code is open on this host: run `lodge-agent enrol` there; a code can be used once, is good "
        "for %d minutes and ends after %d wrong tries",
        REMOTE_CODE_S / 60, REMOTE_TRIES);
}

void remote_codes_clear(RemoteCodes *codes) {
    char *all[] = {codes->code, codes->secret};
    for (size_t i = 0; i < G_N_ELEMENTS(all); i++) {
        if (all[i])
            memset(all[i], 0, strlen(all[i]));
        g_free(all[i]);
    }
    *codes = (RemoteCodes){0};
}

void remote_tried_well(Remote *remote, const char *manager) {
    remote->tries++;
    g_free(remote->code_for);
    remote->code_for = g_strdup(manager);
}
