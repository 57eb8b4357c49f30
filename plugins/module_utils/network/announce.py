# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tells the neighbours at which hardware address each IPv4 address of this host is now found.

A change of the network moves addresses to bridges with hardware addresses of their own. Neighbours that keep the old one for
minutes (gateways, switches with proxies) would not reach the host in time to confirm the change. This file is copied to the host
as it stands and run there by the guard's scripts, so it imports the standard library alone.
Source: RFC 5227, section 2.3 (an ARP announcement is a request for the sender's own address).
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
_BROADCAST = b"\xff" * 6


def announcement(mac: str, address: str) -> bytes:
    """The Ethernet frame that announces an IPv4 address."""
    hardware = bytes.fromhex(mac.replace(":", ""))
    protocol = socket.inet_aton(address)
    header = _BROADCAST + hardware + _ETHERTYPE_ARP.to_bytes(2, "big")
    return header + bytes.fromhex("0001080006040001") + hardware + protocol + bytes(6) + protocol


def announced(listing: str) -> list[tuple[str, str, str]]:
    """(device, hardware address, IPv4 address) of what `ip -j addr show` lists on Ethernet devices that are up."""
    return [
        (link["ifname"], link["address"], entry["local"])
        for link in json.loads(listing or "[]") if link.get("link_type") == "ether" and "UP" in link.get("flags", ())
        for entry in link.get("addr_info", ()) if entry.get("family") == "inet"
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
