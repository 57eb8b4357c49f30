# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests, domains and what hosts tell, for the tests of moves."""
from __future__ import annotations

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.listing import Copy
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import Domain

RUNNING, PAUSED, SUSPENDED, POWERED_OFF, CRASHED, DYING = "-b----", "--p---", "---ss-", "---s--", "---sc-", "--ps-d"
HEADING = ("Name                                        ID   Mem VCPUs\tState\tTime(s)   UUID                            Reason-Code"
           "\tSecurity Label\n")
DOM0 = ("Domain-0                                     0   896     1     r-----     205.1 00000000-0000-0000-0000-000000000000        -"
        "                -\n")


def guest(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "memory_mib": 128, "disks": [{"path": f"/dev/shared/{name}"}], "networks": [{"bridge": "xenbr0"}],
            "boot": {"image": "lab"}, **more}


def uuid_of(name: str) -> str:
    return str(normalise(guest(name))["uuid"])


def copy(name: str, flags: str = RUNNING, seconds: float = 7.5, domid: int = 3, uuid: str | None = None, of: str = "web01") -> Copy:
    return Copy(name, domid, uuid or uuid_of(of), Domain(name, domid, 128, 1, flags, seconds).state, flags, seconds, 128)


def domain(name: str, flags: str = RUNNING, seconds: float = 7.5, domid: int = 3, **more: Any) -> dict[str, Any]:
    more.setdefault("of", name.partition("--")[0])
    return vars(copy(name, flags, seconds, domid, **more)).copy()


def row(copy: Copy) -> str:
    """A line of `xl list -v`."""
    reason = "2" if copy.suspended else "-"
    return (f"{copy.name:<40} {copy.domid:5d} {copy.memory_mib:5d} {1:5d}     {copy.flags}  {copy.seconds:8.1f} {copy.uuid} {reason:>8}"
            f" {'-':>16}\n")


def table(*copies: Copy) -> str:
    return HEADING + DOM0 + "".join(map(row, copies))


def size(**more: Any) -> dict[str, Any]:
    return {"type": "pvh", "memory_mib": 128, "maxmem_mib": 128, "maxvcpus": 1, "pci": [], "vnuma": False, **more}


def host(*domains: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What a host told."""
    names = [entry["name"] for entry in domains]
    return {"xen": True, "xen_version": "4.17.7", "free_mib": 1000, "virt_caps": ["pv", "hvm", "hap"], "domains": list(domains),
            "sizes": {name: size() for name in names}, "guests": {name.partition("--")[0]: "running" for name in names}, "keeps": [],
            "moving": [], "receiving": [], "missing": [], "deaf": {}, **more}


def move(step: int, workload: str, source: str | None, target: str, wave: int = 1, **more: Any) -> dict[str, Any]:
    return {"step": step, "wave": wave, "workload": workload, "from": source, "to": target, "method": "live" if source else "define",
            **more}


def plan(*moves: dict[str, Any]) -> dict[str, Any]:
    return {"schema": 1, "status": "optimal", "moves": list(moves)}


COMING, COMPLETE = "xenfold.coming=disk01:xen01", "xenfold.complete=disk01:xen01"
MOVED = "xenfold.moved=disk01:xen02:20261129T164305Z"


def volume(name: str, *tags: str, size_bytes: int = 8 * 2**20, group: str = "vg0") -> dict[str, Any]:
    """A logical volume as the module xl_move_info tells it."""
    return {"volume_group": group, "name": name, "size_bytes": size_bytes, "tags": list(tags)}
