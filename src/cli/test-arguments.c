/* What is typed becomes what is sent. */
#include <glib/gstdio.h>
#include <string.h>
#include "base/clock.h"
#include "base/file.h"
#include "cli/arguments.h"
#include "cli/completion.h"
#include "cli/help.h"

static bool parse(const char *line, Arguments *arguments, Error *err) {
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    g_autoptr(GPtrArray) interned = g_ptr_array_new();
    for (char **word = argv; *word; word++)
        g_ptr_array_add(interned, (void *)g_intern_string(*word));
    return arguments_parse((int)interned->len, (const char *const *)interned->pdata, arguments, err);
}

static void expect_sent(const char *line, MethodId method, const char *parameters) {
    g_auto(Arguments) arguments = {0};
    g_auto(Error) err = {0};
    bool is_understood = parse(line, &arguments, &err);
    g_assert_cmpstr(err.message, ==, NULL);
    g_assert_true(is_understood);
    g_assert_cmpint((int)arguments.method, ==, (int)method);
    g_autofree char *text = json_to_text(arguments.parameters);
    g_assert_cmpstr(text, ==, parameters);
}

static void expect_message(const char *line, const char *message) {
    g_auto(Arguments) arguments = {0};
    g_auto(Error) err = {0};
    g_assert_false(parse(line, &arguments, &err));
    g_autofree char *text = error_text(&err);
    g_assert_cmpstr(text, ==, message);
    g_assert_cmpstr(err.field, ==, NULL);
}

static void expect_refused(const char *line, const char *part) {
    g_auto(Arguments) arguments = {0};
    g_auto(Error) err = {0};
    g_assert_false(parse(line, &arguments, &err));
    g_autofree char *text = error_text(&err);
    if (!strstr(text, part))
        g_test_message("%s: %s", line, text);
    g_assert_nonnull(strstr(text, part));
    g_assert_cmpint(error_info(err.code)->exit_status, ==, 2);
}

static void test_flags_become_fields(void) {
    expect_sent("lodge vm create web --count 8 --memory 512M --start --clone=reflink --tag a --tag b",
        METHOD_VM_CREATE,
        "{\"count\":8,\"memory\":536870912,\"start\":true,\"clone\":\"reflink\",\"tags\":[\"a\",\"b\"],"
        "\"name\":\"web\"}");
    expect_sent("lodge vm create --no-start -- web", METHOD_VM_CREATE, "{\"start\":false,\"name\":\"web\"}");
    expect_sent("lodge vms list -o json", METHOD_VM_LIST, "{}");
    expect_sent("lodge vm attach-nic web --mac 52:54:00:AB:CD:0E", METHOD_VM_ATTACH_NIC,
        "{\"mac\":\"52:54:00:ab:cd:0e\"}");
    expect_sent("lodge vm stop web --grace 5 --force", METHOD_VM_STOP, "{\"timeout_s\":5,\"force\":true}");
    expect_sent("lodge vm clone web copy --count 2", METHOD_VM_CLONE, "{\"count\":2,\"name\":\"copy\"}");
    expect_sent("lodge repository create main --path /srv/lodge", METHOD_REPOSITORY_CREATE,
        "{\"path\":\"/srv/lodge\",\"name\":\"main\"}");
}

static void test_update_sends_only_what_is_given(void) {
    expect_sent("lodge vm update web --vcpus 2 --unset description --name other", METHOD_VM_UPDATE,
        "{\"vcpus\":2,\"name\":\"other\",\"description\":null}");
    expect_refused("lodge vm update web", "nothing to change");
    expect_refused("lodge vm update web --unset status", "--unset");
    expect_refused("lodge vm update web --pool other", "there is no --pool");
}

static void test_objects_are_pairs_or_json(void) {
    static const char expected[] =
        "{\"grants\":[{\"object\":\"vm/web\",\"role\":\"operator\"},{\"object\":\"pool/"
        "a\",\"role\":\"viewer\"}]}";
    expect_sent("lodge principal update eva --grant object=vm/web,role=operator --grant "
                "{\"object\":\"pool/a\",\"role\":\"viewer\"}",
        METHOD_PRINCIPAL_UPDATE, expected);
    expect_refused("lodge principal update eva --grant vm/web", "not FIELD=VALUE");
    expect_refused("lodge principal update eva --grant colour=red", "no field colour");
    expect_refused("lodge principal update eva --grant role=king", "\"king\" is none of");
}

static void test_typos_get_a_suggestion(void) {
    expect_refused("lodge vn list", "did you mean vm?");
    expect_refused("lodge vm lsit", "did you mean list?");
    expect_refused("lodge vm list --fitler a=b", "did you mean --filter?");
    expect_refused("lodge vm create web --mem 1G", "did you mean --memory?");
    expect_refused("lodge vm li", "did you mean list?");
    expect_refused("lodge vm create web --colour red", "--help lists the options");
    expect_refused("lodge xyzzy", "`lodge help` lists them");
}

static void test_wrong_usage_names_what_is_wrong(void) {
    expect_refused(
        "lodge vm create web --clone magic", "--clone: \"magic\" is none of auto, reflink, overlay, full");
    expect_refused("lodge vm create web --memory lots", "--memory: \"lots\"");
    expect_refused("lodge vm create web --count many", "--count: \"many\"");
    expect_refused("lodge vm create", "NAME is missing");
    expect_refused("lodge vm create web more", "\"more\"");
    expect_refused("lodge vm create web --disks []", "there is no --disks");
    expect_refused("lodge vm create bad_name!", "NAME");
    expect_refused("lodge vm list --nonsense", "--nonsense");
    expect_refused("lodge vm list -o xml", "--output: \"xml\" is none of table");
    expect_refused("lodge vm start", "the name is missing");
    expect_refused("lodge vm start web --filter a=b", "there is no --filter");
    expect_refused("lodge vm fly web", "no verb \"fly\"");
    expect_refused("lodge planet list", "no noun \"planet\"");
    expect_refused("lodge host-module list", "no noun \"host-module\"");
    expect_refused("lodge system login", "no verb \"login\"");
    expect_refused("lodge vm list --columns", "--columns needs a value");
    expect_refused("lodge repository create one", "--path is required");
}

static void test_one_value_is_given_once(void) {
    expect_refused("lodge vm create web --count 2 --count 3", "--count is given twice");
    expect_refused("lodge vm create web --start --no-start", "--no-start is given twice");
    expect_refused("lodge vm list --filter a=b --filter c=d", "--filter is given twice");
    expect_refused("lodge -o json vm list -o csv", "-o is given twice");
    expect_sent("lodge vm update web --unset description --unset guest-os", METHOD_VM_UPDATE,
        "{\"description\":null,\"guest_os\":null}");
}

static int64_t expiry_of(const char *line) {
    g_auto(Arguments) arguments = {0};
    int64_t time_ns = 0;
    g_assert_true(parse(line, &arguments, NULL));
    g_assert_true(time_from_text(json_text_at(arguments.parameters, "expires"), &time_ns));
    return time_ns / NS_PER_S;
}

static void test_times_are_written_short(void) {
    int64_t now_s = clock_realtime_ns(clock_system()) / NS_PER_S;
    g_autoptr(GDateTime) local = g_date_time_new_local(2030, 1, 31, 0, 0, 0);
    g_assert_cmpint(expiry_of("lodge token create ci --expires 2030-01-31"), ==, g_date_time_to_unix(local));
    g_assert_cmpint(ABS(expiry_of("lodge token create ci --expires 12h") - now_s - 12 * 3600), <, 60);
    g_assert_cmpint(ABS(expiry_of("lodge token create ci --expires 30d") - now_s - 30 * 86400), <, 60);
    expect_sent("lodge token create ci --expires 2030-01-31T12:00:00Z", METHOD_TOKEN_CREATE,
        "{\"expires\":\"2030-01-31T12:00:00Z\",\"name\":\"ci\"}");
    expect_refused("lodge token create ci --expires 2030-13-41", "is not a time such as");
    expect_refused("lodge token create ci --expires 30", "is not a time such as");
    expect_refused("lodge token create ci --expires 9999-01-01", "is not a time such as");
    expect_refused("lodge token create ci --expires 99999w", "is not a time such as");
    expect_refused("lodge token create ci --expires 0d", "is not a time such as");
}

static void test_a_message_names_the_flag_once(void) {
    expect_message("lodge vm create web --memory 1K", "--memory: must be at least 1 MiB, not 1 KiB");
    expect_message(
        "lodge vm attach-nic web --mac zz", "--mac: must be a unicast MAC such as 52:54:00:12:34:56");
    expect_message("lodge principal update eva --grant role=king",
        "--grant: role: \"king\" is none of none, viewer, operator, administrator");
}

static void test_one_verb_takes_many_objects(void) {
    g_auto(Arguments) arguments = {0};
    g_assert_true(parse("lodge vm delete a b c -y", &arguments, NULL));
    g_assert_cmpuint(arguments.words->len, ==, 3);
    g_assert_true(cli_option_is(&arguments.options, CLI_OPTION_YES, false));
}

static void test_imports_tell_urls_from_files(void) {
    expect_sent("lodge iso import cd https://host/cd.iso", METHOD_ISO_IMPORT,
        "{\"name\":\"cd\",\"source\":\"https://host/cd.iso\"}");
    g_auto(Arguments) arguments = {0};
    g_assert_true(parse("lodge iso import cd ./cd.iso", &arguments, NULL));
    g_assert_cmpstr(arguments.file, ==, "./cd.iso");
    expect_refused("lodge iso import cd", "FILE or URL");
}

static void test_files_hold_keys_and_secrets(void) {
    g_autofree char *path = NULL, *line = NULL, *user = NULL, *script = NULL;
    fd_auto int fd = g_file_open_tmp("lodge-test-XXXXXX", &path, NULL);
    static const char keys[] = "# mine\nssh-ed25519 AAAAC3 one\n\nssh-ed25519 AAAAC4 two\n";
    g_assert_true(fd_write_all(fd, keys, strlen(keys), NULL));
    line = g_strdup_printf("lodge vm create web --ssh-key %s", path);
    expect_sent(line, METHOD_VM_CREATE,
        "{\"ssh_keys\":[\"ssh-ed25519 AAAAC3 one\",\"ssh-ed25519 AAAAC4 two\"],\"name\":\"web\"}");
    script = g_strdup_printf("lodge vm create web --user-data %s", path);
    expect_sent(script, METHOD_VM_CREATE,
        "{\"user_data\":\"# mine\\nssh-ed25519 AAAAC3 one\\n\\nssh-ed25519 AAAAC4 "
        "two\\n\",\"name\":\"web\"}");
    g_assert_true(file_replace(path, "secret word\n", 12, 0600, NULL));
    user = g_strdup_printf("lodge principal create eva --password-file %s", path);
    expect_sent(user, METHOD_PRINCIPAL_CREATE, "{\"password\":\"secret word\",\"name\":\"eva\"}");
    expect_refused("lodge principal create eva --password word", "there is no --password");
    g_unlink(path);
    expect_refused(line, "--ssh-key");
}

static void expect_key_refused(const char *path, const char *content, const char *part) {
    g_autofree char *line = g_strdup_printf("lodge vm create web --ssh-key %s", path);
    g_assert_true(file_replace(path, content, strlen(content), 0600, NULL));
    expect_refused(line, part);
}

static void test_private_keys_stay_here(void) {
    g_autofree char *path = NULL, *advice = NULL;
    fd_auto int fd = g_file_open_tmp("lodge-test-XXXXXX", &path, NULL);
    g_assert_cmpint(fd, >=, 0);
    advice = g_strconcat(path, ".pub", NULL);
    expect_key_refused(path,
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEA\n-----END OPENSSH PRIVATE KEY-----\n",
        advice);
    expect_key_refused(path, "PuTTY-User-Key-File-3: ssh-ed25519\n", advice);
    expect_key_refused(path, "ssh-rsa AAAAB3 me\nhunter2\n", "line 2 of ");
    g_unlink(path);
}

static void test_switches_can_be_turned_off(void) {
    g_auto(Arguments) arguments = {0};
    g_assert_true(parse("lodge --no-headers vm list --no-wait", &arguments, NULL));
    g_assert_false(cli_option_is(&arguments.options, CLI_OPTION_HEADERS, true));
    g_assert_false(cli_option_is(&arguments.options, CLI_OPTION_WAIT, true));
    expect_refused("lodge vm list --wait=yes", "takes no value");
}

static void expect_candidates(const char *line, const char *expected) {
    g_auto(GStrv) words = g_strsplit(line, "|", -1);
    g_autoptr(GString) out = g_string_new(NULL);
    completion_candidates((int)g_strv_length(words), (const char *const *)words, out);
    g_assert_cmpstr(out->str, ==, expected);
}

static void test_completion_follows_the_tables(void) {
    expect_candidates("v", "vm\n");
    expect_candidates("vm|st", "start\nstop\nstats\n");
    expect_candidates("vm|create|web|--firmware|", "bios\nuefi\n");
    expect_candidates("vm|create|web|--disk", "--disk-size\n");
    expect_candidates("vm|list|-o|j", "json\n");
    expect_candidates("completion|f", "fish\n");
    expect_candidates("login|https://host|--ca", "--ca-fingerprint\n--ca-file\n");
    expect_candidates("login|https://host|--col", "");
    expect_candidates("vm|stop|--dr", "");
    expect_candidates("--host-", "--host-local\n");
    expect_candidates("vm|stop|--host-", "--host-local\n");
    expect_candidates("vm|pause|--host-", "");
    expect_candidates("help|log", "login\n");
    expect_candidates("help|vm|cr", "create\n");
    expect_candidates("vm|list|--columns|n", "name\n");
    expect_candidates("vm|list|--columns|name,st", "name,state\n");
    expect_candidates("vm|list|--filter|fir", "firmware\n");
    expect_candidates("vm|list|--filter|mac", "mac\n");
    expect_candidates("vm|list|--filter|name~web,sta", "name~web,state\nname~web,started\n");
    expect_candidates("vm|list|--sort|-mem", "-memory\n-memory_maximum\n-memory_actual\n");
    expect_candidates("vm|update|web|--unset|mem", "memory\nmemory-maximum\n");
    expect_candidates("vm|update|web|--unset|na", "");
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_true(completion_script("bash", out, NULL));
    g_assert_nonnull(strstr(out->str, "__complete"));
    g_assert_false(completion_script("tcsh", out, NULL));
}

static void test_every_verb_has_help(void) {
    for (MethodId id = 0; id < METHOD_MAX; id++) {
        g_autoptr(GString) out = g_string_new(NULL);
        help_verb(id, out);
        g_assert_nonnull(strstr(out->str, methods[id].doc));
    }
}

static void expect_help(const char *line, const char *part, bool is_there) {
    g_auto(Arguments) arguments = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_true(parse(line, &arguments, NULL));
    g_assert_true(help_for(&arguments, out, NULL));
    if ((strstr(out->str, part) != NULL) != is_there)
        g_error("%s has %s\"%s\":\n%s", line, is_there ? "no " : "", part, out->str);
}

static void test_help_tells_of_what_was_named(void) {
    expect_help("lodge help login", "lodge login URL", true);
    expect_help("lodge help login", "--ca-fingerprint", true);
    expect_help("lodge help login", "--columns", false);
    expect_help("lodge help api", "--data", true);
    expect_help("lodge help completion", "lodge completion bash|zsh|fish", true);
    expect_help("lodge help help", "lodge help [NOUN [VERB]]", true);
    expect_help("lodge help vms", "Verbs:", true);
    expect_help("lodge help", "Nouns (`lodge NOUN --help` lists the verbs):\n  vm ", true);
    g_auto(Arguments) arguments = {0};
    g_auto(Error) err = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_true(parse("lodge help vn", &arguments, NULL));
    g_assert_false(help_for(&arguments, out, &err));
    g_assert_nonnull(strstr(err.message, "did you mean vm?"));
}

static void test_help_names_the_options_that_are_of_use(void) {
    expect_help("lodge vm list --help", "--columns LIST", true);
    expect_help("lodge vm list --help", "-o, --output FORMAT", true);
    expect_help("lodge vm list --help", "--wait", false);
    expect_help("lodge vm start --help", "--wait", true);
    expect_help("lodge vm stop --help", "--dry-run", false);
    expect_help("lodge vm create --help", "--dry-run", true);
    expect_help("lodge vm delete --help", "--yes", true);
    expect_help("lodge vm console --help", "--columns", false);
}

/* Files that examples name need not be there. */
static void test_examples_are_understood(void) {
    for (const CliExample *example = cli_examples; example->noun; example++) {
        g_auto(Arguments) arguments = {0};
        g_auto(Error) err = {0};
        if (!parse(example->run, &arguments, &err) && err.code != ERROR_LOCAL_FILE)
            g_error("%s: %s", example->run, err.message);
        g_assert_cmpuint(strlen(example->run), <=, 76);
        g_assert_true(g_str_equal(example->noun, "lodge") ||
                      g_str_equal(example->noun, resources[arguments.resource].name));
    }
    expect_help("lodge vm --help", "Examples:\n  lodge vm create web", true);
    expect_help("lodge help", "Examples:\n  lodge vm create web", true);
}

/* A flag that two fields of a method, or a field and an option, both claim could never be given. */
static void test_no_flag_has_two_meanings(void) {
    for (MethodId id = 0; id < METHOD_MAX; id++) {
        g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
        for (size_t i = 0; i < methods[id].parameters->n_fields && methods[id].is_in_cli; i++) {
            const FieldDescriptor *field = &methods[id].parameters->fields[i];
            if (!flag_is_offered(&methods[id], field))
                continue;
            bool is_negated = false;
            char *name = flag_name(field);
            if (cli_option_find(name, method_command(&methods[id]), &is_negated) != CLI_OPTION_MAX)
                g_error("%s: --%s is an option already", methods[id].name, name);
            g_assert_true(g_hash_table_add(seen, name));
        }
    }
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_setenv("LODGE_SERVER", "unix:/nonexistent", TRUE);
    g_test_add_func("/cli/arguments/flags-become-fields", test_flags_become_fields);
    g_test_add_func("/cli/arguments/update-sends-only-what-is-given", test_update_sends_only_what_is_given);
    g_test_add_func("/cli/arguments/objects-are-pairs-or-json", test_objects_are_pairs_or_json);
    g_test_add_func("/cli/arguments/typos-get-a-suggestion", test_typos_get_a_suggestion);
    g_test_add_func("/cli/arguments/wrong-usage-names-what-is-wrong", test_wrong_usage_names_what_is_wrong);
    g_test_add_func("/cli/arguments/one-value-is-given-once", test_one_value_is_given_once);
    g_test_add_func("/cli/arguments/times-are-written-short", test_times_are_written_short);
    g_test_add_func("/cli/arguments/a-message-names-the-flag-once", test_a_message_names_the_flag_once);
    g_test_add_func("/cli/arguments/one-verb-takes-many-objects", test_one_verb_takes_many_objects);
    g_test_add_func("/cli/arguments/imports-tell-urls-from-files", test_imports_tell_urls_from_files);
    g_test_add_func("/cli/arguments/files-hold-keys-and-secrets", test_files_hold_keys_and_secrets);
    g_test_add_func("/cli/arguments/private-keys-stay-here", test_private_keys_stay_here);
    g_test_add_func("/cli/arguments/switches-can-be-turned-off", test_switches_can_be_turned_off);
    g_test_add_func("/cli/completion/follows-the-tables", test_completion_follows_the_tables);
    g_test_add_func("/cli/help/every-verb-has-help", test_every_verb_has_help);
    g_test_add_func("/cli/help/of-what-was-named", test_help_tells_of_what_was_named);
    g_test_add_func("/cli/help/options-of-use", test_help_names_the_options_that_are_of_use);
    g_test_add_func("/cli/help/examples-are-understood", test_examples_are_understood);
    g_test_add_func("/cli/flags/no-flag-has-two-meanings", test_no_flag_has_two_meanings);
    return g_test_run();
}
