# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where Debian's packages come from: what this machine's own apt is set up with, and nothing else."""

from __future__ import annotations

import os
import re
from pathlib import Path

from lab.console import run
from lab.errors import LabError
from lab.releases import Release

_FIELDS = ("REPO_URI", "RELEASE", "COMPONENT", "ORIGIN")
# Settings of apt without which a machine behind a proxy or an old mirror cannot install anything.
_SETTINGS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
# The machine as a guest on QEMU's user network sees it.
_MACHINE = "10.0.2.2"


def debian_lines(targets: str, release: Release, codename: str) -> list[str]:
    """One-line apt sources for a release, from the machine's index targets.

    `targets` has one line `uri|suite|component|origin` for each index. Of Debian's own indexes those of the machine's
    release count, with the codename in the suite exchanged; backports are left out.
    """
    suites: dict[tuple[str, str], set[str]] = {}
    for line in targets.splitlines():
        fields = line.split("|")
        if len(fields) < 4:
            continue
        uri, suite, component, origin = fields[:4]
        if origin != "Debian" or not re.fullmatch(re.escape(codename) + r"(-updates|-security)?", suite):
            continue
        wanted = release.name + suite.removeprefix(codename)
        suites.setdefault((uri, wanted), set()).add(component)
    return [f"deb {uri} {suite} {' '.join(sorted(parts))}" for (uri, suite), parts in sorted(suites.items())]


def machine_sources(release: Release) -> list[str]:
    """The sources for a release; `$XENFOLD_LAB_SOURCES` names a file of one-line sources to take instead."""
    named = os.environ.get("XENFOLD_LAB_SOURCES")
    if named:
        try:
            text = Path(named).read_text(encoding="utf-8")
        except OSError as error:
            raise LabError(f"XENFOLD_LAB_SOURCES={named}: {error.strerror}") from None
        return [line.strip() for line in text.splitlines() if line.strip().startswith("deb ")]
    codename = os_codename(Path("/etc/os-release").read_text(encoding="utf-8"))
    template = "|".join(f"$({field})" for field in _FIELDS)
    targets = run(["apt-get", "indextargets", "--format", template, "Created-By: Packages"], timeout=60)
    lines = [_without_mirror_file(line) for line in debian_lines(targets, release, codename)]
    if not lines:
        raise LabError(
            f"apt on this machine knows no Debian archive for {codename}: run apt-get update, or name a file of sources "
            f"for {release.name} in XENFOLD_LAB_SOURCES"
        )
    return lines


def os_codename(os_release: str) -> str:
    for line in os_release.splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip("\"'")
    return "unknown"


def _without_mirror_file(line: str) -> str:
    """Cloud images name a file that lists mirrors; inside the image that file does not exist, so its first line stands."""
    match = re.match(r"deb mirror\+file:(\S+?)/? (.*)", line)
    if not match:
        return line
    mirrors = Path("/" + match[1].lstrip("/")).read_text(encoding="utf-8").split()
    return f"deb {mirrors[0]} {match[2]}"


def apt_settings(dump: str) -> list[str]:
    """The lines of `apt-config dump` that reaching the archive depends on."""
    return [line for line in dump.splitlines() if line.split(" ", 1)[0] in _SETTINGS and '""' not in line]


def machine_settings() -> list[str]:
    return apt_settings(run(["apt-config", "dump"], timeout=60))


def settings_for_guest(settings: list[str]) -> list[str]:
    """The same settings inside a host, where a proxy of this machine has another address."""
    return [re.sub(r"//(localhost|127\.0\.0\.1|\[::1\])(?=[:/])", f"//{_MACHINE}", line) for line in settings]
