# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Just before guests start: other hosts see which, and those are asked that could start them as well.

What a controller was told before may have changed since: a second one may have another plan.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Collection, Iterator

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves import guard
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.start import GuestError

_LOOK_SECONDS = 2.0
"""For as long a file may be locked by one who only looks whether it is."""


@contextlib.contextmanager
def held(guests: Collection[str]) -> Iterator[None]:
    """While it lasts, this host tells the others that it is starting these guests. Raises GuestError when another run of it does so."""
    if guests:
        os.makedirs(guard.STARTING, mode=0o700, exist_ok=True)
    with contextlib.ExitStack() as files:
        for guest in sorted(guests):
            file = files.enter_context(open(f"{guard.STARTING}/{guest}", "wb"))
            end = time.monotonic() + _LOOK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError:
                    if time.monotonic() >= end:
                        raise GuestError(f"guest {guest!r}: another run is just starting it; run again when that has ended") from None
                time.sleep(0.1)
        yield


def against(guests: Collection[str]) -> list[str]:
    """Why guests must not start here, by the hosts that the autostart guard asks, where there is one.

    To be called while they are `held`, so that of two hosts that start a guest at least one sees the other. A host that does not answer
    keeps those from starting that it could have.
    """
    settings = guard.settings(guard.CONFIG)
    if not guests or not settings["peers"]:
        return []
    guarded = sorted(set(guests) & set(settings["guests"]))
    told = guard.ask_patiently(settings["peers"], guard.ASK_SECONDS if guarded else 0)
    lines = [f"guest {guest!r}: {host} runs or starts it" for guest in sorted(guests) for host, answer in sorted(told.items())
             if answer is not None and guest in answer["runs"]]
    silent = sorted(host for host, answer in told.items() if answer is None)
    if silent and guarded:
        lines.append(f"guests {', '.join(guarded)}: {', '.join(silent)} could not be asked by this host whether they run there; for a host "
                     "without power say so (hosts_off)")
    return lines
