# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host offers to guests, from the variables that configure it.

All functions are pure and take checked variables (see module_utils/estate); units are in the names.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.dom0_spec import memory_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing import memory

Item = Mapping[str, Any]

READ_SHARE = 0.7
"""Share of reads among the I/O operations that a capacity in IOPS is given for."""
LINK_SHARE = 0.8
"""Share of a bond's links that can be filled: hashing spreads flows over the links unevenly."""
DOM0_SHARE, DOM0_BASE_CORES = 0.7, 0.1
"""dom0 saturates before its vCPUs do: it is filled to 70 %, of which 0.1 core is its own."""
PARTITION_MARGIN_MIB, PARTITION_START_MIB = 100, 1
"""Room counted as left at the end of each member for slightly smaller replacements where an array has no `margin_mib`, and at its
beginning for a partition table."""
EXTENT_MIB = 4
"""Size of the physical extents of a volume group (the default of vgcreate(8))."""
CHUNK_KIB = 512
"""Default chunk of mdadm(8); LVM aligns its extents to a full stripe."""
MD_PREFIX = "/dev/md/"
STRIPED = (0, 5, 6, 10)


@dataclass
class HostCapacity:
    """values: capacity per resource; sources: how each came about, in words; volume_groups_gib: size of each volume group;
    unknown: resource that could follow but does not -> (steps to the item that lacks something, what it lacks).
    """

    values: dict[str, float] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    volume_groups_gib: dict[str, float] = field(default_factory=dict)
    unknown: dict[str, tuple[tuple[str | int, ...], str]] = field(default_factory=dict)

    def put(self, resource: str, value: float, source: str) -> None:
        self.values[resource] = at_most(value)
        self.sources[resource] = source


def tidy(value: float) -> float:
    """A number as it goes into files: whole numbers as int, others with six decimals at most."""
    rounded = round(float(value), 6)
    return int(rounded) if rounded.is_integer() else rounded


def at_most(value: float) -> float:
    """Like tidy, but never more than the value: for what hosts offer."""
    return tidy(math.floor(round(value * 1e6, 3)) / 1e6)


def at_least(value: float) -> float:
    """Like tidy, but never less than the value: for what guests take."""
    return tidy(math.ceil(round(value * 1e6, 3)) / 1e6)


def data_members(level: int, members: int) -> float:
    """How many members' worth of data an array of `members` holds (level 10: near-2, odd numbers allowed)."""
    return {0: members, 1: 1, 5: members - 1, 6: members - 2, 10: members / 2}[level]


def write_penalty(level: int, members: int) -> int:
    """Operations on members that one small write costs: every mirror, or read and write of data and parity."""
    return {0: 1, 1: members, 5: 4, 6: 6, 10: 2}[level]


def member_data_mib(size_gib: float, margin_mib: float = PARTITION_MARGIN_MIB) -> int:
    """What md stores on a member of this size: the partition less md's data offset.

    Source: mdadm super1.c, validate_geometry1: metadata and bitmap, and headroom for reshapes of 128 MiB, halved until it is
    at most a thousandth of the member, rounded up to 1 MiB.
    """
    partition_mib = size_gib * 1024 - margin_mib - PARTITION_START_MIB
    headroom_mib = 128.0
    while headroom_mib * 1024 > partition_mib and headroom_mib > 0.5:
        headroom_mib /= 2
    return max(0, math.floor(partition_mib - math.ceil(headroom_mib + 0.14)))


def array_size_mib(array: Item) -> int:
    """Usable size of an array: its smallest member counts for all."""
    members = array["members"]
    margin_mib = float(array.get("margin_mib") or PARTITION_MARGIN_MIB)
    smallest = min(member_data_mib(float(member["size_gib"]), margin_mib) for member in members)
    return math.floor(data_members(int(array["level"]), len(members)) * smallest)


def array_iops(array: Item, read_share: float = READ_SHARE) -> float:
    """I/O operations per second of an array under a mix with `read_share` reads: its slowest member counts for all."""
    members = array["members"]
    raw = len(members) * min(float(member["iops"]) for member in members)
    return raw / (read_share + (1 - read_share) * write_penalty(int(array["level"]), len(members)))


def physical_volume_mib(array: Item) -> int:
    """What a volume group gets of an array: whole extents behind LVM's metadata, which is aligned to a full stripe."""
    level = int(array["level"])
    chunk_mib = (array.get("chunk_kib") or CHUNK_KIB) / 1024
    stripe_mib = chunk_mib * data_members(level, len(array["members"])) if level in STRIPED else 0
    return max(0, math.floor((array_size_mib(array) - max(1.0, stripe_mib)) / EXTENT_MIB)) * EXTENT_MIB


def array_of(device: str, arrays: Sequence[Item]) -> Item | None:
    """The array that a device of a volume group names, if it is one of the host's."""
    return next((array for array in arrays if device == MD_PREFIX + str(array["name"])), None)


def bond_mbps(bond: Item) -> float:
    """What a bond carries: links that can carry traffic at once, at 80 %."""
    links = 1 if bond["mode"] == "active-backup" else len(bond["members"])
    return links * float(bond["link_mbps"]) * LINK_SHARE


def carrying_bonds(bonds: Sequence[Item], vlans: Sequence[Item], bridges: Sequence[Item]) -> list[Item]:
    """The bonds below at least one bridge, each once, in their order."""
    link_of = {vlan["name"]: vlan["link"] for vlan in vlans}
    carriers = {link_of.get(bridge.get("port"), bridge.get("port")) for bridge in bridges}
    return [bond for bond in bonds if bond["name"] in carriers]


def capacity_of(host: Mapping[str, Any]) -> HostCapacity:
    """Capacity of a host from its variables; what `estate_host.capacity` names overrides what follows from the rest."""
    told = host.get("estate_host") or {}
    result = HostCapacity()
    _processor_and_memory(result, host, told)
    _disks(result, host.get("storage_arrays") or [], host.get("storage_volume_groups") or [])
    _network(result, host)
    for resource, value in sorted((told.get("capacity") or {}).items()):
        result.put(str(resource), value, "estate_host.capacity")
        result.unknown.pop(resource, None)
    return result


def link_limit_mbps(host: Mapping[str, Any]) -> float | None:
    """Speed that one flow between guests of different hosts never exceeds: the slowest link below a bridge."""
    bonds = carrying_bonds(*_networks(host))
    speeds = [float(bond["link_mbps"]) for bond in bonds if bond.get("link_mbps")]
    return tidy(min(speeds)) if speeds else None


def _networks(host: Mapping[str, Any]) -> tuple[Sequence[Item], Sequence[Item], Sequence[Item]]:
    return (host.get("network_bonds") or [], host.get("network_vlans") or [], host.get("network_bridges") or [])


def _processor_and_memory(result: HostCapacity, host: Mapping[str, Any], told: Item) -> None:
    vcpus, dom0_memory = host.get("dom0_vcpus"), host.get("dom0_memory_mib")
    if vcpus is not None:
        result.put("dom0_cores", max(0.0, DOM0_SHARE * float(vcpus) - DOM0_BASE_CORES),
                   f"{DOM0_SHARE:.0%} of dom0_vcpus less {DOM0_BASE_CORES}")
        if told.get("cpu_cores") is not None:
            result.put("cpu_cores", max(0.0, float(told["cpu_cores"]) - float(vcpus)), "estate_host.cpu_cores less dom0_vcpus")
    if told.get("memory_mib") is not None and dom0_memory is not None:
        result.put("memory_mib", memory.guests_memory_mib(float(told["memory_mib"]), float(memory_of(dom0_memory, told["memory_mib"]))),
                   f"estate_host.memory_mib less dom0_memory_mib less {memory.XEN_SHARE:.1%} and {memory.XEN_FIXED_MIB} MiB")


def _disks(result: HostCapacity, arrays: Sequence[Item], volume_groups: Sequence[Item]) -> None:
    sizes_mib: dict[str, int] = {}
    iops = 0.0
    for position, group in enumerate(volume_groups):
        size_mib = 0
        for device in group["devices"]:
            array = array_of(str(device), arrays)
            if array is None:
                problem = f"volume group '{group['name']}': devices: value '{device}', allowed arrays of storage_arrays"
                for resource in ("disk_gib", "disk_iops"):
                    result.unknown.setdefault(resource, (("storage_volume_groups", position), problem))
                continue
            _note_missing(result, arrays, array, "size_gib", "disk_gib")
            _note_missing(result, arrays, array, "iops", "disk_iops")
            size_mib += 0 if "disk_gib" in result.unknown else physical_volume_mib(array)
            iops += 0 if "disk_iops" in result.unknown else array_iops(array)
        sizes_mib[str(group["name"])] = size_mib
    if volume_groups and "disk_gib" not in result.unknown:
        result.put("disk_gib", sum(sizes_mib.values()) / 1024, f"volume groups {', '.join(sizes_mib)} on their arrays")
        result.volume_groups_gib = {name: at_most(size_mib / 1024) for name, size_mib in sizes_mib.items()}
    if volume_groups and "disk_iops" not in result.unknown:
        result.put("disk_iops", math.floor(iops), f"arrays' members by level, {READ_SHARE:.0%} reads")


def _note_missing(result: HostCapacity, arrays: Sequence[Item], array: Item, key: str, resource: str) -> None:
    """Remember the first member that does not say what a resource follows from."""
    for number, member in enumerate(array["members"]):
        if member.get(key) is None:
            steps = ("storage_arrays", arrays.index(array), "members", number)
            text = f"array '{array['name']}': members[{number}].{key}: missing, allowed a number"
            result.unknown.setdefault(resource, (steps, text))


def _network(result: HostCapacity, host: Mapping[str, Any]) -> None:
    bonds = carrying_bonds(*_networks(host))
    for bond in bonds:
        if bond.get("link_mbps") is None:
            place = ("network_bonds", _networks(host)[0].index(bond))
            text = f"bond '{bond['name']}': link_mbps: missing, allowed a number"
            result.unknown.setdefault("network_mbps", (place, text))
    if bonds and "network_mbps" not in result.unknown:
        names = ", ".join(str(bond["name"]) for bond in bonds)
        result.put("network_mbps", sum(bond_mbps(bond) for bond in bonds), f"bonds {names} at {LINK_SHARE:.0%} of their links")
