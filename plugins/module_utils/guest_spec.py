# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One guest: what may be said of it, what is wrong with a definition, and the definition in full.

Shared by the estate, the role `guests` and the module `xl_guest`. xl itself accepts much that cannot work (unknown keys,
`memory="1G"`, `maxmem` below `memory`, one vdev twice), so everything is checked here, before a host is touched.
"""
from __future__ import annotations

import hashlib
import math
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import cpuid

Guest = Mapping[str, Any]

IMAGES_DIR = "/var/lib/xenfold/images"
GRUB = {"pvh": "/usr/lib/grub-xen/grub-i386-xen_pvh.bin", "pv": "/usr/lib/grub-xen/grub-x86_64-xen.bin"}
"""Loaders of Debian's package grub-xen-host: they read the guest's own /boot/grub/grub.cfg."""

_EVENTS = ["destroy", "restart", "rename-restart", "preserve"]
_CRASH_EVENTS = [*_EVENTS, "coredump-destroy", "coredump-restart"]

GUEST_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "uuid": {"type": "str"},
    "state": {"type": "str", "choices": ["running", "defined"], "default": "running"},
    "type": {"type": "str", "choices": ["pvh", "hvm", "pv"], "default": "pvh"},
    "vcpus": {"type": "int", "default": 1},
    "maxvcpus": {"type": "int"},
    "memory_mib": {"type": "int"},
    "maxmem_mib": {"type": "int"},
    "cpus": {"type": "str"},
    "cpu_weight": {"type": "int", "default": 256},
    "cap_percent": {"type": "int", "default": 0},
    "cpu_pool": {"type": "str"},
    "cpuid": {"type": "list", "elements": "str"},
    "disks": {
        "type": "list", "elements": "dict", "default": [],
        "options": {
            "name": {"type": "str"},
            "size_gib": {"type": "float"},
            "volume_group": {"type": "str"},
            "drbd_minor": {"type": "int"},
            "image": {"type": "str"},
            "path": {"type": "str"},
            "format": {"type": "str", "choices": ["raw", "qcow2", "vhd"], "default": "raw"},
            "vdev": {"type": "str"},
            "access": {"type": "str", "choices": ["rw", "ro"], "default": "rw"},
            "cdrom": {"type": "bool"},
            "backend": {"type": "str"},
            "limits": {
                "type": "dict",
                "options": {
                    "read_mibps": {"type": "int"},
                    "write_mibps": {"type": "int"},
                    "read_iops": {"type": "int"},
                    "write_iops": {"type": "int"},
                },
            },
        },
    },
    "networks": {
        "type": "list", "elements": "dict", "default": [],
        "options": {
            "bridge": {"type": "str", "required": True},
            "mac": {"type": "str"},
            "rate_mbps": {"type": "int"},
            "receive_mbps": {"type": "int"},
            "min_mbps": {"type": "int"},
            "mtu": {"type": "int"},
            "backend": {"type": "str"},
        },
    },
    "pci": {
        "type": "list", "elements": "dict", "default": [],
        "options": {
            "address": {"type": "str", "required": True},
            "permissive": {"type": "bool"},
        },
    },
    "driver_domain": {"type": "bool"},
    "firmware": {"type": "str", "choices": ["bios", "uefi"]},
    "boot": {
        "type": "dict",
        "options": {
            "image": {"type": "str"},
            "kernel": {"type": "str"},
            "ramdisk": {"type": "str"},
            "cmdline": {"type": "str"},
        },
    },
    "first_boot": {"type": "dict", "options": first_boot.FIRST_BOOT_SPEC},
    "on_poweroff": {"type": "str", "choices": _EVENTS, "default": "destroy"},
    "on_reboot": {"type": "str", "choices": _EVENTS, "default": "restart"},
    "on_crash": {"type": "str", "choices": _CRASH_EVENTS, "default": "restart"},
    "autostart": {"type": "int"},
    "tsc_mode": {"type": "str", "choices": ["default", "always_emulate", "native", "native_paravirt"], "default": "default"},
    "max_grant_frames": {"type": "int"},
    "max_event_channels": {"type": "int"},
    "localtime": {"type": "bool"},
    "pvshim": {"type": "bool"},
    "vga": {"type": "str", "choices": ["none", "stdvga", "cirrus", "qxl"]},
    "vnc": {"type": "bool"},
}
"""Argument spec of one guest; a key with the value null counts as not given."""

_ONLY_FOR = {"vga": "hvm", "vnc": "hvm", "firmware": "hvm", "pvshim": "pvh"}
_MOST_VCPUS = {"pvh": 128, "hvm": 128, "pv": 512}
_RANGES = {
    "memory_mib": (32, 12 * 1024 * 1024, "MiB"), "maxmem_mib": (32, 12 * 1024 * 1024, "MiB"),
    "cpu_weight": (1, 65535, ""), "autostart": (1, 99, ""), "max_grant_frames": (4, 65536, ""),
    "max_event_channels": (16, 131072, ""), "rate_mbps": (1, 400_000, "Mbit/s"), "mtu": (68, 65535, "bytes"),
    "receive_mbps": (1, 400_000, "Mbit/s"), "min_mbps": (1, 400_000, "Mbit/s"), "read_mibps": (1, 1_000_000, "MiB/s"),
    "write_mibps": (1, 1_000_000, "MiB/s"), "read_iops": (1, 100_000_000, "requests a second"),
    "write_iops": (1, 100_000_000, "requests a second"), "drbd_minor": (0, 3999, ""),
}
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
_NAME_ALLOWED = (
    "1 to 63 lower-case letters, digits, '.' and '-', a letter or digit at both ends, no '--' (xl's mark of a guest under "
    "way), not digits alone (xl takes those for domain ids), not beginning with snapshot or pvmove (LVM keeps those), "
    "not ending in .cfg (the file of another guest)"
)
_DISK_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,15}")
_VOLUME_GROUP = re.compile(r"[A-Za-z0-9_+.][A-Za-z0-9_+.-]{0,63}")
_CD_LETTERS = "dcba"
"""Drives of an HVM guest, the last first: a disk more does not move the CD."""
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.IGNORECASE)
_VDEV = {"hvm": re.compile(r"xvd[a-z]|hd[a-d]|sd[a-z]"), "pvh": re.compile(r"xvd[a-z]"), "pv": re.compile(r"xvd[a-z]")}
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_CPU_ITEM = re.compile(r"\^?(?:nodes?:)?([0-9]{1,4})(?:-([0-9]{1,4}))?")
_LAST_CPU = 4095
"""Xen is never built for more CPUs (its Kconfig, NR_CPUS)."""
_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_LARGEST_DEVICE_MAPPER_NAME = 127
_SUFFIX = ".filling"
"""The longest that the name of a volume ends in for a while (lvm/volumes.py; `.removed` in removal/plan.py)."""
META_SUFFIX = ".drbd"
"""What the name of the volume ends in that has DRBD's own data about a replicated disk."""
DRBD = "drbd:"
"""What the target of a replicated disk begins with; its resource is called like its volume."""
_TYPES: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"), "int": (int, "a whole number"), "float": ((int, float), "a number"),
    "bool": (bool, "true or false"), "list": (list, "a list"), "dict": (Mapping, "a mapping of keys and values"),
}
_NAMESPACE = uuid.UUID("7f6a1f3c-6a52-5f0e-9d53-1d1c3b0c4f11")


def _wrong(key: str, value: Any, allowed: str) -> str:
    return f"{key}: value {value!r}, allowed {allowed}"


def is_in_range(key: str, value: int) -> bool:
    """Whether a number may stand under a key that has a range."""
    low, high, _unit = _RANGES[key]
    return low <= value <= high


def given(mapping: Guest) -> dict[str, Any]:
    """A mapping without the keys that are null."""
    return {key: value for key, value in mapping.items() if value is not None}


def check_name(name: Any) -> str | None:
    """What is wrong with the name of a guest, if anything."""
    if (
        not isinstance(name, str) or not _NAME.fullmatch(name) or "--" in name or name.isdigit()
        or name.startswith(("snapshot", "pvmove")) or name.endswith(".cfg")
    ):
        return _wrong("name", name, _NAME_ALLOWED)
    return None


def check_guest(guest: Any) -> list[str]:
    """What is wrong with one guest, one line each, beginning with the key (`disks[0].vdev: value ...`); empty when all is well.

    guest: as a person writes it, with or without defaults; null counts as not given.
    """
    if not isinstance(guest, Mapping):
        return [f"value {guest!r}, allowed a mapping of keys and values"]
    errors = _shape(GUEST_SPEC, guest, "")
    if errors:
        return errors
    full = {key: rule["default"] for key, rule in GUEST_SPEC.items() if "default" in rule} | given(guest)
    name_error = check_name(full["name"])
    errors += [name_error] if name_error else []
    for check in (_check_size, _check_scheduling, _check_disks, _check_networks, _check_pci, _check_boot, _check_first_boot):
        errors += check(full)
    return errors


def check_guests(guests: Any, one_host: bool = False) -> list[str]:
    """What is wrong with the guests of a list, each by itself and between them; each line names the guest.

    one_host: whether all are of one host, where no two may have one PCI device.
    """
    if not isinstance(guests, Sequence) or isinstance(guests, str):
        return [_wrong("guests", guests, "a list of guests")]
    errors: list[str] = []
    sound: list[dict[str, Any]] = []
    for number, guest in enumerate(guests, 1):
        found = check_guest(guest)
        named = isinstance(guest, Mapping) and guest.get("name") is not None
        title = f"guest {str(guest['name'])!r}" if named else f"guest number {number}"
        errors += [f"{title}: {error}" for error in found]
        if not found:
            sound.append(normalise(guest))
    return errors + _between(sound, one_host)


def _shape(spec: Mapping[str, Mapping[str, Any]], values: Guest, path: str) -> list[str]:
    """Unknown and missing keys, types and choices, all the way down."""
    errors = [
        f"{path}{key}: is no key here, allowed {', '.join(sorted(spec))}" for key in values if key not in spec
    ]
    for key, rule in spec.items():
        value, place = values.get(key), f"{path}{key}"
        if value is None:
            if rule.get("required"):
                errors.append(f"{place}: is missing")
            continue
        kind, words = _TYPES[rule["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and rule["type"] != "bool"):
            secret = rule.get("no_log") or any(part.get("no_log") for part in rule.get("options", {}).values())
            errors.append(f"{place}: value of another kind, allowed {words}" if secret else _wrong(place, value, words))
        elif "choices" in rule and value not in rule["choices"]:
            errors.append(_wrong(place, value, ", ".join(rule["choices"])))
        elif rule["type"] == "list":
            for index, part in enumerate(value):
                part_kind, part_words = _TYPES[rule["elements"]]
                if not isinstance(part, part_kind):
                    errors.append(_wrong(f"{place}[{index}]", part, part_words))
                elif rule["elements"] == "dict":
                    errors += _shape(rule["options"], part, f"{place}[{index}].")
        elif rule["type"] == "dict":
            errors += _shape(rule["options"], value, f"{place}.")
        elif key in _RANGES and not is_in_range(key, value):
            low, high, unit = _RANGES[key]
            errors.append(_wrong(place, value, f"{low} to {high} {unit}".rstrip()))
        elif rule["type"] == "str" and not {"choices", "no_log"} & set(rule) and not (value and value.isascii() and value.isprintable()):
            errors.append(_wrong(place, value, "a text of printable ASCII characters that is not empty"))
    return errors


def _check_size(guest: Guest) -> list[str]:
    errors = []
    most = _MOST_VCPUS[guest["type"]]
    if not 1 <= guest["vcpus"] <= most:
        errors.append(_wrong("vcpus", guest["vcpus"], f"1 to {most} for type {guest['type']}"))
    elif not guest["vcpus"] <= guest.get("maxvcpus", guest["vcpus"]) <= most:
        errors.append(_wrong("maxvcpus", guest["maxvcpus"], f"vcpus ({guest['vcpus']}) to {most} for type {guest['type']}"))
    if "memory_mib" not in guest:
        errors.append("memory_mib: is missing; a workload without it is for planning only and cannot become a guest")
    elif guest.get("maxmem_mib", guest["memory_mib"]) < guest["memory_mib"]:
        errors.append(_wrong("maxmem_mib", guest["maxmem_mib"], f"memory_mib ({guest['memory_mib']}) or more"))
    for key, kind in _ONLY_FOR.items():
        if key in guest and guest["type"] != kind:
            errors.append(_wrong(key, guest[key], f"only for type {kind}; this guest is {guest['type']}"))
    if "cpuid" in guest and guest["type"] == "pv":
        errors.append(_wrong("cpuid", guest["cpuid"], "only for the types pvh and hvm; this guest is pv"))
    if "uuid" in guest and not _UUID.fullmatch(guest["uuid"]):
        errors.append(_wrong("uuid", guest["uuid"], "a UUID as 8-4-4-4-12 hexadecimal digits"))
    return errors


def _check_scheduling(guest: Guest) -> list[str]:
    errors = []
    most = 100 * max(guest.get("maxvcpus", 1), guest["vcpus"], 1)
    if not 0 <= guest["cap_percent"] <= most:
        errors.append(_wrong("cap_percent", guest["cap_percent"], f"0 (no cap) to {most}, 100 for each vCPU"))
    if "cpus" in guest and not cpus_are_sound(guest["cpus"]):
        errors.append(_wrong("cpus", guest["cpus"],
                             f"all, or a list as 0-3,^1,8 or nodes:0 with numbers from 0 to {_LAST_CPU}, ranges upwards"))
    if "cpu_pool" in guest and not _POOL.fullmatch(guest["cpu_pool"]):
        errors.append(_wrong("cpu_pool", guest["cpu_pool"], "the name of a CPU pool: letters, digits, '_', '.' and '-'"))
    return errors + cpuid.check("cpuid", guest.get("cpuid", []))


def cpus_are_sound(cpus: str) -> bool:
    """Whether a list of CPUs or NUMA nodes can be told to xl: numbers that exist, ranges that go up."""
    matches = [_CPU_ITEM.fullmatch(item) for item in cpus.split(",")]
    return cpus == "all" or all(match and int(match[1]) <= int(match[2] or match[1]) <= _LAST_CPU for match in matches)


def _check_replicated(key: str, kind: str, disk: Guest) -> list[str]:
    """A disk with a second copy on another host, by DRBD."""
    if "drbd_minor" not in disk:
        return []
    value = disk["drbd_minor"]
    if kind == "hvm":
        # libxl gives QEMU the name of the resource as a path (libxl_device_disk with `script`).
        return [_wrong(f"{key}.drbd_minor", value, "only for the types pvh and pv, since QEMU cannot open such a disk; this guest is hvm")]
    if "volume_group" not in disk:
        return [_wrong(f"{key}.drbd_minor", value, "only beside volume_group, whose volume of each host is a copy")]
    return [_wrong(f"{key}.drbd_minor", value, "only for a disk that the guest writes (access rw)")] if disk.get("access") == "ro" else []


def _check_path(key: str, path: str) -> list[str]:
    plain = path.startswith("/") and not path.endswith("/") and not any(c.isspace() or c in ",'\"\\" for c in path)
    return [] if plain else [_wrong(key, path, "an absolute path without spaces, commas, quotes and backslashes")]


def _check_disks(guest: Guest) -> list[str]:
    errors: list[str] = []
    disks = [given(disk) for disk in guest["disks"]]
    if len(disks) > 26:
        errors.append(_wrong("disks", f"{len(disks)} disks", "at most 26"))
    vdevs = _vdevs(disks, guest["type"])
    for index, disk in enumerate(disks):
        key = f"disks[{index}]"
        errors += _check_cdrom(key, guest["type"], disk) if disk.get("cdrom") else _check_disk_source(key, guest["name"], disk)
        errors += _check_backend(key, guest, disk, ("volume_group", "limits", "cdrom"))
        errors += _check_replicated(key, guest["type"], disk)
        if "vdev" in disk and not disk.get("cdrom") and not _VDEV[guest["type"]].fullmatch(disk["vdev"]):
            named = "xvda to xvdz" + (", hda to hdd, sda to sdz" if guest["type"] == "hvm" else "")
            errors.append(_wrong(f"{key}.vdev", disk["vdev"], f"{named} for type {guest['type']}"))
        errors += _check_limits(f"{key}.limits", disk)
        errors += _check_access(key, guest["type"], disk, vdevs[index])
    for key, kind in (("name", "name"), ("drbd_minor", "number")):
        errors += _twice(kind, [(f"disks[{index}].{key}", disk.get(key)) for index, disk in enumerate(disks)])
    # xvda and hda of an HVM guest are the same disk to its BIOS, so only the letter tells disks apart.
    letters: dict[str, str] = {}
    for index, vdev in enumerate(vdevs):
        if vdev.endswith("?"):
            if vdev != "xvd?":
                errors.append(f"disks[{index}].vdev: is missing; hda to hdd are taken, so name the devices of this guest's disks and CDs")
            continue
        if vdev[-1] in letters:
            errors.append(_wrong(f"disks[{index}].vdev", vdev, f"a device of its own, {letters[vdev[-1]]} is there already"))
        letters[vdev[-1]] = vdev
    return errors


def _check_access(key: str, kind: str, disk: Guest, vdev: str) -> list[str]:
    """xl lets a configuration pass and fails when it starts the guest's QEMU, whose IDE disks are written."""
    ide = kind == "hvm" and not vdev.startswith("sd") and vdev[-1] in _CD_LETTERS
    if not ide or disk.get("cdrom") or disk.get("access") != "ro":
        return []
    return [_wrong(f"{key}.access", "ro", f"rw for {vdev} of type hvm; one that is only read is a CD (cdrom: true), sda to sdz, or xvde to "
                   "xvdz for drivers of Xen")]


def _mapped(volume_group: str, volume: str) -> str:
    """The name of a volume's device in the device mapper."""
    return "-".join(part.replace("-", "--") for part in (volume_group, volume))


def _check_cdrom(key: str, kind: str, disk: Guest) -> list[str]:
    """A drive of an HVM guest's QEMU, with or without a medium; a PV guest has it as a disk that is called one."""
    errors = [_wrong(f"{key}.{other}", disk[other], "a CD has a path, or is an empty drive")
              for other in ("size_gib", "volume_group", "image", "limits") if other in disk]
    if kind == "pvh":
        return [*errors, _wrong(f"{key}.cdrom", True, "only for the types hvm and pv; this guest is pvh (path with access: ro is a disk "
                                "that it can read)")]
    if kind == "pv" and "path" not in disk:
        errors.append(f"{key}.path: is missing; only a guest of type hvm has an empty drive")
    named = re.compile("hd[a-d]" if kind == "hvm" else "xvd[a-z]")
    if "vdev" in disk and not named.fullmatch(disk["vdev"]):
        errors.append(_wrong(f"{key}.vdev", disk["vdev"], f"{'hda to hdd' if kind == 'hvm' else 'xvda to xvdz'} for a CD of type {kind}"))
    if disk.get("format", "raw") != "raw":
        errors.append(_wrong(f"{key}.format", disk["format"], "raw for a CD"))
    return errors + (_check_path(f"{key}.path", disk["path"]) if "path" in disk else [])


def _check_backend(key: str, guest: Guest, device: Guest, without: Iterable[str]) -> list[str]:
    """The driver domain that serves a device. without: keys that this host, which does not, cannot fulfil then."""
    if "backend" not in device:
        return []
    if check_name(device["backend"]) or device["backend"] == guest["name"]:
        return [_wrong(f"{key}.backend", device["backend"], "the name of another guest, which is a driver domain")]
    return [_wrong(f"{key}.{other}", device[other], f"nothing beside backend: {device['backend']} serves the device, not dom0")
            for other in without if device.get(other)]


def _check_pci(guest: Guest) -> list[str]:
    errors = []
    devices = [given(device) for device in guest["pci"]]
    if devices and guest["type"] == "pvh":
        errors.append(_wrong("pci", devices, "only for the types hvm and pv; this guest is pvh"))
    if devices and guest["type"] == "hvm" and guest.get("maxmem_mib", guest.get("memory_mib")) != guest.get("memory_mib"):
        errors.append(_wrong("maxmem_mib", guest["maxmem_mib"], "memory_mib for an HVM guest with PCI devices, which has all its memory "
                             "from the start"))
    errors += [_wrong(f"pci[{index}].address", device["address"], "an address as 0000:03:00.0")
               for index, device in enumerate(devices) if not _PCI.fullmatch(device["address"])]
    return errors + _twice("device", [(f"pci[{index}].address", device["address"].lower()) for index, device in enumerate(devices)])


def _check_limits(key: str, disk: Guest) -> list[str]:
    if "limits" not in disk:
        return []
    limits = given(disk["limits"])
    if not limits:
        return [_wrong(key, dict(disk["limits"]), f"one or more of {', '.join(GUEST_SPEC['disks']['options']['limits']['options'])}")]
    errors = []
    if not disk.get("path", "/dev/").startswith("/dev/"):
        # xl has QEMU serve what is no block device, and the limits are those of the kernel's own backend.
        errors.append(_wrong(key, limits, f"only for volumes and block devices below /dev; this disk is {disk['path']}"))
    if disk.get("access") == "ro":
        errors += [_wrong(f"{key}.{name}", limits[name], "only for a disk that the guest may write (access rw)")
                   for name in ("write_mibps", "write_iops") if name in limits]
    return errors


def _check_disk_source(key: str, name: str, disk: Guest) -> list[str]:
    if "path" in disk:
        errors = [
            _wrong(f"{key}.{other}", disk[other], "either path, or size_gib with volume_group")
            for other in ("size_gib", "volume_group", "image") if other in disk
        ]
        if disk["path"].startswith("/dev/") and disk.get("format", "raw") != "raw":
            errors.append(_wrong(f"{key}.format", disk["format"], "raw for a block device"))
        return errors + _check_path(f"{key}.path", disk["path"])
    errors = [
        f"{key}.{needed}: is missing; a disk has name, size_gib and volume_group, or path"
        for needed in ("name", "size_gib", "volume_group") if needed not in disk
    ]
    if "name" in disk and not _DISK_NAME.fullmatch(disk["name"]):
        errors.append(_wrong(f"{key}.name", disk["name"], "1 to 16 lower-case letters, digits and '-'"))
    # Compared as it is: YAML takes whole numbers that no float can hold, and NaN is above nothing.
    if "size_gib" in disk and not 0 < disk["size_gib"] <= 1024 * 1024:
        errors.append(_wrong(f"{key}.size_gib", disk["size_gib"], "a size above 0 and up to 1048576 GiB"))
    if "volume_group" in disk and (not _VOLUME_GROUP.fullmatch(disk["volume_group"]) or disk["volume_group"] in (".", "..")):
        errors.append(_wrong(f"{key}.volume_group", disk["volume_group"], "a name of letters, digits, '_', '+', '.' and '-'"))
    if disk.get("format", "raw") != "raw":
        errors.append(_wrong(f"{key}.format", disk["format"], "raw for a volume"))
    if "image" in disk and not _NAME.fullmatch(disk["image"]):
        errors.append(_wrong(f"{key}.image", disk["image"], "the name of a disk image: lower-case letters, digits, '.' and '-'"))
    if not errors:
        volume = f"{name}-{disk['name']}" + (_SUFFIX if "image" in disk else META_SUFFIX if "drbd_minor" in disk else "")
        device = _mapped(disk["volume_group"], volume)
        if len(device) > _LARGEST_DEVICE_MAPPER_NAME:
            errors.append(_wrong(f"{key}.name", disk["name"], f"shorter names: the device would be {device}, "
                                 f"{len(device)} characters of at most {_LARGEST_DEVICE_MAPPER_NAME}"))
    return errors


def _check_networks(guest: Guest) -> list[str]:
    errors: list[str] = []
    networks = [given(network) for network in guest["networks"]]
    for index, network in enumerate(networks):
        key = f"networks[{index}]"
        if not _BRIDGE.fullmatch(network["bridge"]) or network["bridge"] in (".", ".."):
            errors.append(_wrong(f"{key}.bridge", network["bridge"], "the name of a bridge, up to 15 characters"))
        if network.get("min_mbps", 0) > network.get("rate_mbps", network.get("min_mbps", 0)):
            errors.append(_wrong(f"{key}.min_mbps", network["min_mbps"], f"rate_mbps ({network['rate_mbps']}) or less"))
        errors += _check_backend(key, guest, network, ("rate_mbps", "receive_mbps", "min_mbps"))
        mac = network.get("mac")
        if mac is None:
            continue
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or not any(int(part, 16) for part in mac.split(":")):
            errors.append(_wrong(f"{key}.mac", mac, "an address of one card as 00:16:3e:12:34:56, its first octet even"))
    return errors + _twice("mac", [(f"networks[{i}].mac", net["mac"].lower()) for i, net in enumerate(networks) if "mac" in net])


def _check_boot(guest: Guest) -> list[str]:
    boot = given(guest.get("boot") or {})
    if "firmware" in guest and guest["type"] == "hvm" and {"image", "kernel"} & set(boot):
        return [_wrong("firmware", guest["firmware"], "nothing beside boot.image and boot.kernel, which take its place")]
    if "image" in boot:
        errors = [_wrong(f"boot.{key}", boot[key], "nothing besides image, which brings its own")
                  for key in ("kernel", "ramdisk") if key in boot]
        if not _NAME.fullmatch(boot["image"]):
            errors.append(_wrong("boot.image", boot["image"], "a name of lower-case letters, digits, '.' and '-'"))
        return errors
    if "kernel" in boot:
        return [error for key in ("kernel", "ramdisk") if key in boot for error in _check_path(f"boot.{key}", boot[key])]
    errors = [_wrong(f"boot.{key}", boot[key], "only with boot.image or boot.kernel")
              for key in ("ramdisk", "cmdline") if key in boot]
    if not guest["disks"]:
        errors.append("disks: is empty; without boot.image and boot.kernel the guest boots from its first disk")
    return errors


def _check_first_boot(guest: Guest) -> list[str]:
    """The seed disk is found, too, in a definition that was normalised before; it counts as the one that would be made."""
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
    device = _mapped(wanted["volume_group"], volume_name(guest["name"], wanted["name"]) + _SUFFIX)
    if len(device) > _LARGEST_DEVICE_MAPPER_NAME:
        errors.append(f"first_boot: needs shorter names of guest and volume group: the device of its seed would be {device}, {len(device)} "
                      f"characters of at most {_LARGEST_DEVICE_MAPPER_NAME}")
    for index, disk in enumerate(disks):
        seed = {key: value for key, value in wanted.items() if disk.get(key) != value}
        if seed and (str(disk.get("name")).startswith("seed-") or disk.get("vdev") == first_boot.SEED_VDEV):
            key = "vdev" if disk.get("vdev") == first_boot.SEED_VDEV else "name"
            errors.append(_wrong(f"disks[{index}].{key}", disk[key], f"another one: {first_boot.SEED_VDEV} and names that begin with seed- "
                                 "are those of the disk that first_boot makes"))
    return errors


def seed_disk(guest: Guest) -> dict[str, Any]:
    """The disk with what a guest is told at its first boot: a small volume beside its first one, last of its devices."""
    identity = {"name": guest["name"], "uuid": _uuid(guest), "first_boot": guest["first_boot"], "networks": _networks(guest)}
    group = next(disk["volume_group"] for disk in guest["disks"] if disk.get("volume_group"))
    return {"name": first_boot.seed_name(identity), "size_gib": first_boot.SEED_SIZE_GIB, "volume_group": group, "access": "ro",
            "vdev": first_boot.SEED_VDEV}


def _twice(what: str, values: Iterable[tuple[str, Any]]) -> list[str]:
    seen: dict[Any, str] = {}
    errors = []
    for key, value in values:
        if value is None:
            continue
        if value in seen:
            errors.append(_wrong(key, value, f"a {what} of its own, {seen[value]} has this one"))
        seen.setdefault(value, key)
    return errors


def _between(guests: Sequence[Guest], one_host: bool) -> list[str]:
    """What two guests of a list may not share: name, uuid, MAC address, and a disk that either of them writes; and whether those that
    serve others are driver domains that start before them."""
    errors: list[str] = []
    owners: dict[tuple[str, str], int] = {}
    written: dict[str, bool] = {}
    for number, guest in enumerate(guests):
        claims = [("name", "name", guest["name"]), ("uuid", "uuid", guest["uuid"])]
        claims += [(f"networks[{index}].mac", "mac", net["mac"]) for index, net in enumerate(guest["networks"])]
        claims += [(f"disks[{index}].drbd_minor", "number", disk["drbd_minor"]) for index, disk in enumerate(guest["disks"])
                   if disk["drbd_minor"] is not None]
        claims += [(f"pci[{index}].address", "device", device["address"]) for index, device in enumerate(guest["pci"]) if one_host]
        for index, disk in enumerate(guest["disks"]):
            if not disk["target"]:
                continue
            # A path of a driver domain is another than that of the host.
            target = f"{disk['backend']}:{disk['target']}" if disk["backend"] else disk["target"]
            writes = disk["access"] == "rw"
            if writes or written.get(target, True):
                claims.append((f"disks[{index}]", "disk", target))
            owners.setdefault(("disk", target), number)
            written[target] = written.get(target, False) or writes
        for key, kind, value in claims:
            owner = owners.setdefault((kind, value), number)
            if owner != number:
                errors.append(f"guest {guest['name']!r}: " + _wrong(
                    key, value, f"a {kind} of its own, guest {guests[owner]['name']!r} has this one"))
    by_name = {guest["name"]: guest for guest in guests}
    return errors + [f"guest {guest['name']!r}: {error}" for guest in guests for error in _between_backends(guest, by_name)]


def _between_backends(guest: Guest, guests: Mapping[str, Guest]) -> list[str]:
    errors = []
    for key in ("disks", "networks"):
        for index, device in enumerate(guest[key]):
            server = guests.get(device["backend"] or "")
            if server is None:
                continue
            if not server["driver_domain"]:
                errors.append(_wrong(f"{key}[{index}].backend", device["backend"], "a guest with driver_domain: true"))
            elif guest["autostart"] and not (server["autostart"] and server["autostart"] < guest["autostart"]):
                errors.append(_wrong("autostart", guest["autostart"], f"a number above that of {server['name']}, which serves "
                                     f"{key}[{index}] and has {server['autostart'] or 'none'}"))
    return errors


def _vdevs(disks: Sequence[Guest], kind: str) -> list[str]:
    """The device names of disks in order: those named, for CDs of an HVM guest the last free drive of hda to hdd, and for the others the
    next free of xvda, xvdb, ...; `?` in place of a letter where there is none left."""
    taken = {disk["vdev"][-1] for disk in disks if disk.get("vdev")}
    drives = [kind == "hvm" and bool(disk.get("cdrom")) for disk in disks]
    free = (letter for letter in "abcdefghijklmnopqrstuvwxyz" if letter not in taken)
    found = [disk.get("vdev") or ("" if drive else f"xvd{next(free, '?')}") for disk, drive in zip(disks, drives, strict=True)]
    taken |= {vdev[-1] for vdev in found if vdev}
    left = (letter for letter in _CD_LETTERS if letter not in taken)
    return [vdev or f"hd{next(left, '?')}" for vdev in found]


def mac_of(name: str, index: int) -> str:
    """The MAC address of a guest's network by its number from 0: Xen's prefix and a hash, the same everywhere and for ever."""
    digest = hashlib.sha256(f"{name}/{index}".encode()).digest()
    return "00:16:3e:" + ":".join(f"{octet:02x}" for octet in digest[:3])


def volume_name(guest_name: str, disk_name: str) -> str:
    """The logical volume of a guest's disk."""
    return f"{guest_name}-{disk_name}"


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
    for disk, vdev in zip(disks, _vdevs(disks, full["type"]), strict=True):
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


def refuse_bad_guests(guests: Any) -> None:
    """ValueError with everything that is wrong with a value that should be a list of guests."""
    if not isinstance(guests, list | tuple):
        raise ValueError(f"value of type {type(guests).__name__}, allowed a list of guests")
    try:
        errors = check_guests(guests)
    except RecursionError as error:
        raise ValueError("value that is nested too deeply, allowed a list of guests") from error
    if errors:
        raise ValueError("; ".join(errors))


def with_cpuid(guest: Guest, lines: Sequence[str]) -> Guest:
    """A guest with these lines as its `cpuid`, when it takes some and says nothing of them itself; [] is its own word for none."""
    takes = guest["type"] != "pv" and guest.get("cpuid") is None
    return {**guest, "cpuid": list(lines)} if takes else guest


def _meta_size_gib(size_gib: float) -> float:
    """Of DRBD's data about a disk: a bit for each 4 KiB, its log of 32 KiB and a block of 4 KiB (drbd.conf(5) 8.4, flexible meta-disk),
    in whole MiB."""
    return (1 + math.ceil(size_gib * 1024 / 32768)) / 1024


def is_replicated(guest: Guest) -> bool:
    """Whether a guest has a disk with a second copy on another host."""
    return any(disk.get("drbd_minor") is not None for disk in guest.get("disks") or ())


def volumes_of(guests: Iterable[Guest]) -> list[dict[str, Any]]:
    """The logical volumes of sound guests, a replicated disk having two: name, volume_group and size_gib of each, sorted."""
    disks = [(volume_name(guest["name"], disk["name"]), disk)
             for guest in map(normalise, guests) for disk in guest["disks"] if disk["volume_group"]]
    volumes = [{"name": name, "volume_group": disk["volume_group"], "size_gib": disk["size_gib"]} for name, disk in disks]
    volumes += [{"name": name + META_SUFFIX, "volume_group": disk["volume_group"], "size_gib": _meta_size_gib(disk["size_gib"])}
                for name, disk in disks if disk["drbd_minor"] is not None]
    return sorted(volumes, key=lambda volume: (volume["volume_group"], volume["name"]))
