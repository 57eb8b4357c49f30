# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Guests that are rebooted or started anew with their stored configuration, by consent. Nothing is destroyed, every wait is bounded.

A run that is killed here leaves guests that run, that reboot by themselves, or that are shut down: the next run starts those.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import commands
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import REBOOT, Renewal
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import Domain
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.plan import Places, Steps
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import start, wait

Guest = Mapping[str, Any]


def renew(
    xl: Xl, guests: Iterable[Guest], steps: Steps, places: Places, stop_seconds: int, wait_seconds: int
) -> list[str]:
    """Reboot guests and start them anew one after another; what went wrong, one line each."""
    by_name = {guest["name"]: guest for guest in guests}
    lines = [_carry_out(xl, renewal, by_name[renewal.guest], places.config(renewal.guest), stop_seconds, wait_seconds)
             for renewal in steps.renew]
    return [line for line in lines if line]


def _carry_out(xl: Xl, renewal: Renewal, guest: Guest, path: str, stop_seconds: int, wait_seconds: int) -> str:
    """What went wrong with one guest, in words, else nothing. path: of its stored configuration.

    stop_seconds: for the guest to stop by itself, and to come up again when it reboots; wait_seconds: for a started one to run. Raises
    GuestError when it was stopped and does not start.
    """
    domain = xl.domains().get(guest["name"])
    if domain is None or domain.state != "running":
        return f"guest {guest['name']!r}: does not run any more; nothing was done to it"
    if renewal.way == REBOOT:
        return _reboot(xl, domain, path, stop_seconds)
    return _recreate(xl, domain, guest, path, stop_seconds, wait_seconds)


def _reboot(xl: Xl, domain: Domain, path: str, seconds: int) -> str:
    said = xl.ask_guest(commands.update_config(domain.domid, path)) or xl.ask_guest(commands.reboot(domain.domid))
    if said:
        return f"guest {domain.name!r}: cannot be told to reboot: {said}"

    def runs_anew(domains: Mapping[str, Domain]) -> bool:
        there = domains.get(domain.name)
        return there is not None and there.domid != domain.domid and there.state == "running"

    domains = wait(xl, runs_anew, seconds)
    there = domains.get(domain.name)
    if runs_anew(domains):
        return ""
    if there is None:
        return (f"guest {domain.name!r}: is gone {seconds} s after it was told to reboot; see /var/log/xen/xl-{domain.name}.log, "
                "the next run starts it")
    if there.domid == domain.domid and there.state == "running":
        return (f"guest {domain.name!r}: did not reboot within {seconds} s and was left running; xl has its new configuration for whenever "
                "it does")
    return (f"guest {domain.name!r}: is {there.state} {seconds} s after it was told to reboot (domain {there.domid}); see "
            f"/var/log/xen/xl-{domain.name}.log")


def _recreate(xl: Xl, domain: Domain, guest: Guest, path: str, stop_seconds: int, wait_seconds: int) -> str:
    said = xl.ask_guest(commands.shutdown(domain.domid))
    if said:
        return f"guest {domain.name!r}: cannot be told to shut down: {said}"
    domains = wait(xl, lambda there: domain.domid not in {other.domid for other in there.values()}, stop_seconds)
    left = next((other for other in domains.values() if other.domid == domain.domid), None)
    if left is not None:
        return (f"guest {domain.name!r}: is {left.state} {stop_seconds} s after it was told to shut down, and was left so; when it is "
                "gone, the next run starts it")
    if domain.name in domains:
        return f"guest {domain.name!r}: was told to shut down and somebody else started it again (domain {domains[domain.name].domid})"
    start(xl, guest, path, wait_seconds)
    return ""
