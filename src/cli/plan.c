/* A plan in words. */
#include <string.h>
#include "cli/output.h"
#include "cli/plan.h"
#include "cli/value.h"

typedef struct Plan {
    Session *session;
    const MethodDescriptor *method;
    const json_t *plan;
    int width;
    GString *out;
    GHashTable *names; /* by "vm/ID" */
} Plan;

/* "web-1" for "vm/ID": asked once; the id when it cannot be asked. */
static const char *name_of(const Plan *plan, const char *object) {
    const char *known = g_hash_table_lookup(plan->names, object), *slash = strchr(object, '/');
    if (known)
        return known;
    g_autofree char *noun = slash ? g_strndup(object, (size_t)(slash - object)) : NULL;
    ResourceId resource = noun ? resource_find(noun) : RESOURCE_MAX;
    g_autoptr(json_t) answer = NULL;
    if (resource < RESOURCE_MAX) {
        g_autofree char *template = g_strdup_printf("/v1/%s/{id}", resources[resource].plural);
        g_autofree char *path = session_path(template, slash + 1);
        session_get(plan->session, path, &answer, NULL);
    }
    const char *name = json_text_at(answer, "name");
    char *kept = g_strdup(name ? name : slash ? slash + 1 : object);
    g_hash_table_insert(plan->names, g_strdup(object), kept);
    return kept;
}

static const char *name_of_reference(const Plan *plan, const FieldDescriptor *field, const char *id) {
    g_autofree char *object = g_strconcat(field->reference, "/", id, NULL);
    return name_of(plan, object);
}

/* "vm web-1" */
static char *object_text(const Plan *plan, const char *object) {
    return g_strdup_printf("%.*s %s", (int)strcspn(object, "/"), object, name_of(plan, object));
}

/* 1. What was asked for, with sizes as people write them and names instead of ids. */
static void append_asked(const Plan *plan) {
    const json_t *asked = json_object_get(plan->plan, "parameters");
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)asked, name, value) {
        const FieldDescriptor *field = model_field(plan->method->parameters, name);
        if (!field || g_str_equal(name, "name") || json_is_object(value) ||
            json_is_object(json_array_get(value, 0)))
            continue;
        bool is_reference = field->reference && json_is_string(value);
        g_autofree char *text = is_reference
                                    ? g_strdup(name_of_reference(plan, field, json_string_value(value)))
                                    : value_to_text(field, value);
        g_string_append_printf(plan->out, "  %s: %s\n", name, text);
    }
}

/* 2. The steps. */
static void append_steps(const Plan *plan) {
    const json_t *steps = json_object_get(plan->plan, "steps");
    size_t i;
    json_t *step;
    if (json_array_size(steps) > 0)
        g_string_append(plan->out, "Steps:\n");
    json_array_foreach ((json_t *)steps, i, step) {
        const char *text = json_text_at(step, "description"), *name = json_text_at(step, "name");
        g_string_append_printf(plan->out, "  %zu. %s\n", i + 1, text ? text : name ? name : "?");
    }
}

/* The lists of a resource show names that only the server's answers have. */
static void add_names(const Plan *plan, const TypeDescriptor *type, json_t *object) {
    for (size_t i = 0; i < type->n_fields; i++) {
        const FieldDescriptor *field = &type->fields[i];
        const char *id = field->reference && !field->is_list ? json_text_at(object, field->name) : NULL;
        g_autofree char *beside = g_strconcat(field->name, "_name", NULL);
        if (id && model_field(type, beside))
            json_object_set_new(object, beside, json_string(name_of_reference(plan, field, id)));
    }
}

/* 3. New objects: a table with what is known of them already. */
static void append_made(const Plan *plan) {
    const ResourceDescriptor *resource = &resources[plan->method->resource];
    g_autofree char *path = g_strconcat("data.", resource->plural, NULL);
    g_autoptr(json_t) made = json_deep_copy(json_at(plan->plan, path));
    size_t i;
    json_t *object;
    if (json_array_size(made) == 0)
        return;
    json_array_foreach (made, i, object)
        add_names(plan, resource->type, object);
    CliOptions options = {0};
    if (plan->method->resource == RESOURCE_VM)
        options.values[CLI_OPTION_COLUMNS] = "name,vcpus,memory,mac,template,repository,host";
    g_string_append(plan->out, "Would be made:\n");
    output_list_text(&options, plan->method->resource, made, plan->width, plan->out, NULL);
}

static const char *told(const json_t *object, const char *key) {
    const char *text = json_text_at(object, key);
    return text ? text : "?";
}

static void append_refusals(const Plan *plan, const json_t *placed) {
    const json_t *refused = json_object_get(placed, "refused"),
                 *more = json_object_get(placed, "refused_more");
    size_t i;
    json_t *one;
    json_array_foreach ((json_t *)refused, i, one)
        g_string_append_printf(plan->out, "    not on %s: %s\n", told(one, "host"), told(one, "reason"));
    if (more)
        g_string_append_printf(
            plan->out, "    nor on %" JSON_INTEGER_FORMAT " more\n", json_integer_value(more));
}

/* 4. Where new VMs go and why; what stands against other hosts only where that is not as for the one before.
 */
static void append_placement(const Plan *plan) {
    const json_t *placement = json_at(plan->plan, "data.placement"), *before = NULL;
    size_t i;
    json_t *placed;
    if (json_array_size(placement) > 0)
        g_string_append(plan->out, "Would be placed:\n");
    json_array_foreach ((json_t *)placement, i, placed) {
        const json_t *refused = json_object_get(placed, "refused");
        g_string_append_printf(
            plan->out, "  %s on %s: %s\n", told(placed, "vm"), told(placed, "host"), told(placed, "reason"));
        if (!json_equal(refused, before))
            append_refusals(plan, placed);
        before = refused;
    }
}

/* Hosts that could be switched off. */
static void append_emptied(const Plan *plan) {
    const json_t *hosts = json_at(plan->plan, "data.hosts");
    size_t i;
    json_t *one;
    if (!hosts)
        return;
    g_string_append(
        plan->out, json_array_size(hosts) > 0 ? "Would be emptied:\n" : "No host can be emptied.\n");
    json_array_foreach ((json_t *)hosts, i, one)
        g_string_append_printf(plan->out, "  %s: %s\n", told(one, "host"), told(one, "reason"));
}

/* 5. Running VMs that go to other hosts, and those that cannot. */
static void append_moves(const Plan *plan) {
    const json_t *moves = json_at(plan->plan, "data.moves"), *stay = json_at(plan->plan, "data.stay");
    size_t i;
    json_t *one;
    if (!moves)
        return;
    g_string_append(
        plan->out, json_array_size(moves) > 0 ? "Would be moved:\n" : "Nothing would be moved.\n");
    json_array_foreach ((json_t *)moves, i, one)
        g_string_append_printf(plan->out, "  %s from %s to %s: %s\n", told(one, "vm"), told(one, "from"),
            told(one, "to"), told(one, "reason"));
    if (json_array_size(stay) > 0)
        g_string_append(plan->out, "Would stay:\n");
    json_array_foreach ((json_t *)stay, i, one)
        g_string_append_printf(plan->out, "  %s: %s\n", told(one, "vm"), told(one, "reason"));
}

/* 6. What the host does with a VM. */
static void append_mode(const Plan *plan) {
    const char *mode = json_text_at(plan->plan, "data.mode");
    if (mode)
        g_string_append_printf(plan->out, "Would run in the mode %s.\n", mode);
}

/* 7. What a VM that runs feels of being copied. */
static void append_hold(const Plan *plan, const char *name) {
    const char *held_for = json_text_at(plan->plan, "data.held_for");
    const json_t *bytes = json_at(plan->plan, "data.held_bytes");
    if (!held_for)
        return;
    g_autofree char *size = value_size_text((uint64_t)json_integer_value(bytes));
    if (bytes)
        g_string_append_printf(
            plan->out, "%s would stand still until its disks are copied, up to %s.\n", name, size);
    else
        g_string_append_printf(plan->out, "%s would stand still for a moment.\n", name);
}

/* 8. Lists of an object, as they would be, where that is not as they are. */
static void append_changed(const Plan *plan) {
    const ResourceDescriptor *resource = &resources[plan->method->resource];
    json_t *planned = json_object_get(json_object_get(plan->plan, "data"), "planned");
    const char *target = json_text_at(plan->plan, "target"), *name;
    g_autofree char *template = g_strdup_printf("/v1/%s/{id}", resource->plural);
    const char *slash = target ? strchr(target, '/') : NULL;
    g_autofree char *path = session_path(template, slash ? slash + 1 : target ? target : "");
    g_autoptr(json_t) current = NULL, changed = json_object();
    json_t *value;
    if (!json_is_object(planned) || !target || !session_get(plan->session, path, &current, NULL))
        return;
    json_object_foreach (planned, name, value)
        if (!json_equal(value, json_object_get(current, name)))
            json_object_set(changed, name, value);
    output_fields_text(resource->type, changed, plan->out);
}

/* 9. What would be otherwise, or stays behind. */
static void append_warnings(const Plan *plan) {
    const json_t *warnings = json_at(plan->plan, "data.warnings");
    size_t i;
    json_t *one;
    if (json_array_size(warnings) > 0)
        g_string_append(plan->out, "Mind:\n");
    json_array_foreach ((json_t *)warnings, i, one)
        g_string_append_printf(plan->out, "  %s\n", json_string_value(one));
}

static bool is_conflict(const json_t *claim, const json_t *held) {
    bool is_shared =
        json_is_true(json_object_get(claim, "shared")) && json_is_true(json_object_get(held, "shared"));
    return !is_shared && json_equal(json_object_get(claim, "object"), json_object_get(held, "object"));
}

static void append_waits(const Plan *plan, const json_t *claim, const char *object, const json_t *jobs) {
    size_t i, j;
    json_t *job, *held;
    json_array_foreach ((json_t *)jobs, i, job)
        json_array_foreach (json_object_get(job, "claims"), j, held) {
            const char *id = json_text_at(job, "short_id"), *kind = json_text_at(job, "kind");
            if (is_conflict(claim, held))
                g_string_append_printf(plan->out, "Would wait for job %s (%s), which has %s.\n",
                    id ? id : "?", kind ? kind : "?", object);
        }
}

/* 10. What the job would hold, and the jobs that have it now. */
static void append_claims(const Plan *plan) {
    static const char open_jobs[] =
        "/v1/jobs?filter=state!%3Dsucceeded,state!%3Dfailed,state!%3Dcancelled,state!%3Dlost";
    const json_t *claims = json_object_get(plan->plan, "claims");
    g_autoptr(json_t) jobs = NULL;
    size_t i;
    json_t *claim;
    if (json_array_size(claims) > 0)
        session_list(plan->session, open_jobs, 0, &jobs, NULL);
    json_array_foreach ((json_t *)claims, i, claim) {
        const char *object = json_text_at(claim, "object");
        if (json_object_get(claim, "limit")) /* a turn: no object that anybody knows */
            continue;
        g_autofree char *text = object_text(plan, object ? object : "?");
        bool is_shared = json_is_true(json_object_get(claim, "shared"));
        g_string_append_printf(
            plan->out, "Would hold %s%s.\n", text, is_shared ? ", together with others" : "");
        append_waits(plan, claim, text, jobs);
    }
}

void plan_text(
    Session *session, const MethodDescriptor *method, const json_t *answer, int width, GString *out) {
    g_autoptr(GHashTable) names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    const Plan plan = {
        .session = session, .method = method, .plan = answer, .width = width, .out = out, .names = names};
    const char *target = json_text_at(answer, "target"), *name = json_text_at(answer, "target_name");
    bool is_id = target && strchr(target, '/');
    if (!name)
        name = is_id ? name_of(&plan, target) : target ? target : "";
    g_string_append_printf(out, "%s %s\n", method->verb, name);
    append_asked(&plan);
    append_steps(&plan);
    append_made(&plan);
    append_placement(&plan);
    append_emptied(&plan);
    append_moves(&plan);
    append_mode(&plan);
    append_hold(&plan, name);
    append_changed(&plan);
    append_warnings(&plan);
    append_claims(&plan);
    g_string_append(out, "Nothing was done.\n");
}
