/* The choice of vm-mode.h, asked for a whole driver and for each of its modes alone. */
#include "model/vm-fit.h"
#include <string.h>
#include "model/abilities.h"
#include "model/vm-mode.h"

enum { REASON_LIMIT = 1000 };

static VmFit *fit_new(const AbilitiesRow *row) {
    VmFit *fit = g_new0(VmFit, 1);
    g_autofree char *id =
        g_strdup_printf("%s/%s", row->driver, model_enum_name(&vm_mode_enum, (int)row->mode.mode));
    vm_fit_set_id(fit, id);
    vm_fit_set_name(fit, id);
    vm_fit_set_driver(fit, (HypervisorDriver)model_enum_value(&hypervisor_driver_enum, row->driver));
    vm_fit_set_mode(fit, row->mode.mode);
    return fit;
}

static void refuse_other_mode(VmFit *fit, const Vm *vm) {
    g_autofree char *reason =
        g_strdup_printf("the definition names the mode %s", model_enum_name(&vm_mode_enum, (int)vm->mode));
    vm_fit_set_field(fit, "/mode");
    vm_fit_set_reason(fit, reason);
}

static void fill(VmFit *fit, const Vm *vm, const AbilitiesRow *row, VmMode chosen) {
    g_auto(HostStatus) alone = {0};
    g_auto(Error) err = {0};
    VmMode mode = VM_MODE_AUTO;
    host_mode_copy(host_status_add_modes(&alone), &row->mode);
    bool fits = vm_mode_choose(vm, &alone, vm_has(vm, VM_FIELD_DIRECT_BOOT), &mode, &err);
    vm_fit_set_fits(fit, fits);
    vm_fit_set_chosen(fit, fits && chosen == row->mode.mode);
    if (fits)
        return;
    if (vm_has(vm, VM_FIELD_MODE) && vm->mode != VM_MODE_AUTO && vm->mode != row->mode.mode) {
        refuse_other_mode(fit, vm);
        return;
    }
    err.message[MIN(strlen(err.message), REASON_LIMIT)] = '\0';
    vm_fit_set_field(fit, err.field);
    vm_fit_set_reason(fit, err.message);
}

static void release(void *fit) {
    vm_fit_free(fit);
}

GPtrArray *vm_fit_list(const Vm *vm, bool with_fake) {
    GPtrArray *fits = g_ptr_array_new_with_free_func(release);
    for (size_t i = 0; i < n_abilities_rows; i++) {
        const AbilitiesRow *row = &abilities_rows[i];
        g_auto(HostStatus) whole = {0};
        VmMode chosen = VM_MODE_AUTO;
        VmFit *fit = fit_new(row);
        if (fit->driver == HYPERVISOR_DRIVER_FAKE && !with_fake) {
            vm_fit_free(fit);
            continue;
        }
        abilities_report(row->driver, &whole);
        if (!vm_mode_choose(vm, &whole, vm_has(vm, VM_FIELD_DIRECT_BOOT), &chosen, NULL))
            chosen = VM_MODE_AUTO;
        fill(fit, vm, row, chosen);
        g_ptr_array_add(fits, fit);
    }
    return fits;
}
