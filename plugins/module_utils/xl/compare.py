# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest as it runs against a guest as it is wanted: what can change while it works, and what cannot."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest_spec import cpus_are_sound
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import commands, cpuid
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import stored_cpuid

Guest = Mapping[str, Any]
Config = Mapping[str, Any]

_RATE_INTERVAL_USECS = 50_000
"""xl's interval for a rate that names none (tools/libs/util/libxlu_vif.c)."""


@dataclass(frozen=True)
class LiveChange:
    """A change of a running guest: the command and how it is told."""

    guest: str
    key: str
    argv: list[str]
    action: Action


@dataclass(frozen=True)
class Pending:
    """What is wanted of a guest and not so. needs: what would bring it about."""

    guest: str
    key: str
    running: Any
    wanted: Any
    needs: str = "a stop and a new start of the guest"

    def line(self) -> str:
        return f"guest {self.guest!r}: {self.key} is {self.running!r}, wanted {self.wanted!r}; this needs {self.needs}"

    def data(self) -> dict[str, Any]:
        return {"guest": self.guest, "key": self.key, "running": self.running, "wanted": self.wanted, "needs": self.needs}


def sizes(config: Config) -> dict[str, int]:
    """What a running guest may have: vcpus, maxvcpus, memory_mib, maxmem_mib, cpu_weight, cap_percent.

    config: of `xl list -l`, where libxl puts the values of now in place of those of the start.
    """
    build = config.get("b_info", {})
    share = build.get("sched_params", {})
    return {
        "vcpus": len(build.get("avail_vcpus") or [0]),
        "maxvcpus": int(build.get("max_vcpus", 1)),
        "memory_mib": int(build.get("target_memkb", 0)) // 1024,
        "maxmem_mib": int(build.get("max_memkb", 0)) // 1024,
        "cpu_weight": int(share.get("weight", 256)),
        "cap_percent": int(share.get("cap", 0)),
    }


def scheduler_of(config: Config) -> str:
    """The scheduler of the guest's pool; Xen's default where xl leaves it out."""
    return str(config.get("b_info", {}).get("sched_params", {}).get("sched", "credit2"))


def live_changes(guest: Guest, config: Config) -> list[LiveChange]:
    """What can be changed while the guest works, within the limits it was started with."""
    name, now, scheduler = guest["name"], sizes(config), scheduler_of(config)
    changes: list[LiveChange] = []

    def change(key: str, argv: list[str], verb: str, detail: str) -> None:
        changes.append(LiveChange(name, key, argv, Action(verb, f"guest {name}", detail)))

    memory, vcpus = guest["memory_mib"], guest["vcpus"]
    if memory != now["memory_mib"] and memory <= now["maxmem_mib"]:
        change("memory_mib", commands.set_memory(name, memory), "resize", f"memory_mib {now['memory_mib']} -> {memory}")
    if vcpus != now["vcpus"] and vcpus <= now["maxvcpus"]:
        change("vcpus", commands.set_vcpus(name, vcpus), "resize", f"vcpus {now['vcpus']} -> {vcpus}")
    differing = [key for key in ("cpu_weight", "cap_percent") if guest[key] != now[key]]
    if differing and scheduler in commands.SCHEDULERS:
        argv = commands.set_share(scheduler, name, guest["cpu_weight"], guest["cap_percent"])
        change("cpu_weight", argv, "share", ", ".join(f"{key} {now[key]} -> {guest[key]}" for key in differing))
    return changes


def pending(guest: Guest, config: Config, stored: str | None) -> list[Pending]:
    """What differs and is not changed while the guest works, sorted as the definition is.

    stored: the text of the guest's xl.cfg on the host, where there is one.
    """
    now = sizes(config)
    found: list[Pending] = []
    build, create = config.get("b_info", {}), config.get("c_info", {})

    def compare(key: str, running: Any, wanted: Any) -> None:
        if running != wanted:
            found.append(Pending(guest["name"], key, running, wanted))

    compare("type", create.get("type"), guest["type"])
    compare("maxvcpus", now["maxvcpus"], guest["maxvcpus"])
    compare("maxmem_mib", now["maxmem_mib"], guest["maxmem_mib"])
    if guest["vcpus"] > now["maxvcpus"]:
        compare("vcpus", now["vcpus"], guest["vcpus"])
    if guest["memory_mib"] > now["maxmem_mib"]:
        compare("memory_mib", now["memory_mib"], guest["memory_mib"])
    if scheduler_of(config) not in commands.SCHEDULERS:
        for key in ("cpu_weight", "cap_percent"):
            compare(key, now[key], guest[key])
    cpus = _cpu_set(guest["cpus"])
    if cpus is not None:
        pinned = [sorted(cpu_set) for cpu_set in build.get("vcpu_hard_affinity") or []]
        if any(cpu_set != cpus for cpu_set in pinned) or not pinned:
            compare("cpus", pinned[0] if pinned else None, guest["cpus"])
    compare("cpuid", *_cpuid(guest, build, stored))
    for key in ("kernel", "ramdisk", "cmdline"):
        compare(f"boot.{key}", build.get(key), guest["boot"][key])
    for key in ("on_poweroff", "on_reboot", "on_crash"):
        event = str(config.get(key, "destroy")).replace("_", "-")
        # libxl's own name of it (libxl_types.idl), the other way round than that of xl.cfg.
        compare(key, "rename-restart" if event == "restart-rename" else event, guest[key])
    compare("tsc_mode", build.get("tsc_mode", "default"), guest["tsc_mode"])
    for key, running in _optional(create, build).items():
        if guest[key] is not None:
            compare(key, running, guest[key])
    compare("disks", [_disk(disk) for disk in config.get("disks", [])], [_wanted_disk(disk) for disk in guest["disks"]])
    compare("networks", _networks(config, guest), [_wanted_network(network) for network in guest["networks"]])
    return found


def _cpuid(guest: Guest, build: Config, stored: str | None) -> tuple[list[str], list[str]]:
    """What the guest was started with, and what is wanted.

    In the place of a form that this does not know, what was stored counts: so a change is told when it is made, and never again.
    """
    wanted = cpuid.canonical(guest["cpuid"] or [])
    running = cpuid.of_config(build.get("cpuid"))
    if running is None:
        running = wanted if stored is None else cpuid.canonical(stored_cpuid(stored))
    return running, wanted


def _optional(create: Config, build: Config) -> dict[str, Any]:
    """Settings that are compared only where the definition names them; libxl's default where the field is left out."""
    hvm, pvh = build.get("type.hvm") or {}, build.get("type.pvh") or {}
    vnc = (hvm.get("vnc") or {}).get("enable")
    return {
        "cpu_pool": create.get("pool_name", "Pool-0"),
        "max_grant_frames": build.get("max_grant_frames", 64),
        "max_event_channels": build.get("event_channels", 1023),
        "localtime": build.get("localtime") == "True",
        "pvshim": pvh.get("pvshim") == "True",
        "vga": (hvm.get("vga") or {}).get("kind", "cirrus").replace("std", "stdvga"),
        "vnc": vnc != "False",
    }


def _disk(disk: Config) -> dict[str, Any]:
    return {
        "vdev": disk.get("vdev"), "target": disk.get("pdev_path"), "format": disk.get("format", "raw"),
        "access": "rw" if disk.get("readwrite") else "ro",
    }


def _wanted_disk(disk: Guest) -> dict[str, Any]:
    return {key: disk[key] for key in ("vdev", "target", "format", "access")}


def _networks(config: Config, guest: Guest) -> list[dict[str, Any]]:
    """The cards that the guest was started with. A wanted rate counts as there: module_utils/limits sets it while the guest runs.

    One that was given up is told, for xl would bring it back when the guest reboots itself.
    """
    rates = {network["mac"]: network["rate_mbps"] for network in guest["networks"]}
    networks = sorted(config.get("nics", []), key=lambda nic: int(nic.get("devid", 0)))
    found = []
    for nic in networks:
        usecs = int(nic.get("rate_interval_usecs") or _RATE_INTERVAL_USECS)
        bits = int(nic.get("rate_bytes_per_interval", 0)) * 8 * 1_000_000 // usecs
        rate_mbps = rates.get(nic.get("mac")) or round(bits / 1_000_000) or None
        found.append({"mac": nic.get("mac"), "bridge": nic.get("bridge"), "rate_mbps": rate_mbps, "mtu": nic.get("mtu") or 1500})
    return found


def _wanted_network(network: Guest) -> dict[str, Any]:
    return {key: network[key] for key in ("mac", "bridge", "rate_mbps")} | {"mtu": network["mtu"] or 1500}


def _cpu_set(cpus: str | None) -> list[int] | None:
    """The CPUs of a list of numbers; None for `all`, for NUMA nodes, which only the host can resolve, and for what is no list."""
    if cpus is None or cpus == "all" or "node" in cpus or not cpus_are_sound(cpus):
        return None
    wanted: set[int] = set()
    for item in cpus.split(","):
        first, _dash, last = item.lstrip("^").partition("-")
        named = set(range(int(first), int(last or first) + 1))
        wanted = wanted - named if item.startswith("^") else wanted | named
    return sorted(wanted)
