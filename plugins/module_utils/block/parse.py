# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Readers for what lsblk, blkid, wipefs and xenstore-ls print; pure."""
from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = "KNAME,NAME,PATH,TYPE,SIZE,SERIAL,FSTYPE,PTTYPE,MOUNTPOINTS,MAJ:MIN,UUID,PARTUUID,LOG-SEC"


def fields(text: str) -> dict[str, str]:
    """KEY=value lines, as `blkid -o export` and `mdadm --export` print them."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def descend(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A device of `lsblk --json` and everything on it."""
    yield entry
    for child in entry.get("children") or []:
        yield from descend(child)


def devices(listing: str) -> dict[str, Mapping[str, Any]]:
    """Kernel device (`/dev/KNAME`) -> its entry, for every device at any depth of `lsblk --json -o COLUMNS`.

    A partition has its disk's serial, of which lsblk shows none.
    """
    tops: list[dict[str, Any]] = json.loads(listing or '{"blockdevices": []}')["blockdevices"]
    found: dict[str, Mapping[str, Any]] = {}
    for device in (device for top in tops for device in descend(top)):
        found.setdefault(f"/dev/{device['kname']}", device)
        for child in device.get("children") or []:
            if child["type"] == "part" and not child.get("serial"):
                found[f"/dev/{child['kname']}"] = {**child, "serial": device.get("serial")}
    return found


def carriers(listing: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """UUID of an array, in mdadm's form -> disks and partitions with its superblock, as udev told lsblk.

    No other devices, and none that lies on one (DRBD's are disks to lsblk): a guest can write into its volume what it likes, the
    superblock of one of the host's arrays, too.
    """
    found: dict[str, list[str]] = {}
    stacked = {f"/dev/{device['kname']}" for entry in listing.values() for child in entry.get("children") or []
               if (entry["type"], child["type"]) != ("disk", "part") for device in descend(child)}
    for path, entry in sorted(listing.items()):
        told = superblock({"TYPE": str(entry.get("fstype") or ""), "UUID": str(entry.get("uuid") or "")})
        if told and entry["type"] in ("disk", "part") and path not in stacked:
            found.setdefault(told["MD_UUID"], []).append(path)
    return found


def signatures(listing: str) -> list[str]:
    """The kinds in the output of `wipefs --json`, sorted."""
    return sorted({item["type"] for item in json.loads(listing or '{"signatures": []}')["signatures"]})


def uses_of(entry: Mapping[str, Any]) -> list[str]:
    """What `lsblk` shows on a device, in plain words: partitions, file systems, arrays, volumes."""
    found = []
    for device in descend(entry):
        if device is not entry:
            found.append(f"{device['type']} {device['name']}")
        elif device.get("pttype"):
            found.append(f"partition table {device['pttype']}")
        if device.get("fstype"):
            found.append(f"{device['fstype']} on {device['name']}")
    return found


def work_of(entry: Mapping[str, Any]) -> list[str]:
    """What of that is at work right now: mounts, swap, and everything that is built on the device or its partitions."""
    found = []
    for device in descend(entry):
        if device is not entry and device["type"] != "part":
            found.append(f"{device['type']} {device['name']} runs on it")
        found += [f"{device['name']} is mounted at {point}" for point in device.get("mountpoints") or [] if point]
    return found


def superblock(probe: Mapping[str, str]) -> dict[str, str]:
    """An md superblock as blkid sees it, in the words of `mdadm --examine --export`, for a host without mdadm."""
    digits = probe.get("UUID", "").replace("-", "").lower()
    if probe.get("TYPE") != "linux_raid_member" or len(digits) != 32:
        return {}
    return {"MD_UUID": ":".join(digits[start:start + 8] for start in range(0, 32, 8)), "MD_NAME": probe.get("LABEL", "?")}


def guest_disks(listing: str) -> tuple[set[str], set[str]]:
    """MAJ:MIN numbers and paths behind the disks of running guests, from `xenstore-ls -f /local/domain/0/backend`.

    Sources: xen's docs/misc/block-scripts.txt and blkif.h for `physical-device` (hexadecimal MAJOR:MINOR) and `params`.
    """
    numbers, paths = set(), set()
    for line in listing.splitlines():
        key, _, quoted = line.partition(" = ")
        value, leaf = quoted.strip('"'), key.rsplit("/", 1)[-1]
        if leaf == "physical-device":
            major, _, minor = value.partition(":")
            numbers.add(f"{int(major or '0', 16)}:{int(minor or '0', 16)}")
        elif leaf in ("params", "physical-device-path") and "/" in value:
            paths.add(value[value.index("/"):])
    return numbers, paths
