// The load of tools/bench-live: what runs at both ends of the gateway. Bounded in time, and only to the address given.
//
//   load serve PORT                             TCP: echo, until killed; if the first byte is 'c', then close
//   load connect ADDRESS PORT SECONDS AT_ONCE   connections opened, used for one byte and closed, a second
//   load round-trip ADDRESS PORT SECONDS        one byte there and back: quantiles in microseconds
//   load flood DEVICE MAC ADDRESS PORT SOURCE FLOWS SECONDS
//                                               small UDP frames as fast as the device takes them
//
// Each prints one line of JSON.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void fail(const char *what) {
  fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_in endpoint(const char *address, const char *port) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
  if (inet_pton(AF_INET, address, &at.sin_addr) != 1) fail(address);
  return at;
}

static void watch(int epoll, int op, int fd, uint32_t events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  if (epoll_ctl(epoll, op, fd, &event) != 0) fail("epoll_ctl");
}

// MARK: TCP

static void answer(int fd) {
  char bytes[64];
  ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count < 0 && errno == EAGAIN) return;
  if (count > 0 && send(fd, bytes, (size_t)count, MSG_NOSIGNAL) == count && bytes[0] != 'c') return;
  // The server closes first: a client that has to wait out its old connections would run out of ports.
  close(fd);
}

static void serve(const char *port) {
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1, epoll = epoll_create1(0);
  struct sockaddr_in at = endpoint("0.0.0.0", port);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(listener, 4096) != 0) fail("listen");
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN);
  for (;;) {
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.fd != listener) {
        answer(events[i].data.fd);
        continue;
      }
      int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
      if (fd < 0) continue;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }
}

static int open_one(int epoll, const struct sockaddr_in *to) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (fd < 0) return 0;
  if (connect(fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS) {
    close(fd);
    return 0;
  }
  watch(epoll, EPOLL_CTL_ADD, fd, EPOLLOUT);
  return 1;
}

// 1 when the connection has come to its end as it should, -1 when it broke, 0 when it goes on.
static int step(int epoll, const struct epoll_event *event) {
  int fd = event->data.fd;
  char byte = 'c', bytes[8];
  if (event->events & EPOLLOUT) {
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1) return -1;
    watch(epoll, EPOLL_CTL_MOD, fd, EPOLLIN);
    return 0;
  }
  ssize_t count = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count > 0 || (count < 0 && errno == EAGAIN)) return 0;
  return count == 0 ? 1 : -1;
}

static int connections(char **argv) {
  struct sockaddr_in to = endpoint(argv[0], argv[1]);
  int epoll = epoll_create1(0), at_once = atoi(argv[3]), open = 0;
  unsigned long done = 0, broken = 0;
  double start = now(), end = start + atof(argv[2]);
  while (now() < end) {
    for (int tries = 0; open < at_once && tries < at_once; tries++) {
      if (open_one(epoll, &to)) open++; else broken++;
    }
    struct epoll_event events[64];
    int count = epoll_wait(epoll, events, 64, 100);
    for (int i = 0; i < count; i++) {
      int outcome = step(epoll, &events[i]);
      if (outcome == 0) continue;
      if (outcome > 0) done++; else broken++;
      close(events[i].data.fd);
      open--;
    }
  }
  printf("{\"per_second\":%.1f,\"done\":%lu,\"broken\":%lu}\n", (double)done / (now() - start), done, broken);
  return 0;
}

static int ascending(const void *a, const void *b) {
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

static int round_trips(char **argv) {
  struct sockaddr_in to = endpoint(argv[0], argv[1]);
  int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
  struct timeval limit = {.tv_sec = 5};
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  if (connect(fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
  size_t capacity = 4 << 20, count = 0;
  float *times = malloc(capacity * sizeof *times);
  double end = now() + atof(argv[2]), start;
  char byte = 'e';
  while ((start = now()) < end && count < capacity) {
    if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1 || recv(fd, &byte, 1, 0) != 1) fail("round trip");
    times[count++] = (float)((now() - start) * 1e6);
  }
  if (count == 0) fail("no round trip");
  qsort(times, count, sizeof *times, ascending);
  printf("{\"p50_us\":%.1f,\"p99_us\":%.1f,\"count\":%zu}\n", (double)times[count / 2],
         (double)times[count * 99 / 100], count);
  return 0;
}

// MARK: UDP

enum { frame_bytes = 60, batch = 64 };

struct frame {
  struct ether_header ethernet;
  struct iphdr ip;
  struct udphdr udp;
  uint8_t payload[frame_bytes - 42];
} __attribute__((packed));

static uint32_t sum(const void *bytes, size_t count) {
  uint32_t total = 0;
  for (size_t i = 0; i < count; i += 2) {
    uint16_t word;
    memcpy(&word, (const char *)bytes + i, 2);
    total += word;
  }
  return total;
}

static uint16_t complement(uint32_t total) {
  total = (total & 0xFFFF) + (total >> 16);
  return (uint16_t)~((total & 0xFFFF) + (total >> 16));
}

static struct frame template(char **argv) {
  struct frame frame = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP}};
  unsigned mac[6];
  if (sscanf(argv[1], "%x:%x:%x:%x:%x:%x", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) != 6) fail(argv[1]);
  for (int i = 0; i < 6; i++) frame.ethernet.ether_dhost[i] = (uint8_t)mac[i];
  memcpy(frame.ethernet.ether_shost, (uint8_t[]){2, 0, 0, 0, 1, 0x10}, 6);
  frame.ethernet.ether_type = htons(ETHERTYPE_IP);
  frame.ip.tot_len = htons(frame_bytes - 14);
  frame.ip.daddr = endpoint(argv[2], argv[3]).sin_addr.s_addr;
  frame.ip.saddr = endpoint(argv[4], "0").sin_addr.s_addr;
  frame.ip.check = complement(sum(&frame.ip, sizeof frame.ip));
  frame.udp.len = htons(frame_bytes - 34);
  return frame;
}

// A flow is a source port, and a next destination port for each 60,000 of them.
static void address(struct frame *frame, uint32_t flow, uint16_t port, uint32_t base) {
  frame->udp.source = htons((uint16_t)(2000 + flow % 60000));
  frame->udp.dest = htons((uint16_t)(port + flow / 60000));
  uint16_t check = complement(base + frame->udp.source + frame->udp.dest);
  frame->udp.check = check ? check : 0xFFFF;
}

static int flood(char **argv) {
  int fd = socket(AF_PACKET, SOCK_RAW, 0), on = 1, size = 8 << 20;
  struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(argv[0]), .sll_halen = 6};
  if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof to) != 0) fail(argv[0]);
  setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
  static struct frame frames[batch];
  static struct iovec vectors[batch];
  static struct mmsghdr messages[batch];
  struct frame model = template(argv);
  uint32_t base = sum(&model.ip.saddr, 8) + htons(IPPROTO_UDP) + 2u * model.udp.len;
  for (int i = 0; i < batch; i++) {
    frames[i] = model;
    vectors[i] = (struct iovec){&frames[i], frame_bytes};
    messages[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  uint32_t flow = 0, flows = (uint32_t)atoi(argv[5]);
  unsigned long sent = 0;
  double start = now(), end = start + atof(argv[6]);
  while (now() < end) {
    for (int i = 0; i < batch; i++) {
      address(&frames[i], flow, (uint16_t)atoi(argv[3]), base);
      if (++flow == flows) flow = 0;
    }
    for (int done = 0; done < batch;) {
      int count = sendmmsg(fd, messages + done, (unsigned)(batch - done), 0);
      if (count > 0) { done += count; sent += (unsigned)count; }
      else if (errno != ENOBUFS && errno != EAGAIN && errno != EINTR) fail("sendmmsg");
      else if (now() >= end) break;
    }
  }
  printf("{\"sent\":%lu,\"seconds\":%.4f}\n", sent, now() - start);
  return 0;
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  const char *what = argc > 1 ? argv[1] : "";
  if (!strcmp(what, "serve") && argc == 3) serve(argv[2]);
  if (!strcmp(what, "connect") && argc == 6) return connections(argv + 2);
  if (!strcmp(what, "round-trip") && argc == 5) return round_trips(argv + 2);
  if (!strcmp(what, "flood") && argc == 9) return flood(argv + 2);
  fprintf(stderr, "load: 'serve', 'connect', 'round-trip' or 'flood' with their arguments would be right\n");
  return 2;
}
