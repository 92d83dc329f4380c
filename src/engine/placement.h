/*
 * Where new VMs go. Pure: no I/O, no clock; the same world and request give the same answer. Any thread.
 *
 * A candidate is a host with a repository that its VMs can lie in. Filters leave out those that cannot take
 * the VM, scores order the others, names decide between equals. The VMs of a batch ask for the same; they are
 * placed one after the other, each beside those before it. Words are made when somebody asks for them: of a
 * thousand hosts few are read about.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PLACEMENT_NONE SIZE_MAX            /* an index: none */
#define PLACEMENT_UNKNOWN_BYTES UINT64_MAX /* an amount that nobody has told */

typedef struct PlacementNames {
    const char *const *items;
    size_t n;
} PlacementNames;

typedef struct PlacementHost {
    const char *name;
    bool is_candidate;  /* false: only its VMs count, for affinity */
    const char *away;   /* why it cannot be asked ("is unreachable"); NULL: it can */
    const char *cannot; /* why such a VM cannot run there ("the mode pvh has no …"); NULL: it can */
    bool is_in_maintenance;
    uint64_t memory_bytes;   /* 0: not known */
    uint64_t reserve_bytes;  /* kept for the host itself */
    uint64_t promised_bytes; /* to VMs that run: what it cannot give again */
    uint64_t assigned_bytes; /* to all VMs whose host it is, whether they run or not */
    int64_t cpus;            /* 0: not known */
    int64_t vcpus_assigned;  /* likewise to all its VMs */
    int64_t vcpus_limit;     /* that one VM can have; 0: not known */
    PlacementNames networks; /* that it has or makes when a VM starts */
} PlacementHost;

typedef struct PlacementRepository {
    const char *name;
    bool is_candidate;
    size_t host;         /* index of the one that has it; PLACEMENT_NONE: all have it */
    const char *unready; /* why it cannot be used ("is failed"); NULL: it can */
    /* Of one that all have: the same for each host, by index; NULL: `unready` holds for all. */
    const char *const *unready_on;
    const char *lacks;   /* what such a VM misses there ("lacks the ISO netinst"); NULL: nothing */
    uint64_t free_bytes; /* PLACEMENT_UNKNOWN_BYTES when not known */
} PlacementRepository;

typedef struct PlacementVm {
    size_t host;
    PlacementNames tags, anti_affinity;
} PlacementVm;

/* A network that a host should have and lacks, though it is among its `networks`. */
typedef struct PlacementLack {
    size_t host;
    const char *network, *reason; /* reason NULL: not known */
} PlacementLack;

typedef struct PlacementWorld {
    const PlacementHost *hosts;
    size_t n_hosts;
    const PlacementRepository *repositories;
    size_t n_repositories;
    const PlacementVm *vms;
    size_t n_vms;
    const PlacementLack *lacks;
    size_t n_lacks;
} PlacementWorld;

/* Of each VM of the batch. */
typedef struct PlacementRequest {
    bool starts;         /* at once: its memory must be there */
    bool stays_together; /* all in the repository of the first */
    uint64_t memory_bytes;
    int64_t vcpus;         /* at its start */
    int64_t vcpus_maximum; /* at least `vcpus` */
    uint64_t disk_bytes;   /* that are written at once */
    PlacementNames networks, tags;
    PlacementNames affinity;      /* tags: only beside VMs with one of them, when there are any */
    PlacementNames anti_affinity; /* tags: never beside a VM with one of them */
} PlacementRequest;

/* In the order in which they are looked at: a later one was closer to taking the VM. */
typedef enum PlacementVerdict {
    PLACEMENT_APART, /* the first of the batch lies in another repository */
    PLACEMENT_AWAY,
    PLACEMENT_IN_MAINTENANCE,
    PLACEMENT_NO_REPOSITORY,
    PLACEMENT_UNREADY,
    PLACEMENT_LACKS,
    PLACEMENT_NO_NETWORK,
    PLACEMENT_FEW_CPUS,
    PLACEMENT_CANNOT,
    PLACEMENT_NOT_BESIDE, /* affinity */
    PLACEMENT_BESIDE,     /* anti-affinity */
    PLACEMENT_FULL,       /* memory */
    PLACEMENT_NO_ROOM,    /* in the repository */
    PLACEMENT_FITS,
} PlacementVerdict;

typedef struct PlacementCandidate {
    size_t host, repository; /* PLACEMENT_NONE: the host has no repository */
    PlacementVerdict verdict;
    int64_t score; /* of those that fit: the highest is the best */
} PlacementCandidate;

typedef struct Placement Placement;

/* Borrows both until placement_free. */
Placement *placement_new(const PlacementWorld *world, const PlacementRequest *request);
void placement_free(Placement *placement);
/* Looks at all candidates for the next VM of the batch: the best one, or NULL. Borrowed until the next look.
 */
const PlacementCandidate *placement_look(Placement *placement);
/* The VM goes there: the next one finds it. */
void placement_take(Placement *placement, const PlacementCandidate *candidate);
/* As the last look found them. Borrowed. */
const PlacementCandidate *placement_candidates(const Placement *placement, size_t *ret_n);
/* The one that was closest to taking the VM when none could, by the last filter that it passed, then by
 * memory; NULL when there is no candidate at all. */
const PlacementCandidate *placement_closest(const Placement *placement);
/* Why it was chosen, or what stands against it, before it is taken. The words follow the host's name: "most
 * free memory (61.0 GiB of 64.0 GiB after it)", "lacks the network db". NULL of what fits and was not chosen.
 * Newly allocated. */
char *placement_reason(const Placement *placement, const PlacementCandidate *candidate);
/* The first `most` hosts that cannot take the VM, by name, each by its candidate that was closest to it;
 * returns how many there are. */
size_t placement_refused(const Placement *placement, const PlacementCandidate **ret_refused, size_t most);
/* "node-8: is in maintenance; node-9: lacks the network db; and 3 more". Newly allocated. */
char *placement_refusals(const Placement *placement, size_t most);
/* The first name that is in both; NULL: none. Borrowed from `one`. */
const char *placement_common(PlacementNames one, PlacementNames other);
