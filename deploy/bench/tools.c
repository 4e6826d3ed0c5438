/* Small tools of `make bench`. tools floor FILE | floor-read FILE | loop FILE TIMES SECONDS PART | flows COUNT | send IFACE FILE SECONDS
 *
 * floor: the least that any flow counter does on one core: map the file, fetch 4 KiB ahead, parse Ethernet, IP and
 *        ports, count packets and bytes per connection. Classic pcap, little endian.
 * floor-read: the same without the map: a quarter of a MiB at a time into memory that is used again.
 * loop:  the capture, or its first so-manieth part, so many times after each other, each copy later by so many seconds,
 *        to standard output.
 * flows: a capture with so many connections open at once, to standard output.
 * send:  the capture's frames onto an interface as fast as they go; prints how many were taken. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct record { uint32_t seconds, micros, captured, length; };
static uint8_t *file; static size_t size;

static int map(const char *name) {
    struct stat about; int fd = open(name, O_RDONLY);
    if (fd < 0 || fstat(fd, &about)) { perror(name); return 1; }
    size = about.st_size;
    file = mmap(0, size, PROT_READ, MAP_SHARED, fd, 0);
    madvise(file, size, MADV_SEQUENTIAL);
    return file == MAP_FAILED;
}

static struct record *next(size_t *at) {
    struct record *r = (struct record *)(file + *at);
    if (*at + sizeof *r > size || *at + sizeof *r + r->captured > size) return 0;
    *at += sizeof *r + r->captured;
    return r;
}

struct entry { uint8_t low[16], high[16]; uint32_t ports; uint8_t protocol, used; uint64_t packets[2], bytes[2]; };
enum { CELLS = 1 << 19 };

static uint64_t word(const uint8_t *p) { uint64_t w; memcpy(&w, p, 8); return w; }
static uint64_t mixed(uint64_t h, uint64_t w) { h = (h ^ w) * 0x9e3779b97f4a7c15u; return h ^ h >> 29; }

static uint64_t count(struct entry *table, const uint8_t *p, uint32_t n, uint32_t wire) {
    uint8_t ends[2][16] = {{0}}, protocol; uint16_t port[2] = {0}; uint32_t at = 12;
    if (n < 34) return 0;
    while ((p[at] == 0x81 && p[at + 1] == 0) && n >= at + 24) at += 4;
    if (p[at] == 8 && p[at + 1] == 0) {
        const uint8_t *ip = p + at + 2;
        protocol = ip[9]; memcpy(ends[0], ip + 12, 4); memcpy(ends[1], ip + 16, 4); at += 2 + (ip[0] & 15) * 4;
    } else if (p[at] == 0x86 && p[at + 1] == 0xdd && n >= at + 42) {
        protocol = p[at + 8]; memcpy(ends, p + at + 10, 32); at += 42;
    } else return 0;
    if ((protocol == 6 || protocol == 17) && n >= at + 4) memcpy(port, p + at, 4);
    int order = memcmp(ends[0], ends[1], 16), up = order > 0 || (!order && port[0] > port[1]);
    uint32_t ports = (uint32_t)port[up] << 16 | port[!up];
    uint64_t h = mixed(mixed(mixed(mixed(ports ^ (uint64_t)protocol << 32, word(ends[up])), word(ends[up] + 8)),
                             word(ends[!up])), word(ends[!up] + 8));
    for (uint64_t i = h & (CELLS - 1);; i = (i + 1) & (CELLS - 1)) {
        struct entry *e = table + i;
        uint64_t fresh = !e->used;
        if (fresh) {
            memcpy(e->low, ends[up], 16); memcpy(e->high, ends[!up], 16);
            e->ports = ports; e->protocol = protocol; e->used = 1;
        } else if (e->ports != ports || e->protocol != protocol || memcmp(e->low, ends[up], 16) ||
                   memcmp(e->high, ends[!up], 16)) continue;
        e->packets[up]++; e->bytes[up] += wire;
        return fresh;
    }
}

static struct entry *table(void) {
    size_t bytes = CELLS * sizeof(struct entry);
    struct entry *cells = mmap(0, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    madvise(cells, bytes, MADV_HUGEPAGE);
    return cells;
}

static int least(void) {
    struct entry *cells = table();
    uint64_t packets = 0, flows = 0; size_t at = 24; struct record *r;
    for (size_t from = at; (r = next(&at)); from = at, packets++) {
        for (size_t ahead = from + 4096; ahead < at + 4096 && ahead < size; ahead += 64) __builtin_prefetch(file + ahead);
        flows += count(cells, (uint8_t *)(r + 1), r->captured, r->length);
    }
    printf("%lu packets %lu flows\n", packets, flows);
    return 0;
}

static int least_read(const char *name) {
    static uint8_t part[1 << 18];
    struct entry *cells = table();
    uint64_t packets = 0, flows = 0; size_t have = 0; ssize_t got; int fd = open(name, O_RDONLY);
    if (fd < 0 || read(fd, part, 24) != 24) { perror(name); return 1; }
    for (file = part; (got = read(fd, part + have, sizeof part - have)) > 0; have = size) {
        size_t at = 0; struct record *r;
        for (size = have + got; (r = next(&at)); packets++) flows += count(cells, (uint8_t *)(r + 1), r->captured, r->length);
        memmove(part, part + at, size -= at);
    }
    printf("%lu packets %lu flows\n", packets, flows);
    return 0;
}

/* Who reads is measured, not how often it waits for a small piece. */
static void wide(void) {
    static char buffer[1 << 20];
    fcntl(STDOUT_FILENO, F_SETPIPE_SZ, sizeof buffer); /* no pipe: as it is */
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer);
}

static int loop(int times, uint32_t seconds, int part) {
    size /= part;
    wide();
    fwrite(file, 1, 24, stdout);
    for (int copy = 0; copy < times; copy++) {
        size_t at = 24; struct record *r;
        while ((r = next(&at))) {
            struct record later = *r;
            later.seconds += copy * seconds;
            if (fwrite(&later, sizeof later, 1, stdout) != 1) return 1;
            fwrite(r + 1, 1, r->captured, stdout);
        }
    }
    return 0;
}

static int flows(uint32_t wanted) {
    uint32_t head[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 1};
    wide();
    uint8_t p[14 + 20 + 20 + 100] = {2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0, 0x45};
    fwrite(head, sizeof head, 1, stdout);
    p[23] = 6; p[22] = 64; p[46] = 0x50; p[30] = 192; p[32] = 2; p[33] = 1; p[36] = 1; p[37] = 187;
    for (uint32_t turn = 0; turn < 2; turn++)
        for (uint32_t i = 0; i < wanted; i++) {
            uint32_t bytes = turn ? sizeof p : 54, address = htonl(0x0a000000 + i / 50000);
            uint16_t port = htons(10000 + i % 50000), total = htons(bytes - 14), id = htons(1 + i % 65535);
            struct record r = {1700000000 + turn * 5 + i / (wanted / 4 + 1), i % 1000000, bytes, bytes};
            memcpy(p + 26, &address, 4); memcpy(p + 34, &port, 2); memcpy(p + 16, &total, 2); memcpy(p + 18, &id, 2);
            p[41] = turn; p[47] = turn ? 0x10 : 2;
            memset(p + 54, 0x55, 100);
            fwrite(&r, sizeof r, 1, stdout); fwrite(p, 1, bytes, stdout);
        }
    return 0;
}

enum { BATCH = 64 };

static int flood(const char *interface, double seconds) {
    int fd = socket(AF_PACKET, SOCK_RAW, 0), one = 1;
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(interface)};
    if (fd < 0 || bind(fd, (void *)&to, sizeof to)) { perror(interface); return 1; }
    setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof one);
    struct mmsghdr messages[BATCH] = {0}; struct iovec parts[BATCH];
    struct timespec now, start; uint64_t sent = 0; size_t at = 24;
    clock_gettime(CLOCK_MONOTONIC, &start);
    do {
        int n = 0;
        while (n < BATCH) {
            struct record *r = next(&at);
            if (!r) { at = 24; continue; }
            if (r->captured > 1514) continue;
            parts[n].iov_base = r + 1; parts[n].iov_len = r->captured;
            messages[n].msg_hdr.msg_iov = parts + n; messages[n].msg_hdr.msg_iovlen = 1; n++;
        }
        for (int done = 0; done < n;) {
            int k = sendmmsg(fd, messages + done, n - done, 0);
            if (k < 0 && errno != ENOBUFS && errno != EAGAIN) { perror("send"); return 1; }
            if (k > 0) done += k, sent += k;
        }
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while ((now.tv_sec - start.tv_sec) + (now.tv_nsec - start.tv_nsec) / 1e9 < seconds);
    printf("%lu\n", sent);
    return 0;
}

int main(int n, char **v) {
    if (n == 3 && !strcmp(v[1], "flows")) return flows(atoi(v[2]));
    if (n == 5 && !strcmp(v[1], "send")) return map(v[3]) || flood(v[2], atof(v[4]));
    if (n == 3 && !strcmp(v[1], "floor")) return map(v[2]) || least();
    if (n == 3 && !strcmp(v[1], "floor-read")) return least_read(v[2]);
    if (n == 6 && !strcmp(v[1], "loop")) return map(v[2]) || loop(atoi(v[3]), atoi(v[4]), atoi(v[5]));
    return 2;
}
