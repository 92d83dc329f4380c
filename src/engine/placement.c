/*
 * What a batch has in common is worked out once (placement_new): a look at a candidate costs the same however
 * many VMs and tags there are.
 */
#include "engine/placement.h"
#include <glib.h>
#include <math.h>
#include <string.h>

/* The parts of a score. */
typedef enum Part { PART_MEMORY, PART_CPUS, PART_BATCH, PART_ROOM, PART_MAX } Part;

/* Points: for all memory of the largest host, for one vCPU on each CPU, for a VM of the same batch, for all
 * room of the emptiest repository. A VM of the batch weighs as much as a twentieth of the largest host: small
 * VMs spread evenly, large hosts still take more. */
static const double weights[PART_MAX] = {
    [PART_MEMORY] = 1000, [PART_CPUS] = -100, [PART_BATCH] = -50, [PART_ROOM] = 20};

typedef struct HostState {
    uint64_t promised_bytes, assigned_bytes;
    int64_t vcpus;
    int64_t n_batch;          /* VMs of this batch */
    const char *network;      /* that it lacks */
    const char *network_lack; /* why; NULL: it is none of the hosts' */
    const char *repels;       /* a tag that keeps the VM away */
    bool is_repelled_by_host; /* a VM there keeps away from that tag of the new one */
    bool is_beside;           /* has a VM with a tag of `affinity` */
} HostState;

struct Placement {
    const PlacementWorld *world;
    const PlacementRequest *request;
    HostState *hosts;
    uint64_t *taken_bytes; /* of each repository, by this batch */
    PlacementCandidate *candidates;
    size_t n_candidates, n_fits;
    const PlacementCandidate *chosen;
    uint64_t most_memory, most_room; /* of any candidate: what counts as all */
    size_t first_repository;         /* of the batch */
    bool has_affine;                 /* some host has a VM with a tag of `affinity` */
};

const char *placement_common(PlacementNames one, PlacementNames other) {
    for (size_t i = 0; i < one.n; i++)
        for (size_t k = 0; k < other.n; k++)
            if (strcmp(one.items[i], other.items[k]) == 0)
                return one.items[i];
    return NULL;
}

static bool has_name(PlacementNames names, const char *name) {
    return placement_common((PlacementNames){&name, 1}, names) != NULL;
}

/* ---- once for a batch ---- */

static void add_vm(Placement *self, size_t host, PlacementNames tags, PlacementNames anti_affinity) {
    const PlacementRequest *request = self->request;
    HostState *state = &self->hosts[host];
    if (placement_common(tags, request->affinity))
        state->is_beside = self->has_affine = true;
    if (state->repels)
        return;
    state->repels = placement_common(request->anti_affinity, tags);
    if (state->repels)
        return;
    state->repels = placement_common(request->tags, anti_affinity);
    state->is_repelled_by_host = state->repels != NULL;
}

static const char *missing_network(const Placement *self, const PlacementHost *host) {
    PlacementNames wanted = self->request->networks;
    for (size_t i = 0; i < wanted.n; i++)
        if (!has_name(host->networks, wanted.items[i]))
            return wanted.items[i];
    return NULL;
}

static void add_host(Placement *self, size_t index) {
    const PlacementHost *host = &self->world->hosts[index];
    self->hosts[index] = (HostState){.promised_bytes = host->promised_bytes,
        .assigned_bytes = host->assigned_bytes,
        .vcpus = host->vcpus_assigned,
        .network = missing_network(self, host)};
    if (host->is_candidate)
        self->most_memory = MAX(self->most_memory, host->memory_bytes);
}

static void add_lack(Placement *self, const PlacementLack *lack) {
    HostState *state = &self->hosts[lack->host];
    if (state->network || !has_name(self->request->networks, lack->network))
        return;
    state->network = lack->network;
    state->network_lack = lack->reason;
}

static void add_candidate(GArray *candidates, size_t host, size_t repository) {
    PlacementCandidate candidate = {.host = host, .repository = repository};
    g_array_append_val(candidates, candidate);
}

static bool has_repository(const PlacementRepository *repository, size_t host) {
    return repository->is_candidate && (repository->host == PLACEMENT_NONE || repository->host == host);
}

static void add_candidates(Placement *self, GArray *candidates, size_t host) {
    const PlacementWorld *world = self->world;
    guint before = candidates->len;
    for (size_t i = 0; i < world->n_repositories; i++)
        if (has_repository(&world->repositories[i], host))
            add_candidate(candidates, host, i);
    if (candidates->len == before)
        add_candidate(candidates, host, PLACEMENT_NONE);
}

Placement *placement_new(const PlacementWorld *world, const PlacementRequest *request) {
    Placement *self = g_new0(Placement, 1);
    GArray *candidates = g_array_new(FALSE, FALSE, sizeof(PlacementCandidate));
    *self = (Placement){.world = world, .request = request, .first_repository = PLACEMENT_NONE};
    self->hosts = g_new0(HostState, world->n_hosts);
    self->taken_bytes = g_new0(uint64_t, world->n_repositories);
    for (size_t i = 0; i < world->n_hosts; i++) {
        add_host(self, i);
        if (world->hosts[i].is_candidate)
            add_candidates(self, candidates, i);
    }
    for (size_t i = 0; i < world->n_lacks; i++)
        add_lack(self, &world->lacks[i]);
    for (size_t i = 0; i < world->n_repositories; i++) {
        const PlacementRepository *repository = &world->repositories[i];
        if (repository->is_candidate && repository->free_bytes != PLACEMENT_UNKNOWN_BYTES)
            self->most_room = MAX(self->most_room, repository->free_bytes);
    }
    for (size_t i = 0; i < world->n_vms; i++)
        add_vm(self, world->vms[i].host, world->vms[i].tags, world->vms[i].anti_affinity);
    self->n_candidates = candidates->len;
    self->candidates = (PlacementCandidate *)(void *)g_array_free(candidates, FALSE);
    return self;
}

void placement_free(Placement *self) {
    if (!self)
        return;
    g_free(self->hosts);
    g_free(self->taken_bytes);
    g_free(self->candidates);
    g_free(self);
}

/* ---- filters ---- */

static uint64_t less(uint64_t from, uint64_t one, uint64_t other) {
    uint64_t left = from > one ? from - one : 0;
    return left > other ? left - other : 0;
}

/* What a VM that starts could get. */
static uint64_t free_memory(const Placement *self, size_t host) {
    const PlacementHost *own = &self->world->hosts[host];
    return less(own->memory_bytes, own->reserve_bytes, self->hosts[host].promised_bytes);
}

static uint64_t room(const Placement *self, size_t repository) {
    uint64_t free_bytes = self->world->repositories[repository].free_bytes;
    return free_bytes == PLACEMENT_UNKNOWN_BYTES ? free_bytes
                                                 : less(free_bytes, self->taken_bytes[repository], 0);
}

static bool is_full(const Placement *self, size_t host) {
    return self->request->starts && self->world->hosts[host].memory_bytes > 0 &&
           free_memory(self, host) < self->request->memory_bytes;
}

static PlacementVerdict judge_host(const Placement *self, size_t index) {
    const PlacementHost *host = &self->world->hosts[index];
    const HostState *state = &self->hosts[index];
    if (state->network)
        return PLACEMENT_NO_NETWORK;
    if (host->vcpus_limit > 0 && self->request->vcpus_maximum > host->vcpus_limit)
        return PLACEMENT_FEW_CPUS;
    if (host->cannot)
        return PLACEMENT_CANNOT;
    if (self->has_affine && !state->is_beside)
        return PLACEMENT_NOT_BESIDE;
    if (state->repels)
        return PLACEMENT_BESIDE;
    return is_full(self, index) ? PLACEMENT_FULL : PLACEMENT_FITS;
}

static const char *unready_text(const Placement *self, const PlacementCandidate *candidate) {
    const PlacementRepository *repository = &self->world->repositories[candidate->repository];
    return repository->unready_on ? repository->unready_on[candidate->host] : repository->unready;
}

static PlacementVerdict judge(const Placement *self, const PlacementCandidate *candidate) {
    const PlacementHost *host = &self->world->hosts[candidate->host];
    bool is_bound = self->request->stays_together && self->first_repository != PLACEMENT_NONE;
    if (is_bound && candidate->repository != self->first_repository)
        return PLACEMENT_APART;
    if (host->away)
        return PLACEMENT_AWAY;
    if (host->is_in_maintenance)
        return PLACEMENT_IN_MAINTENANCE;
    if (candidate->repository == PLACEMENT_NONE)
        return PLACEMENT_NO_REPOSITORY;
    const PlacementRepository *repository = &self->world->repositories[candidate->repository];
    if (unready_text(self, candidate))
        return PLACEMENT_UNREADY;
    if (repository->lacks)
        return PLACEMENT_LACKS;
    PlacementVerdict verdict = judge_host(self, candidate->host);
    if (verdict == PLACEMENT_FITS && room(self, candidate->repository) < self->request->disk_bytes)
        return PLACEMENT_NO_ROOM;
    return verdict;
}

/* ---- scores ---- */

/* Once all its VMs run, this one too; less than nothing when that cannot be. */
static double memory_after(const Placement *self, size_t host) {
    const PlacementHost *own = &self->world->hosts[host];
    return (double)own->memory_bytes - (double)own->reserve_bytes - (double)self->hosts[host].assigned_bytes -
           (double)self->request->memory_bytes;
}

static double load_after(const Placement *self, size_t host) {
    int64_t cpus = self->world->hosts[host].cpus;
    return cpus > 0 ? (double)(self->hosts[host].vcpus + self->request->vcpus) / (double)cpus : 0;
}

static double amount(const Placement *self, const PlacementCandidate *candidate, Part part) {
    switch (part) {
    case PART_MEMORY:
        return self->most_memory && self->world->hosts[candidate->host].memory_bytes
                   ? memory_after(self, candidate->host) / (double)self->most_memory
                   : 0;
    case PART_CPUS:
        return load_after(self, candidate->host);
    case PART_BATCH:
        return (double)self->hosts[candidate->host].n_batch;
    case PART_ROOM:
        return self->most_room && room(self, candidate->repository) != PLACEMENT_UNKNOWN_BYTES
                   ? (double)room(self, candidate->repository) / (double)self->most_room
                   : 0;
    default:
        g_assert_not_reached();
    }
}

/* Whole points: what differs by less counts as alike. */
static int64_t points(const Placement *self, const PlacementCandidate *candidate, Part part) {
    return llround(weights[part] * amount(self, candidate, part));
}

static int64_t score(const Placement *self, const PlacementCandidate *candidate) {
    int64_t sum = 0;
    for (Part part = 0; part < PART_MAX; part++)
        sum += points(self, candidate, part);
    return sum;
}

static int by_name(const Placement *self, const PlacementCandidate *one, const PlacementCandidate *other) {
    const PlacementWorld *world = self->world;
    int order = strcmp(world->hosts[one->host].name, world->hosts[other->host].name);
    if (order != 0 || one->repository == PLACEMENT_NONE || other->repository == PLACEMENT_NONE)
        return order;
    return strcmp(world->repositories[one->repository].name, world->repositories[other->repository].name);
}

static bool is_better(const Placement *self, const PlacementCandidate *one, const PlacementCandidate *other) {
    if (!other || one->score != other->score)
        return !other || one->score > other->score;
    return by_name(self, one, other) < 0;
}

const PlacementCandidate *placement_look(Placement *self) {
    self->chosen = NULL;
    self->n_fits = 0;
    for (size_t i = 0; i < self->n_candidates; i++) {
        PlacementCandidate *candidate = &self->candidates[i];
        candidate->verdict = judge(self, candidate);
        if (candidate->verdict != PLACEMENT_FITS)
            continue;
        self->n_fits++;
        candidate->score = score(self, candidate);
        if (is_better(self, candidate, self->chosen))
            self->chosen = candidate;
    }
    return self->chosen;
}

void placement_take(Placement *self, const PlacementCandidate *candidate) {
    const PlacementRequest *request = self->request;
    HostState *host = &self->hosts[candidate->host];
    host->promised_bytes += request->starts ? request->memory_bytes : 0;
    host->assigned_bytes += request->memory_bytes;
    host->vcpus += request->vcpus;
    host->n_batch++;
    self->taken_bytes[candidate->repository] += request->disk_bytes;
    if (self->first_repository == PLACEMENT_NONE)
        self->first_repository = candidate->repository;
    add_vm(self, candidate->host, request->tags, request->anti_affinity);
}

const PlacementCandidate *placement_candidates(const Placement *self, size_t *ret_n) {
    *ret_n = self->n_candidates;
    return self->candidates;
}

static bool is_closer(const Placement *self, const PlacementCandidate *one, const PlacementCandidate *other) {
    if (!other || one->verdict != other->verdict)
        return !other || one->verdict > other->verdict;
    uint64_t own = free_memory(self, one->host), others = free_memory(self, other->host);
    return own != others ? own > others : by_name(self, one, other) < 0;
}

const PlacementCandidate *placement_closest(const Placement *self) {
    const PlacementCandidate *closest = NULL;
    for (size_t i = 0; i < self->n_candidates; i++)
        if (is_closer(self, &self->candidates[i], closest))
            closest = &self->candidates[i];
    return closest;
}

/* ---- words: why this one ---- */

static char *bytes_text(double bytes) {
    return g_format_size_full(bytes > 0 ? (guint64)bytes : 0, G_FORMAT_SIZE_IEC_UNITS);
}

/* " (61.0 GiB of 64.0 GiB of memory free after it)", or nothing when it is not known. */
static char *memory_text(const Placement *self, size_t host, const char *what) {
    uint64_t all = self->world->hosts[host].memory_bytes;
    g_autofree char *left = bytes_text(memory_after(self, host)), *of = bytes_text((double)all);
    return all ? g_strdup_printf(" (%s of %s%s after it)", left, of, what) : g_strdup("");
}

/* Whether no other one that fits has more points for it. */
static bool leads_all(const Placement *self, Part part) {
    int64_t own = points(self, self->chosen, part);
    for (size_t i = 0; i < self->n_candidates; i++)
        if (self->candidates[i].verdict == PLACEMENT_FITS && points(self, &self->candidates[i], part) > own)
            return false;
    return true;
}

static const PlacementCandidate *runner_up(const Placement *self) {
    const PlacementCandidate *second = NULL;
    for (size_t i = 0; i < self->n_candidates; i++) {
        const PlacementCandidate *candidate = &self->candidates[i];
        if (candidate->verdict == PLACEMENT_FITS && candidate != self->chosen &&
            is_better(self, candidate, second))
            second = candidate;
    }
    return second;
}

/* Where it is furthest ahead of the second; PART_MAX when nowhere. */
static Part deciding_part(const Placement *self, const PlacementCandidate *second) {
    Part best = PART_MAX;
    int64_t most = 0;
    for (Part part = 0; part < PART_MAX; part++) {
        int64_t lead = points(self, self->chosen, part) - points(self, second, part);
        if (lead > most) {
            most = lead;
            best = part;
        }
    }
    return best;
}

static char *part_text(const Placement *self, Part part) {
    size_t host = self->chosen->host;
    g_autofree char *memory = memory_text(self, host, "");
    g_autofree char *free_room = NULL;
    switch (part) {
    case PART_MEMORY:
        return g_strdup_printf("most free memory%s", memory);
    case PART_CPUS:
        return g_strdup_printf("fewest vCPUs for each CPU (%.1f after it)", load_after(self, host));
    case PART_BATCH:
        return g_strdup_printf(
            "fewest VMs of this batch (%" G_GINT64_FORMAT " after it)", self->hosts[host].n_batch + 1);
    case PART_ROOM:
        free_room = bytes_text((double)room(self, self->chosen->repository));
        return g_strdup_printf("most room in its repository (%s)", free_room);
    default:
        g_assert_not_reached();
    }
}

static char *choice_text(const Placement *self) {
    const PlacementCandidate *second = runner_up(self);
    g_autofree char *memory = memory_text(self, self->chosen->host, " of memory free");
    if (!second)
        return g_strdup_printf(
            "%s%s", self->n_candidates == 1 ? "no other choice" : "the only one that can take it", memory);
    Part part = deciding_part(self, second);
    if (self->chosen->score == second->score)
        return g_strdup_printf("the first of those alike%s", memory);
    if (part == PART_MAX || !leads_all(self, part))
        return g_strdup_printf("best of memory, vCPUs, spread and room together%s", memory);
    return part_text(self, part);
}

/* ---- words: why not ---- */

static char *tags_text(PlacementNames tags) {
    g_autoptr(GString) text = g_string_new(tags.n == 1 ? "the tag " : "one of the tags ");
    for (size_t i = 0; i < tags.n; i++)
        g_string_append_printf(text, "%s%s", i ? ", " : "", tags.items[i]);
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static char *amounts_text(const char *where, uint64_t left, const char *of, uint64_t needed) {
    g_autofree char *has = bytes_text((double)left), *wants = bytes_text((double)needed);
    return g_strdup_printf("%shas %s%s left, %s needed", where, has, of, wants);
}

static char *repels_text(const HostState *state) {
    return g_strdup_printf(
        state->is_repelled_by_host ? "has a VM that keeps away from the tag %s" : "has a VM with the tag %s",
        state->repels);
}

static char *repository_text(const Placement *self, const PlacementCandidate *candidate) {
    const PlacementRepository *repository = &self->world->repositories[candidate->repository];
    g_autofree char *where = g_strdup_printf("the repository %s ", repository->name);
    if (candidate->verdict == PLACEMENT_NO_ROOM)
        return amounts_text(where, room(self, candidate->repository), "", self->request->disk_bytes);
    return g_strconcat(where,
        candidate->verdict == PLACEMENT_UNREADY ? unready_text(self, candidate) : repository->lacks, NULL);
}

static char *refusal_text(const Placement *self, const PlacementCandidate *candidate) {
    const PlacementHost *host = &self->world->hosts[candidate->host];
    const HostState *state = &self->hosts[candidate->host];
    g_autofree char *tags = tags_text(self->request->affinity);
    switch (candidate->verdict) {
    case PLACEMENT_APART:
        return g_strdup_printf("the first VM of this batch lies in the repository %s, and the others with it",
            self->world->repositories[self->first_repository].name);
    case PLACEMENT_AWAY:
        return g_strdup(host->away);
    case PLACEMENT_IN_MAINTENANCE:
        return g_strdup("is in maintenance");
    case PLACEMENT_NO_REPOSITORY:
        return g_strdup("has no repository");
    case PLACEMENT_NO_NETWORK:
        return g_strdup_printf("lacks the network %s%s%s", state->network, state->network_lack ? ": " : "",
            state->network_lack ? state->network_lack : "");
    case PLACEMENT_FEW_CPUS:
        return g_strdup_printf("one VM can have %" G_GINT64_FORMAT " vCPUs there, not %" G_GINT64_FORMAT,
            host->vcpus_limit, self->request->vcpus_maximum);
    case PLACEMENT_CANNOT:
        return g_strdup(host->cannot);
    case PLACEMENT_NOT_BESIDE:
        return g_strdup_printf("has no VM with %s", tags);
    case PLACEMENT_BESIDE:
        return repels_text(state);
    case PLACEMENT_FULL:
        return amounts_text(
            "", free_memory(self, candidate->host), " of memory", self->request->memory_bytes);
    default:
        return repository_text(self, candidate);
    }
}

char *placement_reason(const Placement *self, const PlacementCandidate *candidate) {
    if (candidate->verdict != PLACEMENT_FITS)
        return refusal_text(self, candidate);
    return candidate == self->chosen ? choice_text(self) : NULL;
}

/* Of each host the candidate that got furthest. */
static const PlacementCandidate **closest_of_hosts(const Placement *self) {
    const PlacementCandidate **closest = g_new0(const PlacementCandidate *, self->world->n_hosts);
    for (size_t i = 0; i < self->n_candidates; i++) {
        const PlacementCandidate *candidate = &self->candidates[i];
        if (is_closer(self, candidate, closest[candidate->host]))
            closest[candidate->host] = candidate;
    }
    return closest;
}

static int compare_names(const void *one, const void *other, void *self) {
    return by_name(self, *(const PlacementCandidate *const *)one, *(const PlacementCandidate *const *)other);
}

size_t placement_refused(const Placement *self, const PlacementCandidate **ret_refused, size_t most) {
    g_autofree const PlacementCandidate **closest = closest_of_hosts(self);
    g_autoptr(GPtrArray) refused = g_ptr_array_new();
    for (size_t i = 0; i < self->world->n_hosts; i++)
        if (closest[i] && closest[i]->verdict != PLACEMENT_FITS)
            g_ptr_array_add(refused, (void *)(uintptr_t)closest[i]);
    g_ptr_array_sort_with_data(refused, compare_names, (void *)(uintptr_t)self);
    for (size_t i = 0; i < MIN(refused->len, most); i++)
        ret_refused[i] = refused->pdata[i];
    return refused->len;
}

char *placement_refusals(const Placement *self, size_t most) {
    g_autofree const PlacementCandidate **refused = g_new0(const PlacementCandidate *, most);
    g_autoptr(GString) text = g_string_new(NULL);
    size_t n = placement_refused(self, refused, most);
    for (size_t i = 0; i < MIN(n, most); i++) {
        g_autofree char *reason = placement_reason(self, refused[i]);
        g_string_append_printf(
            text, "%s%s: %s", i ? "; " : "", self->world->hosts[refused[i]->host].name, reason);
    }
    if (n > most)
        g_string_append_printf(text, "; and %zu more", n - most);
    return g_string_free(g_steal_pointer(&text), FALSE);
}
