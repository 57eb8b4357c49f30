# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What xenstore, cgroups and tc say of guests' disks and networks: pure readers of their texts.

Carried to the hosts as it stands, with plan.py, host.py and watch.py beside it, so it imports the standard library alone.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1024 * 1024
DISK_KEYS = {"read_mibps": ("rbps", MIB), "write_mibps": ("wbps", MIB), "read_iops": ("riops", 1), "write_iops": ("wiops", 1)}
"""Key of a disk's limits -> its name in io.max and how many of that unit are one of ours."""
RATE_USECS = 50_000
"""xl's interval of a rate (tools/libs/util/libxlu_vif.c), which is written back as well."""
HANDLE = "584e:"
"""The handle of every root qdisc that is ours."""

_BACKEND = re.compile(r'/local/domain/0/backend/(vbd|vif)/(\d+)/(\d+)/([\w-]+) = "(.*)"')
_THREAD = re.compile(r"(\d+)\.([a-z0-9]+)-\d+")
_CLASS = re.compile(r"class htb \w+:(\w+) .*?\brate (\d+)([KMGT]?)bit ceil (\d+)([KMGT]?)bit\b")
_BITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


@dataclass(frozen=True)
class Disk:
    """A guest's disk that is with the backend. vdev: name in the guest; number: MAJOR:MINOR of the device behind it."""

    guest: str
    domid: int
    vdev: str
    number: str


@dataclass(frozen=True)
class Vif:
    """A guest's network card. path: its backend in xenstore; device: its interface in dom0; rate: `BYTES,MICROSECONDS` for each queue,
    None without a limit."""

    guest: str
    mac: str
    path: str
    device: str
    rate: str | None
    queues: int = 1


@dataclass(frozen=True)
class Group:
    """A guest's cgroup. limits: device number -> key of io.max -> value; pids: the threads in it."""

    limits: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    pids: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Qdisc:
    """The root qdisc of a device. rate_bytes: bytes a second of a tbf, else None."""

    kind: str
    handle: str
    rate_bytes: int | None = None


@dataclass(frozen=True)
class Uplink:
    """Where a bridge's frames leave the host: the card or bond below its VLAN. speed_mbps: None when the kernel knows none;
    degraded: a member of the bond has no link."""

    device: str
    speed_mbps: int | None
    degraded: bool = False


@dataclass(frozen=True)
class Tree:
    """The classes of an uplink. classes: number -> (guaranteed, most) in Mbit/s; macs: address -> number of its class."""

    classes: Mapping[int, tuple[int, int]]
    macs: Mapping[str, int]


@dataclass(frozen=True)
class Actual:
    """What holds on a host now. threads: pid of a thread of blkback -> (domid, vdev); bridges: those with minimum shares that are
    there, each with its ports to the outside; io: whether cgroups limit disks at all."""

    disks: tuple[Disk, ...] = ()
    vifs: tuple[Vif, ...] = ()
    threads: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    groups: Mapping[str, Group] = field(default_factory=dict)
    qdiscs: Mapping[str, Qdisc] = field(default_factory=dict)
    bridges: Mapping[str, tuple[Uplink, ...]] = field(default_factory=dict)
    trees: Mapping[str, Tree] = field(default_factory=dict)
    io: bool = False


def backends(text: str) -> dict[tuple[str, int, int], dict[str, str]]:
    """(vbd or vif, domid, number of the device) -> its nodes, of `xenstore-ls -f` on dom0's backends."""
    found: dict[tuple[str, int, int], dict[str, str]] = {}
    for line in text.splitlines():
        match = _BACKEND.match(line)
        if match:
            found.setdefault((match[1], int(match[2]), int(match[3])), {})[match[4]] = match[5]
    return found


def disks(found: Mapping[tuple[str, int, int], Mapping[str, str]], names: Mapping[int, str]) -> tuple[Disk, ...]:
    """The disks that have a block device, of guests that have a name. names: domid -> guest."""
    listed = []
    for (kind, domid, _device), nodes in sorted(found.items()):
        number = re.fullmatch(r"([0-9a-f]+):([0-9a-f]+)", nodes.get("physical-device", ""))
        if kind == "vbd" and number and domid in names and "dev" in nodes:
            listed.append(Disk(names[domid], domid, nodes["dev"], f"{int(number[1], 16)}:{int(number[2], 16)}"))
    return tuple(listed)


def interfaces(found: Mapping[tuple[str, int, int], Mapping[str, str]]) -> frozenset[str]:
    """The interfaces in dom0 of all guests' network cards, also of those that are not connected."""
    return frozenset(_interface(domid, device, nodes) for (kind, domid, device), nodes in found.items() if kind == "vif")


def _interface(domid: int, device: int, nodes: Mapping[str, str]) -> str:
    return nodes.get("vifname", f"vif{domid}.{device}")


def vifs(found: Mapping[tuple[str, int, int], Mapping[str, str]], names: Mapping[int, str],
         queues: Mapping[str, int]) -> tuple[Vif, ...]:
    """The network cards that guests are connected to. queues: interface in dom0 -> how many it has; one that is not there yet is left
    out."""
    listed = []
    for (kind, domid, device), nodes in sorted(found.items()):
        interface = _interface(domid, device, nodes)
        if kind == "vif" and nodes.get("state") == "4" and domid in names and "mac" in nodes and interface in queues:
            listed.append(Vif(names[domid], nodes["mac"].lower(), f"/local/domain/0/backend/vif/{domid}/{device}", interface,
                              nodes.get("rate"), queues[interface]))
    return tuple(listed)


def thread(comm: str, stat: str) -> tuple[int, str] | None:
    """(domid, vdev) of a thread of blkback, by /proc/PID/comm and stat; None for any other process.

    Source: drivers/block/xen-blkback/xenbus.c, `DOMID.VDEV-RING`. Only a kernel thread counts, whose parent is number 2: any program
    can give itself such a name.
    """
    match = _THREAD.fullmatch(comm.strip())
    words = stat.rpartition(")")[2].split()
    return (int(match[1]), match[2]) if match and words[1:2] == ["2"] else None


def io_max(text: str) -> dict[str, dict[str, int]]:
    """io.max of a cgroup: device number -> the keys that are limited."""
    found = {}
    for line in text.splitlines():
        number, *words = line.split()
        found[number] = {key: int(value) for key, _is, value in (word.partition("=") for word in words) if value != "max"}
    return found


def qdiscs(text: str) -> dict[str, Qdisc]:
    """Device -> its root qdisc, of `tc -j qdisc show`."""
    found = {}
    for entry in json.loads(text or "[]"):
        if entry.get("root"):
            rate = entry.get("options", {}).get("rate") if entry["kind"] == "tbf" else None
            found[str(entry["dev"])] = Qdisc(entry["kind"], entry.get("handle", "0:"), None if rate is None else int(rate))
    return found


def tree(classes: str, filters: str) -> Tree:
    """The classes of `tc class show`, which knows no JSON on Debian 12, and the filters of `tc -j filter show`."""
    rates = {}
    for line in classes.splitlines():
        match = _CLASS.match(line)
        if match:
            rates[int(match[1], 16)] = (_mbps(match[2], match[3]), _mbps(match[4], match[5]))
    return Tree(rates, dict(_macs(json.loads(filters or "[]"))))


def _mbps(number: str, unit: str) -> int:
    return int(number) * _BITS[unit] // 10**6


def _macs(filters: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, int]]:
    for entry in filters:
        options = entry.get("options", {})
        mac = options.get("keys", {}).get("src_mac")
        if mac and "classid" in options:
            yield mac.lower(), int(options["classid"].rpartition(":")[2], 16)
