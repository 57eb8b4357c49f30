# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The files that make a host's network, as a pure function of the estate: no fact of the live host goes into them.

Sources: systemd.netdev(5), systemd.network(5), sysctl.d(5) of systemd 252; the kernel's Documentation/networking/bonding.rst.
"""
from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile
from ansible_collections.xenfold.consolidation.plugins.module_utils.network_spec import (
    carried_mtu,
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
    """The network of one host; the items have all keys of their spec. host: its name in the inventory."""

    host: str
    bonds: tuple[Item, ...]
    vlans: tuple[Item, ...]
    bridges: tuple[Item, ...]

    @classmethod
    def of(cls, host: str, bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]) -> Network:
        """The network of checked items (`check_network` found nothing), with defaults and hardware addresses filled in."""
        network = [with_defaults(kind, items) for kind, items in (("bond", bonds), ("vlan", vlans), ("bridge", bridges))]
        for item in network[1] + network[2]:
            item["mtu"] = item["mtu"] or carried_mtu(item.get("link") or item.get("port"), network[0], network[1])
        for item in network[0] + network[2]:
            item["mac"] = item["mac"] or derived_mac(host, item["name"])
        return cls(host, *(tuple(items) for items in network))

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
    if network.bridges:
        files += _bridge_filter_files(network.host)
    return sorted(files, key=lambda file: file.path)


def _header(host: str) -> str:
    return f"# Managed by xenfold.consolidation (role network) for {host}: changes made here are overwritten.\n"


def _unit(host: str, sections: Sections) -> str:
    blocks = ["".join([f"[{title}]\n", *(f"{key}={value}\n" for key, value in lines)]) for title, lines in sections]
    return _header(host) + "\n".join(blocks)


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
    if item["gateway"]:
        lines.append(("Gateway", item["gateway"]))
    lines += [("DNS", nameserver) for nameserver in item["nameservers"]]
    return (("Match", (("Name", item["name"]),)), ("Link", link), ("Network", lines))


def _bridge_filter_files(host: str) -> Iterable[WantedFile]:
    """Bridged frames of guests do not pass dom0's packet filter.

    The settings exist only while br_netfilter is loaded, and it may be loaded at any time (Xen's vif scripts do it by
    xt_physdev): the udev rule applies them at that moment.
    """
    lines = [f"net.bridge.bridge-nf-call-{name} = 0\n" for name in BRIDGE_FILTERS]
    yield WantedFile(SYSCTL, _header(host) + "".join(f"-{line}" for line in lines))
    yield WantedFile(UDEV, _header(host) + 'ACTION=="add", SUBSYSTEM=="module", KERNEL=="br_netfilter", '
                     'RUN+="/usr/lib/systemd/systemd-sysctl --prefix=/net/bridge"\n')
