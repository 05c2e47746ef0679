/* The same with libc alone, for a static musl executable and a dynamic glibc one: fetch HOST PORT PATH. */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    char buffer[4096];
    if (argc != 4)
        return 2;
    int failed = getaddrinfo(argv[1], argv[2], &hints, &found);
    if (failed) {
        fprintf(stderr, "%s\n", gai_strerror(failed));
        return 1;
    }
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        int fd = socket(a->ai_family, a->ai_socktype, 0);
        if (fd < 0 || connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            perror("connect");
            continue;
        }
        int n = snprintf(buffer, sizeof buffer, "GET %s HTTP/1.0\r\nHost: %s\r\n\r\n", argv[3], argv[1]);
        if (write(fd, buffer, (size_t)n) != n)
            return 1;
        size_t have = 0;
        ssize_t got;
        while (have < sizeof buffer - 1 && (got = read(fd, buffer + have, sizeof buffer - 1 - have)) > 0)
            have += (size_t)got;
        buffer[have] = 0;
        char *body = strstr(buffer, "\r\n\r\n");
        fputs(body ? body + 4 : buffer, stdout);
        return 0;
    }
    return 1;
}
