# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Versions of Xen inside a pool: which of them keep guests from moving."""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

MOVES = "guests move live to the same version of Xen or the next minor one, never to an older one"


def minor_of(version: str) -> tuple[int, int] | None:
    """Major and minor number of a version such as 4.17.7 or 4.17.5+72-1; None without them."""
    found = re.match(r"(?:\d+:)?(\d+)\.(\d+)", version)
    return (int(found[1]), int(found[2])) if found else None


def candidate(policy: str) -> str:
    """The version that apt would install, from the output of `apt-cache policy PACKAGE`; "" without one."""
    found = re.search(r"^\s*Candidate: (\S+)$", policy, re.MULTILINE)
    return found[1] if found and found[1] != "(none)" else ""


def newest_image(names: Iterable[str]) -> str:
    """The version of the newest Xen among the names of files in /boot (xen-4.17-amd64.gz), which GRUB puts first; "" without one."""
    found = [(int(match[1]), int(match[2])) for name in names if (match := re.fullmatch(r"xen-(\d+)\.(\d+)-\w+\.gz", name))]
    return "{}.{}".format(*max(found)) if found else ""


def skew(running: str, coming: str, others: Mapping[str, str]) -> str:
    """Why Xen `coming` here would keep guests of the pool from moving; "" when it would not, or when nothing changes.

    running: the version here, "" without Xen; coming: the one that the next boot brings, "" when nothing tells; others: host -> version
    of those in the pool that told theirs.
    """
    new = minor_of(coming)
    if not new or new == minor_of(running):
        return ""
    apart: dict[tuple[int, int], list[str]] = {}
    for host, version in sorted(others.items()):
        theirs = minor_of(version)
        if theirs and theirs != new:
            apart.setdefault(theirs, []).append(host)
    if not apart:
        return ""
    parts = [f"{', '.join(hosts)} {'has' if len(hosts) == 1 else 'have'} {major}.{minor}: {_between(new, (major, minor))}"
             for (major, minor), hosts in sorted(apart.items())]
    return (f"Xen {new[0]}.{new[1]} would come here, and in the pool {'; '.join(parts)} ({MOVES}). Give this host the Xen of its pool, or"
            " consent with dom0_allow_version_skew: true")


def _between(new: tuple[int, int], theirs: tuple[int, int]) -> str:
    if new == (theirs[0], theirs[1] + 1):
        return "their guests could move here live and never back"
    if theirs == (new[0], new[1] + 1):
        return "guests could move from here to them and none of theirs here"
    return "no guest could move live either way"
