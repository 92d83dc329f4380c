/* Look-ups in the generated tables. */
#include "model/method.h"

ResourceId resource_find(const char *name) {
    for (ResourceId id = 0; id < RESOURCE_MAX; id++)
        if (g_str_equal(resources[id].name, name))
            return id;
    return RESOURCE_MAX;
}

AgentMethodId agent_method_find(const char *name) {
    for (AgentMethodId id = 0; id < AGENT_METHOD_MAX; id++)
        if (g_str_equal(agent_methods[id].name, name))
            return id;
    return AGENT_METHOD_MAX;
}

MethodId method_find(ResourceId resource, const char *verb) {
    for (MethodId id = 0; id < METHOD_MAX; id++)
        if (methods[id].resource == resource && g_str_equal(methods[id].verb, verb))
            return id;
    return METHOD_MAX;
}

static bool pattern_matches(const char *pattern, const char *permission) {
    if (g_str_equal(pattern, "*") || g_str_equal(pattern, permission))
        return true;
    return g_str_has_prefix(pattern, "*.") && g_str_has_suffix(permission, pattern + 1);
}

bool role_permits(Role role, const char *permission) {
    g_assert(role < ROLE_MAX);
    for (const char *const *pattern = role_permissions[role].permissions; *pattern; pattern++)
        if (pattern_matches(*pattern, permission))
            return true;
    return false;
}
