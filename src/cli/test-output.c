/* Values and tables as people and programs read them. */
#include <string.h>
#include "base/clock.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/value.h"
#include "cli/yaml.h"

static void expect_size(const char *text, uint64_t expected) {
    uint64_t bytes = 0;
    g_assert_true(value_parse_size(text, &bytes, NULL));
    g_assert_cmpuint(bytes, ==, expected);
}

static void test_sizes_are_binary(void) {
    expect_size("0", 0);
    expect_size("1000", 1000);
    expect_size("512M", UINT64_C(512) << 20);
    expect_size("512MiB", UINT64_C(512) << 20);
    expect_size("512 mib", UINT64_C(512) << 20);
    expect_size("2G", UINT64_C(2) << 30);
    expect_size("2GB", UINT64_C(2) << 30);
    expect_size("1.5T", UINT64_C(3) << 39);
    expect_size("9007199254740991", UINT64_C(9007199254740991));
}

static void test_what_is_no_size_is_refused(void) {
    static const char *const texts[] = {"", "M", "-1", "1.5", "1..5G", "5Q", "5MM", "9007199254740992", "8P",
        "99999999999999999999E", "1e3", "0x10", "1 2"};
    for (size_t i = 0; i < G_N_ELEMENTS(texts); i++) {
        g_auto(Error) err = {0};
        uint64_t bytes = 0;
        g_test_message("%s", texts[i]);
        g_assert_false(value_parse_size(texts[i], &bytes, &err));
        g_assert_cmpint(err.code, ==, ERROR_INVALID);
    }
}

static void test_sizes_are_shown_short(void) {
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"}, {1023, "1023 B"}, {1024, "1 KiB"}, {UINT64_C(512) << 20, "512 MiB"},
        {UINT64_C(3) << 29, "1.5 GiB"}, {UINT64_C(1) << 50, "1 PiB"}};
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = value_size_text(cases[i].bytes);
        g_assert_cmpstr(text, ==, cases[i].text);
    }
}

static void test_width_is_what_the_terminal_shows(void) {
    g_assert_cmpint(text_width("abc"), ==, 3);
    g_assert_cmpint(text_width("bücher"), ==, 6);
    g_assert_cmpint(text_width("e\u0301"), ==, 1);
    g_assert_cmpint(text_width("仮想"), ==, 4);
}

static const TableColumn two[] = {{"NAME", TABLE_WORD}, {"DESCRIPTION", TABLE_TEXT}};

static Table *sample_table(void) {
    Table *table = table_new(two, 2);
    table_add(table, "仮想");
    table_add(table, "a");
    table_add(table, "b");
    table_add(table, "a rather long description");
    return table;
}

static void test_columns_stand_under_each_other(void) {
    g_autoptr(Table) table = sample_table();
    g_autoptr(GString) out = g_string_new(NULL);
    table_write(table, true, 0, out);
    g_assert_cmpstr(out->str, ==, "NAME  DESCRIPTION\n仮想  a\nb     a rather long description\n");
}

static void test_only_the_last_column_is_shortened(void) {
    g_autoptr(Table) table = sample_table();
    g_autoptr(GString) out = g_string_new(NULL), narrow = g_string_new(NULL);
    table_write(table, false, 16, out);
    g_assert_cmpstr(out->str, ==, "仮想  a\nb     a rather …\n");
    table_write(table, false, 10, narrow);
    g_assert_cmpstr(narrow->str, ==, "仮想  a\nb     a r…\n");
}

static void test_wide_columns_give_before_the_first(void) {
    static const TableColumn titles[] = {
        {"NAME", TABLE_WORD}, {"WHAT IT IS", TABLE_TEXT}, {"N", TABLE_WHOLE}};
    g_autoptr(Table) table = table_new(titles, G_N_ELEMENTS(titles));
    table_add(table, "a-long-name-stays");
    table_add(table, "something that is wide");
    table_add(table, "123456");
    g_autoptr(GString) out = g_string_new(NULL);
    table_write(table, false, 35, out);
    g_assert_cmpstr(out->str, ==, "a-long-name-stays  somethi…  123456\n");
}

static void expect_table(
    const TableColumn *columns, size_t n, const char *cells, int width, const char *expected) {
    g_autoptr(Table) table = table_new(columns, n);
    g_auto(GStrv) parts = g_strsplit(cells, " ", -1);
    for (char **part = parts; *part; part++)
        table_add(table, *part);
    g_autoptr(GString) out = g_string_new(NULL);
    table_write(table, true, width, out);
    g_assert_cmpstr(out->str, ==, expected);
}

static void test_what_is_of_no_use_when_cut_is_whole(void) {
    static const TableColumn columns[] = {
        {"NAME", TABLE_WORD}, {"VCPUS", TABLE_WHOLE}, {"MAC", TABLE_WHOLE}, {"REPOSITORY", TABLE_WORD}};
    size_t n = G_N_ELEMENTS(columns);
    static const char cells[] = "web-12 2 52:54:00:00:00:01 main";
    expect_table(columns, n, cells, 40,
        "NAME    VCPUS  MAC                REPOS…\nweb-12  2      52:54:00:00:00:01  main\n");
    expect_table(columns, n, cells, 38,
        "NAME    VCP…  MAC                REPO…\nweb-12  2     52:54:00:00:00:01  main\n");
    expect_table(columns, n, cells, 36, "NAME    VCPUS  MAC\nweb-12  2      52:54:00:00:00:01\n");
    expect_table(columns, n, cells, 20, "NAME    VCP…  MAC\nweb-12  2     52:54:00:00:00:01\n");
}

static void expect_csv(const char *text, const char *expected) {
    g_autoptr(GString) out = g_string_new(NULL);
    csv_append(out, text);
    g_assert_cmpstr(out->str, ==, expected);
}

static void test_csv_quotes_what_it_must(void) {
    expect_csv("plain", "plain");
    expect_csv("a,b", "\"a,b\"");
    expect_csv("say \"x\"", "\"say \"\"x\"\"\"");
    expect_csv("two\nlines", "\"two\nlines\"");
    expect_csv(" blank", "\" blank\"");
}

static void test_yaml_is_unambiguous(void) {
    static const char text[] =
        "{\"name\":\"web\",\"no\":\"yes\",\"a\":\"1\",\"b\":\"x: y\",\"c\":\"two\\nlines\",\"d\":[],"
        "\"e\":[{\"k\":1,\"l\":[true,null]},\"s\"],\"f\":{\"g\":1.5},\"h\":\"\"}";
    g_autoptr(json_t) json = json_parse(text, strlen(text), NULL);
    g_autoptr(GString) out = g_string_new(NULL);
    yaml_append(out, json);
    g_assert_cmpstr(out->str, ==,
        "name: web\n\"no\": \"yes\"\na: \"1\"\nb: \"x: y\"\nc: \"two\\nlines\"\nd: []\n"
        "e:\n  - k: 1\n    l:\n      - true\n      - null\n  - s\nf:\n  g: 1.5\nh: \"\"\n");
}

static json_t *sample_vms(void) {
    static const char text[] = "[{\"id\":\"1\",\"name\":\"web\",\"vcpus\":2,\"memory\":536870912,\"nics\":[{"
                               "\"mac\":\"52:54:00:00:00:01\"}],"
                               "\"status\":{\"state\":\"running\",\"addresses\":[{\"address\":\"192.0.2.7\"}]"
                               "},\"repository_name\":\"main\"},"
                               "{\"id\":\"2\",\"name\":\"db\",\"vcpus\":1,\"memory\":1610612736,\"status\":{"
                               "\"state\":\"stopped\"}}]";
    return json_parse(text, strlen(text), NULL);
}

static void expect_list(const char *format, const char *columns, const char *expected) {
    g_autoptr(json_t) vms = sample_vms();
    CliOptions options = {0};
    options.values[CLI_OPTION_OUTPUT] = format;
    options.values[CLI_OPTION_COLUMNS] = columns;
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_true(output_list_text(&options, RESOURCE_VM, vms, 0, out, NULL));
    g_assert_cmpstr(out->str, ==, expected);
}

static void test_lists_come_in_every_format(void) {
    expect_list(NULL, NULL,
        "NAME  STATE    VCPUS  MEMORY   MAC                IP         REPOSITORY  HOST\n"
        "web   running  2      512 MiB  52:54:00:00:00:01  192.0.2.7  main        -\n"
        "db    stopped  1      1.5 GiB  -                  -          -           -\n");
    expect_list("csv", "name,memory,IP", "NAME,MEMORY,IP\nweb,536870912,192.0.2.7\ndb,1610612736,\n");
    expect_list("name", NULL, "web\ndb\n");
    expect_list("csv", "status.memory_actual,disks.0.size", "STATUS.MEMORY ACTUAL,DISKS.0.SIZE\n,\n,\n");
    expect_list("table", "name,status.state,id", "NAME  STATE    ID\nweb   running  1\ndb    stopped  2\n");
}

static void expect_age(int64_t age_s, const char *expected) {
    g_autofree char *text = time_to_text(clock_realtime_ns(clock_system()) - age_s * NS_PER_S);
    g_autoptr(json_t) time = json_string(text);
    g_autofree char *age = value_age_text(time);
    g_assert_cmpstr(age, ==, expected);
}

static void test_times_are_told_as_ages(void) {
    expect_age(3 * 60 + 1, "3 min ago");
    expect_age(5 * 3600 + 1, "5 h ago");
    expect_age(-90 * 86400 / 2 - 60, "in 45 d");
    g_autofree char *none = value_age_text(NULL);
    g_assert_cmpstr(none, ==, "-");
}

static void test_unknown_column_is_refused(void) {
    g_autoptr(json_t) vms = sample_vms();
    CliOptions options = {0};
    options.values[CLI_OPTION_COLUMNS] = "name,colour";
    g_autoptr(GString) out = g_string_new(NULL);
    g_auto(Error) err = {0};
    g_assert_false(output_list_text(&options, RESOURCE_VM, vms, 0, out, &err));
    g_assert_nonnull(strstr(err.message, "colour"));
}

static void test_lists_fit_80_columns(void) {
    g_autoptr(json_t) vms = sample_vms();
    json_object_set_new(json_array_get(vms, 0), "host_name", json_string("a-host-with-quite-a-long-name"));
    json_t *addresses = json_object_get(json_object_get(json_array_get(vms, 0), "status"), "addresses");
    json_object_set_new(json_array_get(addresses, 0), "address", json_string("192.168.122.254"));
    CliOptions options = {0};
    g_autoptr(GString) out = g_string_new(NULL);
    g_assert_true(output_list_text(&options, RESOURCE_VM, vms, 80, out, NULL));
    g_auto(GStrv) lines = g_strsplit(out->str, "\n", -1);
    for (char **line = lines; *line; line++)
        g_assert_cmpint(text_width(*line), <=, 80);
    g_assert_nonnull(strstr(out->str, "52:54:00:00:00:01  192.168.122.254  main"));
}

static void test_show_has_a_line_for_each_field(void) {
    g_autoptr(json_t) vms = sample_vms();
    g_autoptr(GString) out = g_string_new(NULL);
    output_fields_text(resources[RESOURCE_VM].type, json_array_get(vms, 0), out);
    g_assert_cmpstr(out->str, ==,
        "ID: 1\nName: web\nvCPUs: 2\nMemory: 512 MiB\nNICs:\n  MAC\n  52:54:00:00:00:01\nStatus:\n  State: "
        "running\n"
        "  Addresses:\n    ADDRESS\n    192.0.2.7\nRepository name: main\n");
}

static void test_switches_are_read_across(void) {
    static const char text[] =
        "{\"modes\":[{\"mode\":\"hvm\",\"boot_disk\":true,\"uefi\":true,\"vcpus_add\":true},"
        "{\"mode\":\"pvh\",\"boot_disk\":true,\"uefi\":false}]}";
    g_autoptr(json_t) status = json_parse(text, strlen(text), NULL);
    g_autoptr(GString) out = g_string_new(NULL);
    output_fields_text(&host_status_type, status, out);
    g_auto(GStrv) lines = g_strsplit(out->str, "\n", -1);
    g_assert_cmpstr(lines[0], ==, "Modes:");
    g_assert_cmpstr(lines[1], ==, "  MODE           HVM  PVH");
    g_assert_cmpstr(lines[2], ==, "  Boot disk      yes  yes");
    g_assert_nonnull(strstr(out->str, "\n  UEFI           yes  -\n"));
    g_assert_nonnull(strstr(out->str, "\n  vCPUs add      yes  -\n"));
    for (char **line = lines; *line; line++)
        g_assert_cmpint(text_width(*line), <=, 80);
}

static void test_rows_that_are_too_wide_are_read_across(void) {
    static const char text[] =
        "{\"cpu_time_ms\":7,\"disks\":[{\"id\":\"x\",\"name\":\"disk0\",\"read_bytes\":2048,\"read_"
        "requests\":3}],"
        "\"nics\":[{\"id\":\"y\",\"name\":\"nic0\",\"received_bytes\":1024,\"received_packets\":1,\"received_"
        "errors\":2,"
        "\"received_dropped\":3,\"sent_bytes\":4,\"sent_packets\":5,\"sent_errors\":6},{\"name\":\"nic1\"}]}";
    g_autoptr(json_t) statistics = json_parse(text, strlen(text), NULL);
    g_autoptr(GString) out = g_string_new(NULL);
    output_fields_text(&vm_statistics_type, statistics, out);
    g_assert_cmpstr(out->str, ==,
        "CPU time (ms): 7\nDisks:\n  NAME   READ BYTES  READ REQUESTS\n  disk0  2 KiB       3\n"
        "NICs:\n  NAME              nic0   nic1\n  Received bytes    1 KiB  -\n"
        "  Received packets  1      -\n  Received errors   2      -\n  Received dropped  3      -\n"
        "  Sent bytes        4 B    -\n  Sent packets      5      -\n  Sent errors       6      -\n");
}

static void test_text_cannot_steer_the_terminal(void) {
    g_autoptr(json_t) evil = json_string("a\x1b[2Jb\nc\u202ed");
    g_autofree char *text = value_to_text(NULL, evil);
    g_assert_cmpstr(text, ==, "a?[2Jb c?d");
}

static void expect_fields(const char *columns, const char *format, const char *expected) {
    CliOptions options = {0};
    options.values[CLI_OPTION_COLUMNS] = columns;
    options.values[CLI_OPTION_OUTPUT] = format;
    g_autofree char *fields = output_list_fields(&options, RESOURCE_VM);
    g_assert_cmpstr(fields, ==, expected);
}

static void test_a_list_asks_only_for_what_it_shows(void) {
    expect_fields(NULL, NULL, "name,status,vcpus,memory,nics,repository_name,host_name");
    expect_fields("ip,state,nics.0.mac,name,mac", "csv", "name,status,nics");
    expect_fields(NULL, "name", "name");
    expect_fields(NULL, "json", NULL);
    expect_fields("ip", "yaml", NULL);
}

int main(int argc, char **argv) {
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/cli/size/binary", test_sizes_are_binary);
    g_test_add_func("/cli/size/refused", test_what_is_no_size_is_refused);
    g_test_add_func("/cli/size/shown-short", test_sizes_are_shown_short);
    g_test_add_func("/cli/table/width", test_width_is_what_the_terminal_shows);
    g_test_add_func("/cli/table/columns-stand-under-each-other", test_columns_stand_under_each_other);
    g_test_add_func("/cli/table/only-the-last-column-is-shortened", test_only_the_last_column_is_shortened);
    g_test_add_func("/cli/table/wide-columns-give-before-the-first", test_wide_columns_give_before_the_first);
    g_test_add_func("/cli/table/whole-or-not-there", test_what_is_of_no_use_when_cut_is_whole);
    g_test_add_func("/cli/csv/quotes-what-it-must", test_csv_quotes_what_it_must);
    g_test_add_func("/cli/yaml/unambiguous", test_yaml_is_unambiguous);
    g_test_add_func("/cli/output/lists-come-in-every-format", test_lists_come_in_every_format);
    g_test_add_func(
        "/cli/output/a-list-asks-only-for-what-it-shows", test_a_list_asks_only_for_what_it_shows);
    g_test_add_func("/cli/output/times-are-told-as-ages", test_times_are_told_as_ages);
    g_test_add_func("/cli/output/unknown-column-is-refused", test_unknown_column_is_refused);
    g_test_add_func("/cli/output/lists-fit-80-columns", test_lists_fit_80_columns);
    g_test_add_func("/cli/output/show-has-a-line-for-each-field", test_show_has_a_line_for_each_field);
    g_test_add_func("/cli/output/switches-are-read-across", test_switches_are_read_across);
    g_test_add_func("/cli/output/too-wide-rows-are-read-across", test_rows_that_are_too_wide_are_read_across);
    g_test_add_func("/cli/output/text-cannot-steer-the-terminal", test_text_cannot_steer_the_terminal);
    return g_test_run();
}
