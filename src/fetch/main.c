/*
 * lodge-fetch FILE LIMIT [--allow-this-machine]: fetches the URL on the first line of standard input into a
 * file that exists, going on behind what is in it if the second line names the version. The agent runs it in
 * a jail (src/image/image-fetch.h). Addresses stay out of the arguments: they may hold a password.
 */
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "fetch/fetch.h"

enum { URL_LIMIT = 4096, VALIDATOR_LIMIT = 200 };

/* A line without its end; "" when there is none. */
static void read_line(char *line, int size) {
    if (!fgets(line, size, stdin))
        line[0] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
}

int main(int argc, char **argv) {
    char url[URL_LIMIT + 2], validator[VALIDATOR_LIMIT + 2];
    char *end = NULL;
    if (argc < 3)
        return 2;
    unsigned long long limit = strtoull(argv[2], &end, 10);
    if (*end || limit == 0)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_line(url, sizeof url);
    read_line(validator, sizeof validator);
    FetchSpec spec = {.url = url,
        .validator = validator[0] ? validator : NULL,
        .fd = open(argv[1], O_RDWR | O_NOFOLLOW | O_CLOEXEC),
        .limit_bytes = limit,
        .allows_own = argc > 3 && strcmp(argv[3], "--allow-this-machine") == 0};
    if (spec.fd < 0) {
        printf("error io %s\n", strerror(errno));
        return 1;
    }
    curl_global_init(CURL_GLOBAL_DEFAULT);
    return fetch(&spec) ? 0 : 1;
}
