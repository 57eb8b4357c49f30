# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a host and carries out the steps for its guests; every wait is bounded."""
from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, read_texts, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, Domain, parse_error
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import Places, Steps
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render

Guest = Mapping[str, Any]

_BALLOON_TOLERANCE_MIB = 4
"""`xl list` shows what the guest has, which differs from the target by some pages."""


class GuestError(Exception):
    """A step that failed; the text names the guest and what to do."""


def read(xl: Xl, guests: Sequence[Guest], places: Places) -> xl_host.HostState:
    """The state of the host; without Xen, that of a host without guests."""
    running = xl_host.xen_runs()
    domains = xl.domains() if running else {}
    guests_there = set(domains) - {DOM0}
    links, entries = xl_host.read_links(places.autostart_dir)
    to_start = [guest for guest in guests if guest["state"] == "running" and guest["name"] not in domains]
    return xl_host.HostState(
        xen_runs=running,
        domains=domains,
        configs=xl.configs() if guests_there else {},
        texts=read_texts(places.config(guest["name"]) for guest in guests),
        links=links,
        entries=entries,
        missing=xl_host.missing(need for guest in to_start for need in xl_host.needs_of(guest)),
    )


def refused(xl: Xl, guests: Iterable[Guest], steps: Steps, places: Places) -> list[str]:
    """What xl's own parser says against configurations that are to be written or started."""
    concerned = {file.path for file in steps.files} | {places.config(name) for name in steps.start}
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


def start(xl: Xl, guest: Guest, path: str, wait_seconds: int) -> None:
    """Start one guest and wait until it is there and runs."""
    name = guest["name"]
    result = xl.create(path)
    if result.rc != 0:
        said = parse_error(result.err) or parse_error(result.out) or "nothing"
        if "console tty: timed out" in said:
            said += " (xenconsoled does not run: SYSTEMCTL_SKIP_REDIRECT=1 /etc/init.d/xen start)"
        free = xl.info().get("free_memory", "unknown")
        raise GuestError(
            f"guest {name!r}: xl create failed with return code {result.rc}: {said}. The host has {free} MiB free, the guest "
            f"asks for {guest['memory_mib']} MiB; see /var/log/xen/xl-{name}.log"
        )

    def runs(domains: Mapping[str, Domain]) -> bool:
        return name in domains and domains[name].state == "running"

    domains = wait(xl, runs, wait_seconds)
    if not runs(domains):
        state = domains[name].state if name in domains else "gone"
        raise GuestError(
            f"guest {name!r}: was started but is {state} after {wait_seconds} s; see /var/log/xen/console/guest-{name}.log "
            f"and /var/log/xen/xl-{name}.log"
        )


def wait(xl: Xl, done: Callable[[Mapping[str, Domain]], bool], wait_seconds: int) -> dict[str, Domain]:
    """Ask for the domains each second until `done`, or the time is up; what was seen last."""
    deadline = time.monotonic() + wait_seconds
    while True:
        domains = xl.domains()
        if done(domains) or time.monotonic() >= deadline:
            return domains
        time.sleep(1)


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
