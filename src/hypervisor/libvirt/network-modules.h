/* Kernel modules that libvirt's NAT networks use, with either of its firewalls: names for the beginning of a
 * list. */
#pragma once

#define NETWORK_MODULES                                                                                    \
    "tun", "bridge", "ip_tables", "ip6_tables", "iptable_filter", "iptable_nat", "iptable_mangle",         \
        "ip6table_filter", "ip6table_nat", "ip6table_mangle", "ipt_REJECT", "ip6t_REJECT", "xt_CHECKSUM",  \
        "xt_MASQUERADE", "xt_conntrack", "xt_tcpudp", "nf_conntrack", "nf_nat", "nf_tables", "nft_compat", \
        "nft_chain_nat", "nft_ct", "nft_masq", "nft_reject", "nft_reject_inet", "nft_reject_ipv4",         \
        "nft_reject_ipv6", "nft_limit", "nft_log"
