# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A newer QEMU for Debian 12, from Debian's own backports: python3 -m lab.backports (docs/decisions/0018-newer-qemu.md).

Debian 12's QEMU carries the lab as well, only slower, so a machine that has no backports goes on with it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from lab import sources
from lab.console import say
from lab.errors import LabError
from lab.releases import RELEASES, Release

WANTED_MAJOR = 10
PACKAGES = ("qemu-system-x86", "qemu-utils")
SOURCE = Path("/etc/apt/sources.list.d/xenfold-lab-backports.list")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_SECONDS = 600


def major_of(version: str) -> int:
    """The first number of what `qemu-system-x86_64 --version` prints; 0 for what has none."""
    match = re.search(r"version (\d+)\.", version)
    return int(match[1]) if match else 0


def source_line(lines: list[str], codename: str, signed_by: str) -> str | None:
    """The source of the backports, from the machine's sources for its release: at the same place as the release itself."""
    for line in lines:
        match = re.fullmatch(rf"deb (\S+) {re.escape(codename)} (.*)", line)
        if match and "main" in match[2].split():
            return f"deb {signed_by}{match[1]} {codename}-backports main"
    return None


def wanted(codename: str, version: str) -> bool:
    """Whether this machine's QEMU is to be replaced: that of Debian 12 alone, as no other was seen to be slow."""
    return codename == "bookworm" and 0 < major_of(version) < WANTED_MAJOR


def _apt(*words: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", "-q", "-y", *words], env=environment, timeout=_SECONDS, check=False)
    if done.returncode != 0:
        raise LabError(f"apt-get {' '.join(words)}: {done.returncode}")


def install(release: Release) -> None:
    """Write the source and install from it. Raises LabError, with the source taken away again, when that does not work."""
    signed_by = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    line = source_line(sources.machine_sources(release), release.name, signed_by)
    if line is None:
        raise LabError(f"apt on this machine has no place for {release.name} main")
    SOURCE.write_text(f"# A newer QEMU for the lab; remove this file to go back to {release.name}'s.\n{line}\n", encoding="utf-8")
    try:
        _apt("update")
        _apt("--no-install-recommends", "install", "-t", f"{release.name}-backports", *PACKAGES)
    except (LabError, subprocess.TimeoutExpired) as error:
        SOURCE.unlink()
        raise LabError(str(error)) from None


def main() -> int:
    codename = sources.os_codename(Path("/etc/os-release").read_text(encoding="utf-8"))
    try:
        version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, timeout=60, check=False).stdout
    except FileNotFoundError:
        version = ""
    if not wanted(codename, version):
        return 0
    try:
        if os.geteuid() != 0:
            raise LabError("only root can install it")
        install(RELEASES[codename])
    except LabError as error:
        say(f"the lab goes on with QEMU {major_of(version)}, which is slower: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
