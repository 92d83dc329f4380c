/* A few slots, used in turn. */
#include "hypervisor/libvirt/work-connections.h"

/* Three of five calls each: as many as the agent has threads for VMs, and libvirtd's twenty workers
 * (max_workers) keep some for questions. */
enum { SLOTS = 3 };

typedef struct Slot {
    GMutex lock;
    virConnect *connection; /* NULL: not opened yet */
} Slot;

struct WorkConnections {
    const char *uri;
    Slot slots[SLOTS];
    guint next; /* atomic */
};

WorkConnections *work_connections_new(const char *uri) {
    WorkConnections *self = g_new0(WorkConnections, 1);
    self->uri = uri;
    for (size_t i = 0; i < SLOTS; i++)
        g_mutex_init(&self->slots[i].lock);
    return self;
}

static void slot_close(Slot *slot) {
    if (slot->connection)
        virConnectClose(slot->connection);
    slot->connection = NULL;
}

void work_connections_free(WorkConnections *self) {
    if (!self)
        return;
    for (size_t i = 0; i < SLOTS; i++) {
        slot_close(&self->slots[i]);
        g_mutex_clear(&self->slots[i].lock);
    }
    g_free(self);
}

static bool slot_open(Slot *slot, const char *uri, Error *err) {
    if (slot->connection && virConnectIsAlive(slot->connection) == 1)
        return true;
    slot_close(slot);
    slot->connection = connection_open_another(uri, err);
    return slot->connection != NULL;
}

virConnect *work_connections_get(WorkConnections *self, Error *err) {
    Slot *slot = &self->slots[(guint)g_atomic_int_add((gint *)&self->next, 1) % SLOTS];
    virConnect *connection = NULL;
    g_mutex_lock(&slot->lock);
    if (slot_open(slot, self->uri, err) && virConnectRef(slot->connection) == 0)
        connection = slot->connection;
    g_mutex_unlock(&slot->lock);
    return connection;
}
