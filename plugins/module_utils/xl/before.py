# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The configuration that a guest runs with, kept while it is started anew: the stored one is what it is to have, and may not start."""
from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import cpuid
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.compare import EVENTS, event, optional, pci_devices, sizes
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.devices import MTU, disks_of, networks_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import render

Guest = Mapping[str, Any]
Config = Mapping[str, Any]


def path_of(config_path: str) -> str:
    """Where it lies, beside the stored configuration."""
    return config_path.removesuffix(".cfg") + ".before"


def hint(config_path: str) -> str:
    """What a person is told of it when a guest does not start."""
    kept = path_of(config_path)
    return f". What it ran with before is still there: xl create {kept}" if os.path.exists(kept) else ""


def forget(config_path: str) -> None:
    """Take it away: the guest runs with what is stored."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path_of(config_path))


def text_of(guest: Guest, config: Config, names: Mapping[int, str]) -> str:
    """An xl.cfg of the guest as it runs, of what a definition can say. names: of the host's domains by their numbers."""
    build, create = config.get("b_info", {}), config.get("c_info", {})
    kind, now = create.get("type", guest["type"]), sizes(config)
    hvm, running = (build.get("type.hvm") or {}) if kind == "hvm" else {}, optional(build)
    leaves = cpuid.of_config(build.get("cpuid"))
    return render({
        **guest, **now,
        # A target of xl may lie above: compare.memory_is.
        "memory_mib": min(now["memory_mib"], now["maxmem_mib"]),
        "type": kind,
        "cpuid": guest["cpuid"] if leaves is None else [line for line in leaves if not line.startswith("msr ")],
        "boot": {key: build.get(key) for key in ("kernel", "ramdisk", "cmdline")},
        "firmware": "uefi" if hvm and running["firmware"] == "uefi" else None,
        "vga": running["vga"] if hvm.get("vga") else None,
        "vnc": running["vnc"] if hvm.get("vnc") else None,
        "pvshim": (kind == "pvh" and running["pvshim"]) or None,
        "localtime": running["localtime"] or None,
        "max_grant_frames": build.get("max_grant_frames"),
        "max_event_channels": build.get("event_channels"),
        "driver_domain": create.get("driver_domain") == "True" or None,
        "tsc_mode": build.get("tsc_mode", "default"),
        **{key: event(config, key) for key in EVENTS},
        "disks": disks_of(config, names),
        "networks": [{**network, "mtu": None if network["mtu"] == MTU else network["mtu"]} for network in networks_of(config, names)],
        "pci": pci_devices(config),
    })
