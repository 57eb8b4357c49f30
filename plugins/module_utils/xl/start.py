# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Starts a guest and waits for what guests do; every wait is bounded."""
from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import host as xl_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.commands import TAKEN, Xl
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import Domain, parse_error

Guest = Mapping[str, Any]


class GuestError(Exception):
    """A step that failed; the text names the guest and what to do."""


def start(xl: Xl, guest: Guest, path: str, wait_seconds: int) -> None:
    """Start one guest and wait until it is there and runs."""
    name = guest["name"]
    begun = f"{xl_host.CREATING}/{name}"
    os.makedirs(xl_host.CREATING, mode=0o700, exist_ok=True)
    result = xl.create(path, begun)
    if result.rc == TAKEN:
        raise GuestError(f"guest {name!r}: another run is just creating it; run again when that has ended")
    # Not in a `finally`: whoever is ended in between leaves it, for the next run to know whose half-built domain it finds.
    with contextlib.suppress(FileNotFoundError):
        os.unlink(begun)
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
