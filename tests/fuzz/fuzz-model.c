/* JSON from anybody into every type of the schema, in every way; what was understood must survive a round
 * trip.
 */
#include <string.h>
#include "fuzz.h"
#include "model/method.h"

enum { MAX_SIZE = 65536 };

const char *const fuzz_seeds[] = {
    "{\"name\":\"web\",\"vcpus\":2,\"memory\":536870912,\"disks\":[{\"size\":1073741824,\"template\":"
    "\"tiny\"}],\"nics\":[{\"network\":\"default\",\"mac\":\"52:54:00:00:00:01\"}],\"tags\":[\"a\"],"
    "\"firmware\":\"uefi\",\"cloud_init\":{\"user\":\"u\",\"ssh_keys\":[\"ssh-ed25519 A\"]},\"description\":"
    "\"x\\ny\"}",
    "{\"name\":\"n\",\"kind\":\"nat\",\"subnet\":\"10.0.0.0/24\",\"status\":{\"state\":\"active\"}}",
    "{\"name\":\"r\",\"kind\":\"dir\",\"path\":\"/srv/a\",\"id\":\"33333333-3333-4333-8333-333333333333\"}",
    "{\"username\":\"root\",\"password\":\"p\",\"role\":\"operator\",\"expires\":\"2027-01-01T00:00:00Z\"}",
    "{\"state\":\"running\",\"steps\":[{\"name\":\"a\",\"data\":{\"x\":[1,2.5,null,true,\"\\u00e4\"]}}]}",
    "{\"code\":\"io\",\"detail\":\"d\",\"field\":\"/a\",\"cause\":{\"code\":\"x\",\"detail\":\"y\"}}",
    "[1,-9223372036854775808,9007199254740993,1e308,\"\\ud83d\\ude00\"]",
    NULL,
};

static void decode(const TypeDescriptor *type, const json_t *json, ModelMode mode) {
    g_auto(Error) err = {0}, again_err = {0};
    void *object = g_malloc0(type->size), *again = g_malloc0(type->size);
    if (model_decode(type, json, mode, object, &err)) {
        g_autoptr(json_t) encoded = model_encode(type, object, MODEL_ENCODE_ALL);
        g_autofree char *text = json_to_text(encoded);
        g_autoptr(json_t) parsed = json_parse(text, strlen(text), &again_err);
        g_assert_cmpstr(again_err.message, ==, NULL);
        g_assert_true(model_decode(type, parsed, MODEL_STORED, again, &again_err));
        g_assert_true(model_equal(type, object, again));
        model_apply_defaults(type, again);
        g_strfreev(model_diff(type, object, again));
        json_decref(model_encode(type, again, MODEL_ENCODE_PUBLIC));
    } else {
        g_assert_true(error_is_set(&err));
        g_autoptr(json_t) problem = error_to_json(&err);
        g_free(json_to_text(problem));
    }
    model_free(type, object);
    model_free(type, again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    g_auto(Error) err = {0}, read = {0};
    g_autoptr(json_t) json = json_parse((const char *)data, MIN(size, MAX_SIZE), &err);
    if (!json) {
        g_assert_cmpint(err.code, ==, ERROR_MALFORMED);
        return 0;
    }
    for (size_t i = 0; model_types[i]; i++)
        for (ModelMode mode = MODEL_INPUT; mode <= MODEL_STORED; mode++)
            decode(model_types[i], json, mode);
    g_autoptr(json_t) merged = json_merge_patch(json, json_at(json, "disks.0"));
    g_autoptr(json_t) patched = json_merge_patch(merged, json);
    model_drop_secrets(patched);
    g_free(json_to_pretty_text(patched));
    json_is_problem(json);
    error_from_json(json, &read);
    g_assert_true(error_is_set(&read) && read.message);
    return 0;
}
