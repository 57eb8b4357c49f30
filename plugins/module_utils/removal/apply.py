# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads a host and carries out removals; every wait is bounded."""
from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import state as drbd
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import read_texts
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import tags
from ansible_collections.xenfold.consolidation.plugins.module_utils.removal.plan import ASIDE, Host, Removal, Steps, day_of, mark_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.before import path_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import Pending
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl, destroy
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.devices import Uses
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import (
    DOM0,
    POWEROFF,
    Domain,
    disks_of_config,
    disks_of_text,
    parse_end,
    parse_error,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError, wait

DEVICES = "/dev"
_TIME_IS_UP = 124


def read(runner: Runner, xl: Xl, config_dir: str, autostart_dir: str) -> Host:
    """What the host has of guests and volumes; without Xen, no domains."""
    domains = xl.domains() if xl_host.xen_runs() else {}
    configs: Mapping[str, Any] = xl.configs() if set(domains) - {DOM0} else {}
    paths = {name: f"{config_dir}/{name}{xl_host.SUFFIX}" for name in xl_host.configured(config_dir)}
    texts = read_texts(paths.values())
    volumes = tags.read(runner)
    devices = {os.path.realpath(f"{DEVICES}/{volume}"): volume for volume in volumes}
    targets = {name: disks_of_text(texts[path] or "") + disks_of_config(configs.get(name, {})) for name, path in paths.items()}
    targets |= {name: disks_of_config(config) for name, config in configs.items() if name not in targets}
    links, _entries = xl_host.read_links(autostart_dir)
    kept = {name: (path_of(path), path) for name, path in paths.items()}
    return Host(
        domains=domains,
        disks={name: frozenset(devices[real] for target in found if (real := os.path.realpath(target)) in devices)
               for name, found in targets.items()},
        volumes=volumes,
        links={f"{autostart_dir}/{name}": target for name, target in links.items()},
        clients=Uses.of(configs, {domain.domid: domain.name for domain in domains.values()}).clients,
        files={name: tuple(path for path in found if os.path.exists(path)) for name, found in kept.items()},
        replicated=drbd.read(runner),
    )


def carry_out(runner: Runner, xl: Xl, steps: Steps, today: datetime.date, force: Iterable[str], stop_seconds: int,
              wait_seconds: int) -> list[Pending]:
    """All steps; guests that did not stop and were left as they are. Raises GuestError for one of which nobody knows what it does."""
    left = []
    for removal in steps.removals:
        pending = _put_aside(runner, xl, removal, today, removal.guest in set(force), stop_seconds, wait_seconds)
        left += [pending] if pending else []
    for volume in steps.purge:
        # Without force: LVM refuses a volume that was opened meanwhile.
        runner.change(["lvremove", "--yes", volume])
    return left


def _put_aside(
    runner: Runner, xl: Xl, removal: Removal, today: datetime.date, forced: bool, stop_seconds: int, wait_seconds: int
) -> Pending | None:
    for path in removal.unlink:
        os.unlink(path)
    for volume in removal.mark:
        runner.change(tags.change(volume, add=mark_of(removal.guest)))
    if removal.stop:
        said = "" if removal.by_force else _shut_down(xl, removal.stop, stop_seconds)
        if said and not forced:
            return Pending(removal.guest, "state", removal.stop.state, "removed", f"that it stops: {said}", "remove_force")
        _see_it_gone(xl, removal.stop, bool(said) or removal.by_force, forced, wait_seconds)
    for name in removal.down:
        runner.change(["drbdadm", "down", name])
    for volume in removal.rename:
        runner.change(tags.rename(volume, volume.partition("/")[2] + ASIDE))
    for volume in removal.day:
        runner.change(tags.change(volume, add=day_of(removal.guest, today), remove=mark_of(removal.guest)))
    # Last: it is what tells the next run which volumes are the guest's.
    for path in removal.files:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    return None


def _shut_down(xl: Xl, domain: Domain, seconds: int) -> str:
    """Why a guest is still there, in words; nothing when it has shut down."""
    result = xl.shut_down(domain.domid, seconds)
    end = parse_end(result.out + result.err, domain.domid)
    if end == POWEROFF:
        return ""
    there = next((other for other in xl.domains().values() if other.domid == domain.domid), None)
    if there is None:
        raise GuestError(f"guest {domain.name!r}: is gone and was not seen to shut down, so it may be on another host; nothing else was"
                         " done, the next run asks all hosts")
    if result.rc == _TIME_IS_UP:
        return f"it did not shut down within {seconds} s and was left {there.state}"
    return f"it cannot be told to shut down ({parse_error(result.err) or f'return code {result.rc}'}) and was left {there.state}"


def _see_it_gone(xl: Xl, domain: Domain, at_once: bool, forced: bool, wait_seconds: int) -> None:
    """Wait until a domain that has shut down is gone, which its own xl sees to; destroy it where there is consent for that."""
    def gone(domains: Mapping[str, Domain]) -> bool:
        return domain.domid not in {other.domid for other in domains.values()}

    domains = xl.domains() if at_once else wait(xl, gone, wait_seconds)
    if not gone(domains) and forced:
        xl.change(destroy(domain.domid))
        domains = wait(xl, gone, wait_seconds)
    if not gone(domains):
        raise GuestError(f"guest {domain.name!r}: has stopped and is still there as domain {domain.domid} {wait_seconds} s later; xl"
                         f" destroy {domain.domid}, then another run")
    if domain.name in domains:
        raise GuestError(f"guest {domain.name!r}: was stopped and runs again (domain {domains[domain.name].domid}): its on_poweroff, or"
                         " somebody, starts it; nothing else was done")
