/*
 * For the lab only, preloaded into libvirtd there: guests read the emulated CPU's time stamp counter
 * themselves. Xen traps each reading when the CPU does not promise a steady counter, as QEMU's does not, and
 * guests die of it under emulation.
 */
#include <dlfcn.h>
#include <libxl.h>

typedef int CreateFn(libxl_ctx *, libxl_domain_config *, uint32_t *, const libxl_asyncop_how *,
    const libxl_asyncprogress_how *);

int libxl_domain_create_new(libxl_ctx *context, libxl_domain_config *config, uint32_t *ret_id,
    const libxl_asyncop_how *how, const libxl_asyncprogress_how *progress) {
    CreateFn *create = (CreateFn *)dlsym(RTLD_NEXT, "libxl_domain_create_new");
    config->b_info.tsc_mode = LIBXL_TSC_MODE_NATIVE;
    return create(context, config, ret_id, how, progress);
}
