# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on a disk, and whether it is provably empty: the test before anything is ever written to it."""
from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

_MIB = 2**20
_COLUMNS = "NAME,PATH,TYPE,SIZE,SERIAL,FSTYPE,PTTYPE,MOUNTPOINTS,MAJ:MIN"


@dataclass(frozen=True)
class Disk:
    """One disk as the host shows it. path: kernel device; uses: what lies on it, in plain words; md: fields of its superblock."""

    path: str
    serial: str
    size_bytes: int
    number: str
    uses: tuple[str, ...]
    md: dict[str, str]


def fields(text: str) -> dict[str, str]:
    """KEY=value lines, as `blkid -o export` and `mdadm --export` print them."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def entries(listing: str) -> list[dict[str, Any]]:
    """The top-level devices in the output of `lsblk --json`."""
    devices: list[dict[str, Any]] = json.loads(listing or '{"blockdevices": []}')["blockdevices"]
    return devices


def signatures(listing: str) -> list[str]:
    """The kinds in the output of `wipefs --json`, which is empty when there are none."""
    return [item["type"] for item in json.loads(listing or '{"signatures": []}')["signatures"]]


def _descend(entry: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield entry
    for child in entry.get("children") or []:
        yield from _descend(child)


def uses_of(entry: dict[str, Any]) -> list[str]:
    """What `lsblk` shows on a disk: partitions, file systems, mounts, volumes."""
    found = []
    for device in _descend(entry):
        name = device["name"]
        if device is not entry:
            found.append(f"{device['type']} {name}")
        if device.get("pttype") and device is entry:
            found.append(f"partition table {device['pttype']}")
        if device.get("fstype"):
            found.append(f"{device['fstype']} on {name}")
        found += [f"mounted at {point}" for point in device.get("mountpoints") or [] if point]
    return found


def _edges_hold_data(path: str, size: int) -> bool:
    """Whether the first or last MiB holds anything but zeros."""
    with open(path, "rb", buffering=0) as stream:
        for offset in (0, max(0, size - _MIB)):
            stream.seek(offset)
            if stream.read(_MIB).strip(b"\0"):
                return True
    return False


def _busy(path: str) -> bool:
    """Whether the kernel has the device open for a file system, an array or a volume."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError:
        return True
    return False


def guest_devices(listing: str) -> set[str]:
    """MAJ:MIN of the devices that back running guests, from `xenstore-ls -f /local/domain/0/backend/vbd`."""
    found = set()
    for line in listing.splitlines():
        key, _, value = line.partition(" = ")
        if key.endswith("/physical-device"):
            major, _, minor = value.strip('"').partition(":")
            if major and minor:
                found.add(f"{int(major, 16)}:{int(minor, 16)}")
    return found


def look(runner: Runner, paths: list[str]) -> dict[str, Disk]:
    """Look at the devices, by kernel path. Reads only; may be used in check mode."""
    listing = {entry["path"]: entry for entry in entries(runner.read(["lsblk", "--json", "--bytes", "-o", _COLUMNS]).out)}
    swaps = Path("/proc/swaps").read_text().split()
    backing: set[str] = set()
    if Path("/proc/xen/capabilities").exists():
        backing = guest_devices(runner.read(["xenstore-ls", "-f", "/local/domain/0/backend/vbd"], ok=()).out)
    found = {}
    for path in paths:
        entry = listing.get(path) or {"name": path, "path": path, "size": 0, "type": "unknown"}
        size = int(entry["size"] or 0)
        uses = uses_of(entry)
        md: dict[str, str] = {}
        if runner.tool("mdadm"):
            md = fields(runner.read(["mdadm", "--examine", "--export", path], ok=()).out)
        if md.get("MD_UUID"):
            uses.append(f"member of array {md.get('MD_NAME', '?')} {md['MD_UUID']}")
        probe = fields(runner.read(["blkid", "-p", "-o", "export", path], ok=(0, 2, 8)).out)
        uses += [f"{kind} signature" for kind in sorted({probe.get("TYPE"), probe.get("PTTYPE")} - {None, ""})]  # type: ignore[type-var]
        uses += [f"{kind} signature" for kind in sorted(set(signatures(runner.read(["wipefs", "-n", "--json", path]).out)))]
        holders = Path("/sys/class/block") / os.path.basename(path) / "holders"
        if holders.is_dir():
            uses += [f"held by {name}" for name in sorted(os.listdir(holders))]
        if path in swaps:
            uses.append("swap in use")
        if entry.get("maj:min") in backing:
            uses.append("disk of a running guest")
        if not uses and _edges_hold_data(path, size):
            uses.append("data in its first or last MiB")
        if not uses and _busy(path):
            uses.append("opened by the kernel")
        found[path] = Disk(path, str(entry.get("serial") or ""), size, str(entry.get("maj:min") or ""), tuple(dict.fromkeys(uses)), md)
    return found
