# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What follows from the definition of a guest: the definition in full, its volumes, devices and addresses."""
from __future__ import annotations

import hashlib
import math
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import GUEST_SPEC, Guest, given
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot

IMAGES_DIR = "/var/lib/xenfold/images"
GRUB = {"pvh": "/usr/lib/grub-xen/grub-i386-xen_pvh.bin", "pv": "/usr/lib/grub-xen/grub-x86_64-xen.bin"}
"""Loaders of Debian's package grub-xen-host: they read the guest's own /boot/grub/grub.cfg."""
META_SUFFIX = ".drbd"
"""What the name of the volume ends in that has DRBD's own data about a replicated disk."""
DRBD = "drbd:"
"""What the target of a replicated disk begins with; its resource is called like its volume."""
CD_LETTERS = "dcba"
"""Drives of an HVM guest, the last first: a disk more does not move the CD."""
_NAMESPACE = uuid.UUID("7f6a1f3c-6a52-5f0e-9d53-1d1c3b0c4f11")


def normalise(guest: Guest) -> dict[str, Any]:
    """A guest that check_guest found sound, with every key: defaults filled in, names derived, nothing left to guess.

    Beyond the keys of GUEST_SPEC each disk has `target` (what xl is told, null for an empty drive), `boot` has `kernel` and `ramdisk`
    as paths on the host, null for an HVM guest that boots from its disk, and a guest with `first_boot` has its seed as last disk.
    Normalising twice changes nothing.
    """
    full: dict[str, Any] = {key: rule.get("default") for key, rule in GUEST_SPEC.items()}
    full |= given(guest)
    name = full["name"]
    full["uuid"] = _uuid(full)
    full["maxvcpus"] = full["maxvcpus"] or full["vcpus"]
    full["maxmem_mib"] = full["maxmem_mib"] or full["memory_mib"]
    disks = [_filled("disks", disk) for disk in full["disks"]]
    if full["first_boot"]:
        seed = seed_disk(full)
        disks += [] if any(disk["name"] == seed["name"] for disk in disks) else [_filled("disks", seed)]
    for disk, vdev in zip(disks, vdevs_of(disks, full["type"]), strict=True):
        disk["vdev"] = vdev
        disk["limits"] = given(disk["limits"] or {}) or None
        disk["cdrom"] = bool(disk["cdrom"])
        disk["access"] = "ro" if disk["cdrom"] else disk["access"]
        disk["target"] = disk["path"] or (_target(name, disk) if disk["volume_group"] else None)
    full["disks"] = disks
    full["networks"] = _networks(full)
    full["pci"] = [{"address": device["address"].lower(), "permissive": bool(device.get("permissive"))} for device in full["pci"]]
    boot = dict.fromkeys(GUEST_SPEC["boot"]["options"]) | given(full["boot"] or {})
    if boot["image"]:
        boot |= {"kernel": f"{IMAGES_DIR}/{boot['image']}/kernel", "ramdisk": f"{IMAGES_DIR}/{boot['image']}/ramdisk"}
    boot["kernel"] = boot["kernel"] or GRUB.get(full["type"])
    full["boot"] = boot
    return full


def seed_disk(guest: Guest) -> dict[str, Any]:
    """The disk with what a guest is told at its first boot: a small volume beside its first one, last of its devices."""
    identity = {"name": guest["name"], "uuid": _uuid(guest), "first_boot": guest["first_boot"], "networks": _networks(guest)}
    group = next(disk["volume_group"] for disk in guest["disks"] if disk.get("volume_group"))
    return {"name": first_boot.seed_name(identity), "size_gib": first_boot.SEED_SIZE_GIB, "volume_group": group, "access": "ro",
            "vdev": first_boot.SEED_VDEV}


def vdevs_of(disks: Sequence[Guest], kind: str) -> list[str]:
    """The device names of disks in order: those named, for CDs of an HVM guest the last free drive of hda to hdd, and for the others the
    next free of xvda, xvdb, ...; `?` in place of a letter where there is none left."""
    taken = {disk["vdev"][-1] for disk in disks if disk.get("vdev")}
    drives = [kind == "hvm" and bool(disk.get("cdrom")) for disk in disks]
    free = (letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in taken)
    found = [disk.get("vdev") or ("" if drive else f"xvd{next(free, '?')}") for disk, drive in zip(disks, drives, strict=True)]
    taken |= {vdev[-1] for vdev in found if vdev}
    left = (letter for letter in CD_LETTERS if letter not in taken)
    return [vdev or f"hd{next(left, '?')}" for vdev in found]


def _target(name: str, disk: Guest) -> str:
    volume = volume_name(name, disk["name"])
    return f"/dev/{disk['volume_group']}/{volume}" if disk["drbd_minor"] is None else f"{DRBD}{volume}"


def _uuid(guest: Guest) -> str:
    return (guest.get("uuid") or str(uuid.uuid5(_NAMESPACE, guest["name"]))).lower()


def _networks(guest: Guest) -> list[dict[str, Any]]:
    return [_filled("networks", network) | {"mac": (network.get("mac") or mac_of(guest["name"], index)).lower()}
            for index, network in enumerate(guest["networks"])]


def _filled(key: str, part: Guest) -> dict[str, Any]:
    return {option: rule.get("default") for option, rule in GUEST_SPEC[key]["options"].items()} | given(part)


def mac_of(name: str, index: int) -> str:
    """The MAC address of a guest's network by its number from 0: Xen's prefix and a hash, the same everywhere and for ever."""
    digest = hashlib.sha256(f"{name}/{index}".encode()).digest()
    return "00:16:3e:" + ":".join(f"{octet:02x}" for octet in digest[:3])


def volume_name(guest_name: str, disk_name: str) -> str:
    """The logical volume of a guest's disk."""
    return f"{guest_name}-{disk_name}"


def with_cpuid(guest: Guest, lines: Sequence[str]) -> Guest:
    """A guest with these lines as its `cpuid`, when it takes some and says nothing of them itself; [] is its own word for none."""
    takes = guest["type"] != "pv" and guest.get("cpuid") is None
    return {**guest, "cpuid": list(lines)} if takes else guest


def is_replicated(guest: Guest) -> bool:
    """Whether a guest has a disk with a second copy on another host."""
    return any(disk.get("drbd_minor") is not None for disk in guest.get("disks") or ())


def volumes_of(guests: Iterable[Guest]) -> list[dict[str, Any]]:
    """The logical volumes of sound guests, a replicated disk having two: name, volume_group and size_gib of each, sorted."""
    disks = [(volume_name(guest["name"], disk["name"]), disk)
             for guest in map(normalise, guests) for disk in guest["disks"] if disk["volume_group"]]
    volumes = [{"name": name, "volume_group": disk["volume_group"], "size_gib": disk["size_gib"]} for name, disk in disks]
    volumes += [{"name": name + META_SUFFIX, "volume_group": disk["volume_group"], "size_gib": meta_size_gib(disk["size_gib"])}
                for name, disk in disks if disk["drbd_minor"] is not None]
    return sorted(volumes, key=lambda volume: (volume["volume_group"], volume["name"]))


def meta_size_gib(size_gib: float) -> float:
    """Of DRBD's data about a disk: a bit for each 4 KiB, its log of 32 KiB and a block of 4 KiB (drbd.conf(5) 8.4, flexible meta-disk),
    in whole MiB."""
    return (1 + math.ceil(size_gib * 1024 / 32768)) / 1024
