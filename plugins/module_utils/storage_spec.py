# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory may say of arrays, volume groups and volumes: one source for modules, role and estate."""
from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# level -> (fewest members, whether a write-intent bitmap makes sense)
LEVELS = {0: (2, False), 1: (2, True), 5: (3, True), 6: (4, True), 10: (4, True)}

MEMBER_SPEC: dict[str, Any] = {
    "id": {"type": "str", "required": True},
    "serial": {"type": "str", "required": True},
    "size_gib": {"type": "float"},
    "iops": {"type": "float"},
}
ARRAY_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "level": {"type": "int", "required": True, "choices": sorted(LEVELS)},
    "members": {"type": "list", "elements": "dict", "required": True, "options": MEMBER_SPEC},
    "chunk_kib": {"type": "int", "default": 512},
    "uuid": {"type": "str"},
    "bitmap": {"type": "str", "choices": ["internal", "none"]},
    "consistency_policy": {"type": "str", "choices": ["ppl"]},
    "spares": {"type": "list", "elements": "dict", "options": MEMBER_SPEC},
    "spare_group": {"type": "str"},
    "resync_min_kibps": {"type": "int"},
    "resync_max_kibps": {"type": "int"},
    "margin_mib": {"type": "int"},
}
SCRUB_SPEC: dict[str, Any] = {"day": {"type": "int"}, "hour": {"type": "int"}}
VOLUME_GROUP_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "devices": {"type": "list", "elements": "str", "required": True},
}
VOLUME_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "volume_group": {"type": "str", "required": True},
    "size_gib": {"type": "float", "required": True},
}

GROW_SPEC: dict[str, Any] = {"array": {"type": "str", "required": True}, "confirm": {"type": "str", "required": True}}
WIPE_SPEC: dict[str, Any] = {"serial": {"type": "str", "required": True}, "confirm": {"type": "str", "required": True}}

_ARRAY_NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_DISK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+=@-]*")
# lvm(8): letters, digits and + _ . -, no hyphen first; names that LVM keeps for itself are refused below.
_LVM_NAME = re.compile(r"[A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}")
_SPARE_GROUP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+(@[A-Za-z0-9.-]+)?")
_PROGRAM = re.compile(r"(/[A-Za-z0-9_.+-]+)+")
# What the kernel never goes below by itself (dev.raid.speed_limit_min).
_LEAST_KIBPS = 1000
_UUID = re.compile(r"[0-9a-f]{8}(:[0-9a-f]{8}){3}")
# A GPT's second copy takes 33 sectors at the end of a disk; more than 1 TiB is a mistake in the unit.
_MARGINS_MIB = (1, 2**20)


def lvm_name_error(name: str) -> str | None:
    """Why LVM would not take the name; None when it would."""
    if not _LVM_NAME.fullmatch(name) or name in (".", "..") or name.startswith(("snapshot", "pvmove")) or \
            re.search(r"_(mlog|mimage|rimage|rmeta|tdata|tmeta|cdata|cmeta|vorigin|pmspare)", name):
        return f"value {name!r}, allowed a name that LVM takes: letters, digits and +_.- (no - first, none of LVM's own)"
    return None


def _twice(values: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({value for value in values if value in seen or seen.add(value)})  # type: ignore[func-returns-value]


def disks_of(array: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Members and hot spares of an array."""
    return [*array["members"], *(array.get("spares") or [])]


def policy_of(array: Mapping[str, Any]) -> str:
    """The consistency policy that an array must have, in the kernel's words: `bitmap`, `resync` (no bitmap), `ppl`, `none`."""
    if not LEVELS[array["level"]][1]:
        return "none"
    return str(array.get("consistency_policy") or ("resync" if array.get("bitmap") == "none" else "bitmap"))


def speeds_of(array: Mapping[str, Any]) -> dict[str, str]:
    """sysfs file -> text, for the limits of synchronisation that the array has of its own."""
    keys = {"sync_speed_min": array.get("resync_min_kibps"), "sync_speed_max": array.get("resync_max_kibps")}
    return {file: str(value) for file, value in keys.items() if value}


def _check_options(array: Mapping[str, Any]) -> list[str]:
    """Errors of what is beyond level and members. The level is one of LEVELS."""
    level, errors = array["level"], []
    redundant = LEVELS[level][1]
    for key in ("bitmap", "spares", "spare_group", "resync_min_kibps", "resync_max_kibps"):
        if array.get(key) and array.get(key) != "none" and not redundant:
            errors.append(f"{key}: value {array[key]!r}, allowed for levels with redundancy, not for {level}")
    policy = array.get("consistency_policy")
    if policy and policy != "ppl":
        errors.append(f"consistency_policy: value {policy!r}, allowed ppl")
    elif policy and level != 5:
        errors.append(f"consistency_policy: value {policy!r}, allowed for level 5")
    elif policy and array.get("bitmap") == "internal":
        errors.append("bitmap: value 'internal', allowed none beside the consistency_policy ppl, which takes its place")
    group = array.get("spare_group")
    if group and not _SPARE_GROUP.fullmatch(group):
        errors.append(f"spare_group: value {group!r}, allowed letters, digits, _, . and -, a letter or digit first")
    least, most = array.get("resync_min_kibps"), array.get("resync_max_kibps")
    for key, value in (("resync_min_kibps", least), ("resync_max_kibps", most)):
        if value is not None and not 0 < value < 2**31:
            errors.append(f"{key}: value {value}, allowed a whole number above 0, in KiB/s of each disk")
    if most is not None and most < (least or _LEAST_KIBPS):
        told = "resync_min_kibps" if least else "which the kernel keeps to unless resync_min_kibps is given too"
        errors.append(f"resync_max_kibps: value {most}, allowed {least or _LEAST_KIBPS} or more, {told}")
    return errors


def _check_array(array: Mapping[str, Any]) -> list[str]:
    name, level, members = array["name"], array["level"], array["members"]
    errors = []
    if not _ARRAY_NAME.fullmatch(name):
        errors.append(f"name: value {name!r}, allowed a lower-case letter, then lower-case letters, digits, _ and -, at most 32 in all")
    if level not in LEVELS:
        return [*errors, f"level: value {level}, allowed {', '.join(map(str, sorted(LEVELS)))}"]
    if len(members) < LEVELS[level][0]:
        errors.append(f"members: value {len(members)} members, allowed {LEVELS[level][0]} or more for level {level}")
    errors += [error for list_name in ("members", "spares") for member in array.get(list_name) or []
               for error in check_disk(list_name, member)]
    chunk = array.get("chunk_kib") or 512
    if chunk < 4 or chunk & (chunk - 1):
        errors.append(f"chunk_kib: value {chunk}, allowed a power of two from 4")
    if array.get("uuid") and not _UUID.fullmatch(array["uuid"]):
        errors.append(f"uuid: value {array['uuid']!r}, allowed mdadm's form as in 01234567:89abcdef:01234567:89abcdef")
    margin = array.get("margin_mib")
    if margin is not None and not _MARGINS_MIB[0] <= margin <= _MARGINS_MIB[1]:
        errors.append(f"margin_mib: value {margin}, allowed {_MARGINS_MIB[0]} to {_MARGINS_MIB[1]}, or none for whole disks")
    return errors + _check_options(array)


def check_disk(list_name: str, member: Mapping[str, Any]) -> list[str]:
    """Errors of one disk of an array. list_name: where it stands, `members` or `spares`."""
    errors, identity = [], member.get("id") or ""
    if not _DISK_ID.fullmatch(identity):
        errors.append(f"{list_name}: id: value {identity!r}, allowed a name under /dev/disk/by-id")
    elif re.search(r"-part\d+$", identity):
        errors.append(f"{list_name}: id: value {identity!r}, allowed a whole disk, this is a partition")
    if not member.get("serial"):
        errors.append(f"{list_name}: {identity}: serial: value {member.get('serial')!r}, allowed the serial number of the disk")
    for key in ("size_gib", "iops"):
        value = member.get(key)
        if value is not None and not 0 < value < math.inf:
            errors.append(f"{list_name}: {identity}: {key}: value {value}, allowed a number above 0")
    return errors


def check_watch(scrub: Mapping[str, Any], mail_to: str | None, event_program: str | None) -> list[str]:
    """Errors of when arrays are scrubbed and who is told of their events; empty texts count as not given."""
    errors = []
    for key, least, most in (("day", 1, 28), ("hour", 0, 23)):
        value = scrub.get(key)
        if value is not None and not least <= value <= most:
            errors.append(f"scrub: {key}: value {value}, allowed {least} to {most}")
    if mail_to and not _MAIL.fullmatch(mail_to):
        errors.append(f"mail_to: value {mail_to!r}, allowed one mail address or a local user")
    if event_program and not _PROGRAM.fullmatch(event_program):
        errors.append(f"event_program: value {event_program!r}, allowed the full path of a program, without arguments")
    return errors


def check_storage(arrays: Sequence[Mapping[str, Any]], volume_groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors between and inside the items, each naming the item, the key, the value and what is allowed.

    The items have passed ARRAY_SPEC and VOLUME_GROUP_SPEC.
    """
    errors = [f"array '{array['name']}': {error}" for array in arrays for error in _check_array(array)]
    errors += [f"array '{name}': name: value {name!r}, allowed once on a host" for name in _twice(array["name"] for array in arrays)]
    for key in ("id", "serial"):
        values = [member.get(key) or "" for array in arrays for member in disks_of(array)]
        errors += [f"members: {key}: value {value!r}, allowed once: a disk is in one array" for value in _twice(values) if value]
    return errors + check_volume_groups(volume_groups, [array["name"] for array in arrays])


def check_volume_groups(volume_groups: Sequence[Mapping[str, Any]], arrays: Sequence[str] | None = None) -> list[str]:
    """Errors of the volume groups in the same form. arrays: names of the host's arrays; None when they are not known here."""
    errors = []
    for group in volume_groups:
        wrong = lvm_name_error(group["name"])
        if wrong:
            errors.append(f"volume group '{group['name']}': name: {wrong}")
        if not group["devices"]:
            errors.append(f"volume group '{group['name']}': devices: value [], allowed one or more")
        for device in group["devices"]:
            if not device.startswith(("/dev/md/", "/dev/disk/by-")):
                errors.append(f"volume group '{group['name']}': devices: value {device!r}, allowed /dev/md/NAME and names"
                              " under /dev/disk/by-*, which stay the same after a reboot")
            elif device.startswith("/dev/md/") and arrays is not None and device.removeprefix("/dev/md/") not in arrays:
                there = ", ".join(f"/dev/md/{name}" for name in sorted(arrays)) or "none"
                errors.append(f"volume group '{group['name']}': devices: value {device!r}, allowed arrays of this host: {there}")
    errors += [f"volume group '{name}': name: value {name!r}, allowed once on a host" for name in _twice(g["name"] for g in volume_groups)]
    devices = [device for group in volume_groups for device in group["devices"]]
    return errors + [f"volume groups: devices: value {device!r}, allowed once on a host" for device in _twice(devices)]


def check_wipe(wipe: Sequence[Mapping[str, Any]], arrays: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors of the consents to wipe disks; the items have passed WIPE_SPEC."""
    errors = [f"wipe: serial {item['serial']}: confirm: value {item['confirm']!r}, allowed the same serial again"
              for item in wipe if item["serial"] != item["confirm"]]
    serials = sorted({member["serial"] for array in arrays for member in disks_of(array)})
    return errors + [f"wipe: serial: value {item['serial']!r}, allowed serials of disks in arrays: {', '.join(serials) or 'there are none'}"
                     for item in wipe if item["serial"] not in serials]


def grow_words(name: str) -> str:
    """What a person writes to have an array grown."""
    return f"storage_grow: [{{array: {name}, confirm: {name}}}]"


def check_grow(grow: Sequence[Mapping[str, Any]], arrays: Sequence[Mapping[str, Any]] | None = None) -> list[str]:
    """Errors of the consents to grow arrays; the items have passed GROW_SPEC. arrays: None when they are not known here."""
    errors = [f"grow: array {item['array']}: confirm: value {item['confirm']!r}, allowed the same name again"
              for item in grow if item["array"] != item["confirm"]]
    names = sorted(array["name"] for array in arrays or [])
    return errors + [f"grow: array: value {item['array']!r}, allowed names of arrays: {', '.join(names) or 'there are none'}"
                     for item in grow if arrays is not None and item["array"] not in names]


def check_volumes(volumes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Errors of the volumes in the same form."""
    errors = []
    for volume in volumes:
        wrong = lvm_name_error(volume["name"])
        if wrong:
            errors.append(f"volume '{volume['name']}': name: {wrong}")
        if not 0 < volume["size_gib"] < math.inf:
            errors.append(f"volume '{volume['name']}': size_gib: value {volume['size_gib']}, allowed a number above 0")
    names = [f"{volume['volume_group']}/{volume['name']}" for volume in volumes]
    return errors + [f"volume '{name}': name: value {name!r}, allowed once in its volume group" for name in _twice(names)]
