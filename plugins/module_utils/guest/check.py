# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with a guest, and what the guests of one list may not share.

Shared by the estate, the role `guests` and the module `xl_guest`. xl itself accepts much that cannot work (unknown keys,
`memory="1G"`, `maxmem` below `memory`, one vdev twice), so everything is checked here, before a host is touched.
"""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.disks import check_disks, check_first_boot
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import (
    GUEST_SPEC,
    LAST_CPU,
    NAME,
    Guest,
    check_backend,
    check_name,
    check_path,
    check_shape,
    cpus_are_sound,
    given,
    twice,
    wrong,
)
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import cpuid

_ONLY_FOR = {"vga": "hvm", "vnc": "hvm", "firmware": "hvm", "pvshim": "pvh"}
_MOST_VCPUS = {"pvh": 128, "hvm": 128, "pv": 512}
_PCI = re.compile(r"[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.IGNORECASE)
_BRIDGE = re.compile(r"[A-Za-z0-9_.-]{1,15}")
_MAC = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2}){5}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


def check_guest(guest: Any) -> list[str]:
    """What is wrong with one guest, one line each, beginning with the key (`disks[0].vdev: value ...`); empty when all is well.

    guest: as a person writes it, with or without defaults; null counts as not given.
    """
    if not isinstance(guest, Mapping):
        return [f"value {guest!r}, allowed a mapping of keys and values"]
    errors = check_shape(GUEST_SPEC, guest, "")
    if errors:
        return errors
    full = {key: rule["default"] for key, rule in GUEST_SPEC.items() if "default" in rule} | given(guest)
    name_error = check_name(full["name"])
    errors += [name_error] if name_error else []
    for check in (_check_size, _check_scheduling, check_disks, _check_networks, _check_pci, _check_boot, check_first_boot):
        errors += check(full)
    return errors


def check_guests(guests: Any, one_host: bool = False) -> list[str]:
    """What is wrong with the guests of a list, each by itself and between them; each line names the guest.

    one_host: whether all are of one host, where no two may have one PCI device.
    """
    if not isinstance(guests, Sequence) or isinstance(guests, str):
        return [wrong("guests", guests, "a list of guests")]
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


def _check_size(guest: Guest) -> list[str]:
    errors = []
    most = _MOST_VCPUS[guest["type"]]
    if not 1 <= guest["vcpus"] <= most:
        errors.append(wrong("vcpus", guest["vcpus"], f"1 to {most} for type {guest['type']}"))
    elif not guest["vcpus"] <= guest.get("maxvcpus", guest["vcpus"]) <= most:
        errors.append(wrong("maxvcpus", guest["maxvcpus"], f"vcpus ({guest['vcpus']}) to {most} for type {guest['type']}"))
    if "memory_mib" not in guest:
        errors.append("memory_mib: is missing; a workload without it is for planning only and cannot become a guest")
    elif guest.get("maxmem_mib", guest["memory_mib"]) < guest["memory_mib"]:
        errors.append(wrong("maxmem_mib", guest["maxmem_mib"], f"memory_mib ({guest['memory_mib']}) or more"))
    for key, kind in _ONLY_FOR.items():
        if key in guest and guest["type"] != kind:
            errors.append(wrong(key, guest[key], f"only for type {kind}; this guest is {guest['type']}"))
    if "cpuid" in guest and guest["type"] == "pv":
        errors.append(wrong("cpuid", guest["cpuid"], "only for the types pvh and hvm; this guest is pv"))
    if "uuid" in guest and not _UUID.fullmatch(guest["uuid"]):
        errors.append(wrong("uuid", guest["uuid"], "a UUID as 8-4-4-4-12 hexadecimal digits"))
    return errors


def _check_scheduling(guest: Guest) -> list[str]:
    errors = []
    most = 100 * max(guest.get("maxvcpus", 1), guest["vcpus"], 1)
    if not 0 <= guest["cap_percent"] <= most:
        errors.append(wrong("cap_percent", guest["cap_percent"], f"0 (no cap) to {most}, 100 for each vCPU"))
    if "cpus" in guest and not cpus_are_sound(guest["cpus"]):
        errors.append(wrong("cpus", guest["cpus"],
                            f"all, or a list as 0-3,^1,8 or nodes:0 with numbers from 0 to {LAST_CPU}, ranges upwards"))
    if "cpu_pool" in guest and not _POOL.fullmatch(guest["cpu_pool"]):
        errors.append(wrong("cpu_pool", guest["cpu_pool"], "the name of a CPU pool: letters, digits, '_', '.' and '-'"))
    return errors + cpuid.check("cpuid", guest.get("cpuid", []))


def _check_networks(guest: Guest) -> list[str]:
    errors: list[str] = []
    networks = [given(network) for network in guest["networks"]]
    for index, network in enumerate(networks):
        key = f"networks[{index}]"
        if not _BRIDGE.fullmatch(network["bridge"]) or network["bridge"] in (".", ".."):
            errors.append(wrong(f"{key}.bridge", network["bridge"], "the name of a bridge, up to 15 characters"))
        if network.get("min_mbps", 0) > network.get("rate_mbps", network.get("min_mbps", 0)):
            errors.append(wrong(f"{key}.min_mbps", network["min_mbps"], f"rate_mbps ({network['rate_mbps']}) or less"))
        errors += check_backend(key, guest, network, ("rate_mbps", "receive_mbps", "min_mbps"))
        mac = network.get("mac")
        if mac is None:
            continue
        if not _MAC.fullmatch(mac) or int(mac[:2], 16) & 1 or not any(int(part, 16) for part in mac.split(":")):
            errors.append(wrong(f"{key}.mac", mac, "an address of one card as 00:16:3e:12:34:56, its first octet even"))
    return errors + twice("mac", [(f"networks[{i}].mac", net["mac"].lower()) for i, net in enumerate(networks) if "mac" in net])


def _check_pci(guest: Guest) -> list[str]:
    errors = []
    devices = [given(device) for device in guest["pci"]]
    if devices and guest["type"] == "pvh":
        errors.append(wrong("pci", devices, "only for the types hvm and pv; this guest is pvh"))
    if devices and guest["type"] == "hvm" and guest.get("maxmem_mib", guest.get("memory_mib")) != guest.get("memory_mib"):
        errors.append(wrong("maxmem_mib", guest["maxmem_mib"], "memory_mib for an HVM guest with PCI devices, which has all its memory "
                            "from the start"))
    errors += [wrong(f"pci[{index}].address", device["address"], "an address as 0000:03:00.0")
               for index, device in enumerate(devices) if not _PCI.fullmatch(device["address"])]
    return errors + twice("device", [(f"pci[{index}].address", device["address"].lower()) for index, device in enumerate(devices)])


def _check_boot(guest: Guest) -> list[str]:
    boot = given(guest.get("boot") or {})
    if "firmware" in guest and guest["type"] == "hvm" and {"image", "kernel"} & set(boot):
        return [wrong("firmware", guest["firmware"], "nothing beside boot.image and boot.kernel, which take its place")]
    if "image" in boot:
        errors = [wrong(f"boot.{key}", boot[key], "nothing besides image, which brings its own")
                  for key in ("kernel", "ramdisk") if key in boot]
        if not NAME.fullmatch(boot["image"]):
            errors.append(wrong("boot.image", boot["image"], "a name of lower-case letters, digits, '.' and '-'"))
        return errors
    if "kernel" in boot:
        return [error for key in ("kernel", "ramdisk") if key in boot for error in check_path(f"boot.{key}", boot[key])]
    errors = [wrong(f"boot.{key}", boot[key], "only with boot.image or boot.kernel")
              for key in ("ramdisk", "cmdline") if key in boot]
    if not guest["disks"]:
        errors.append("disks: is empty; without boot.image and boot.kernel the guest boots from its first disk")
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
                errors.append(f"guest {guest['name']!r}: " + wrong(
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
                errors.append(wrong(f"{key}[{index}].backend", device["backend"], "a guest with driver_domain: true"))
            elif guest["autostart"] and not (server["autostart"] and server["autostart"] < guest["autostart"]):
                errors.append(wrong("autostart", guest["autostart"], f"a number above that of {server['name']}, which serves "
                                    f"{key}[{index}] and has {server['autostart'] or 'none'}"))
    return errors
