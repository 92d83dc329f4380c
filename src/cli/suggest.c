/* Optimal string alignment distance, three rows at a time. */
#include "cli/suggest.h"
#include <stdbool.h>
#include <string.h>

enum { MAX_LENGTH = 40, LETTERS_PER_MISTAKE = 3, PREFIX_LETTERS = 2 };

static int smallest(int a, int b, int c) {
    return MIN(MIN(a, b), c);
}

static int distance(const char *a, const char *b) {
    int rows[3][MAX_LENGTH + 1], n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        rows[0][j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int *row = rows[i % 3];
        const int *above = rows[(i + 2) % 3], *second = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            row[j] = smallest(above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            bool is_swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (is_swapped)
                row[j] = MIN(row[j], second[j - 2] + 1);
        }
    }
    return rows[strlen(a) % 3][n];
}

/* The shortest one that goes on where the typed word ends. */
static const char *longer_word(const char *typed, const GPtrArray *candidates) {
    const char *shortest = NULL;
    for (guint i = 0; i < candidates->len; i++) {
        const char *candidate = candidates->pdata[i];
        if (g_str_has_prefix(candidate, typed) && (!shortest || strlen(candidate) < strlen(shortest)))
            shortest = candidate;
    }
    return shortest;
}

const char *suggest_nearest(const char *typed, const GPtrArray *candidates) {
    const char *nearest = NULL;
    size_t length = strlen(typed);
    if (length > MAX_LENGTH)
        return NULL;
    int letters = (int)(length - strspn(typed, "-"));
    int least = MAX(1, letters / LETTERS_PER_MISTAKE) + 1;
    for (guint i = 0; i < candidates->len; i++) {
        const char *candidate = candidates->pdata[i];
        if (strlen(candidate) > MAX_LENGTH)
            continue;
        int mistakes = distance(typed, candidate);
        if (mistakes >= least)
            continue;
        least = mistakes;
        nearest = candidate;
    }
    return nearest || letters < PREFIX_LETTERS ? nearest : longer_word(typed, candidates);
}

char *suggest_text(const char *typed, const GPtrArray *candidates, const char *otherwise) {
    const char *nearest = suggest_nearest(typed, candidates);
    return nearest ? g_strdup_printf("; did you mean %s?", nearest) : g_strdup(otherwise);
}
