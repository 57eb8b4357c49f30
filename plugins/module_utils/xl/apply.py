# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a host and carries out the steps for its guests; every wait is bounded."""
from __future__ import annotations

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import before
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import LiveChange
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl, destroy
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.cpus import Placing
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, INCOMING, LEFT, NAMELESS, Domain
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import Places, Steps
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.renew import renew
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError, start, wait
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render

Guest = Mapping[str, Any]

_BALLOON_TOLERANCE_MIB = 4
"""`xl list` shows what the guest has, which differs from the target by some pages."""


def read(xl: Xl, guests: Sequence[Guest], places: Places) -> xl_host.HostState:
    """The state of the host; without Xen, that of a host without guests."""
    running = xl_host.xen_runs()
    domains = xl.domains() if running else {}
    configs: Mapping[str, Any] = {}
    unfinished: dict[str, int] = {}
    arriving: dict[str, Domain] = {}
    if any(domain.never_ran and not domain.name.endswith((INCOMING, LEFT)) for domain in domains.values()):
        # Asked again once it is clear that a creation has ended: of what was seen before, nothing could be concluded.
        ended = {guest["name"] for guest in guests if xl_host.given_up(guest["name"])}
        domains, configs = xl.domains(), xl.configs()
        unfinished, arriving = _half_there(guests, domains, xl.uuids(), configs, ended)
    elif set(domains) - {DOM0}:
        configs = xl.configs()
    configs = xl_host.with_wanted_paths(configs, guests)
    judged = {*unfinished.values(), *(domain.domid for domain in arriving.values())}
    domains = {name: domain for name, domain in domains.items() if domain.domid not in judged} | arriving
    links, entries = xl_host.read_links(places.autostart_dir)
    return xl_host.HostState(
        xen_runs=running,
        domains=domains,
        configs=configs,
        texts=read_texts(places.config(guest["name"]) for guest in guests),
        links=links,
        entries=entries,
        missing=xl_host.missing(need for guest in guests for need in xl_host.needs_of(guest)),
        unfinished=unfinished,
        ordered=xl_host.read_ordered(guests, domains),
        placing=_placing(xl, guests, configs) if running else Placing(),
    )


def _placing(xl: Xl, guests: Sequence[Guest], configs: Mapping[str, Any]) -> Placing:
    """What there is to know of CPUs and pools: nothing of what no guest's definition names."""
    pinned = [guest["name"] for guest in guests if guest["cpus"]]
    pooled = [guest["name"] for guest in guests if guest["cpu_pool"]]
    return Placing(
        nodes=xl.topology() if pinned else {},
        allowed=xl.affinities() if any(name in configs for name in pinned) else {},
        pools=xl.pools_of_domains() if any(name in configs for name in pooled) else {},
        schedulers=xl.pools() if pooled else {},
    )


def _half_there(
    guests: Iterable[Guest], domains: Mapping[str, Domain], uuids: Mapping[int, str], configs: Mapping[str, Any], ended: Collection[str],
) -> tuple[dict[str, int], dict[str, Domain]]:
    """Guest -> domid, where a creation was killed: the domain has the guest's uuid, it never ran, and this module began to build it and no
    longer does (`ended`). And domains without a name yet that somebody may be building, by their name to be.

    A domain has a configuration once it is whole (domcreate_complete in libxl_create.c). It then may be a guest that was restored or has
    moved here and waits for its first unpause, with all that it had in memory.
    """
    unfinished: dict[str, int] = {}
    arriving: dict[str, Domain] = {}
    waiting = [domain for domain in domains.values() if domain.never_ran and domain.name not in configs]
    for guest, domain in ((guest, domain) for guest in guests for domain in waiting if uuids.get(domain.domid) == guest["uuid"]):
        name = guest["name"]
        if domain.name in (name, NAMELESS) and name in ended:
            unfinished[name] = domain.domid
        elif domain.name == NAMELESS:
            arriving[name + INCOMING] = dataclasses.replace(domain, name=name + INCOMING)
    return unfinished, arriving


def refused(xl: Xl, guests: Iterable[Guest], steps: Steps, places: Places) -> list[str]:
    """What xl's own parser says against configurations that are to be written or started."""
    anew = [*steps.start, *(renewal.guest for renewal in steps.renew)]
    concerned = {file.path for file in steps.files} | {places.config(name) for name in anew}
    errors = []
    with scratch() as directory:
        for guest in guests:
            if places.config(guest["name"]) not in concerned:
                continue
            path = f"{directory}/{guest['name']}.cfg"
            write_atomically(WantedFile(path, render(guest), 0o600))
            said = xl.try_out(path)
            if said:
                errors.append(f"guest {guest['name']!r}: xl does not take its configuration: {said}")
    return errors


def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="xenfold-guests-")


def write(steps: Steps, places: Places) -> None:
    """Stored configurations and autostart links."""
    for file in steps.files:
        write_atomically(file)
    for path in steps.unlink:
        os.unlink(path)
    if steps.link:
        os.makedirs(places.autostart_dir, exist_ok=True)
    for path, target in steps.link.items():
        os.symlink(target, path)


def change_live(xl: Xl, changes: Iterable[LiveChange]) -> None:
    """Changes of running guests. A device that a guest does not let go of stays, and none of its kind comes; nothing is forced."""
    kept = set()
    for change in changes:
        if change.detaches:
            if xl.ask_guest(change.argv):
                kept.add((change.guest, change.key))
        elif (change.guest, change.key) not in kept:
            xl.change(change.argv)


def clear(xl: Xl, steps: Steps, wait_seconds: int) -> None:
    """Take away what killed creations have left."""
    for name, domid in steps.clear.items():
        if not xl_host.given_up(name):
            raise GuestError(f"guest {name!r}: another run is just creating it (domain {domid}); run again when that has ended")
        xl.change(destroy(domid))
    if steps.clear:
        left = set(steps.clear.values())
        domains = wait(xl, lambda there: not left & {domain.domid for domain in there.values()}, wait_seconds)
        for name, domid in steps.clear.items():
            if any(domain.domid == domid for domain in domains.values()):
                raise GuestError(f"guest {name!r}: domain {domid}, whose creation was cut off, is still there {wait_seconds} s after it"
                                 " was destroyed; see xl list and xl dmesg")


def carry_out(
    xl: Xl, guests: Sequence[Guest], steps: Steps, places: Places, stop_seconds: int, wait_seconds: int
) -> list[str]:
    """All steps in their order; what guests did not do in time, one line each. Raises GuestError when one cannot be started."""
    write(steps, places)
    for path in steps.withdraw.values():
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    change_live(xl, steps.live)
    clear(xl, steps, wait_seconds)
    starting = [guest for guest in guests if guest["name"] in steps.start]
    start_all(xl, [guest for guest in starting if guest["name"] not in steps.late], places, wait_seconds)
    left = renew(xl, guests, steps, places, stop_seconds, wait_seconds)
    start_all(xl, [guest for guest in starting if guest["name"] in steps.late], places, wait_seconds)
    return [*left, *not_followed(xl, guests, steps, wait_seconds)]


def start_all(xl: Xl, guests: Iterable[Guest], places: Places, wait_seconds: int) -> None:
    """Start guests one after another; one that cannot be started keeps no other from it. Raises GuestError with all of those."""
    errors = []
    for guest in guests:
        path = places.config(guest["name"])
        try:
            start(xl, guest, path, wait_seconds)
        except GuestError as error:
            errors.append(f"{error}{before.hint(path)}")
        else:
            before.forget(path)
    if errors:
        raise GuestError("; ".join(errors))


def not_followed(xl: Xl, guests: Sequence[Guest], steps: Steps, wait_seconds: int) -> list[str]:
    """Guests that did not take up a new size in time: they have to balloon and to switch vCPUs themselves."""
    keys = {(change.guest, change.key) for change in steps.live}

    def behind(domains: Mapping[str, Domain]) -> list[str]:
        lines = []
        for guest in guests:
            domain = domains.get(guest["name"])
            if domain is None:
                continue
            if (domain.name, "memory_mib") in keys and abs(domain.memory_mib - guest["memory_mib"]) > _BALLOON_TOLERANCE_MIB:
                lines.append(f"guest {domain.name!r}: has {domain.memory_mib} MiB {wait_seconds} s after it was told to have "
                             f"{guest['memory_mib']} MiB")
            if (domain.name, "vcpus") in keys and domain.vcpus != guest["vcpus"]:
                lines.append(f"guest {domain.name!r}: uses {domain.vcpus} vCPUs {wait_seconds} s after it was told to use "
                             f"{guest['vcpus']}; its own system has to switch them")
        return lines

    if not keys & {(guest["name"], key) for guest in guests for key in ("memory_mib", "vcpus")}:
        return []
    return behind(wait(xl, lambda domains: not behind(domains), wait_seconds))
