/*
 * Walks through every order of events of a migration: what hypervisors, their client, both agents and the
 * network may do or suffer at any moment, as docs/live-migration.md found it. Nowhere do two copies run; and
 * from wherever it got to, once nothing more goes wrong, one runs, unless its process died.
 */
#include <glib.h>
#include <stdint.h>
#include "hypervisor/migration-rules.h"

typedef enum Source { S_LED_RUNS, S_LED_HELD, S_RUNS, S_HELD, S_LEFT, S_ENDED, S_NOTHING } Source;
typedef enum Target { T_NOTHING, T_ARRIVING, T_ARRIVED, T_RUNS, T_ENDED } Target;
/* Of the client's last call, which makes the target's copy complete. */
typedef enum Finish { F_NONE, F_CALLED, F_ANSWERED, F_DELIVERED, F_LOST } Finish;

typedef union World {
    struct {
        uint8_t source, target, finish;
        uint8_t pending; /* MigrationStep that the agent has decided on; WAIT: none */
        bool has_client : 1, has_agent : 1, is_switched : 1, is_reachable : 1;
        bool is_old : 1;   /* the source has gone on since the target's copy was complete */
        bool has_died : 1; /* a process of the VM, or its guest ended it */
        uint8_t unused1;
        uint16_t unused2;
    };
    uint64_t key;
} World;
G_STATIC_ASSERT(sizeof(World) == 8);

/* ---- what the agent sees and does ---- */

static MigrationView view_of(const World *world, bool is_out_of_patience) {
    static const MigrationHere sources[] = {[S_LED_RUNS] = MIGRATION_LEADING,
        [S_LED_HELD] = MIGRATION_LEADING,
        [S_RUNS] = MIGRATION_RUNS,
        [S_HELD] = MIGRATION_HELD,
        [S_LEFT] = MIGRATION_LEFT,
        [S_ENDED] = MIGRATION_ENDED,
        [S_NOTHING] = MIGRATION_NOTHING};
    static const MigrationHere targets[] = {[T_NOTHING] = MIGRATION_NOTHING,
        [T_ARRIVING] = MIGRATION_ARRIVING,
        [T_ARRIVED] = MIGRATION_ARRIVED,
        [T_RUNS] = MIGRATION_RUNS,
        [T_ENDED] = MIGRATION_ENDED};
    return (MigrationView){.source = sources[world->source],
        .target = world->is_reachable ? targets[world->target] : MIGRATION_UNKNOWN,
        .is_switched = world->is_switched,
        .is_out_of_patience = is_out_of_patience};
}

/* Each is refused where it is not meant for: the world has gone on since the agent looked. */
static void act(World *world) {
    bool is_known = world->is_reachable;
    switch ((MigrationStep)world->pending) {
    case MIGRATION_SWITCH:
        world->is_switched = true;
        break;
    case MIGRATION_START_TARGET:
        if (is_known && world->target == T_ARRIVED && world->is_switched)
            world->target = T_RUNS;
        break;
    case MIGRATION_DROP_TARGET:
        if (is_known && (world->target == T_ARRIVING || world->target == T_ARRIVED) && !world->is_switched)
            world->target = T_NOTHING;
        break;
    case MIGRATION_RESUME_SOURCE:
        if (world->source == S_HELD && !world->is_switched)
            world->source = S_RUNS;
        break;
    case MIGRATION_DROP_SOURCE:
        if (world->source == S_HELD || world->source == S_LEFT || world->source == S_ENDED)
            world->source = S_NOTHING;
        break;
    default:
        break;
    }
    world->pending = MIGRATION_WAIT;
}

static void client_dies(World *world) {
    world->has_client = false;
    if (world->source == S_LED_RUNS)
        world->source = S_RUNS;
    if (world->source == S_LED_HELD)
        world->source = S_HELD;
}

/* Confirms, or cancels: then the source goes on. */
static void client_ends(World *world) {
    bool is_good = world->finish == F_DELIVERED;
    world->has_client = false;
    if (world->source == S_LED_HELD)
        world->source = is_good ? S_LEFT : S_RUNS;
    if (world->source == S_LED_RUNS)
        world->source = S_RUNS;
}

/* ---- what may happen ---- */

typedef bool (*Event)(World *world); /* whether it can */

static bool memory_is_over(World *w) {
    bool can = w->has_client && w->source == S_LED_RUNS && w->target == T_ARRIVING;
    w->source = can ? S_LED_HELD : w->source;
    return can;
}

static bool finish_is_called(World *w) {
    bool can = w->has_client && w->source == S_LED_HELD && w->finish == F_NONE;
    w->finish = can ? F_CALLED : w->finish;
    return can;
}

/* Also when the client is gone meanwhile. */
static bool finish_is_done(World *w) {
    bool can = w->finish == F_CALLED && w->target == T_ARRIVING;
    if (can) {
        w->target = T_ARRIVED;
        w->finish = F_ANSWERED;
    }
    return can;
}

static bool answer_arrives(World *w) {
    bool can = w->finish == F_ANSWERED && w->has_client;
    w->finish = can ? F_DELIVERED : w->finish;
    return can;
}

/* The agent sees it pass. */
static bool switch_is_recorded(World *w) {
    bool can = w->has_agent && w->finish == F_DELIVERED && !w->is_switched && w->has_client;
    w->is_switched = can ? true : w->is_switched;
    return can;
}

static bool client_is_through(World *w) {
    bool can = w->has_client && (w->finish == F_DELIVERED || w->finish == F_LOST);
    if (can)
        client_ends(w);
    return can;
}

static bool stream_is_lost(World *w) {
    bool can = w->has_client && w->finish != F_DELIVERED && w->finish != F_LOST;
    if (!can)
        return false;
    if (w->target == T_ARRIVING && w->finish != F_CALLED)
        w->target = T_NOTHING;
    w->finish = F_LOST;
    return true;
}

static bool client_notices(World *w) {
    bool can = w->has_client && (w->finish == F_NONE || w->finish == F_CALLED) && w->target != T_ARRIVING;
    w->finish = can ? F_LOST : w->finish;
    return can;
}

/* The stub ends when its stream has, unless the last call still reaches it. */
static bool stub_ends(World *w) {
    bool can = w->target == T_ARRIVING && (!w->has_client || w->finish == F_LOST);
    w->target = can ? T_NOTHING : w->target;
    return can;
}

static bool late_finish(World *w) {
    bool can = w->target == T_ARRIVING && w->finish == F_LOST;
    w->target = can ? T_ARRIVED : w->target;
    return can;
}

static bool client_is_killed(World *w) {
    bool can = w->has_client;
    if (can)
        client_dies(w);
    return can;
}

static bool agent_is_killed(World *w) {
    bool can = w->has_agent;
    if (!can)
        return false;
    w->has_agent = false;
    w->pending = MIGRATION_WAIT;
    return true; /* its client dies with it, or sees the end of its connection first: events of their own */
}

static bool client_of_dead_agent(World *w) {
    bool can = !w->has_agent && w->has_client;
    if (can)
        client_dies(w);
    return can;
}

static bool client_of_dead_agent_gives_up(World *w) {
    bool can = !w->has_agent && w->has_client && w->finish != F_DELIVERED;
    if (!can)
        return false;
    w->finish = F_LOST;
    client_ends(w);
    return true;
}

static bool agent_is_back(World *w) {
    bool can = !w->has_agent && !w->has_client;
    w->has_agent = can ? true : w->has_agent;
    return can;
}

static bool network_goes(World *w) {
    bool can = w->is_reachable;
    w->is_reachable = false;
    return can;
}

static bool network_comes(World *w) {
    bool can = !w->is_reachable;
    w->is_reachable = true;
    return can;
}

static bool source_process_dies(World *w) {
    bool can = w->source <= S_HELD;
    if (!can)
        return false;
    w->source = S_ENDED;
    w->has_died = true;
    if (w->finish != F_DELIVERED)
        w->has_client = false; /* it ends with an error */
    return true;
}

static bool target_process_dies(World *w) {
    bool can = w->target == T_ARRIVING || w->target == T_ARRIVED || w->target == T_RUNS;
    if (!can)
        return false;
    w->has_died |= w->target != T_ARRIVING;
    w->target = w->target == T_RUNS ? T_ENDED : T_NOTHING;
    return true;
}

static bool guest_ends_itself(World *w) {
    bool is_here = w->source == S_RUNS, is_there = w->target == T_RUNS;
    if (is_here)
        w->source = S_NOTHING;
    if (is_there)
        w->target = T_NOTHING;
    w->has_died |= is_here || is_there;
    return is_here || is_there;
}

static bool decide(World *w, bool is_out_of_patience) {
    const MigrationView view = view_of(w, is_out_of_patience);
    MigrationStep step = w->has_agent ? migration_next(&view) : MIGRATION_WAIT;
    if (step == MIGRATION_FAULT)
        g_error("source %s, target %s, %sswitched", migration_here_name(view.source),
            migration_here_name(view.target), w->is_switched ? "" : "not ");
    bool can = step < MIGRATION_MOVED && step != MIGRATION_WAIT && w->pending == MIGRATION_WAIT;
    if (can)
        w->pending = (uint8_t)step;
    return can;
}

static bool agent_decides(World *w) {
    return decide(w, false);
}

static bool agent_decides_impatiently(World *w) {
    return decide(w, true);
}

static bool agent_acts(World *w) {
    bool can = w->has_agent && w->pending != MIGRATION_WAIT;
    if (can)
        act(w);
    return can;
}

/* The first ones go wrong for nobody. */
static const Event events[] = {memory_is_over, finish_is_called, finish_is_done, answer_arrives,
    client_notices, switch_is_recorded, client_is_through, stub_ends, network_comes, agent_is_back,
    agent_acts, agent_decides, agent_decides_impatiently, stream_is_lost, late_finish, client_is_killed,
    agent_is_killed, client_of_dead_agent, client_of_dead_agent_gives_up, network_goes, source_process_dies,
    target_process_dies, guest_ends_itself};
enum { N_CALM = 12 };

static int n_running(const World *world) {
    return (world->source == S_RUNS || world->source == S_LED_RUNS) + (world->target == T_RUNS);
}

/* Until nothing can happen any more but what is wrong. */
static void calm_down(const World *from) {
    World world = *from;
    bool has_moved = true;
    for (int n = 0; has_moved; n++) {
        g_assert_cmpint(n, <, 100);
        has_moved = false;
        if (!world.has_agent && world.has_client)
            client_dies(&world); /* as it must */
        for (size_t i = 0; i < N_CALM && !has_moved; i++)
            has_moved = events[i](&world);
    }
    const MigrationView view = view_of(&world, false);
    MigrationStep last = migration_next(&view);
    if (last != MIGRATION_MOVED && last != MIGRATION_STAYED)
        g_error(
            "from source %d, target %d, finish %d: it comes to rest at source %s, target %s, %sswitched, %s",
            from->source, from->target, from->finish, migration_here_name(view.source),
            migration_here_name(view.target), world.is_switched ? "" : "not ", migration_step_name(last));
    g_assert_true(n_running(&world) == 1 || world.has_died);
    g_assert_true(last == MIGRATION_MOVED ? world.source != S_RUNS : world.target != T_RUNS);
}

static void test_every_order_of_events(void) {
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GArray) open = g_array_new(FALSE, FALSE, sizeof(World));
    World first = {.key = 0};
    first.source = S_LED_RUNS;
    first.target = T_ARRIVING;
    first.has_client = first.has_agent = first.is_reachable = true;
    g_array_append_val(open, first);
    while (open->len > 0) {
        World world = g_array_index(open, World, open->len - 1);
        g_array_set_size(open, open->len - 1);
        if (!g_hash_table_add(seen, g_memdup2(&world.key, sizeof world.key)))
            continue;
        g_assert_cmpint(n_running(&world), <=, 1);
        calm_down(&world);
        for (size_t i = 0; i < G_N_ELEMENTS(events); i++) {
            World next = world;
            if (!events[i](&next))
                continue;
            bool has_copy = next.target == T_ARRIVED || next.target == T_RUNS;
            next.is_old = has_copy && (next.is_old || next.source == S_RUNS);
            g_assert_false(next.is_old && next.target == T_RUNS);
            g_array_append_val(open, next);
        }
    }
    g_test_message("%u situations", g_hash_table_size(seen));
    g_assert_cmpuint(g_hash_table_size(seen), >, 500);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/migration-rules/every-order", test_every_order_of_events);
    return g_test_run();
}
