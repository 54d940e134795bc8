#define _GNU_SOURCE
#include "packet.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

_Static_assert(sizeof(struct sluice_message) == sizeof(struct mmsghdr), "sluice_message is not mmsghdr");
_Static_assert(offsetof(struct sluice_message, sent) == offsetof(struct mmsghdr, msg_len), "sluice_message.sent");
_Static_assert(sizeof(struct virtio_net_hdr) == 10, "virtio_net_hdr");

int sluice_send_messages(int socket, struct sluice_message *messages, unsigned int count) {
  return sendmmsg(socket, (struct mmsghdr *)messages, count, MSG_DONTWAIT);
}

int sluice_poll(struct pollfd *set, unsigned long count, uint64_t nanoseconds) {
  struct timespec time = {(time_t)(nanoseconds / 1000000000u), (long)(nanoseconds % 1000000000u)};
  return ppoll(set, count, nanoseconds == UINT64_MAX ? NULL : &time, NULL);
}

int sluice_device_read(const char *name, struct sluice_device *device) {
  struct ifreq request;
  if (strlen(name) >= sizeof request.ifr_name) return ENODEV;
  int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (any < 0) return errno;
  int code = 0;
  memset(&request, 0, sizeof request);
  strcpy(request.ifr_name, name);
  if (ioctl(any, SIOCGIFINDEX, &request) != 0) goto failed;
  device->index = request.ifr_ifindex;
  if (ioctl(any, SIOCGIFMTU, &request) != 0) goto failed;
  device->mtu = request.ifr_mtu;
  if (ioctl(any, SIOCGIFFLAGS, &request) != 0) goto failed;
  device->flags = (unsigned short)request.ifr_flags;
  if (ioctl(any, SIOCGIFHWADDR, &request) != 0) goto failed;
  device->type = request.ifr_hwaddr.sa_family;
  memcpy(device->mac, request.ifr_hwaddr.sa_data, sizeof device->mac);
  close(any);
  return 0;
failed:
  code = errno;
  close(any);
  return code;
}

int sluice_watch_addresses(void) {
  struct sockaddr_nl address = {.nl_family = AF_NETLINK, .nl_groups = RTMGRP_IPV4_IFADDR};
  int watch = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
  if (watch < 0) return -1;
  if (bind(watch, (struct sockaddr *)&address, sizeof address) == 0) return watch;
  int code = errno;
  close(watch);
  errno = code;
  return -1;
}
