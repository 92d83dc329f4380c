/*
 * What was perhaps meant by a mistyped word. Any thread.
 */
#pragma once
#include <glib.h>

/* The candidate that is nearest to what was typed; borrowed, or NULL when none is near: one letter, or at
 * most one in three, is missing, added, other, or swapped with its neighbour; else the shortest one that
 * begins with it. `candidates` is an array of
 * const char *. */
const char *suggest_nearest(const char *typed, const GPtrArray *candidates);
/* "; did you mean WORD?", or `otherwise` when there is no such word. Newly allocated. */
char *suggest_text(const char *typed, const GPtrArray *candidates, const char *otherwise);
