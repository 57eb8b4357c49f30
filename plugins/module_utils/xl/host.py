# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has of guests: domains, stored configurations, autostart links, and what guests need of it."""
from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import read_texts
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import DRBD
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.guard import CREATING
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.cpus import Placing
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.devices import needs_of_disk, needs_of_network
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, INCOMING, LEFT, NAMELESS, Domain

LINK = re.compile(r"(?:[0-9]+-)?(.+?)(?:\.cfg)?")
"""The name of an autostart link, with the guest's name in it."""
SUFFIX = ".cfg"
"""What the file of a stored configuration is named after the guest."""
HYPERVISOR_TYPE = "/sys/hypervisor/type"
HYPERVISOR_VERSION = "/sys/hypervisor/version"
PCI_DEVICE = "PCI device of pciback"
PCIBACK = "/sys/bus/pci/drivers/pciback"
ORDERED = "/var/lib/xen/userdata-d.{domid}.{uuid}.xl"
"""What `xl config-update` was told for a domain; its next reboot takes it up, whoever orders that (reload_domain_config in
tools/xl/xl_vmcontrol.c)."""
OVMF = "/usr/share/ovmf/OVMF.fd"
"""Where Debian's libxl looks for it; of its package ovmf."""


@dataclass(frozen=True)
class HostState:
    """xen_runs: whether xl can be asked at all; texts: content of stored files by path; links: name -> target, of
    autostart_dir; entries: names there that are no links; missing: disks, kernels and bridges that are not there; unfinished: guest ->
    domid of a domain whose creation was cut off, which is not in `domains`; ordered: guest -> (path, text) of the configuration that xl has
    for its next reboot; placing: of guests on CPUs."""

    xen_runs: bool
    domains: Mapping[str, Domain] = field(default_factory=dict)
    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    texts: Mapping[str, str | None] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    entries: tuple[str, ...] = ()
    missing: frozenset[str] = frozenset()
    unfinished: Mapping[str, int] = field(default_factory=dict)
    ordered: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    placing: Placing = field(default_factory=Placing)


def xen_runs() -> bool:
    """Whether this machine runs under Xen (as dom0 or, then xl says so, as a guest)."""
    try:
        return Path(HYPERVISOR_TYPE).read_text(encoding="ascii").strip() == "xen"
    except OSError:
        return False


def xen_version() -> str:
    """The version of the running Xen as `xl info` tells it, 4.17.7; "" without Xen."""
    try:
        major, minor, extra = (
            Path(HYPERVISOR_VERSION, part).read_text(encoding="ascii").strip() for part in ("major", "minor", "extra"))
    except OSError:
        return ""
    return f"{major}.{minor}{extra}"


def given_up(name: str) -> bool:
    """Whether this module has begun to create a guest, and no xl that it started for that is alive any more.

    xl inherits the lock of the file, and so does the one that watches over the guest from then on; the kernel frees it with the last of
    them. xl's own lock would not tell: without autoballoon xl does not take it.
    """
    try:
        file = os.open(f"{CREATING}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def read_links(directory: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The symbolic links of a directory with their targets as absolute paths, and the names of everything else there."""
    links, others = {}, []
    try:
        with os.scandir(directory) as listing:
            for entry in listing:
                if entry.is_symlink():
                    links[entry.name] = os.path.normpath(os.path.join(directory, os.readlink(entry.path)))
                else:
                    others.append(entry.name)
    except FileNotFoundError:
        pass
    return links, tuple(sorted(others))


def read_ordered(guests: Iterable[Mapping[str, Any]], domains: Mapping[str, Domain]) -> dict[str, tuple[str, str]]:
    """Guest -> path and text of the configuration that xl has for the next reboot of its domain, where it has one."""
    paths = {guest["name"]: ORDERED.format(domid=domains[guest["name"]].domid, uuid=guest["uuid"])
             for guest in guests if guest["name"] in domains}
    texts = read_texts(paths.values())
    return {name: (path, text) for name, path in paths.items() if (text := texts[path]) is not None}


def with_wanted_paths(configs: Mapping[str, Mapping[str, Any]], guests: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Configurations of domains whose disks go by the path that a definition has of the same device: /dev/vg/x is /dev/mapper/vg-x."""
    wanted = {os.path.realpath(disk["target"]): disk["target"] for guest in guests for disk in guest["disks"]
              if disk["target"] and not disk["backend"]}

    def named(disk: Mapping[str, Any]) -> dict[str, Any]:
        path = disk.get("pdev_path") or ""
        served = disk.get("backend_domid") or disk.get("backend_domname")
        return {**disk, "pdev_path": wanted.get(os.path.realpath(path), path)} if path and not served else dict(disk)

    return {name: {**config, "disks": [named(disk) for disk in config["disks"]]} if config.get("disks") else dict(config)
            for name, config in configs.items()}


def configured(config_dir: str) -> list[str]:
    """Guests whose configurations are stored there, sorted."""
    try:
        return sorted(name.removesuffix(SUFFIX) for name in os.listdir(config_dir) if name.endswith(SUFFIX))
    except FileNotFoundError:
        return []


def guests_there(domains: Mapping[str, Domain], links: Iterable[str]) -> dict[str, str]:
    """Guest -> its state, of all that run here, arrive, have just left, or (`autostart`) will start with the host.

    A domain without a name is none that another host could have as well.
    """
    found = {match[1]: "autostart" for link in links if (match := LINK.fullmatch(link))}
    for name, domain in domains.items():
        if domain.name not in (DOM0, NAMELESS):
            found[name.removesuffix(INCOMING).removesuffix(LEFT)] = domain.state
    return dict(sorted(found.items()))


def needs_of(guest: Mapping[str, Any]) -> list[str]:
    """What has to be there before a guest can start: `disk PATH`, `file PATH`, `bridge NAME`, `PCI device ADDRESS`, `domain NAME`."""
    files = [guest["boot"][key] for key in ("kernel", "ramdisk") if guest["boot"][key]]
    files += [OVMF] if guest["firmware"] == "uefi" else []
    needs = [need for disk in guest["disks"] for need in needs_of_disk(disk)] + [f"file {path}" for path in files]
    needs += [f"{PCI_DEVICE} {device['address']}" for device in guest["pci"]]
    return needs + [need for network in guest["networks"] for need in needs_of_network(network)]


def missing(needs: Iterable[str]) -> frozenset[str]:
    """Those of the needs that are not there; of domains, the listing tells."""
    return frozenset(need for need in needs if not need.startswith("domain ") and not _is_there(*need.rsplit(" ", 1)))


def _is_there(kind: str, name: str) -> bool:
    if kind == "bridge":
        return os.path.isdir(f"/sys/class/net/{name}/bridge")
    if kind == PCI_DEVICE:
        # xl gives a guest only what is given up by its driver in dom0 (xl pci-assignable-add).
        return os.path.exists(f"{PCIBACK}/{name}")
    if name.startswith(DRBD):
        # By the rules of drbd-utils for udev; while the resource is not up, it is not there. Without udev-always-use-vnr in its
        # global_common.conf the name of the resource is the device.
        link = f"/dev/drbd/by-res/{name.removeprefix(DRBD)}"
        name = f"{link}/0" if os.path.isdir(link) else link
    try:
        mode = os.stat(name).st_mode
    except OSError:
        return False
    # A plain file under /dev is what a mistyped `dd` leaves behind; a guest's writes would fill memory.
    return stat.S_ISBLK(mode) if name.startswith("/dev/") else stat.S_ISREG(mode) or stat.S_ISBLK(mode)
