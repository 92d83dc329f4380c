/*
 * The limit for a search: non-blocking connects from one thread on one epoll descriptor, and nothing else.
 *
 *   scan-once FIRST COUNT PORT...
 *
 * FIRST is an IPv4 address; each port of each address once. Prints how many accepted and refused.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE = 1024, EVENTS = 256 };

typedef struct Count {
    long opened, refused;
    int under_way;
} Count;

static void hang_up(int fd) {
    const struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void note(Count *count, int fd, int reason) {
    if (reason == 0)
        count->opened++;
    else
        count->refused++;
    hang_up(fd);
}

static void begin(Count *count, int epoll, uint32_t address, uint16_t port) {
    const struct sockaddr_in place = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(address), .sin_port = htons(port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct epoll_event event = {.events = EPOLLOUT, .data.fd = fd};
    if (fd < 0)
        abort();
    if (connect(fd, (const struct sockaddr *)&place, sizeof place) == 0)
        note(count, fd, 0);
    else if (errno != EINPROGRESS)
        note(count, fd, errno);
    else if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0)
        count->under_way++;
    else
        abort();
}

static void take(Count *count, int epoll) {
    struct epoll_event events[EVENTS];
    int n = epoll_wait(epoll, events, EVENTS, count->under_way >= AT_ONCE ? -1 : 0);
    for (int i = 0; i < n; i++) {
        int reason = 0;
        socklen_t length = sizeof reason;
        getsockopt(events[i].data.fd, SOL_SOCKET, SO_ERROR, &reason, &length);
        count->under_way--;
        note(count, events[i].data.fd, reason);
    }
}

int main(int argc, char **argv) {
    struct in_addr first;
    Count count = {0};
    if (argc < 4 || inet_pton(AF_INET, argv[1], &first) != 1)
        return 2;
    long n = strtol(argv[2], NULL, 10);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (int port = 3; port < argc; port++)
        for (long i = 0; i < n; i++) {
            begin(&count, epoll, ntohl(first.s_addr) + (uint32_t)i, (uint16_t)strtol(argv[port], NULL, 10));
            if (i % EVENTS == 0)
                take(&count, epoll);
        }
    while (count.under_way > 0)
        take(&count, epoll);
    printf("%ld open, %ld refused\n", count.opened, count.refused);
    return 0;
}
