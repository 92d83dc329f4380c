/* The choice of vm-mode.h, asked for a whole driver and for each of its modes alone. */
#include "model/vm-fit.h"
#include "model/abilities.h"
#include "model/vm-mode.h"

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

static void refuse(VmFit *fit, const char *field, char *take_reason) {
    vm_fit_set_field(fit, field);
    vm_fit_set_reason(fit, take_reason);
    g_free(take_reason);
}

static void fill(VmFit *fit, const Vm *vm, const AbilitiesRow *row, VmMode chosen) {
    const char *field = NULL, *what = NULL;
    bool is_other = vm_has(vm, VM_FIELD_MODE) && vm->mode != VM_MODE_AUTO && vm->mode != row->mode.mode;
    bool lacks = vm_mode_lacks(&row->mode, vm, vm_has(vm, VM_FIELD_DIRECT_BOOT), &field, &what);
    vm_fit_set_fits(fit, !is_other && !lacks);
    vm_fit_set_chosen(fit, fit->fits && chosen == row->mode.mode);
    if (is_other)
        refuse(fit, "/mode",
            g_strdup_printf(
                "the definition names the mode %s", model_enum_name(&vm_mode_enum, (int)vm->mode)));
    else if (lacks)
        refuse(fit, field, g_strdup_printf("it has no %s", what));
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
