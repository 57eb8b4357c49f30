# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that are rebooted or started anew with their stored configuration, by consent. Nothing is destroyed, every wait is bounded.

A run that is killed here leaves guests that run, that reboot by themselves, or that are shut down: the next run starts those. One guest
that does not come back ends it, so that a mistake in many definitions stops one of them.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile, write_atomically
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import before, commands
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import REBOOT, Renewal
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import (
    POWEROFF,
    REBOOTED,
    SUSPENDED,
    Domain,
    parse_end,
    parse_error,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import CFG_MODE, Places, Steps
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError, start, wait

Guest = Mapping[str, Any]

_TIME_IS_UP = 124
"""The return code of timeout(1)."""


def renew(
    xl: Xl, guests: Iterable[Guest], steps: Steps, places: Places, stop_seconds: int, wait_seconds: int
) -> list[str]:
    """Reboot guests and start them anew one after another; those that were left as they are, one line each. Raises GuestError for one that
    stopped and does not run as it is wanted."""
    by_name = {guest["name"]: guest for guest in guests}
    lines = [_carry_out(xl, renewal, by_name[renewal.guest], places.config(renewal.guest), stop_seconds, wait_seconds)
             for renewal in steps.renew]
    return [line for line in lines if line]


def _carry_out(xl: Xl, renewal: Renewal, guest: Guest, path: str, stop_seconds: int, wait_seconds: int) -> str:
    """Why one guest was left as it is, in words, else nothing. path: of its stored configuration.

    stop_seconds: for the guest to stop by itself, and to come up again when it reboots; wait_seconds: for a started one to run. Raises
    GuestError when it was stopped and does not start.
    """
    domain = xl.domains().get(guest["name"])
    if domain is None or domain.state != "running":
        return f"guest {guest['name']!r}: does not run any more; nothing was done to it"
    write_atomically(WantedFile(before.path_of(path), renewal.before, CFG_MODE))
    if renewal.way == REBOOT:
        line = _reboot(xl, domain, path, stop_seconds)
    else:
        line = _recreate(xl, domain, guest, path, stop_seconds, wait_seconds)
    if not line:
        before.forget(path)
    return line


def _reboot(xl: Xl, domain: Domain, path: str, seconds: int) -> str:
    said = xl.ask_guest(commands.update_config(domain.domid, path))
    if said:
        return f"guest {domain.name!r}: xl does not take its configuration for a reboot: {said}"
    said = xl.ask_guest(commands.reboot(domain.domid))
    if said:
        return (f"guest {domain.name!r}: cannot be told to reboot: {said}; xl has its new configuration for whenever it does, and the "
                "consent recreate works without drivers of Xen, too")

    def runs_anew(domains: Mapping[str, Domain]) -> bool:
        there = domains.get(domain.name)
        return there is not None and there.domid != domain.domid and there.state == "running"

    domains = wait(xl, runs_anew, seconds)
    there = domains.get(domain.name)
    if runs_anew(domains):
        return ""
    if there is None:
        # Whether it reboots still, or was moved away meanwhile, cannot be seen from here: the next run asks all hosts before it starts one.
        raise GuestError(f"guest {domain.name!r}: is gone {seconds} s after it was told to reboot; see /var/log/xen/xl-{domain.name}.log, "
                         "the next run starts it when no other host has it")
    if there.domid == domain.domid and there.state == "running":
        return (f"guest {domain.name!r}: did not reboot within {seconds} s and was left running; xl has its new configuration for whenever "
                "it does")
    raise GuestError(f"guest {domain.name!r}: is {there.state} {seconds} s after it was told to reboot (domain {there.domid}); see "
                     f"/var/log/xen/xl-{domain.name}.log")


def _recreate(xl: Xl, domain: Domain, guest: Guest, path: str, stop_seconds: int, wait_seconds: int) -> str:
    result = xl.shut_down(domain.domid, stop_seconds)
    if result.rc not in (0, _TIME_IS_UP):
        return f"guest {domain.name!r}: cannot be told to shut down: {parse_error(result.err) or f'return code {result.rc}'}"
    end = parse_end(result.out + result.err, domain.domid)
    there = xl.domains() if result.rc else {}
    left = next((other for other in there.values() if other.domid == domain.domid), None)
    if left is not None and end is None:
        return (f"guest {domain.name!r}: is {left.state} {stop_seconds} s after it was told to shut down, and was left so; when it is "
                "gone, the next run starts it")
    if end in (REBOOTED, SUSPENDED):
        did = "rebooted" if end == REBOOTED else "was suspended, to be moved or saved,"
        return f"guest {domain.name!r}: {did} when it was told to shut down; nothing else was done to it"
    if end != POWEROFF:
        how = "is gone" if end is None else f"ended with reason {end} of xl"
        raise GuestError(f"guest {domain.name!r}: {how} and was not seen to shut down, so it may be on another host; see "
                         f"/var/log/xen/xl-{domain.name}.log, the next run starts it when no other host has it")
    domains = wait(xl, lambda there: domain.domid not in {other.domid for other in there.values()}, wait_seconds)
    if domain.domid in {other.domid for other in domains.values()}:
        raise GuestError(f"guest {domain.name!r}: has shut down and is still there as domain {domain.domid} {wait_seconds} s later, since "
                         f"xl's own process of it is gone: xl destroy {domain.domid}, then another run")
    if domain.name in domains:
        return f"guest {domain.name!r}: was told to shut down and somebody else started it again (domain {domains[domain.name].domid})"
    _start_again(xl, guest, path, wait_seconds)
    return ""


def _start_again(xl: Xl, guest: Guest, path: str, wait_seconds: int) -> None:
    """Start a guest that has shut down; as it ran before when it does not start as it is wanted. Raises GuestError in either case."""
    try:
        start(xl, guest, path, wait_seconds)
        return
    except GuestError as error:
        why = error
    if guest["name"] in xl.domains():
        raise why
    kept = before.path_of(path)
    try:
        start(xl, guest, kept, wait_seconds)
    except GuestError as error:
        raise GuestError(f"{why}; as it ran before, by {kept}, it does not start either: {error}") from error
    raise GuestError(f"{why}; it runs again as it did before, by {kept}") from why
