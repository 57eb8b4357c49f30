# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Readers for what the kernel, mdadm and lsblk say of a host as it runs; pure."""
from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

# Flags of /proc/mdstat (kernel: drivers/md/md.c, md_seq_show).
_FLAGS = {"F": "failed", "S": "spare", "J": "journal", "R": "replacement"}


def parse_mdstat(text: str) -> list[dict[str, Any]]:
    """The arrays of /proc/mdstat, by name.

    Each has `kernel_device`, `state` (active, inactive), `level` (raid10; none while inactive), `slots` and `working` (numbers of
    members that it has and that work; none for a level without redundancy), `members` ({device, state}: active, failed, spare,
    journal, replacement), `sync` (text, as "recovery = 8.5%"; none when nothing runs) and `container` (whether it only holds the metadata
    of firmware RAID, as IMSM and DDF: such a one is always inactive; the arrays in it stand in lines of their own).
    """
    arrays: list[dict[str, Any]] = []
    for line in text.splitlines():
        head = re.match(r"(\S+) : (active|inactive)(?: \([a-z-]+\))?(.*)", line)
        if head:
            words = head[3].split()
            members = [word for word in words if re.fullmatch(r"\S+\[\d+\](\([A-Z]\))*", word)]
            level = next((word for word in words if word not in members), None)
            arrays.append({"kernel_device": head[1], "state": head[2], "level": level, "slots": None, "working": None, "sync": None,
                           "container": False, "members": sorted(map(_member, members), key=lambda member: member["device"])})
        elif arrays and line.startswith(" "):
            # An array in a container has `super external:/md127/0`.
            if re.search(r"\bsuper external:[a-z]", line):
                arrays[-1]["container"] = True
            counts = re.search(r"\[(\d+)/(\d+)\] \[[U_]+\]", line)
            if counts:
                arrays[-1] |= {"slots": int(counts[1]), "working": int(counts[2])}
            sync = re.search(r"(resync|recovery|reshape|check|repair)\s*=\s*(\d+(?:\.\d+)?%|[A-Z]+)", line)
            if sync:
                arrays[-1]["sync"] = f"{sync[1]} = {sync[2]}"
    return sorted(arrays, key=lambda array: array["kernel_device"])


def _member(word: str) -> dict[str, str]:
    name, _, flags = word.partition("[")
    return {"device": name, "state": next((state for flag, state in _FLAGS.items() if f"({flag})" in flags), "active")}


def parse_serials(listing: str) -> dict[str, str]:
    """Kernel name -> serial of the disk, for disks and their partitions, from `lsblk --json -o NAME,KNAME,TYPE,SERIAL`.

    Only with NAME does lsblk print partitions below their disk, whose serial they have no copy of.
    """
    found: dict[str, str] = {}

    def walk(entry: dict[str, Any], above: str) -> None:
        serial = str(entry.get("serial") or (above if entry.get("type") == "part" else "")).strip()
        if serial:
            found[str(entry["kname"])] = serial
        for child in entry.get("children") or []:
            walk(child, serial)

    for top in json.loads(listing or '{"blockdevices": []}')["blockdevices"]:
        walk(top, "")
    return found


def parse_cpuinfo(text: str) -> dict[str, str]:
    """`cpu_model`, `cpu_vendor` and `microcode` from /proc/cpuinfo; several values of one host with commas, absent ones left out."""
    names = {"model name": "cpu_model", "vendor_id": "cpu_vendor", "microcode": "microcode"}
    values: dict[str, set[str]] = {}
    for line in text.splitlines():
        key, separator, value = line.partition(":")
        if separator and key.strip() in names and value.strip():
            values.setdefault(key.strip(), set()).add(" ".join(value.split()))
    return {names[key]: ", ".join(sorted(found)) for key, found in values.items()}


def kernel_text(release: str, version: str) -> str:
    """A kernel in words, from `osrelease` and `version` of /proc/sys/kernel: the release alone stays the same over Debian's updates."""
    package = re.search(r"\bDebian (\S+)", version)
    return f"{release.strip()} (Debian {package[1]})" if package else release.strip()


def numbers_of(text: str) -> tuple[int, ...]:
    """The numbers in a version or file name, to order by; hexadecimal ones begin with 0x. What follows " (build " has no order.

    What comes before a release (6.12~rc6, 4.20.0-rc4) has a -1 where the release has the 0 that ends every version.
    """
    found = re.findall(r"\b0x[0-9a-f]+|\d+|~|-rc", text.lower().partition(" (build ")[0])
    numbers = (-1 if number in ("~", "-rc") else int(number, 16 if number.startswith("0x") else 10) for number in found)
    return (*numbers, 0)


def newest(names: Iterable[str]) -> str | None:
    """The name with the highest version, None without any."""
    return max(names, key=lambda name: (numbers_of(name), name), default=None)


def kernel_build(image: bytes) -> str:
    """Release, builder and build in the head of a kernel's image, as "6.1.0-37-amd64 (...) #1 SMP Debian 6.1.140-1 (2025-05-22)"; "" when
    it has none. Source: kernel_version in the kernel's Documentation/arch/x86/boot.rst."""
    if image[0x202:0x206] != b"HdrS":
        return ""
    place = int.from_bytes(image[0x20E:0x210], "little")
    return image[place + 0x200:].partition(b"\0")[0].decode("ascii", errors="replace").strip() if place else ""


def parse_units(text: str) -> dict[str, str]:
    """Active state by name, from `systemctl list-units --all --plain --no-legend`."""
    rows = (line.split() for line in text.splitlines())
    return {row[0]: row[2] for row in rows if len(row) >= 4}


def parse_bonding(text: str) -> dict[str, Any]:
    """What `live.parse_bond` leaves out of /proc/net/bonding/NAME: `mode` and `ports` (number of those in the active aggregator, None
    in other modes)."""
    mode = re.search(r"^Bonding Mode: (.*)$", text, re.MULTILINE)
    ports = re.search(r"^\s*Number of ports: (\d+)", text, re.MULTILINE)
    return {"mode": mode[1].strip() if mode else "", "ports": int(ports[1]) if ports else None}
