# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the tools and files of a host say of its network: pure parsers."""
from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GUEST_PORT = re.compile(r"(vif|tap)\d+\.\d+(-emu)?")
NO_PARTNER = "00:00:00:00:00:00"
UNDECIDED = ("INCOMPLETE", "STALE", "DELAY", "PROBE")
"""States of a neighbour of which the kernel does not know yet whether it answers (net/core/neighbour.c)."""


@dataclass(frozen=True)
class Link:
    """A network interface of the host. addresses: with prefix, as written; data: settings of its kind, as `ip -d` says."""

    name: str
    kind: str
    mac: str
    permanent_mac: str
    mtu: int
    up: bool
    carrier: bool
    master: str | None
    below: str | None
    addresses: tuple[str, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    id_path: str = ""
    other_names: tuple[str, ...] = ()

    @property
    def is_guest_port(self) -> bool:
        """Whether a guest's interface ends here (Xen's vifs have this address whatever their name, vif-common.sh)."""
        return self.mac == "fe:ff:ff:ff:ff:ff" or GUEST_PORT.fullmatch(self.name) is not None

    @property
    def is_card(self) -> bool:
        """Whether this is a network card and no device made by software."""
        return not self.kind and self.name != "lo" and not self.is_guest_port


@dataclass(frozen=True)
class BondState:
    """A bond as the kernel reports it. links: carrier by member; partner: LACP partner's address, None in other modes;
    aggregated: members that are in the active aggregate (all of them in other modes)."""

    links: Mapping[str, bool]
    partner: str | None
    aggregated: tuple[str, ...]


def parse_links(text: str, id_paths: Mapping[str, str] | None = None) -> dict[str, Link]:
    """Links by name from `ip -j -d addr show` (iproute2). id_paths: udev's ID_PATH by interface name."""
    links = {}
    for entry in json.loads(text):
        if not entry.get("ifname"):
            continue
        info = entry.get("linkinfo", {})
        flags = entry.get("flags", ())
        mac = entry.get("address", "")
        links[entry["ifname"]] = Link(
            name=entry["ifname"],
            kind=info.get("info_kind", ""),
            mac=mac,
            permanent_mac=entry.get("permaddr", mac),
            mtu=entry.get("mtu", 0),
            up="UP" in flags,
            carrier="LOWER_UP" in flags,
            master=entry.get("master"),
            below=entry.get("link"),
            addresses=tuple(
                f"{address['local']}/{address['prefixlen']}"
                for address in entry.get("addr_info", ()) if address.get("local") and address.get("scope") != "link"
            ),
            data=info.get("info_data", {}),
            other_names=tuple(entry.get("altnames", ())),
            id_path=(id_paths or {}).get(entry["ifname"], ""),
        )
    return links


def parse_bond(text: str) -> BondState:
    """A bond from /proc/net/bonding/NAME (kernel: drivers/net/bonding/bond_procfs.c).

    The part above the first `Slave Interface:` is the bond's own; with 802.3ad it names the active aggregator, and each
    member names the aggregator that it is in.
    """
    parts = re.split(r"^Slave Interface: ", text, flags=re.MULTILINE)
    partner = re.search(r"^\s*Partner Mac Address: (\S+)", parts[0], re.MULTILINE)
    active = re.search(r"^\s*Aggregator ID: (\d+)", parts[0], re.MULTILINE)
    lacp = "802.3ad" in parts[0].partition("Bonding Mode:")[2].partition("\n")[0]
    links: dict[str, bool] = {}
    aggregated = []
    for part in parts[1:]:
        name = part.splitlines()[0].strip()
        links[name] = re.search(r"^MII Status: up$", part, re.MULTILINE) is not None
        mine = re.search(r"^Aggregator ID: (\d+)", part, re.MULTILINE)
        if not lacp or (active and mine and active[1] == mine[1]):
            aggregated.append(name)
    return BondState(links, (partner[1] if partner else NO_PARTNER) if lacp else None, tuple(aggregated))


def parse_neighbours(text: str) -> dict[str, str]:
    """State by address from `ip -j neigh show dev NAME`, for entries with a hardware address or a failure."""
    return {entry["dst"]: (entry.get("state") or [""])[0] for entry in json.loads(text or "[]") if "dst" in entry}


def parse_networkctl(text: str) -> dict[str, str]:
    """Administrative state by interface from `networkctl list --no-legend --no-pager` (configured, configuring, failed ...)."""
    rows = (line.split() for line in text.splitlines())
    return {row[1]: row[4] for row in rows if len(row) >= 5 and row[0].isdigit()}


def parse_unit(text: str) -> list[tuple[str, str, str]]:
    """(section, key, value) of each line of a networkd file (systemd.syntax(7)); comments and blank lines left out."""
    section, found = "", []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        if stripped.startswith("[") and stripped.endswith("]"):
            section = stripped[1:-1]
        elif "=" in stripped:
            key, value = stripped.split("=", 1)
            found.append((section, key.strip(), value.strip()))
    return found


def netdev_name(text: str) -> str | None:
    """The device that a .netdev file makes."""
    return next((value for section, key, value in parse_unit(text) if (section, key) == ("NetDev", "Name")), None)


def first_match(files: Mapping[str, str], link: Link) -> str | None:
    """The .network file that networkd would take for `link`: the first by file name whose [Match] holds.

    files: content by path; a name in /etc hides the same one in /run, and that the one in /usr/lib. Conditions on the
    host (Virtualization=, KernelVersion= ...) are taken as false: files with them are written for something special.
    """
    by_name: dict[str, str] = {}
    for directory in ("/usr/lib/systemd/network/", "/run/systemd/network/", "/etc/systemd/network/"):
        for path in sorted(files):
            if path.startswith(directory) and path.endswith(".network"):
                by_name[path.rpartition("/")[2]] = path
    for name in sorted(by_name):
        conditions = [(key, value) for section, key, value in parse_unit(files[by_name[name]]) if section == "Match"]
        if conditions and all(_holds(key, value, link) for key, value in conditions):
            return by_name[name]
    return None


def _holds(key: str, value: str, link: Link) -> bool:
    """Whether one condition of a [Match] section holds (systemd.network(5)): shell patterns, `!` inverts the list."""
    known = {
        "Name": (link.name, *link.other_names), "OriginalName": (link.name,), "MACAddress": (link.mac,),
        "PermanentMACAddress": (link.permanent_mac,), "Path": (link.id_path,), "Kind": (link.kind,),
        "Type": ("loopback" if link.name == "lo" else link.kind or "ether",),
    }
    if key not in known:
        return False
    inverted, patterns = value.startswith("!"), value.lower().lstrip("!").split()
    if key.endswith("MACAddress"):
        patterns = [pattern.replace("-", ":") for pattern in patterns]
    found = any(fnmatch.fnmatchcase(actual.lower(), pattern) for actual in known[key] for pattern in patterns)
    return found != inverted
