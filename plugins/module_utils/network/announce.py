# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the neighbours at which hardware address each IP address of this host is now found.

A change of the network moves addresses to bridges with hardware addresses of their own. Neighbours that keep the old one for
minutes (gateways, switches with proxies) would not reach the host in time to confirm the change. This file is copied to the host
as it stands and run there by the guard's scripts, so it imports the standard library alone.
Sources: RFC 5227, section 2.3 (an ARP announcement is a request for the sender's own address); RFC 4861, sections 4.4 and 7.2.6
(an unsolicited neighbour advertisement to all nodes, with the flag that overrides what they know).
"""
from __future__ import annotations

import json
import socket
import subprocess
import time

# Links of a bond may take seconds until they carry anything, so it is said more than twice.
ROUNDS = 6
PAUSE_SECONDS = 2.0
_ETHERTYPE_ARP = 0x0806
_ETHERTYPE_IPV6 = 0x86DD
_BROADCAST = b"\xff" * 6
_ALL_NODES = socket.inet_pton(socket.AF_INET6, "ff02::1")
_ICMPV6 = 58
_ADVERTISEMENT = bytes.fromhex("8800000020000000")
_OPTION_TARGET = b"\x02\x01"


def announcement(mac: str, address: str) -> bytes:
    """The Ethernet frame that announces an address."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    if ":" in address:
        return _advertisement(hardware, socket.inet_pton(socket.AF_INET6, address))
    protocol = socket.inet_aton(address)
    header = _BROADCAST + hardware + _ETHERTYPE_ARP.to_bytes(2, "big")
    return header + bytes.fromhex("0001080006040001") + hardware + protocol + bytes(6) + protocol


def _advertisement(hardware: bytes, address: bytes) -> bytes:
    message = bytearray(_ADVERTISEMENT + address + _OPTION_TARGET + hardware)
    pseudo_header = address + _ALL_NODES + len(message).to_bytes(4, "big") + _ICMPV6.to_bytes(4, "big")
    message[2:4] = checksum(pseudo_header + message).to_bytes(2, "big")
    # Version 6; no traffic class or flow; hop limit 255, or nobody believes it.
    packet = b"\x60\x00\x00\x00" + len(message).to_bytes(2, "big") + bytes((_ICMPV6, 255)) + address + _ALL_NODES
    # To all nodes: 33:33 and the last four bytes of the IPv6 group.
    return b"\x33\x33" + _ALL_NODES[-4:] + hardware + _ETHERTYPE_IPV6.to_bytes(2, "big") + packet + message


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of an even number of bytes."""
    total = sum(int.from_bytes(data[place:place + 2], "big") for place in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def announced(listing: str) -> list[tuple[str, str, str]]:
    """(device, hardware address, IP address) of what `ip -j addr show` lists on Ethernet devices that are up.

    An IPv6 address that the kernel still looks for elsewhere is left out: it is nobody's yet.
    """
    return [
        (link["ifname"], link["address"], entry["local"])
        for link in json.loads(listing or "[]") if link.get("link_type") == "ether" and "UP" in link.get("flags", ())
        for entry in link.get("addr_info", ())
        if entry.get("family") == "inet" or (entry.get("family") == "inet6" and not entry.get("tentative") and not entry.get("dadfailed"))
    ]


def main() -> None:
    for number in range(ROUNDS):
        listing = subprocess.run(["ip", "-j", "addr", "show"], stdout=subprocess.PIPE, check=False).stdout.decode()
        found = announced(listing)
        for device, mac, address in found:
            try:
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as wire:
                    wire.bind((device, 0))
                    wire.send(announcement(mac, address))
            except OSError:
                # A device without a link yet, or one that is just going: the next round tries again.
                continue
        if found and number < ROUNDS - 1:
            time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    main()
