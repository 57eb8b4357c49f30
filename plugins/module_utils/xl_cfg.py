# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text of a guest's xl.cfg: a pure function of its normalised definition (xl.cfg(5), Xen 4.17 to 4.20)."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import DRBD

DRBD_SCRIPT = "block-drbd"
"""Of drbd-utils: makes the resource primary when a guest gets the disk, and secondary when it gives it up."""
HEADER = "# Written by Xenfold; changes by hand are lost.\n"


def quote(text: str) -> str:
    """A string of xl.cfg. The parser takes backslash escapes (libxlu_cfg_l.l); text: printable ASCII."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def disk_text(disk: Mapping[str, Any]) -> str:
    """One disk (xl-disk-configuration(5)); `target` comes last and takes the rest, so it may hold '=' and ':'."""
    words = [f"format={disk['format'] if disk['target'] else 'empty'}", f"vdev={disk['vdev']}", f"access={disk['access']}"]
    if disk["cdrom"]:
        words.append("devtype=cdrom")
    if disk["backend"]:
        words.append(f"backend={disk['backend']}")
    target = disk["target"] or ""
    if target.startswith(DRBD):
        words.append(f"script={DRBD_SCRIPT}")
    if target:
        words.append(f"target={target.removeprefix(DRBD)}")
    return ",".join(words)


def network_words(network: Mapping[str, Any]) -> list[str]:
    """One network, key by key (xl-network-configuration(5)); the rate is what the guest may send."""
    words = [f"mac={network['mac']}", f"bridge={network['bridge']}"]
    if network["rate_mbps"]:
        words.append(f"rate={network['rate_mbps']}Mb/s")
    if network["mtu"]:
        words.append(f"mtu={network['mtu']}")
    if network["backend"]:
        words.append(f"backend={network['backend']}")
    return words


def pci_text(device: Mapping[str, Any]) -> str:
    """One PCI device (xl-pci-configuration(5))."""
    return device["address"] + (",permissive=1" if device["permissive"] else "")


def settings(guest: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of xl.cfg in their order; None where a key is left out."""
    boot = guest["boot"]
    return {
        "name": guest["name"],
        "uuid": guest["uuid"],
        "type": guest["type"],
        "vcpus": guest["vcpus"],
        "maxvcpus": guest["maxvcpus"],
        "cpus": guest["cpus"],
        "pool": guest["cpu_pool"],
        "cpu_weight": guest["cpu_weight"],
        "cap": guest["cap_percent"],
        "memory": guest["memory_mib"],
        "maxmem": guest["maxmem_mib"],
        "kernel": boot["kernel"],
        "ramdisk": boot["ramdisk"],
        "cmdline": boot["cmdline"],
        "firmware": guest["firmware"],
        "boot": _boot_order(guest),
        # Without it `xl console` shows nothing of an HVM guest.
        "serial": "pty" if guest["type"] == "hvm" else None,
        "cpuid": guest["cpuid"] or None,
        "vga": guest["vga"],
        "vnc": guest["vnc"],
        "pvshim": guest["pvshim"],
        "driver_domain": guest["driver_domain"],
        "localtime": guest["localtime"],
        "tsc_mode": None if guest["tsc_mode"] == "default" else guest["tsc_mode"],
        "max_grant_frames": guest["max_grant_frames"],
        "max_event_channels": guest["max_event_channels"],
        "on_poweroff": guest["on_poweroff"],
        "on_reboot": guest["on_reboot"],
        "on_crash": guest["on_crash"],
        "disk": [disk_text(disk) for disk in guest["disks"]],
        "vif": [",".join(network_words(network)) for network in guest["networks"]],
        "pci": [pci_text(device) for device in guest["pci"]] or None,
    }


def _boot_order(guest: Mapping[str, Any]) -> str | None:
    """Of an HVM guest that boots by itself: its first disk, then a CD."""
    if guest["type"] != "hvm" or guest["boot"]["kernel"]:
        return None
    return "cd" if any(disk["cdrom"] for disk in guest["disks"]) else "c"


def render(guest: Mapping[str, Any]) -> str:
    """The xl.cfg of a normalised guest."""
    return HEADER + "".join(f"{key} = {_value(value)}\n" for key, value in settings(guest).items() if value is not None)


def stored_cpuid(text: str) -> list[str]:
    """The lines of the list `cpuid` in a text of `render`; [] for one without it."""
    found = re.search(r"^cpuid = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]*)"', found[1]) if found else []


def _value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + "".join(f"\n  {quote(item)}," for item in value) + ("\n]" if value else "]")
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int) else quote(value)
