# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has in files about its arrays: mdadm.conf, and the udev rules with their limits of synchronisation; pure."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import find_block, with_block
from ansible_collections.xenfold.consolidation.plugins.module_utils.storage_spec import speeds_of

CONFIGURATION = "/etc/mdadm/mdadm.conf"
MAKER = "/usr/share/mdadm/mkconf"
"""Tells what Debian's package writes there when it is installed."""
# After 63-md-raid-arrays.rules, which asks mdadm for the UUID. mdadm.conf's own SYSFS lines would be fewer files, but mdadm compares
# their uuid in the wrong byte order up to 4.5, and applies them in --assemble only, while at boot udev puts arrays together.
RULES = "/etc/udev/rules.d/65-xenfold-md.rules"
OWNER = "arrays of xenfold.consolidation, role storage"
# In our block of mdadm.conf, before a line that stood elsewhere while it did not name whom to tell.
_BEFORE = "# before: "


def mdadm_conf(
    text: str, uuids: Mapping[str, str], groups: Mapping[str, str] | None = None, mail_to: str | None = None,
    event_program: str | None = None,
) -> str:
    """mdadm.conf with the wanted arrays in a block of our own; everything else stays.

    By UUID, so that an array never comes up as md127. An entry elsewhere that names one of them is dropped: it would be a second.
    An entry goes on in every line that starts with white space (mdadm.conf(5)). groups: name -> spare group; mail_to, event_program:
    who is told of events; what stands elsewhere of that becomes a comment in the block, as mdadm takes the first, and comes back (at the
    end of the other lines) when they are no longer given. Raises BrokenBlock.
    """
    told = [keyword for keyword, value in (("MAILADDR", mail_to), ("PROGRAM", event_program)) if value]

    def tells(entry: str) -> bool:
        word = entry.split(None, 1)[0].upper() if entry[:1].strip() else ""
        # mdadm knows its words from three letters on.
        return len(word) >= 3 and any(keyword.startswith(word) for keyword in told)

    def double(entry: str) -> bool:
        return entry.upper().startswith("ARRAY") and any(value in entry.lower() for value in uuids.values())

    outside, inside = _split_block(text)
    entries = [entry for entry in _entries(outside) if not double(entry)]
    before = _entries("\n".join(line.removeprefix(_BEFORE) for line in inside if line.startswith(_BEFORE)))
    before = [entry for entry in dict.fromkeys([*before, *filter(tells, entries)]) if entry.strip()]
    others = "\n".join(entry for entry in entries if not tells(entry)).rstrip("\n")
    back = [entry for entry in before if not tells(entry)]
    others = "\n".join([*([others] if others else []), *back])
    lines = [f"MAILADDR {mail_to}"] if mail_to else []
    lines += [f"PROGRAM {event_program}"] if event_program else []
    for name, value in sorted(uuids.items()):
        group = (groups or {}).get(name)
        lines.append(f"ARRAY /dev/md/{name} metadata=1.2" + (f" spare-group={group}" if group else "") + f" UUID={value}")
    lines += [f"{_BEFORE}{line}" for entry in before if tells(entry) for line in entry.split("\n")]
    return with_block(others, OWNER, lines)


def made_by_package(told: str) -> str:
    """What MAKER tells, without its comments, of which one has the time."""
    return "".join(f"{line}\n" for line in told.splitlines() if line and not line.startswith("#"))


def block_tells(text: str) -> bool:
    """Whether our block in mdadm.conf names an address or a program. Raises BrokenBlock."""
    return any(line.startswith(("MAILADDR ", "PROGRAM ")) for line in _split_block(text)[1])


def _split_block(text: str) -> tuple[str, list[str]]:
    """mdadm.conf without our block, and the lines of the block."""
    block, lines = find_block(text, OWNER), text.split("\n")
    if not block:
        return text, []
    return "\n".join(lines[:block[0]] + lines[block[1] + 1:]), lines[block[0] + 1:block[1]]


def _entries(text: str) -> list[str]:
    return re.split(r"\n(?![ \t]+\S)", text)


def speed_rules(arrays: Sequence[Mapping[str, Any]], uuids: Mapping[str, str]) -> str:
    """The udev rules that give the arrays their limits of synchronisation whenever they appear; MD_UUID comes from mdadm's own rules."""
    lines = ["# Written by xenfold.consolidation, role storage: limits of synchronisation, which md forgets at each boot."]
    for array in sorted(arrays, key=lambda item: str(item["name"])):
        settings = "".join(f', ATTR{{md/{file}}}="{text}"' for file, text in speeds_of(array).items())
        if settings:
            match = f'ENV{{DEVTYPE}}=="disk", ENV{{MD_UUID}}=="{uuids[array["name"]]}"'
            lines.append(f'ACTION=="add|change", SUBSYSTEM=="block", {match}{settings}')
    return "\n".join(lines) + "\n"
