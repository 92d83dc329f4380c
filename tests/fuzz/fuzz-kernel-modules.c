/* What describes a kernel's modules: lists, what is loaded, modprobe.d, and the modules' own files. */
#include <string.h>
#include "fuzz.h"
#include "host/module-file.h"
#include "host/module-policy.h"

enum { MAX_SIZE = 16384 };

const char *const fuzz_seeds[] = {
    "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc16.ko.xz\n"
    "kernel/fs/jbd2/jbd2.ko.xz:\nkernel/lib/crc16.ko.xz: kernel/fs/ext4/ext4.ko.xz\n",
    "kernel/drivers/tty/serial/8250/8250.ko\n", "/abroad/a.ko: b.ko a.ko\n:\n.ko:\n",
    "ext4 1085440 1 - Live 0x0\njbd2 200704 1 ext4,crc16, Live 0x0 (OE)\ncrc16 - - [permanent], Live\n",
    "blacklist snd-*\ninstall ext4 /bin/false\ninstall a \\\n/bin/true\nsoftdep ext4 pre: crc16 post: a\n",
    "softdep ext4 pre: ext4\nsoftdep crc16 pre: jbd2\ninstall *?*a :\ninstall \xff?* :\n",
    "\177ELF\002\001\001 firmware=a description=b .modinfo .shstrtab", NULL};

static void check_closed(const KernelModules *modules, const ModuleJudgement *judgement) {
    g_autoptr(GPtrArray) sorted = kernel_modules_sorted(modules);
    for (guint i = 0; i < sorted->len; i++) {
        const KernelModule *module = sorted->pdata[i];
        bool is_allowed = module_judgement_reason(judgement, module->name);
        for (guint j = 0; is_allowed && module->needs && j < module->needs->len; j++)
            g_assert_true(!kernel_modules_find(modules, module->needs->pdata[j]) ||
                          module_judgement_reason(judgement, module->needs->pdata[j]));
    }
}

static void judge(const KernelModules *modules) {
    g_auto(HostModules) policy = {0};
    g_auto(ModuleJudgement) judgement = {0};
    g_auto(Error) err = {0};
    host_modules_set_policy(&policy, MODULE_POLICY_ALLOW_LIST);
    host_modules_add_allow(&policy, "ext4");
    host_modules_add_allow(&policy, "crc16");
    module_policy_judge(modules, &policy, NULL, &judgement);
    check_closed(modules, &judgement);
    if (!module_judgement_check(&judgement, modules, &policy, &err))
        g_assert_cmpstr(err.field, ==, "/modules/allow");
    g_autofree char *text = module_judgement_file(&judgement, "fuzz", modules->release);
    g_autoptr(KernelModules) again = kernel_modules_new("/", "1");
    kernel_modules_take_configuration(again, text, true); /* what is written can be read */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size = MIN(size, MAX_SIZE);
    g_autofree char *text = g_strndup((const char *)data, size);
    g_autoptr(KernelModules) modules = kernel_modules_new("/", "6.1.0");
    kernel_modules_take_list(modules, text);
    kernel_modules_take_builtin(modules, text);
    kernel_modules_take_loaded(modules, text);
    kernel_modules_take_configuration(modules, text, false);
    judge(modules);
    g_auto(GStrv) entries = NULL;
    g_auto(Error) err = {0};
    if (!module_file_entries(data, size, &entries, &err))
        g_assert_cmpint(err.code, ==, ERROR_CORRUPT);
    return 0;
}
