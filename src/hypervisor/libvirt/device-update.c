/*
 * Hot-plug. What comes gets a name of ours (domain_alias), by which it is found again; what goes is asked for
 * until the guest lets go of it.
 */
#include "hypervisor/libvirt/device-update.h"
#include <string.h>

enum { LET_GO_MS = 30000, ASK_AGAIN_MS = 5000, POLL_MS = 300, MAX_TARGETS = 26 * 27 };

static LiveDevices *read_live(virDomain *domain, Error *err) {
    g_autofree char *xml = virDomainGetXMLDesc(domain, 0);
    if (xml)
        return live_devices_read(xml);
    connection_error(err, "the VM's devices cannot be read");
    return NULL;
}

bool device_update_sync(DeviceUpdate *update, Error *err) {
    g_autoptr(LiveDevices) live = read_live(update->domain, err);
    if (!live)
        return false;
    Vm *running = update->running;
    for (size_t i = running->disks.n; i-- > 0;) {
        g_autofree char *alias = running->disks.items[i].id ? domain_alias(running->disks.items[i].id) : NULL;
        if (alias && !live_device_find(live, alias))
            vm_remove_disk(running, i);
    }
    for (size_t i = running->nics.n; i-- > 0;) {
        g_autofree char *alias = running->nics.items[i].id ? domain_alias(running->nics.items[i].id) : NULL;
        if (alias && !live_device_find(live, alias))
            vm_remove_nic(running, i);
    }
    return true;
}

static void wait_for_restart(DeviceUpdate *update, const char *pointer) {
    for (size_t i = 0; i < update->changed->pending.n; i++)
        if (!strcmp(update->changed->pending.items[i], pointer))
            return;
    agent_vm_changed_add_pending(update->changed, pointer);
}

/* ---- taking away ---- */

static bool is_held(virDomain *domain) {
    int state = VIR_DOMAIN_NOSTATE;
    return virDomainGetState(domain, &state, NULL, 0) == 0 && state == VIR_DOMAIN_PAUSED;
}

/* A guest that is still booting does not hear it: it is asked again. */
static bool take_away(DeviceUpdate *update, const char *id, const char *name, Error *err) {
    if (!id)
        return error_set(err, ERROR_WRONG_STATE, NULL, "%s has no id; stop the VM first", name);
    g_autofree char *alias = domain_alias(id);
    gint64 start = g_get_monotonic_time();
    int64_t turns = 0;
    if (is_held(update->domain))
        return error_set(
            err, ERROR_WRONG_STATE, NULL, "a paused guest cannot let go of %s; resume it first", name);
    for (;;) {
        g_autoptr(LiveDevices) live = read_live(update->domain, err);
        int64_t passed_ms = (g_get_monotonic_time() - start) / 1000;
        if (!live)
            return false;
        const LiveDevice *device = live_device_find(live, alias);
        if (!device)
            return true;
        if (passed_ms >= LET_GO_MS)
            return error_set(err, ERROR_TIMED_OUT, NULL,
                "the guest does not let go of %s within %d s; unmount it inside, or stop the VM first", name,
                LET_GO_MS / 1000);
        if (passed_ms >= turns * ASK_AGAIN_MS && !update->dialect->ask_to_let_go(update, device) &&
            turns == 0)
            return connection_error(err, "the device cannot be taken away");
        turns = passed_ms / ASK_AGAIN_MS + 1;
        if (!cancel_check(update->cancel, err))
            return false;
        g_usleep(POLL_MS * 1000);
    }
}

static bool detach_disk(DeviceUpdate *update, size_t index, Error *err) {
    const Disk *disk = &update->running->disks.items[index];
    if (!update->dialect->check_detach(update, disk, err) ||
        !take_away(update, disk->id, disk->name ? disk->name : "the disk", err))
        return false;
    vm_remove_disk(update->running, index);
    return true;
}

static bool detach_nic(DeviceUpdate *update, size_t index, Error *err) {
    const Nic *nic = &update->running->nics.items[index];
    if (!take_away(update, nic->id, nic->name ? nic->name : "the NIC", err))
        return false;
    vm_remove_nic(update->running, index);
    return true;
}

/* ---- adding ---- */

bool device_update_attach(DeviceUpdate *update, const char *xml, const char *what, Error *err) {
    return virDomainAttachDeviceFlags(update->domain, xml, VIR_DOMAIN_AFFECT_LIVE) == 0 ||
           connection_error(err, what);
}

static bool attach_disk(DeviceUpdate *update, size_t index, Error *err) {
    const Disk *disk = update->vm->disks[index].disk;
    g_autoptr(LiveDevices) live = read_live(update->domain, err);
    if (!live)
        return false;
    g_autofree char *alias = disk->id ? domain_alias(disk->id) : NULL;
    if (alias && live_device_find(live, alias)) { /* before a crash */
        disk_copy(vm_add_disks(update->running), disk);
        return true;
    }
    if (update->dialect->prepare_disk && !update->dialect->prepare_disk(update, disk, live, err))
        return false;
    for (size_t place = 0; place < MAX_TARGETS; place++) {
        g_autofree char *target = update->dialect->target_name(update, disk, place);
        if (live_devices_has_target(live, target))
            continue;
        g_autofree char *xml = update->dialect->disk_xml(update, index, target);
        if (!device_update_attach(update, xml, "the disk cannot be added", err))
            return false;
        disk_copy(vm_add_disks(update->running), disk);
        return true;
    }
    return error_set(err, ERROR_NO_CAPACITY, NULL, "there is no place for another disk");
}

static bool attach_nic(DeviceUpdate *update, size_t index, Error *err) {
    const HypervisorNic *nic = &update->vm->nics[index];
    g_auto(Network) network = {0};
    g_autoptr(LiveDevices) live = read_live(update->domain, err);
    if (!live)
        return false;
    g_autofree char *alias = nic->nic->id ? domain_alias(nic->nic->id) : NULL;
    if (!alias || !live_device_find(live, alias)) {
        g_autofree char *xml = update->dialect->nic_xml(update, index);
        network_copy(&network, nic->network);
        if (!session_network_open(update->session, &network, err) ||
            !device_update_attach(update, xml, "the NIC cannot be added", err))
            return false;
    }
    nic_copy(vm_add_nics(update->running), nic->nic);
    return true;
}

/* ---- changing ---- */

static bool grow(DeviceUpdate *update, const DeviceChange *change, bool *ret_has_it, Error *err) {
    const HypervisorDisk *disk = &update->vm->disks[change->wanted];
    if (!update->dialect->grow(update, disk, ret_has_it, err))
        return false;
    if (*ret_has_it)
        disk_set_size(&update->running->disks.items[change->running], disk->disk->size);
    return true;
}

static bool change_medium(DeviceUpdate *update, const DeviceChange *change, bool *ret_has_it, Error *err) {
    const Disk *disk = update->vm->disks[change->wanted].disk;
    g_autoptr(LiveDevices) live = read_live(update->domain, err);
    g_autofree char *alias = disk->id ? domain_alias(disk->id) : NULL;
    const LiveDevice *device = live && alias ? live_device_find(live, alias) : NULL;
    if (!live)
        return false;
    if (!device)
        return error_set(err, ERROR_NOT_FOUND, NULL, "the drive is not there");
    g_autofree char *xml = update->dialect->disk_xml(update, change->wanted, device->target);
    if (!update->dialect->change_medium(update, device, xml, ret_has_it, err))
        return false;
    if (*ret_has_it)
        disk_set_image(&update->running->disks.items[change->running], disk->image);
    return true;
}

static bool plug(DeviceUpdate *update, const DeviceChange *change, bool *ret_has_it, Error *err) {
    const HypervisorNic *wanted = &update->vm->nics[change->wanted];
    Nic *running = &update->running->nics.items[change->running];
    g_auto(Network) network = {0};
    network_copy(&network, wanted->network);
    if (!session_network_open(update->session, &network, err) ||
        !update->dialect->plug(update, change->wanted, ret_has_it, err))
        return false;
    if (*ret_has_it) {
        nic_clear(running);
        nic_copy(running, wanted->nic);
    }
    return true;
}

/* ---- all, last first, so that the indexes of what runs stay valid while devices go ---- */

static bool change_disk(DeviceUpdate *update, const DeviceChange *change, Error *err) {
    bool has_it = false, is_good = true;
    switch (change->kind) {
    case DEVICE_DETACH:
        return detach_disk(update, change->running, err);
    case DEVICE_GROW:
        is_good = grow(update, change, &has_it, err);
        break;
    case DEVICE_MEDIUM:
        is_good = change_medium(update, change, &has_it, err);
        break;
    case DEVICE_ATTACH:
        if (update->dialect->can_come(update, update->vm->disks[change->wanted].disk))
            return attach_disk(update, change->wanted, err);
        break;
    case DEVICE_PLUG:
    case DEVICE_RESTART:
        break;
    }
    if (is_good && !has_it)
        wait_for_restart(update, "/disks");
    return is_good;
}

bool device_update_disks(DeviceUpdate *update, Error *err) {
    g_autoptr(GArray) changes = disk_changes(update->running, update->vm->vm);
    for (guint i = changes->len; i-- > 0;)
        if (!change_disk(update, &g_array_index(changes, DeviceChange, i), err))
            return false;
    return true;
}

static bool change_nic(DeviceUpdate *update, const DeviceChange *change, Error *err) {
    bool has_it = false;
    if (change->kind == DEVICE_DETACH)
        return detach_nic(update, change->running, err);
    if (change->kind == DEVICE_ATTACH)
        return attach_nic(update, change->wanted, err);
    if (change->kind == DEVICE_PLUG && (!plug(update, change, &has_it, err) || has_it))
        return has_it;
    wait_for_restart(update, "/nics");
    return true;
}

bool device_update_nics(DeviceUpdate *update, Error *err) {
    g_autoptr(GArray) changes = nic_changes(update->running, update->vm->vm);
    for (guint i = changes->len; i-- > 0;)
        if (!change_nic(update, &g_array_index(changes, DeviceChange, i), err))
            return false;
    return true;
}
