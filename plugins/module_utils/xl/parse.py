# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reads what xl prints. Nothing here runs anything."""
from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DOM0 = "Domain-0"
POWEROFF, REBOOTED, SUSPENDED = 0, 1, 2
"""Reasons with which a domain ends (xen/include/public/sched.h)."""
_CHATTER = ("Parsing config", "got a tsc mode string")
_TIME = re.compile(r"[0-9]+(\.[0-9]+)?")
INCOMING, LEFT = "--incoming", "--migratedaway"
NAMELESS = "(null)"
"""What xl prints for a domain that has no name yet."""


@dataclass(frozen=True)
class Domain:
    """A row of `xl list`. memory_mib: what it has now; vcpus: those that are on; flags: six letters, `r-----`; seconds: CPU time."""

    name: str
    domid: int
    memory_mib: int
    vcpus: int
    flags: str
    seconds: float = 0.0

    @property
    def never_ran(self) -> bool:
        """Whether it is still being built, or waits for its first unpause."""
        return self.state == "paused" and self.seconds == 0

    @property
    def state(self) -> str:
        """In a word: running, paused, crashed, shutdown or dying.

        The letters mean running, blocked, paused, shut down (the reason in the fifth), dying; a guest that waits for a
        CPU has none (tools/xl/xl_list.c).
        """
        if self.flags[5] == "d":
            return "dying"
        if self.flags[3] == "s":
            return "crashed" if self.flags[4] == "c" else "shutdown"
        if self.flags[4] == "c":
            return "crashed"
        return "paused" if self.flags[2] == "p" else "running"


def parse_list(text: str) -> dict[str, Domain]:
    """The table of `xl list`, by name, dom0 included; those without one as `(null) DOMID`. Raises ValueError with the line that is none
    of it."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0].split()[:5] != ["Name", "ID", "Mem", "VCPUs", "State"]:
        raise ValueError(f"'xl list' printed {text[:200]!r} in place of its table")
    domains = {}
    for line in lines[1:]:
        words = line.split()
        if len(words) != 6 or not all(word.isdigit() for word in words[1:4]) or len(words[4]) != 6 or not _TIME.fullmatch(words[5]):
            raise ValueError(f"'xl list' printed the line {line!r}, which is no row of its table")
        key = f"{NAMELESS} {words[1]}" if words[0] == NAMELESS else words[0]
        domains[key] = Domain(words[0], int(words[1]), int(words[2]), int(words[3]), words[4], float(words[5]))
    return domains


def parse_vm_list(text: str) -> dict[int, str]:
    """The table of `xl vm-list`: domid -> uuid, which Xen itself keeps. A domain may have no name yet."""
    rows = [line.split() for line in text.splitlines()[1:] if line.strip()]
    odd = [row for row in rows if len(row) < 2 or not row[1].isdigit()]
    if odd:
        raise ValueError(f"'xl vm-list' printed the line {' '.join(odd[0])!r}, which is no row of its table")
    return {int(row[1]): row[0].lower() for row in rows}


def parse_list_long(text: str) -> dict[str, dict[str, Any]]:
    """The configurations of `xl list -l`, by name.

    xl leaves out, in silence, a domain whose configuration it cannot read, and every field that has its default.
    """
    try:
        listed = json.loads(text) if text.strip() else []
    except ValueError as error:
        raise ValueError(f"'xl list -l' printed no JSON: {error}") from error
    if not isinstance(listed, list):
        raise ValueError(f"'xl list -l' printed a JSON {type(listed).__name__} in place of a list")
    configs = {}
    for entry in listed:
        config = entry.get("config") if isinstance(entry, Mapping) else None
        name = (config or {}).get("c_info", {}).get("name")
        if config is not None and name:
            configs[str(name)] = dict(config)
    return configs


def parse_info(text: str) -> dict[str, str]:
    """`xl info` as keys and texts; a value may hold colons and may be empty."""
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line and not line[:1].isspace())
    return {key.strip(): value.strip() for key, _colon, value in pairs}


def parse_end(text: str, domid: int) -> int | None:
    """The reason with which a domain ended (POWEROFF and the others), of `xl shutdown -w`; None when it was gone before xl saw one."""
    found = re.search(rf"\bDomain {domid} has been shut down, reason code ([0-9]+)", text)
    return int(found[1]) if found else None


def parse_error(text: str) -> str:
    """What xl says about a failure, in one line, without the places in its source that come first."""
    lines = []
    for line in text.splitlines():
        said = line.strip()
        if said.startswith("libxl:"):
            # libxl: error: libxl_create.c:1234:initiate_domain_create: Domain 3:cannot allocate memory
            said = ":".join(said.split(":")[5:]).strip() or said
        if said and not said.startswith(_CHATTER) and said not in lines:
            lines.append(said)
    return "; ".join(lines[:6])


def disks_of_config(config: Mapping[str, Any]) -> list[str]:
    """Devices and files of the disks of a configuration that `xl list -l` shows."""
    return [str(disk["pdev_path"]) for disk in config.get("disks") or [] if disk.get("pdev_path")]


def disks_of_text(text: str) -> list[str]:
    """Devices and files of the disks of an xl.cfg (xl-disk-configuration(5)): by `target=`, which takes the rest, or as the first word,
    with an older prefix (`phy:`) or without."""
    found = re.search(r"^[ \t]*disk[ \t]*=[ \t]*\[(.*?)\][ \t]*(?:#.*)?$", text, re.MULTILINE | re.DOTALL)
    disks = []
    for match in re.finditer(r"""(["'])(.*?)\1""", found[1] if found else "", re.DOTALL):
        _before, named, target = match[2].partition("target=")
        path = (target if named else re.sub(r"^(?:[a-z0-9]+:)+", "", match[2].split(",")[0])).strip()
        if path:
            disks.append(path)
    return disks
