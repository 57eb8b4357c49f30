# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a guest asks of a host, from its definition and what was measured of it."""
from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import meta_size_gib
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.capacity import EXTENT_MIB, at_least, tidy
from ansible_collections.xenfold.consolidation.plugins.module_utils.sizing.memory import DEFAULT_GRANT_FRAMES, footprint_mib

Demand = float | list[float]

DOM0_CORES_PER_MBPS = 0.15 / 1000
DOM0_CORES_PER_IOPS = 0.015 / 1000
"""dom0's work for guests' I/O: 0.15 core per Gbit/s (netback) and 15 microseconds per request (blkback).

Estimates to start from; the linear form follows Wood, Cherkasova et al., "Profiling and Modeling Resource Usage of
Virtualized Applications" (Middleware 2008). To be calibrated with `xentop` of dom0 against packets and requests.
"""


def guest_memory_mib(guest: Mapping[str, Any]) -> int:
    """Memory that a guest takes of its host; guest: as checked by guest/check.py, `maxvcpus` and `maxmem_mib` may be missing."""
    memory = int(guest["memory_mib"])
    return footprint_mib(
        memory,
        int(guest.get("maxmem_mib") or memory),
        int(guest.get("maxvcpus") or guest.get("vcpus") or 1),
        str(guest.get("type") or "pvh"),
        int(guest.get("max_grant_frames") or DEFAULT_GRANT_FRAMES),
        shim=bool(guest.get("pvshim")),
    )


def guest_disk_gib(guest: Mapping[str, Any]) -> dict[str, float]:
    """GiB of each volume group that a guest's disks take, with DRBD's own data of replicated ones, each rounded up to whole extents."""
    sizes: dict[str, float] = {}
    for disk in guest.get("disks") or []:
        if disk.get("volume_group") and disk.get("size_gib") is not None:
            volumes_gib = [float(disk["size_gib"])]
            volumes_gib += [] if disk.get("drbd_minor") is None else [meta_size_gib(volumes_gib[0])]
            extents = sum(math.ceil(round(size_gib * 1024 / EXTENT_MIB, 6)) for size_gib in volumes_gib)
            sizes[str(disk["volume_group"])] = sizes.get(str(disk["volume_group"]), 0.0) + extents * EXTENT_MIB / 1024
    return {name: at_least(size) for name, size in sorted(sizes.items())}


def dom0_cores(disk_iops: Demand, network_mbps: Demand) -> Demand:
    """Cores of dom0 that serve a guest's I/O; a series when either is one (both of one length then)."""
    lengths = [len(demand) for demand in (disk_iops, network_mbps) if isinstance(demand, list)]
    if not lengths:
        return _dom0_cores(_at(disk_iops, 0), _at(network_mbps, 0))
    return [_dom0_cores(_at(disk_iops, slot), _at(network_mbps, slot)) for slot in range(min(lengths))]


def _at(demand: Demand, slot: int) -> float:
    return demand[slot] if isinstance(demand, list) else demand


def _dom0_cores(iops: float, mbps: float) -> float:
    return tidy(iops * DOM0_CORES_PER_IOPS + mbps * DOM0_CORES_PER_MBPS)


def demand_of(workload: Mapping[str, Any]) -> dict[str, Demand]:
    """Demand of a workload per resource, sorted by name, without zeros.

    workload: an item of estate_workloads, checked. What it types in `demand` stands; memory and disk follow from its
    definition; CPU that was never measured is taken as all its vCPUs; dom0's share follows from its I/O.
    """
    demand: dict[str, Demand] = {str(key): value for key, value in (workload.get("demand") or {}).items()}
    if workload.get("memory_mib") is not None:
        demand["memory_mib"] = guest_memory_mib(workload)
    disks = guest_disk_gib(workload)
    if disks:
        demand["disk_gib"] = at_least(sum(disks.values()))
    if "cpu_cores" not in demand and workload.get("vcpus") is not None:
        demand["cpu_cores"] = workload["vcpus"]
    demand.setdefault("dom0_cores", dom0_cores(demand.get("disk_iops", 0), demand.get("network_mbps", 0)))
    return {name: _plain(value) for name, value in sorted(demand.items()) if _largest(value) > 0}


def _plain(value: Demand) -> Demand:
    return [tidy(slot) for slot in value] if isinstance(value, list) else tidy(value)


def _largest(value: Demand) -> float:
    return max(value) if isinstance(value, list) else value
