/* The two, made late. */
#include "rpc/rpc-loop.h"

/* One for the process, as the default GMainContext is. Never given back: making it anew fails when the
 * process has no descriptors left. */
typedef struct RpcLoop {
    Poller *poller;
    Timers *timers;
} RpcLoop;

static RpcLoop loop;

Poller *rpc_loop_poller(void) {
    if (!loop.poller)
        loop.poller = poller_new(NULL, NULL);
    return loop.poller;
}

Timers *rpc_loop_timers(void) {
    if (!loop.timers)
        loop.timers = timers_new();
    return loop.timers;
}
