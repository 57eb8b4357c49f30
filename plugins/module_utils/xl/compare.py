# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A guest as it runs against a guest as it is wanted: what can change while it works, and what cannot."""
from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import commands, cpuid
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import REBOOT, RECREATE, LiveChange, Pending
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.cpus import Placing, differing, problem
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import pci_text, stored_cpuid

Guest = Mapping[str, Any]
Config = Mapping[str, Any]

EVENTS = ("on_poweroff", "on_reboot", "on_crash")
_NEW_SHARE = {"cpu_weight": 256, "cap_percent": 0}
"""What a guest has in a CPU pool that it has just come to."""


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


def memory_is(memory_mib: int, config: Config) -> bool:
    """Whether a memory is what the guest was told to have.

    Of an HVM guest that can grow, xl starts with a target that is 1 MiB less, adds that MiB when it shows the target, and does not take it
    off when it sets one (libxl__get_targetmem_fudge in libxl_internal.h, libxl_set_memory_target in libxl_mem.c).
    """
    shown = sizes(config)["memory_mib"]
    return shown == memory_mib or (config.get("c_info", {}).get("type") == "hvm" and shown == memory_mib + 1)


def _keeps_vcpus(guest: Guest, config: Config) -> bool:
    """Whether the vCPUs that are on have to stay on while the guest works: QEMU takes none away (libxl_set_vcpuonline)."""
    return guest["type"] == "hvm" and guest["vcpus"] < sizes(config)["vcpus"]


def scheduler_of(config: Config) -> str:
    """The scheduler of the guest's pool; Xen's default where xl leaves it out."""
    return str(config.get("b_info", {}).get("sched_params", {}).get("sched", "credit2"))


def live_changes(guest: Guest, config: Config, placing: Placing) -> list[LiveChange]:
    """What can be changed of size and CPUs while the guest works, within the limits it was started with, in the order in which it must be
    done: another pool takes its share and its CPUs from a guest."""
    name, now, scheduler = guest["name"], sizes(config), scheduler_of(config)
    changes: list[LiveChange] = []

    def change(key: str, argv: list[str], verb: str, detail: str) -> None:
        changes.append(LiveChange(name, key, argv, Action(verb, f"guest {name}", detail)))

    memory, vcpus = guest["memory_mib"], guest["vcpus"]
    if not memory_is(memory, config) and memory <= now["maxmem_mib"]:
        change("memory_mib", commands.set_memory(name, memory), "resize", f"memory_mib {now['memory_mib']} -> {memory}")
    if vcpus != now["vcpus"] and vcpus <= now["maxvcpus"] and not _keeps_vcpus(guest, config):
        change("vcpus", commands.set_vcpus(name, vcpus), "resize", f"vcpus {now['vcpus']} -> {vcpus}")
    pool = guest["cpu_pool"]
    moves = bool(pool) and placing.pools.get(name, pool) != pool and pool in placing.schedulers
    if moves:
        change("cpu_pool", commands.move_to_pool(name, pool), "move", f"cpu_pool {placing.pools[name]} -> {pool}")
        now, scheduler = now | _NEW_SHARE, placing.schedulers[pool]
    different = [key for key in ("cpu_weight", "cap_percent") if guest[key] != now[key]]
    if different and scheduler in commands.SCHEDULERS:
        argv = commands.set_share(scheduler, name, guest["cpu_weight"], guest["cap_percent"])
        change("cpu_weight", argv, "share", ", ".join(f"{key} {now[key]} -> {guest[key]}" for key in different))
    shown = placing.allowed.get(name)
    if guest["cpus"] and shown and not problem(guest["cpus"], placing.nodes):
        other = differing(guest["cpus"], ["all"] if moves else shown, placing.nodes)
        if other is not None:
            change("cpus", commands.pin(name, guest["cpus"]), "pin", f"cpus {other} -> {guest['cpus']}")
    return changes


def pending(guest: Guest, config: Config, stored: str | None) -> list[Pending]:
    """What differs and is not changed while the guest works, sorted as the definition is; without disks and networks.

    stored: the text of the guest's xl.cfg on the host, where there is one.
    """
    now = sizes(config)
    found: list[Pending] = []
    build, create = config.get("b_info", {}), config.get("c_info", {})

    def compare(key: str, running: Any, wanted: Any, by: str = REBOOT) -> None:
        if running != wanted:
            found.append(Pending.of(guest["name"], key, running, wanted, by))

    compare("type", create.get("type"), guest["type"], RECREATE)
    compare("maxvcpus", now["maxvcpus"], guest["maxvcpus"])
    compare("maxmem_mib", now["maxmem_mib"], guest["maxmem_mib"])
    if guest["vcpus"] > now["maxvcpus"] or _keeps_vcpus(guest, config):
        compare("vcpus", now["vcpus"], guest["vcpus"])
    if guest["memory_mib"] > now["maxmem_mib"]:
        compare("memory_mib", now["memory_mib"], guest["memory_mib"])
    if scheduler_of(config) not in commands.SCHEDULERS:
        found += [Pending(guest["name"], key, now[key], guest[key], "a CPU pool with the scheduler credit or credit2")
                  for key in _NEW_SHARE if now[key] != guest[key]]
    compare("cpuid", *_cpuid(guest, build, stored))
    for key in ("kernel", "ramdisk", "cmdline"):
        compare(f"boot.{key}", build.get(key), guest["boot"][key])
    for key in EVENTS:
        compare(key, event(config, key), guest[key])
    compare("tsc_mode", build.get("tsc_mode", "default"), guest["tsc_mode"])
    compare("driver_domain", create.get("driver_domain") == "True", bool(guest["driver_domain"]), RECREATE)
    for key, running in optional(build).items():
        if guest[key] is not None:
            compare(key, running, guest[key])
    compare("pci", sorted(map(pci_text, pci_devices(config))), sorted(map(pci_text, guest["pci"])))
    return found


def event(config: Config, key: str) -> str:
    """What happens on an event, in the words of xl.cfg. libxl has one of its own (libxl_types.idl), the other way round."""
    shown = str(config.get(key, "destroy")).replace("_", "-")
    return "rename-restart" if shown == "restart-rename" else shown


def ways_of(config: Config) -> tuple[str, ...]:
    """By which the running guest can be started anew: a reboot starts none that is to be destroyed then, and a shutdown ends none that is
    to be restarted or kept then."""
    reboots, ends = event(config, "on_reboot") == "restart", event(config, "on_poweroff") == "destroy"
    return (REBOOT,) * reboots + (RECREATE,) * ends


def by_events(waiting: Iterable[Pending], config: Config) -> list[Pending]:
    """The same with what the events of the running guest allow."""
    ways = ways_of(config)
    found = []
    for entry in waiting:
        by = RECREATE if entry.by == REBOOT and REBOOT not in ways else entry.by
        if by == RECREATE and RECREATE not in ways:
            found.append(dataclasses.replace(entry, by=None, needs=(
                f"a stop and a new start of the guest by hand: on_poweroff of what runs is {event(config, 'on_poweroff')!r}")))
        else:
            found.append(dataclasses.replace(entry, by=by))
    return found


def by_clients(waiting: Iterable[Pending], clients: Sequence[str]) -> list[Pending]:
    """The same with what the guests allow that a driver domain serves: no consent for it is one for them, and xl connects them to nothing
    that starts anew."""
    needs = f"a stop and a new start of the guest and of those that it serves ({', '.join(clients)}), which lose their devices, by hand"
    return [dataclasses.replace(entry, by=None, needs=needs) if clients and entry.by in (REBOOT, RECREATE) else entry for entry in waiting]


def pci_devices(config: Config) -> list[dict[str, Any]]:
    """The PCI devices of the guest as a definition has them."""
    found = []
    for device in config.get("pcidevs") or config.get("pcis") or []:
        place = device.get("bdf") or device
        domain, bus, dev, func = (int(place.get(key) or 0) for key in ("domain", "bus", "dev", "func"))
        found.append({"address": f"{domain:04x}:{bus:02x}:{dev:02x}.{func:x}", "permissive": bool(device.get("permissive"))})
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


def optional(build: Config) -> dict[str, Any]:
    """Settings that are compared only where the definition names them; libxl's default where the field is left out."""
    hvm, pvh = build.get("type.hvm") or {}, build.get("type.pvh") or {}
    vnc = (hvm.get("vnc") or {}).get("enable")
    return {
        "max_grant_frames": build.get("max_grant_frames", 64),
        "max_event_channels": build.get("event_channels", 1023),
        "localtime": build.get("localtime") == "True",
        "pvshim": pvh.get("pvshim") == "True",
        "firmware": "uefi" if hvm.get("bios") == "ovmf" else "bios",
        "vga": (hvm.get("vga") or {}).get("kind", "cirrus").replace("std", "stdvga"),
        "vnc": vnc != "False",
    }
