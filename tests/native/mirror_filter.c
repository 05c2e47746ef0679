/* Prints the mirror's filter for the ports given, one instruction a line as `tcpdump -ddd` does: op jt jf k.
 * Usage: mirror_filter tcp/PORT udp/PORT ... */
#include "agent/filter.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv) {
    static struct mirror_port ports[FILTER_PORTS];
    static struct sock_filter code[FILTER_MOST];
    size_t n = 0;
    for (; (int)n + 1 < argc && n < FILTER_PORTS; n++) {
        const char *text = argv[n + 1];
        ports[n].proto = strncmp(text, "udp/", 4) == 0 ? IPPROTO_UDP : IPPROTO_TCP;
        ports[n].target_port = (uint16_t)atoi(text + 4);
    }
    size_t count = filter_program(ports, n, code);
    for (size_t i = 0; i < count; i++)
        printf("%u %u %u %u\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
    return 0;
}
