# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with the disks of a guest, and with the seed of its first boot, which is one of them."""
from __future__ import annotations

import re

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import (
    CD_LETTERS,
    META_SUFFIX,
    seed_disk,
    vdevs_of,
    volume_name,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import (
    GUEST_SPEC,
    NAME,
    Guest,
    check_backend,
    check_path,
    given,
    twice,
    wrong,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import names

_DISK_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
_VOLUME_GROUP = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,63}")
_VDEV = {"hvm": re.compile(r"xvd[a-z]|hd[a-d]|sd[a-z]"), "pvh": re.compile(r"xvd[a-z]"), "pv": re.compile(r"xvd[a-z]")}
_SUFFIX = ".filling"
"""The longest that the name of a volume ends in for a while (lvm/volumes.py; `.removed` in removal/plan.py)."""


def check_disks(guest: Guest) -> list[str]:
    """What is wrong with the disks of a guest whose keys and types are sound."""
    errors: list[str] = []
    disks = [given(disk) for disk in guest["disks"]]
    if len(disks) > 26:
        errors.append(wrong("disks", f"{len(disks)} disks", "at most 26"))
    vdevs = vdevs_of(disks, guest["type"])
    for index, disk in enumerate(disks):
        key = f"disks[{index}]"
        errors += _check_cdrom(key, guest["type"], disk) if disk.get("cdrom") else _check_disk_source(key, guest["name"], disk)
        errors += check_backend(key, guest, disk, ("volume_group", "limits", "cdrom"))
        errors += _check_replicated(key, guest["type"], disk)
        if "vdev" in disk and not disk.get("cdrom") and not _VDEV[guest["type"]].fullmatch(disk["vdev"]):
            named = "xvda to xvdz" + (", hda to hdd, sda to sdz" if guest["type"] == "hvm" else "")
            errors.append(wrong(f"{key}.vdev", disk["vdev"], f"{named} for type {guest['type']}"))
        errors += _check_limits(f"{key}.limits", disk)
        errors += _check_access(key, guest["type"], disk, vdevs[index])
    for key, kind in (("name", "name"), ("drbd_minor", "number")):
        errors += twice(kind, [(f"disks[{index}].{key}", disk.get(key)) for index, disk in enumerate(disks)])
    # xvda and hda of an HVM guest are the same disk to its BIOS, so only the letter tells disks apart.
    letters: dict[str, str] = {}
    for index, vdev in enumerate(vdevs):
        if vdev.endswith("?"):
            if vdev != "xvd?":
                errors.append(f"disks[{index}].vdev: is missing; hda to hdd are taken, so name the devices of this guest's disks and CDs")
            continue
        if vdev[-1] in letters:
            errors.append(wrong(f"disks[{index}].vdev", vdev, f"a device of its own, {letters[vdev[-1]]} is there already"))
        letters[vdev[-1]] = vdev
    return errors


def _check_disk_source(key: str, name: str, disk: Guest) -> list[str]:
    if "path" in disk:
        errors = [
            wrong(f"{key}.{other}", disk[other], "either path, or size_gib with volume_group")
            for other in ("size_gib", "volume_group", "image") if other in disk
        ]
        if disk["path"].startswith("/dev/") and disk.get("format", "raw") != "raw":
            errors.append(wrong(f"{key}.format", disk["format"], "raw for a block device"))
        return errors + check_path(f"{key}.path", disk["path"])
    errors = [
        f"{key}.{needed}: is missing; a disk has name, size_gib and volume_group, or path"
        for needed in ("name", "size_gib", "volume_group") if needed not in disk
    ]
    if "name" in disk and not _DISK_NAME.fullmatch(disk["name"]):
        errors.append(wrong(f"{key}.name", disk["name"], "1 to 16 lower-case letters, digits and '-'"))
    # Compared as it is: YAML takes whole numbers that no float can hold, and NaN is above nothing.
    if "size_gib" in disk and not 0 < disk["size_gib"] <= 1024 * 1024:
        errors.append(wrong(f"{key}.size_gib", disk["size_gib"], "a size above 0 and up to 1048576 GiB"))
    if "volume_group" in disk and (not _VOLUME_GROUP.fullmatch(disk["volume_group"]) or disk["volume_group"] in (".", "..")):
        errors.append(wrong(f"{key}.volume_group", disk["volume_group"], "a name of letters, digits, '_', '+', '.' and '-'"))
    if disk.get("format", "raw") != "raw":
        errors.append(wrong(f"{key}.format", disk["format"], "raw for a volume"))
    if "image" in disk and not NAME.fullmatch(disk["image"]):
        errors.append(wrong(f"{key}.image", disk["image"], "the name of a disk image: lower-case letters, digits, '.' and '-'"))
    if not errors:
        volume = volume_name(name, disk["name"]) + (_SUFFIX if "image" in disk else META_SUFFIX if "drbd_minor" in disk else "")
        device = names.mapped(disk["volume_group"], volume)
        if len(device) > names.LARGEST:
            errors.append(wrong(f"{key}.name", disk["name"], f"shorter names: the device would be {device}, "
                                f"{len(device)} characters of at most {names.LARGEST}"))
    return errors


def _check_cdrom(key: str, kind: str, disk: Guest) -> list[str]:
    """A drive of an HVM guest's QEMU, with or without a medium; a PV guest has it as a disk that is called one."""
    errors = [wrong(f"{key}.{other}", disk[other], "a CD has a path, or is an empty drive")
              for other in ("size_gib", "volume_group", "image", "limits") if other in disk]
    if kind == "pvh":
        return [*errors, wrong(f"{key}.cdrom", True, "only for the types hvm and pv; this guest is pvh (path with access: ro is a disk "
                               "that it can read)")]
    if kind == "pv" and "path" not in disk:
        errors.append(f"{key}.path: is missing; only a guest of type hvm has an empty drive")
    named = re.compile("hd[a-d]" if kind == "hvm" else "xvd[a-z]")
    if "vdev" in disk and not named.fullmatch(disk["vdev"]):
        errors.append(wrong(f"{key}.vdev", disk["vdev"], f"{'hda to hdd' if kind == 'hvm' else 'xvda to xvdz'} for a CD of type {kind}"))
    if disk.get("format", "raw") != "raw":
        errors.append(wrong(f"{key}.format", disk["format"], "raw for a CD"))
    return errors + (check_path(f"{key}.path", disk["path"]) if "path" in disk else [])


def _check_replicated(key: str, kind: str, disk: Guest) -> list[str]:
    """A disk with a second copy on another host, by DRBD."""
    if "drbd_minor" not in disk:
        return []
    value = disk["drbd_minor"]
    if kind == "hvm":
        # libxl gives QEMU the name of the resource as a path (libxl_device_disk with `script`).
        return [wrong(f"{key}.drbd_minor", value, "only for the types pvh and pv, since QEMU cannot open such a disk; this guest is hvm")]
    if "volume_group" not in disk:
        return [wrong(f"{key}.drbd_minor", value, "only beside volume_group, whose volume of each host is a copy")]
    return [wrong(f"{key}.drbd_minor", value, "only for a disk that the guest writes (access rw)")] if disk.get("access") == "ro" else []


def _check_limits(key: str, disk: Guest) -> list[str]:
    if "limits" not in disk:
        return []
    limits = given(disk["limits"])
    if not limits:
        return [wrong(key, dict(disk["limits"]), f"one or more of {', '.join(GUEST_SPEC['disks']['options']['limits']['options'])}")]
    errors = []
    if not disk.get("path", "/dev/").startswith("/dev/"):
        # xl has QEMU serve what is no block device, and the limits are those of the kernel's own backend.
        errors.append(wrong(key, limits, f"only for volumes and block devices below /dev; this disk is {disk['path']}"))
    if disk.get("access") == "ro":
        errors += [wrong(f"{key}.{name}", limits[name], "only for a disk that the guest may write (access rw)")
                   for name in ("write_mibps", "write_iops") if name in limits]
    return errors


def _check_access(key: str, kind: str, disk: Guest, vdev: str) -> list[str]:
    """xl lets a configuration pass and fails when it starts the guest's QEMU, whose IDE disks are written."""
    ide = kind == "hvm" and not vdev.startswith("sd") and vdev[-1] in CD_LETTERS
    if not ide or disk.get("cdrom") or disk.get("access") != "ro":
        return []
    return [wrong(f"{key}.access", "ro", f"rw for {vdev} of type hvm; one that is only read is a CD (cdrom: true), sda to sdz, or xvde to "
                  "xvdz for drivers of Xen")]


def check_first_boot(guest: Guest) -> list[str]:
    """What is wrong with `first_boot`. The seed disk is found, too, in a definition that was normalised before; it counts as the one that
    would be made."""
    if "first_boot" not in guest:
        return []
    said = given(guest["first_boot"])
    errors = first_boot.check(said, len(guest["networks"]))
    disks = [given(disk) for disk in guest["disks"]]
    if not any(disk.get("volume_group") for disk in disks):
        errors.append("first_boot: needs a disk with volume_group, beside which its seed lies; this guest has none")
    elif len(disks) == 26 and not any(disk.get("vdev") == first_boot.SEED_VDEV for disk in disks):
        errors.append("disks: value 26 disks, allowed at most 25 beside first_boot, which has one")
    if errors:
        return errors
    wanted = seed_disk(guest)
    device = names.mapped(wanted["volume_group"], volume_name(guest["name"], wanted["name"]) + _SUFFIX)
    if len(device) > names.LARGEST:
        errors.append(f"first_boot: needs shorter names of guest and volume group: the device of its seed would be {device}, {len(device)} "
                      f"characters of at most {names.LARGEST}")
    for index, disk in enumerate(disks):
        seed = {key: value for key, value in wanted.items() if disk.get(key) != value}
        if seed and (str(disk.get("name")).startswith("seed-") or disk.get("vdev") == first_boot.SEED_VDEV):
            key = "vdev" if disk.get("vdev") == first_boot.SEED_VDEV else "name"
            errors.append(wrong(f"disks[{index}].{key}", disk[key], f"another one: {first_boot.SEED_VDEV} and names that begin with seed- "
                                "are those of the disk that first_boot makes"))
    return errors
