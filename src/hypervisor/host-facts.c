/* Facts of the host. */
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include "base/file.h"
#include "hypervisor/host-facts.h"

enum { FACT_FILE_LIMIT = 4 * 1024 * 1024 };

/* The value of the first line "key<spaces>separator value", newly allocated; NULL when there is none. */
static char *fact_from_file(const char *path, const char *key, char separator) {
    g_autofree char *text = NULL;
    if (!file_read(path, FACT_FILE_LIMIT, &text, NULL, NULL))
        return NULL;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *value = strchr(*line, separator);
        if (!value)
            continue;
        *value = '\0';
        if (!strcmp(g_strchomp(*line), key))
            return g_strdup(g_strstrip(value + 1));
    }
    return NULL;
}

static uint64_t memory_fact(const char *key) {
    g_autofree char *text = fact_from_file("/proc/meminfo", key, ':');
    return text ? g_ascii_strtoull(text, NULL, 10) * 1024 : 0;
}

void host_facts_read(HostStatus *status) {
    struct utsname name;
    if (uname(&name) == 0) {
        host_status_set_hostname(status, name.nodename);
        host_status_set_kernel(status, name.release);
    }
    g_autofree char *boot = NULL;
    if (file_read("/proc/sys/kernel/random/boot_id", FACT_FILE_LIMIT, &boot, NULL, NULL))
        host_status_set_boot_id(status, g_strstrip(boot));
    g_autofree char *system = fact_from_file("/etc/os-release", "PRETTY_NAME", '=');
    if (system) {
        g_strdelimit(system, "\"", ' ');
        host_status_set_operating_system(status, g_strstrip(system));
    }
    g_autofree char *model_name = fact_from_file("/proc/cpuinfo", "model name", ':');
    if (model_name)
        host_status_set_cpu_model(status, model_name);
    host_status_set_cpus(status, sysconf(_SC_NPROCESSORS_ONLN));
    host_status_set_memory(status, memory_fact("MemTotal"));
    host_status_set_memory_free(status, memory_fact("MemAvailable"));
}

static bool cpu_shows_virtualization(void) {
    g_autofree char *flags = fact_from_file("/proc/cpuinfo", "flags", ':');
    if (!flags)
        return false;
    g_auto(GStrv) words = g_strsplit(flags, " ", -1);
    return g_strv_contains((const char *const *)words, "vmx") ||
           g_strv_contains((const char *const *)words, "svm");
}

bool host_has_kvm(char **ret_reason) {
    bool has_module = access("/sys/module/kvm_intel", F_OK) == 0 || access("/sys/module/kvm_amd", F_OK) == 0;
    if (!has_module && !cpu_shows_virtualization()) {
        *ret_reason =
            g_strdup("the CPU shows neither vmx nor svm, and neither kvm_intel nor kvm_amd is loaded");
        return false;
    }
    fd_auto int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        *ret_reason = g_strdup_printf("/dev/kvm does not open: %s", g_strerror(errno));
        return false;
    }
    *ret_reason = g_strdup("the CPU has hardware virtualization and /dev/kvm opens");
    return true;
}

Acceleration host_acceleration(Acceleration wanted, char **ret_reason) {
    g_autofree char *found = NULL;
    bool has_kvm = host_has_kvm(&found);
    if (wanted == ACCELERATION_AUTO) {
        *ret_reason = g_steal_pointer(&found);
        return has_kvm ? ACCELERATION_KVM : ACCELERATION_EMULATION;
    }
    *ret_reason = g_strdup_printf("set in the host's definition (a probe found: %s)", found);
    return wanted;
}
