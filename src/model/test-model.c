/* Proves the descriptor engine on every generated type, and the messages that people will read. */
#include <string.h>
#include "model/method.h"

static guint32 seed;

static void round_trip(const TypeDescriptor *type, GRand *random) {
    void *object = g_malloc0(type->size), *decoded = g_malloc0(type->size), *copy = g_malloc0(type->size);
    model_random(type, random, object);
    g_autoptr(json_t) json = model_encode(type, object, MODEL_ENCODE_ALL);
    g_autofree char *text = json_to_text(json);
    g_autoptr(json_t) parsed = json_parse(text, strlen(text), NULL);
    g_auto(Error) err = {0};
    if (!model_decode(type, parsed, MODEL_STORED, decoded, &err))
        g_error("%s: %s: %s", type->name, err.field, err.message);
    g_assert_true(model_equal(type, object, decoded));
    model_copy(type, copy, decoded);
    g_assert_true(model_equal(type, object, copy));
    model_free(type, object);
    model_free(type, decoded);
    model_free(type, copy);
}

static void test_every_type_survives_a_round_trip(void) {
    g_autoptr(GRand) random = g_rand_new_with_seed(seed);
    for (size_t t = 0; model_types[t]; t++)
        for (int round = 0; round < 50; round++)
            round_trip(model_types[t], random);
}

static void test_bad_input_names_the_field(void) {
    static const struct {
        const char *text;
        ModelMode mode;
        ErrorCode code;
        const char *field;
    } cases[] = {
        {"[]", MODEL_INPUT, ERROR_INVALID, ""},
        {"{}", MODEL_INPUT, ERROR_INVALID, "/name"},
        {"{\"name\":\"a\",\"colour\":1}", MODEL_INPUT, ERROR_UNKNOWN_FIELD, "/colour"},
        {"{\"name\":\"a b\"}", MODEL_INPUT, ERROR_INVALID, "/name"},
        {"{\"name\":\"a\",\"vcpus\":\"2\"}", MODEL_INPUT, ERROR_INVALID, "/vcpus"},
        {"{\"name\":\"a\",\"vcpus\":0}", MODEL_INPUT, ERROR_INVALID, "/vcpus"},
        {"{\"name\":\"a\",\"memory\":9007199254740991}", MODEL_INPUT, ERROR_INVALID, "/memory"},
        {"{\"name\":\"a\",\"disks\":[{\"size\":9007199254740991}]}", MODEL_INPUT, ERROR_INVALID,
            "/disks/0/size"},
        {"{\"name\":\"a\",\"memory\":9007199254740992}", MODEL_INPUT, ERROR_INVALID, "/memory"},
        {"{\"name\":\"a\",\"memory\":1.5}", MODEL_INPUT, ERROR_INVALID, "/memory"},
        {"{\"name\":\"a\",\"disks\":[{},{\"size\":1}]}", MODEL_INPUT, ERROR_INVALID, "/disks/1/size"},
        {"{\"name\":\"a\",\"tags\":[\"ok\",\"not ok\"]}", MODEL_INPUT, ERROR_INVALID, "/tags/1"},
        {"{\"name\":\"a\",\"id\":\"x\"}", MODEL_INPUT, ERROR_INVALID, "/id"},
        {"{\"pool\":\"a\"}", MODEL_PATCH, ERROR_INVALID, "/pool"},
        {"{\"name\":\"a\",\"firmware\":\"coreboot\"}", MODEL_INPUT, ERROR_INVALID, "/firmware"},
        {"{\"name\":\"a\",\"nics\":[{\"mac\":\"01:00:5e:00:00:01\"}]}", MODEL_INPUT, ERROR_INVALID,
            "/nics/0/mac"},
        {"{\"name\":\"a\\u0000b\"}", MODEL_INPUT, ERROR_INVALID, "/name"},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(json_t) json = json_loads(cases[i].text, JSON_ALLOW_NUL, NULL);
        g_auto(Vm) vm = {0};
        g_auto(Error) err = {0};
        g_assert_false(vm_decode(json, cases[i].mode, &vm, &err));
        g_assert_cmpint(err.code, ==, cases[i].code);
        g_assert_cmpstr(err.field, ==, cases[i].field);
    }
}

static void test_formats_of_networks_keys_and_macs(void) {
    static const struct {
        const TypeDescriptor *type;
        const char *field, *text;
        bool is_good;
    } cases[] = {
        {&vm_create_type, "name", "srv-{n}.lab", true},
        {&vm_create_type, "name", "{n}-{n}", false},
        {&vm_create_type, "ssh_keys", "ssh-ed25519 AAAAC3Nza me@here", true},
        {&vm_create_type, "ssh_keys", "sk-ssh-ed25519@openssh.com AAAA", true},
        {&vm_create_type, "ssh_keys", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", false},
        {&vm_create_type, "ssh_keys", "ssh-rsa", false},
        {&vm_create_type, "ssh_keys", "ssh-rsa AAAA one\nssh-rsa BBBB two", false},
        {&pool_type, "mac_range", "52:54:00", true},
        {&pool_type, "mac_range", "0A:00:01", true},
        {&pool_type, "mac_range", "00:1b:21", false},
        {&pool_type, "mac_range", "03:00:00", false},
        {&pool_type, "mac_range", "52:54:00:01:02:03", false},
        {&network_type, "subnet", "192.168.77.0/24", true},
        {&network_type, "subnet", "10.0.0.0/8", true},
        {&network_type, "subnet", "100.64.0.0/29", true},
        {&network_type, "subnet", "192.168.77.1/24", false},
        {&network_type, "subnet", "10.0.0/24", false},
        {&network_type, "subnet", "10.0.0.0/33", false},
        {&network_type, "subnet", "8.8.8.0/24", false},
        {&network_type, "subnet", "192.0.0.0/8", false},
        {&network_type, "bridge", "br0", true},
        {&network_type, "bridge", "a b", false},
        {&network_type, "bridge", "a/b", false},
        {&network_type, "bridge", "sixteen-letters-", false},
        {&pool_type, "keymap", "us", true},
        {&pool_type, "keymap", "latam", true},
        {&pool_type, "keymap", "de(nodeadkeys)", true},
        {&vm_type, "keymap", "us(dvorak-intl)", true},
        {&pool_type, "keymap", "", false},
        {&pool_type, "keymap", "d", false},
        {&pool_type, "keymap", "xx", false},
        {&pool_type, "keymap", "DE", false},
        {&pool_type, "keymap", "de ", false},
        {&pool_type, "keymap", "de()", false},
        {&pool_type, "keymap", "de(nodeadkeys", false},
        {&pool_type, "keymap", "de(nodeadkeys)x", false},
        {&pool_type, "keymap", "de(no dead)", false},
        {&pool_type, "keymap", "(nodeadkeys)", false},
        {&pool_type, "keymap", "de,us", false},
        {&pool_type, "keymap", "../de", false},
    };
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        const FieldDescriptor *field = model_field(cases[i].type, cases[i].field);
        g_test_message("%s %s", cases[i].field, cases[i].text);
        g_assert_true(model_check_string(field, cases[i].text, NULL) == cases[i].is_good);
    }
}

static void test_macs_are_kept_in_lower_case(void) {
    g_autoptr(json_t) json = json_pack("{ss s[{ss}]}", "name", "a", "nics", "mac", "52:54:00:AB:CD:EF");
    g_auto(Vm) vm = {0};
    g_assert_true(vm_decode(json, MODEL_INPUT, &vm, NULL));
    g_assert_cmpstr(vm.nics.items[0].mac, ==, "52:54:00:ab:cd:ef");
}

static void test_modules_are_kept_with_underscores(void) {
    g_autoptr(json_t) json = json_pack("{s[ss]}", "allow", "snd-hda-intel", "8250_pci");
    g_auto(HostModules) modules = {0};
    g_assert_true(host_modules_decode(json, MODEL_INPUT, &modules, NULL));
    g_assert_cmpstr(modules.allow.items[0], ==, "snd_hda_intel");
    g_assert_cmpstr(modules.allow.items[1], ==, "8250_pci");
    static const char *const bad[] = {"", "a b", "a/b", "a\n", "-a", "*", "a.ko"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(json_t) wrong = json_pack("{s[s]}", "allow", bad[i]);
        g_auto(Error) err = {0};
        g_auto(HostModules) refused = {0};
        g_assert_false(host_modules_decode(wrong, MODEL_INPUT, &refused, &err));
        g_assert_cmpstr(err.field, ==, "/allow/0");
    }
}

static void test_union_branch_refuses_fields_of_the_other(void) {
    g_autoptr(json_t) json = json_pack("{ss ss ss}", "name", "n", "kind", "bridge", "subnet", "10.0.0.0/24");
    g_auto(Network) network = {0};
    g_auto(Error) err = {0};
    g_assert_false(network_decode(json, MODEL_INPUT, &network, &err));
    g_assert_cmpstr(err.field, ==, "/subnet");
}

static void test_absent_null_and_default_are_three_things(void) {
    g_autoptr(json_t) json = json_pack("{ss sn}", "name", "a", "vcpus");
    g_auto(Vm) vm = {0};
    g_assert_true(vm_decode(json, MODEL_INPUT, &vm, NULL));
    g_assert_false(vm_has(&vm, VM_FIELD_VCPUS));
    model_apply_defaults(&vm_type, &vm);
    g_assert_true(vm_has(&vm, VM_FIELD_VCPUS));
    g_assert_cmpint(vm.vcpus, ==, 1);
    g_assert_false(vm_has(&vm, VM_FIELD_DESCRIPTION));
    g_autoptr(json_t) patch = json_pack("{sn si}", "vcpus", "memory", 7);
    g_autoptr(json_t) before = json_pack("{si ss}", "vcpus", 2, "name", "a");
    g_autoptr(json_t) after = json_merge_patch(before, patch);
    g_assert_null(json_object_get(after, "vcpus"));
    g_assert_cmpint(json_integer_value(json_object_get(after, "memory")), ==, 7);
    g_assert_cmpint(json_integer_value(json_object_get(before, "vcpus")), ==, 2);
}

static void test_secrets_stay_out_of_public_text(void) {
    g_auto(Principal) principal = {0};
    principal_set_name(&principal, "root");
    principal_set_password(&principal, "hunter2");
    principal_set_password_hash(&principal, "$y$hash");
    g_autoptr(json_t) shown = principal_encode(&principal, MODEL_ENCODE_PUBLIC);
    g_assert_null(json_object_get(shown, "password"));
    g_assert_null(json_object_get(shown, "password_hash"));
    g_autoptr(json_t) stored = principal_encode(&principal, MODEL_ENCODE_DEFINITION);
    g_assert_null(json_object_get(stored, "password"));
    g_assert_nonnull(json_object_get(stored, "password_hash"));
}

static void test_deep_json_is_refused_before_parsing(void) {
    g_autofree char *deep = g_strnfill(100000, '[');
    g_auto(Error) err = {0};
    g_assert_null(json_parse(deep, 100000, &err));
    g_assert_cmpint(err.code, ==, ERROR_MALFORMED);
}

static void test_roles_permit_by_pattern(void) {
    g_assert_true(role_permits(ROLE_VIEWER, "vm.view"));
    g_assert_false(role_permits(ROLE_VIEWER, "vm.operate"));
    g_assert_true(role_permits(ROLE_OPERATOR, "vm.operate"));
    g_assert_false(role_permits(ROLE_OPERATOR, "vm.delete"));
    g_assert_true(role_permits(ROLE_ADMINISTRATOR, "host.manage"));
}

static void test_every_method_has_a_route_of_its_own(void) {
    g_autoptr(GHashTable) routes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (MethodId id = 0; id < METHOD_MAX; id++)
        g_assert_true(g_hash_table_add(routes, g_strconcat(methods[id].http, " ", methods[id].path, NULL)));
    g_assert_cmpint(method_find(RESOURCE_VM, "show"), ==, METHOD_VM_GET);
    g_assert_cmpint(agent_method_find("vm.start"), ==, AGENT_METHOD_VM_START);
}

static void test_errors_travel_as_problems(void) {
    g_auto(Error) err = {0}, back = {0};
    error_set(&err, ERROR_NO_SPACE, "/disks/0", "bad byte \xff here");
    error_wrap(&err, ERROR_NONE, "copying");
    g_autoptr(json_t) json = error_to_json(&err);
    g_assert_true(json_is_problem(json));
    error_from_json(json, &back);
    g_assert_cmpint(back.code, ==, ERROR_NO_SPACE);
    g_assert_cmpstr(back.field, ==, "/disks/0");
    g_assert_true(g_str_has_prefix(back.message, "copying: bad byte "));
}

static void test_what_is_no_problem_is_known_as_such(void) {
    static const char *const bad[] = {"null", "[]", "{}", "{\"code\":\"io\"}", "{\"detail\":\"d\"}",
        "{\"code\":1,\"detail\":\"d\"}", "{\"code\":\"io\",\"detail\":\"d\",\"field\":1}"};
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(json_t) json = json_parse(bad[i], strlen(bad[i]), NULL);
        g_auto(Error) err = {0};
        g_assert_false(json_is_problem(json));
        error_from_json(json, &err);
        g_assert_true(error_is_set(&err));
    }
    g_assert_false(json_is_problem(NULL));
}

static void test_output_of_tools_fits_into_a_fault(void) {
    g_auto(Error) err = {0};
    g_auto(Fault) fault = {0};
    g_autofree char *much = g_strnfill(9000, 'x');
    error_set(&err, ERROR_TOOL_FAILED, NULL, "first\nsecond\x1b[1m\xff %s", much);
    g_autoptr(json_t) json = error_to_json(&err);
    g_assert_true(fault_decode(json, MODEL_STORED, &fault, NULL));
    g_assert_true(g_str_has_prefix(fault.detail, "first second [1m"));
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    const char *given = g_getenv("LODGE_TEST_SEED");
    seed = given ? (guint32)g_ascii_strtoull(given, NULL, 10) : g_random_int();
    g_test_message("seed %u", seed);
    g_test_add_func("/model/round-trip", test_every_type_survives_a_round_trip);
    g_test_add_func("/model/bad-input", test_bad_input_names_the_field);
    g_test_add_func("/model/formats-of-networks-keys-and-macs", test_formats_of_networks_keys_and_macs);
    g_test_add_func("/model/macs-are-kept-in-lower-case", test_macs_are_kept_in_lower_case);
    g_test_add_func("/model/modules-are-kept-with-underscores", test_modules_are_kept_with_underscores);
    g_test_add_func("/model/union", test_union_branch_refuses_fields_of_the_other);
    g_test_add_func("/model/absent", test_absent_null_and_default_are_three_things);
    g_test_add_func("/model/secrets", test_secrets_stay_out_of_public_text);
    g_test_add_func("/json/deep", test_deep_json_is_refused_before_parsing);
    g_test_add_func("/method/roles", test_roles_permit_by_pattern);
    g_test_add_func("/method/routes", test_every_method_has_a_route_of_its_own);
    g_test_add_func("/json/output", test_output_of_tools_fits_into_a_fault);
    g_test_add_func("/json/problem", test_errors_travel_as_problems);
    g_test_add_func("/json/no-problem-is-known", test_what_is_no_problem_is_known_as_such);
    return g_test_run();
}
