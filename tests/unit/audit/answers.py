# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What two hosts of a pool answer when all is well."""
from __future__ import annotations

import copy
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.md.arrays import array_uuid

IN_ORDER: dict[str, Any] = {"changed": False, "actions": [], "diff": {"before": "", "after": ""}}
VERSIONS = {"xen": "4.17.7 (build 151b373fd64b)", "kernel": "6.1.0-28-amd64 (Debian 6.1.119-1)", "distribution": "12.11",
            "cpu_model": "AMD EPYC", "microcode": "0x1000065"}
# Six words: fpu, sse3, syscall, lahf-lm, xsaveopt, avx2.
CPU = {"vendor": "AuthenticAMD", "hvm": "00000001:00000001:00000800:00000001:00000001:00000020"}
LEVEL = {"vendor": "AuthenticAMD", "features": "00000001:00000001:00000800:00000001:00000001:00000020", "hidden": ["avx512f"]}
SIZES = {"estate_host": {"cpu_cores": 16, "memory_mib": 65536}, "dom0_vcpus": 2, "dom0_memory_mib": 4096}
"""Of which the planner counts on 14 CPUs and 60453 MiB."""
CAPACITY = {"cpus": 16, "total_memory_mib": 65520, "free_memory_mib": 52500, "dom0_vcpus": 2,
            "guests": [{"name": "web01", "memory_mib": 8192, "vcpus": 2}]}


READ: dict[str, Any] = {
    "contains_secrets": False,
    "estate": {
        "name": "lab",
        "guests": {name: {"name": name, "state": "running", "autostart": 10} for name in ("web01", "web02", "db01")},
        "problem": {
            "hosts": [{"name": name, "capacity": {"memory_mib": 4096}} for name in ("xen01", "xen02")],
            "workloads": [{"name": name, "demand": {"memory_mib": 512}} for name in ("db01", "old9", "web01", "web02")],
            "rules": [], "policy": {}},
    },
}
"""What the module estate returns: three guests, and old9, which is for planning only."""
RUNS = {"xen01": ["web01"], "xen02": ["web02", "db01"]}
PLACEMENT = {"web01": "xen01", "web02": "xen02", "db01": "xen02", "old9": "xen01"}


def domain(name: str, domid: int, **other: Any) -> dict[str, Any]:
    return {"name": name, "domid": domid, "state": "running", "memory_mib": 512, "vcpus": 1, "uuid": f"uuid-of-{name}",
            "disks": [f"/dev/vg0/{name}-root"], **other}


def guest_info(*names: str) -> dict[str, Any]:
    """What xl_guest_info tells of a host with some guests, stored and started with it as they should be."""
    return {
        "changed": False, "xen_version": "4.17.7", "guests": dict.fromkeys(names, "running"),
        "domains": [domain(name, number) for number, name in enumerate(names, 1)],
        "links": {f"10-{name}": f"/etc/xen/guests/{name}.cfg" for name in names},
        "stored": {name: {"disks": [f"/dev/vg0/{name}-root"]} for name in names},
    }


def good(host: str) -> dict[str, Any]:
    """The answers of one host."""
    members = [{"device": f"vd{'abcde'[number]}", "serial": f"D{number}", "state": "active"} for number in range(1, 5)]
    return {
        "host": {
            "changed": False,
            "arrays": [{"kernel_device": "md127", "name": "guests", "uuid": array_uuid(host, "guests"), "state": "active",
                        "level": "raid10", "slots": 4, "working": 4, "sync": None, "members": members}],
            "bonds": [{"name": "bond0", "mode": "IEEE 802.3ad Dynamic link aggregation", "ports": 2, "partner": "e2:dc:09:af:12:43",
                       "members": [{"name": name, "link": True, "aggregated": True} for name in ("eth1", "eth2")]}],
            "versions": dict(VERSIONS), "cpu": dict(CPU), "capacity": copy.deepcopy(CAPACITY),
            "reboot": [], "guard": {"step": "confirmed", "units": [], "boot_unit": False}, "unasked": [],
        },
        "dom0": {**IN_ORDER, "reboot_reasons": [], "guests": ["web01"]},
        "network": {**IN_ORDER, "unsettled": False},
        "arrays": {**IN_ORDER, "arrays": []},
        "volumes": {**IN_ORDER, "volumes": []},
        "iscsi": {**IN_ORDER, "devices": {}},
        "guest_info": guest_info(*RUNS.get(host, [])),
        "guest_volumes": {**IN_ORDER, "volumes": []},
        "guests": {**IN_ORDER, "diff": [], "guests": {}, "pending": [], "unmanaged": [], "limits": {}},
        "wanted": {"pool": "a", "cpu_levels": {"a": dict(LEVEL)}, "sizes": copy.deepcopy(SIZES),
                   "arrays": [{"name": "guests", "level": 10, "members": [
            {"id": f"virtio-D{number}", "serial": f"D{number}"} for number in range(1, 5)]}]},
    }


def changed(answers: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The answers with other values at dotted paths (`host.arrays.0.working`); the text `(gone)` takes the key away."""
    answers = copy.deepcopy(answers)
    for path, value in changes.items():
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        place: Any = answers
        for step in steps:
            place = place[step]
        if value == "(gone)":
            del place[last]
        else:
            place[last] = value
    return answers
