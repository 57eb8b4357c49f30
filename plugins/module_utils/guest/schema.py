# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may be said of a guest: its keys with their types and ranges, and the forms of single values.

The checks that stand here are those that the checks of disks and of whole guests share.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.images import first_boot

Guest = Mapping[str, Any]

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

_TYPES: dict[str, tuple[Any, str]] = {
    "str": (str, "a text"), "int": (int, "a whole number"), "float": ((int, float), "a number"),
    "bool": (bool, "true or false"), "list": (list, "a list"), "dict": (Mapping, "a mapping of keys and values"),
}
_RANGES = {
    "memory_mib": (32, 12 * 1024 * 1024, "MiB"), "maxmem_mib": (32, 12 * 1024 * 1024, "MiB"),
    "cpu_weight": (1, 65535, ""), "autostart": (1, 99, ""), "max_grant_frames": (4, 65536, ""),
    "max_event_channels": (16, 131072, ""), "rate_mbps": (1, 400_000, "Mbit/s"), "mtu": (68, 65535, "bytes"),
    "receive_mbps": (1, 400_000, "Mbit/s"), "min_mbps": (1, 400_000, "Mbit/s"), "read_mibps": (1, 1_000_000, "MiB/s"),
    "write_mibps": (1, 1_000_000, "MiB/s"), "read_iops": (1, 100_000_000, "requests a second"),
    "write_iops": (1, 100_000_000, "requests a second"), "drbd_minor": (0, 3999, ""),
}
NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
"""Of a guest, which may not be called all of this (check_name), and of an image."""
_NAME_ALLOWED = (
    "1 to 63 lower-case letters, digits, '.' and '-', a letter or digit at both ends, no '--' (xl's mark of a guest under "
    "way), not digits alone (xl takes those for domain ids), not beginning with snapshot or pvmove (LVM keeps those), "
    "not ending in .cfg (the file of another guest)"
)
_CPU_ITEM = re.compile(r"\^?(?:nodes?:)?([0-9]{1,4})(?:-([0-9]{1,4}))?")
LAST_CPU = 4095
"""Xen is never built for more CPUs (its Kconfig, NR_CPUS)."""


def wrong(key: str, value: Any, allowed: str) -> str:
    """The words about a value that may not stand under a key."""
    return f"{key}: value {value!r}, allowed {allowed}"


def twice(what: str, values: Iterable[tuple[str, Any]]) -> list[str]:
    """What is wrong with values, each after its key, that must differ; null counts as not given."""
    seen: dict[Any, str] = {}
    errors = []
    for key, value in values:
        if value is None:
            continue
        if value in seen:
            errors.append(wrong(key, value, f"a {what} of its own, {seen[value]} has this one"))
        seen.setdefault(value, key)
    return errors


def is_in_range(key: str, value: int) -> bool:
    """Whether a number may stand under a key that has a range."""
    low, high, _unit = _RANGES[key]
    return low <= value <= high


def given(mapping: Guest) -> dict[str, Any]:
    """A mapping without the keys that are null."""
    return {key: value for key, value in mapping.items() if value is not None}


def check_shape(spec: Mapping[str, Mapping[str, Any]], values: Guest, path: str) -> list[str]:
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
            errors.append(f"{place}: value of another kind, allowed {words}" if secret else wrong(place, value, words))
        elif "choices" in rule and value not in rule["choices"]:
            errors.append(wrong(place, value, ", ".join(rule["choices"])))
        elif rule["type"] == "list":
            for index, part in enumerate(value):
                part_kind, part_words = _TYPES[rule["elements"]]
                if not isinstance(part, part_kind):
                    errors.append(wrong(f"{place}[{index}]", part, part_words))
                elif rule["elements"] == "dict":
                    errors += check_shape(rule["options"], part, f"{place}[{index}].")
        elif rule["type"] == "dict":
            errors += check_shape(rule["options"], value, f"{place}.")
        elif key in _RANGES and not is_in_range(key, value):
            low, high, unit = _RANGES[key]
            errors.append(wrong(place, value, f"{low} to {high} {unit}".rstrip()))
        elif rule["type"] == "str" and not {"choices", "no_log"} & set(rule) and not (value and value.isascii() and value.isprintable()):
            errors.append(wrong(place, value, "a text of printable ASCII characters that is not empty"))
    return errors


def check_name(name: Any) -> str | None:
    """What is wrong with the name of a guest, if anything."""
    if (
        not isinstance(name, str) or not NAME.fullmatch(name) or "--" in name or name.isdigit()
        or name.startswith(("snapshot", "pvmove")) or name.endswith(".cfg")
    ):
        return wrong("name", name, _NAME_ALLOWED)
    return None


def check_path(key: str, path: str) -> list[str]:
    """What is wrong with the path of a file, if anything."""
    plain = path.startswith("/") and not path.endswith("/") and not any(c.isspace() or c in ",'\"\\" for c in path)
    return [] if plain else [wrong(key, path, "an absolute path without spaces, commas, quotes and backslashes")]


def check_backend(key: str, guest: Guest, device: Guest, without: Iterable[str]) -> list[str]:
    """The driver domain that serves a device. without: keys that this host, which does not, cannot fulfil then."""
    if "backend" not in device:
        return []
    if check_name(device["backend"]) or device["backend"] == guest["name"]:
        return [wrong(f"{key}.backend", device["backend"], "the name of another guest, which is a driver domain")]
    return [wrong(f"{key}.{other}", device[other], f"nothing beside backend: {device['backend']} serves the device, not dom0")
            for other in without if device.get(other)]


def cpus_are_sound(cpus: str) -> bool:
    """Whether a list of CPUs or NUMA nodes can be told to xl: numbers that exist, ranges that go up."""
    matches = [_CPU_ITEM.fullmatch(item) for item in cpus.split(",")]
    return cpus == "all" or all(match and int(match[1]) <= int(match[2] or match[1]) <= LAST_CPU for match in matches)
