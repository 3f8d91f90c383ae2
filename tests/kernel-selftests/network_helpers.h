/* SPDX-License-Identifier: BSD-2-Clause */
/* A TCP segment over IPv4 over Ethernet: the packet that test runs take. */
#ifndef NETWORK_HELPERS_H
#define NETWORK_HELPERS_H

#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/tcp.h>

struct ipv4_packet {
	struct ethhdr eth;
	struct iphdr iph;
	struct tcphdr tcp;
} __attribute__((packed));

extern struct ipv4_packet pkt_v4;

#endif
