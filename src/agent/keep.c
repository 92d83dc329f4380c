/*
 * What the owner gives to be kept for a manager that is made anew (docs/many-hosts.md, "A manager that is
 * lost"): the agent understands none of it and gives it back as it came, whoever owns the host then.
 */
#include <string.h>
#include "agent/agent-private.h"

enum { MOST_MOVES = 4096 };

static void is_kept(int64_t revision G_GNUC_UNUSED, const Error *err, void *data) {
    RpcRequest *request = data;
    if (err)
        rpc_fail(request, err);
    else
        rpc_reply(request, NULL);
    rpc_request_unref(request);
}

void serve_keep(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    json_t *kept = json_incref((json_t *)rpc_request_parameters(request));
    journal_keep(client->agent->journal, kept, is_kept, rpc_request_ref(request));
}

/* ---- giving it back ---- */

static bool is_moving_now(const Journal *journal, const char *vm_id) {
    bool is_moving = false;
    GList *operations = journal_operations(journal);
    for (const GList *item = operations; item && !is_moving; item = item->next) {
        const Operation *operation = item->data;
        is_moving = operation->method == AGENT_METHOD_MIGRATION_MOVE &&
                    operation->state == OPERATION_STATE_RUNNING && g_strcmp0(operation->key, vm_id) == 0;
    }
    g_list_free(operations);
    return is_moving;
}

static void add_move(const Journal *journal, const json_t *record, AgentKeepsake *keepsake) {
    const char *vm_id = json_text_at(record, "vm"), *peer = json_text_at(record, "peer");
    if (!vm_id || !peer || keepsake->moves.n == MOST_MOVES)
        return;
    bool is_source = g_strcmp0(json_text_at(record, "role"), "source") == 0;
    AgentMove *move = agent_keepsake_add_moves(keepsake);
    agent_move_set_vm(move, vm_id);
    agent_move_set_peer(move, peer);
    agent_move_set_source(move, is_source);
    agent_move_set_left(move, is_source && json_is_true(json_object_get(record, "switched")));
    agent_move_set_working(move, is_source && is_moving_now(journal, vm_id));
}

void serve_kept(AgentClient *client, const void *parameters G_GNUC_UNUSED, RpcRequest *request) {
    const Journal *journal = client->agent->journal;
    g_auto(AgentKeepsake) keepsake = {0};
    GHashTableIter each;
    void *record;
    g_hash_table_iter_init(&each, journal_migrations(journal));
    while (g_hash_table_iter_next(&each, NULL, &record))
        add_move(journal, record, &keepsake);
    json_t *answer = agent_keepsake_encode(&keepsake, MODEL_ENCODE_ALL);
    if (journal_kept(journal))
        json_object_set(answer, "kept", (json_t *)journal_kept(journal));
    rpc_reply(request, answer);
}
