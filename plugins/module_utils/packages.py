# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of a managed host: asked of dpkg, installed by apt-get (see docs/decisions/0002-packages-by-dpkg.md)."""
from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

ENVIRONMENT = ["env", "DEBIAN_FRONTEND=noninteractive", "UCF_FORCE_CONFFOLD=1", "NEEDRESTART_SUSPEND=1"]
# It brings new kernels, whose packages have new names, and never removes a package, as dist-upgrade may.
UPGRADE = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "--with-new-pkgs", "upgrade"]
BROKEN = 100
"""How apt-get ends when packages do not fit together, as when an update was cut off between two that need each other."""
LOCK = "/var/lib/dpkg/lock-frontend"
"""What apt and dpkg lock, by fcntl(2), while they work."""
# struct flock: kind, from where, start, length, process.
_FLOCK = "hhqqi0q"
# How dpkg ends when there is a package that it could not configure.
_FAILED = 1
REBOOT_MARK = "/run/reboot-required"
"""Says that programs still run as they were before an update. Debian's tools write it too; as /run does, it ends with a reboot."""


def installed(listing: str) -> set[str]:
    """Names of the installed packages in what `states` tells."""
    names = set()
    for line in listing.splitlines():
        words = line.split()
        if len(words) >= 2 and words[1].startswith(("ii", "hi")):
            names.add(words[0])
    return names


def unfinished(listing: str) -> list[str]:
    """Packages that dpkg has left half-way by what `states` tells.

    Judged by the state (unpacked, half-configured, half-installed, triggers awaited or pending) and the flag for a package that must be
    reinstalled, of those that are to be there: dpkg finishes no other, see dpkg-query(1). `dpkg --audit` names sound packages too, such as
    those without checksums.
    """
    found = [(words[0], words[1]) for line in listing.splitlines() if len(words := line.split()) >= 2]
    return [name for name, state in found
            if state[0] in "ih" and (state[1:2] in ("U", "F", "H", "W", "t") or state[2:3] == "R")]


def interrupted(listing: str, root: Path = Path("/")) -> bool:
    """Whether there is such a package, or dpkg was cut off before it wrote its journal into its database, whose files have numbers for
    names."""
    journal = root / "var/lib/dpkg/updates"
    return bool(unfinished(listing)) or (journal.is_dir() and any(re.fullmatch("[0-9]+", path.name) for path in journal.iterdir()))


def at_work(lock: str = LOCK) -> bool:
    """Whether somebody works with packages right now, so that what is half-way may be whole in a moment."""
    try:
        with open(lock, "rb") as stream:
            asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
            return bool(struct.unpack(_FLOCK, fcntl.fcntl(stream, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    except FileNotFoundError:
        return False


def states(runner: Runner) -> str:
    """Every package that dpkg knows, with its state: lines "NAME STATE" for `installed` and `interrupted`."""
    return runner.read(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n"]).out


def missing(runner: Runner, names: Iterable[str]) -> list[str]:
    """Those of the names that are not installed, in the given order."""
    present = installed(states(runner))
    return [name for name in names if name not in present]


def finish(runner: Runner, broken: bool = False) -> None:
    """What a run that was cut off has left half-way, also packages that need others which have not come; none is removed for it. apt-get
    refuses to work before that is done. broken: apt has said that packages do not fit together."""
    done = runner.change([*ENVIRONMENT, "dpkg", "--force-confold", "--configure", "-a"], ok=(0, _FAILED))
    if broken or done.rc == _FAILED:
        runner.change([
            *ENVIRONMENT, "apt-get", "-q", "-y", "-o", "Dpkg::Options::=--force-confold", "--no-remove", "--fix-broken", "install",
        ])


def install(runner: Runner, names: Iterable[str]) -> None:
    """Install without recommendations; configuration files that are there already stay as they are."""
    finish(runner)
    runner.change([*ENVIRONMENT, "apt-get", "-q", "-y", "update"])
    runner.change([
        *ENVIRONMENT, "apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "install", *names,
    ])


def updates(simulated: str) -> list[Action]:
    """What `apt-get --simulate upgrade` says that it would install: lines "Inst NAME [OLD] (NEW ARCHIVE [ARCH])", without OLD for a new
    one."""
    found = re.findall(r"^Inst (\S+)(?: \[([^]\n]*)\])? \((\S+)", simulated, re.MULTILINE)
    return [Action("update" if old else "install", f"package {name}", f"{old} -> {new}" if old else new) for name, old, new in found]


def kept_back(simulated: str) -> list[str]:
    """Packages that the same command leaves as they are, since they are held or since others would have to go."""
    block = re.search(r"^The following packages have been kept back:\n((?:  .*\n)+)", simulated, re.MULTILINE)
    return sorted(block[1].split()) if block else []
