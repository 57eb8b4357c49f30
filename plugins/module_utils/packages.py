# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Packages of a managed host: asked of dpkg, installed by apt-get (see docs/decisions/0002-packages-by-dpkg.md)."""
from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

ENVIRONMENT = ["env", "DEBIAN_FRONTEND=noninteractive", "UCF_FORCE_CONFFOLD=1", "NEEDRESTART_SUSPEND=1"]
# It brings new kernels, whose packages have new names, and never removes a package, as dist-upgrade may.
UPGRADE = ["apt-get", "-q", "-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold", "--with-new-pkgs", "upgrade"]
BROKEN = 100
"""How apt-get ends when packages do not fit together, as when an update was cut off between two that need each other."""
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


def interrupted(listing: str, root: Path = Path("/")) -> bool:
    """Whether dpkg left a package half-way by what `states` tells, or was cut off before it wrote its journal into its database.

    Judged by the state (unpacked, half-configured, half-installed, triggers awaited or pending) and the flag for a package that must be
    reinstalled, see dpkg-query(1). `dpkg --audit` names sound packages too, such as those without checksums. The journal's files have
    numbers for names.
    """
    found = [words[1] for line in listing.splitlines() if len(words := line.split()) >= 2]
    if any(state[1:2] in ("U", "F", "H", "W", "t") or state[2:3] == "R" for state in found):
        return True
    journal = root / "var/lib/dpkg/updates"
    return journal.is_dir() and any(re.fullmatch("[0-9]+", path.name) for path in journal.iterdir())


def states(runner: Runner) -> str:
    """Every package that dpkg knows, with its state: lines "NAME STATE" for `installed` and `interrupted`."""
    return runner.read(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Abbrev}\\n"]).out


def missing(runner: Runner, names: Iterable[str]) -> list[str]:
    """Those of the names that are not installed, in the given order."""
    present = installed(states(runner))
    return [name for name in names if name not in present]


def finish(runner: Runner) -> None:
    """What a run that was cut off has left half-way; apt-get refuses to work before that is done."""
    runner.change([*ENVIRONMENT, "dpkg", "--force-confold", "--configure", "-a"])


def mend(runner: Runner) -> None:
    """Finish what a run that was cut off has left, also packages that need others which have not come; none is removed for it."""
    finish(runner)
    runner.change([*ENVIRONMENT, "apt-get", "-q", "-y", "-o", "Dpkg::Options::=--force-confold", "--no-remove", "--fix-broken", "install"])


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
