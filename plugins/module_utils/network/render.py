# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that make a host's network, as a pure function of the estate: no fact of the live host goes into them.

Sources: systemd.netdev(5), systemd.network(5), sysctl.d(5) of systemd 252; the kernel's Documentation/networking/bonding.rst.
"""
from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import (
    GATEWAYS,
    carried_mtu,
    gateways_of,
    member_identity,
    with_defaults,
)

DIRECTORY = "/etc/systemd/network"
PREFIX = f"{DIRECTORY}/20-xenfold-"
SYSCTL = "/etc/sysctl.d/60-xenfold-network.conf"
UDEV = "/etc/udev/rules.d/60-xenfold-network.rules"
BRIDGE_FILTERS = ("arptables", "ip6tables", "iptables")

Item = Mapping[str, Any]
Sections = Sequence[tuple[str, Sequence[tuple[str, Any]]]]


@dataclass(frozen=True)
class Network:
    """The network of one host; the items have all keys of their spec, and addresses in the form in which the kernel writes them.

    host: its name in the inventory; backend: who configures it, networkd or ifupdown.
    """

    host: str
    bonds: tuple[Item, ...]
    vlans: tuple[Item, ...]
    bridges: tuple[Item, ...]
    backend: str = "networkd"

    @classmethod
    def of(
        cls, host: str, bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item], backend: str = "networkd"
    ) -> Network:
        """The network of checked items (`check_description` found nothing), with defaults and hardware addresses filled in."""
        network = [with_defaults(kind, items) for kind, items in (("bond", bonds), ("vlan", vlans), ("bridge", bridges))]
        for item in network[1] + network[2]:
            item["mtu"] = item["mtu"] or carried_mtu(item.get("link") or item.get("port"), network[0], network[1])
        for item in network[0] + network[2]:
            item["mac"] = item["mac"] or derived_mac(host, item["name"])
        for item in (item for items in network for item in items):
            item["addresses"] = [str(ipaddress.ip_interface(address)) for address in item["addresses"]]
            item |= {key: str(ipaddress.ip_address(item[key])) for key in GATEWAYS if item[key]}
        return cls(host, tuple(network[0]), tuple(network[1]), tuple(network[2]), backend)

    def devices(self) -> list[tuple[str, Item]]:
        """Every device with its kind, what carries before what is carried."""
        return [(kind, item) for kind, items in
                (("bond", self.bonds), ("vlan", self.vlans), ("bridge", self.bridges)) for item in items]

    def bridge_of(self, port: str) -> str | None:
        """The name of the bridge that has `port`."""
        return next((bridge["name"] for bridge in self.bridges if bridge["port"] == port), None)


def derived_mac(host: str, name: str) -> str:
    """A hardware address for the device `name` of `host`: always the same, locally administered, unicast.

    An explicit address matters: left alone, networkd invents one from the machine's id, a bridge takes the lowest of its
    ports and changes it when a guest starts, and a bridge told to have none leaves its bond unconfigured.
    """
    digest = bytearray(hashlib.sha256(f"{host}/{name}".encode()).digest()[:6])
    digest[0] = digest[0] & 0xFC | 0x02
    return ":".join(f"{byte:02x}" for byte in digest)


def networkd_files(network: Network) -> list[WantedFile]:
    """Every file of the network, sorted by path."""
    files: list[WantedFile] = []

    def add(name: str, sections: Sections) -> None:
        files.append(WantedFile(f"{PREFIX}{name}", _unit(network.host, sections)))

    for bond in network.bonds:
        add(f"bond-{bond['name']}.netdev", _bond(bond))
        for number, member in enumerate(bond["members"], 1):
            add(f"member-{bond['name']}-{number}.network", _member(bond, member))
    for vlan in network.vlans:
        add(f"vlan-{vlan['name']}.netdev", (
            ("NetDev", (("Name", vlan["name"]), ("Kind", "vlan"))),
            ("VLAN", (("Id", vlan["id"]),)),
        ))
    for bridge in network.bridges:
        add(f"bridge-{bridge['name']}.netdev", (
            ("NetDev", (("Name", bridge["name"]), ("Kind", "bridge"), ("MACAddress", bridge["mac"]))),
            ("Bridge", (("STP", "no"), ("ForwardDelaySec", 0))),
        ))
    for kind, item in network.devices():
        add(f"{kind}-{item['name']}.network", _device(network, item))
    files += bridge_filter_files(network)
    return sorted(files, key=lambda file: file.path)


def header(host: str) -> str:
    """The first line of every file."""
    return f"# Managed by xenfold.consolidation (role network) for {host}: changes made here are overwritten.\n"


def _unit(host: str, sections: Sections) -> str:
    blocks = ["".join([f"[{title}]\n", *(f"{key}={value}\n" for key, value in lines)]) for title, lines in sections]
    return header(host) + "\n".join(blocks)


def _bond(bond: Item) -> Sections:
    lines: list[tuple[str, Any]] = [("Mode", bond["mode"]), ("MIIMonitorSec", f"{bond['miimon_ms']}ms"),
                                    ("UpDelaySec", f"{bond['updelay_ms']}ms")]
    if bond["mode"] != "active-backup":
        lines.append(("TransmitHashPolicy", bond["hash_policy"]))
    if bond["mode"] == "802.3ad":
        lines += [("LACPTransmitRate", bond["lacp_rate"]), ("MinLinks", bond["min_links"])]
    return (
        ("NetDev", (("Name", bond["name"]), ("Kind", "bond"), ("MACAddress", bond["mac"]))),
        ("Bond", lines),
    )


def _member(bond: Item, member: Item) -> Sections:
    """A card of a bond. Once in the bond it shows the bond's address, so only the permanent one finds it again."""
    key, value = member_identity(member)
    match = {"mac": "PermanentMACAddress", "name": "Name", "path": "Path"}[key]
    return (
        ("Match", ((match, value),)),
        ("Link", (("MTUBytes", bond["mtu"]), ("RequiredForOnline", "no"))),
        ("Network", (("Bond", bond["name"]), ("LinkLocalAddressing", "no"), ("IPv6AcceptRA", "no"))),
    )


def _device(network: Network, item: Item) -> Sections:
    """A bond, VLAN or bridge as an interface. Without addresses it stays silent: no link-local address, no autoconfiguration."""
    addresses = item["addresses"]
    link: list[tuple[str, Any]] = [("MACAddress", item["mac"])] if item.get("mac") else []
    link += [("MTUBytes", item["mtu"]), ("RequiredForOnline", "degraded" if addresses else "no")]
    lines: list[tuple[str, Any]] = [
        ("LinkLocalAddressing", "ipv6" if any(":" in address for address in addresses) else "no"), ("IPv6AcceptRA", "no")]
    if addresses:
        # The address stays while no link is up, so that what listens on it can start.
        lines.append(("ConfigureWithoutCarrier", "yes"))
    bridge = network.bridge_of(item["name"])
    if bridge:
        lines.append(("Bridge", bridge))
    lines += [("VLAN", vlan["name"]) for vlan in network.vlans if vlan["link"] == item["name"]]
    lines += [("Address", address) for address in addresses]
    lines += [("Gateway", gateway) for gateway in gateways_of(item)]
    lines += [("DNS", nameserver) for nameserver in item["nameservers"]]
    return (("Match", (("Name", item["name"]),)), ("Link", link), ("Network", lines))


def bridge_filter_files(network: Network) -> Iterable[WantedFile]:
    """With bridges: bridged frames of guests do not pass dom0's packet filter.

    The settings exist only while br_netfilter is loaded, and it may be loaded at any time (Xen's vif scripts do it by
    xt_physdev): the udev rule applies them at that moment.
    """
    if not network.bridges:
        return
    lines = [f"net.bridge.bridge-nf-call-{name} = 0\n" for name in BRIDGE_FILTERS]
    yield WantedFile(SYSCTL, header(network.host) + "".join(f"-{line}" for line in lines))
    yield WantedFile(UDEV, header(network.host) + 'ACTION=="add", SUBSYSTEM=="module", KERNEL=="br_netfilter", '
                     'RUN+="/usr/lib/systemd/systemd-sysctl --prefix=/net/bridge"\n')
