/*
 * For the tests of src/store: the engines under test, a store in a folder of its own, and waiting on the main
 * loop.
 */
#pragma once
#include "store/store.h"

typedef struct TestEngine {
    const char *name;
    Store *(*open)(const char *folder, const Clock *clock, Error *err);
} TestEngine;
extern const TestEngine test_engines[];
extern const size_t n_test_engines;

typedef struct Fixture {
    const TestEngine *engine;
    char *folder, *path;
    FakeClock clock;
    Store *store;
} Fixture;
void fixture_set_up(Fixture *fixture, const void *engine);
void fixture_tear_down(Fixture *fixture, const void *engine);
void fixture_reopen(Fixture *fixture);

/* Commits one put and returns its revision. */
int64_t put_text(Store *store, const char *key, const char *text);
/* The value as text, or NULL when there is none; newly allocated. */
char *get_text(Store *store, const char *key);

/* What a StoreDoneFn was told: pass `outcome_done, &outcome`. */
typedef struct Outcome {
    int calls;
    int64_t revision;
    ErrorCode code;
    char message[256];
} Outcome;
void outcome_done(int64_t revision, const Error *err, void *data);

/* Runs the main loop until *counter reaches `target`; fails the test after 20 s. */
void run_until(const int *counter, int target);
/* Runs the main loop for so long. */
void run_for_ms(guint time_ms);
