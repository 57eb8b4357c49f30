# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Disks and networks of a running guest against those that are wanted: what comes and goes while it works, and what has to wait.

`xl list -l` shows those that the guest has now (libxl merges xenstore into it), also those of a hot-plug.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import DRBD
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl import commands
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.changes import DETACH, REBOOT, RECREATE, LiveChange, Pending
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl_cfg import DRBD_SCRIPT

Guest = Mapping[str, Any]
Config = Mapping[str, Any]

_RATE_INTERVAL_USECS = 50_000
"""xl's interval for a rate that names none (tools/libs/util/libxlu_vif.c)."""
MTU = 1500
"""Of a card that names none; xl leaves such a one to its bridge."""
_IDE_LETTERS = "abcd"
"""Of an HVM guest's disks those that QEMU has as well, whatever their name (libxl__build_device_model_args_new in libxl_dm.c)."""


@dataclass
class Difference:
    """changes: what is done while the guest works; needs: what has to be on the host for that, as xl/host.py has it."""

    changes: list[LiveChange] = field(default_factory=list)
    pending: list[Pending] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)

    def __iadd__(self, other: Difference) -> Difference:
        self.changes += other.changes
        self.pending += other.pending
        self.needs += other.needs
        return self


def needs_of_disk(disk: Guest) -> list[str]:
    """A disk of a driver domain is not on this host, an empty drive nowhere."""
    return [f"domain {disk['backend']}"] if disk["backend"] else [f"disk {disk['target']}"] if disk["target"] else []


def needs_of_holder(holder: str, vdev: str) -> str:
    return f"that guest {holder!r} gives up the disk that is {vdev} here, which it has in use; then another run"


def needs_of_network(network: Guest) -> list[str]:
    return [f"domain {network['backend']}" if network["backend"] else f"bridge {network['bridge']}"]


@dataclass(frozen=True)
class Uses:
    """What the domains of a host have of it and of each other. disks: device or file of the host -> guests that have it, and whether they
    may write it; clients: driver domain -> guests that it serves."""

    disks: Mapping[str, list[tuple[str, bool]]] = field(default_factory=dict)
    clients: Mapping[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, configs: Mapping[str, Config], names: Mapping[int, str]) -> Uses:
        """From guest -> configuration; names: of domains by their numbers."""
        disks: dict[str, list[tuple[str, bool]]] = {}
        clients: dict[str, set[str]] = {}
        for guest, config in sorted(configs.items()):
            for disk in disks_of(config, names):
                if disk["target"] and not disk["backend"]:
                    disks.setdefault(disk["target"], []).append((guest, disk["access"] == "rw"))
            for device in (*(config.get("disks") or []), *(config.get("nics") or [])):
                clients.setdefault(_backend(device, names) or "", set()).add(guest)
        return cls(disks, {server: sorted(served - {server}) for server, served in clients.items() if server})

    def holder(self, name: str, disk: Guest) -> str | None:
        """The other guest that has a disk in use, so that this one may not have it; xl asks no one where a disk is a file."""
        others = [] if disk["backend"] else [entry for entry in self.disks.get(disk["target"] or "", []) if entry[0] != name]
        return next((other for other, writes in others if writes or disk["access"] == "rw"), None)


def difference(
    guest: Guest, config: Config, names: Mapping[int, str], may_detach: bool, uses: Uses | None = None
) -> Difference:
    """What differs. names: of the host's domains by their numbers; may_detach: whether devices may be taken from the guest; uses: of
    all guests."""
    if config.get("c_info", {}).get("type", guest["type"]) != guest["type"]:
        return _of_another_type(guest, config, names)
    found = _disks(guest, config, names, may_detach, uses or Uses())
    found += _networks(guest, config, names, may_detach)
    # What one device gives up another may take.
    found.changes.sort(key=lambda change: not change.detaches)
    return found


def _of_another_type(guest: Guest, config: Config, names: Mapping[int, str]) -> Difference:
    """A guest that has to start anew in any case gets the devices of what it is to be with that, not into what it is."""
    running = {"disks": disks_of(config, names), "networks": networks_of(config, names)}
    wanted = {"disks": [_wanted_disk(disk) for disk in guest["disks"]],
              "networks": [_wanted_network(network) for network in guest["networks"]]}
    return Difference(pending=[Pending.of(guest["name"], key, running[key], wanted[key], RECREATE)
                               for key in running if running[key] != wanted[key]])


def _disks(guest: Guest, config: Config, names: Mapping[int, str], may_detach: bool, uses: Uses) -> Difference:
    found = _Kind(guest, "disks", may_detach)
    running = {disk["vdev"]: disk for disk in (_disk(entry, names) for entry in config.get("disks", []))}
    wanted = {disk["vdev"]: disk for disk in guest["disks"]}
    renamed = _sources(running.values()) & _sources(wanted.values())
    for vdev in dict.fromkeys([*running, *wanted]):
        there, new = running.get(vdev), wanted.get(vdev)
        shown = new and _wanted_disk(new)
        if there == shown:
            continue
        # Of one disk with another access the frontend alone is exchanged; one by another name stays in use, so nothing is taken away.
        moved = not (there and new and _source(there) == _source(new)) and bool(
            renamed & _sources(disk for disk in (there, new) if disk))
        holder = new and not (there and there["target"] == new["target"]) and uses.holder(guest["name"], new)
        if holder:
            found.blocked(there, shown, holder)
        elif there and new and _is_drive_of(guest, there) and _is_drive_of(guest, new):
            _medium(found, there, new)
        elif moved or (there and _is_emulated(guest, there)) or (new and _is_emulated_only(guest, new)):
            found.wait(REBOOT, there, shown)
        else:
            if there:
                found.give_up(f"disk {vdev}", commands.detach_disk(guest["name"], vdev), there["target"] or "empty", there)
            if new:
                found.add(f"disk {vdev}", commands.attach_disk(guest["name"], new), new["target"] or "empty", shown, needs_of_disk(new))
    return found.difference()


def _is_drive_of(guest: Guest, disk: Guest) -> bool:
    """Whether the medium of a disk can be changed: of the drives that an HVM guest's QEMU has."""
    return guest["type"] == "hvm" and bool(disk["cdrom"])


def _source(disk: Guest) -> tuple[Any, Any]:
    return disk["target"], disk["backend"]


def _sources(disks: Iterable[Guest]) -> set[tuple[Any, Any]]:
    return {_source(disk) for disk in disks if disk["target"] and not disk["cdrom"]}


def _is_emulated_only(guest: Guest, disk: Guest) -> bool:
    """Whether a disk comes by QEMU alone, or is a drive, which no frontend takes while the guest works."""
    return bool(disk["cdrom"]) or (guest["type"] == "hvm" and not disk["vdev"].startswith("xvd"))


def _is_emulated(guest: Guest, disk: Guest) -> bool:
    """Whether QEMU may have a disk that is there, from the guest's start to its end: xl would call one given up that the guest uses
    without Xen's drivers."""
    return _is_emulated_only(guest, disk) or (guest["type"] == "hvm" and disk["vdev"][3:4] in _IDE_LETTERS)


def _medium(found: _Kind, there: Guest, new: Guest) -> None:
    """Another medium for a drive; one that is in it is taken out with consent alone."""
    name, vdev, target = found.guest["name"], new["vdev"], new["target"]
    if there["target"] and not found.may_detach:
        found.wait(DETACH, there, _wanted_disk(new), stays=False)
    elif target:
        found.change("insert", f"disk {vdev}", commands.insert_medium(name, vdev, target), target, needs_of_disk(new))
    else:
        found.change("eject", f"disk {vdev}", commands.eject_medium(name, vdev), there["target"])


def _networks(guest: Guest, config: Config, names: Mapping[int, str], may_detach: bool) -> Difference:
    found = _Kind(guest, "networks", may_detach)
    rates = {network["mac"]: network["rate_mbps"] for network in guest["networks"]}
    cards = sorted(config.get("nics", []), key=lambda nic: int(nic.get("devid", 0)))
    running = {network["mac"]: network for network in (_network(card, rates, names) for card in cards)}
    devids = {str(card.get("mac")).lower(): int(card.get("devid", 0)) for card in cards}
    wanted = {network["mac"]: network for network in guest["networks"]}
    for mac in dict.fromkeys([*running, *wanted]):
        there, new = running.get(mac), wanted.get(mac)
        shown = new and _wanted_network(new)
        if there == shown:
            continue
        if there and {**there, "rate_mbps": None} == shown:
            # Given up while the guest works by module_utils/limits; xl would bring it back when the guest reboots itself.
            found.wait(REBOOT, there, shown, stays=False)
            continue
        if there:
            found.give_up(f"network {mac}", commands.detach_network(guest["name"], devids[mac]), there["bridge"], there)
        if new:
            found.add(f"network {mac}", commands.attach_network(guest["name"], new), new["bridge"], shown, needs_of_network(new))
    return found.difference()


@dataclass
class _Kind:
    """Differences of a guest's disks or networks as they are found.

    A guest with a device that its definition does not name gets none before it has given that up: the new one may be the same under
    another name, as with a guest that was taken over.
    """

    guest: Guest
    key: str
    may_detach: bool
    changes: list[LiveChange] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    adding: list[tuple[LiveChange, Any, list[str]]] = field(default_factory=list)
    running: dict[str, list[Any]] = field(default_factory=lambda: {DETACH: [], REBOOT: []})
    wanted: dict[str, list[Any]] = field(default_factory=lambda: {DETACH: [], REBOOT: []})
    staying: set[str] = field(default_factory=set)
    lacking: list[Pending] = field(default_factory=list)

    def wait(self, by: str, there: Any, new: Any, stays: bool = True) -> None:
        """Tell a difference. stays: whether that leaves the guest with a device that is not wanted."""
        self.running[by] += [there] if there else []
        self.wanted[by] += [new] if new else []
        if there and stays:
            self.staying.add(by)

    def blocked(self, there: Any, new: Any, holder: str) -> None:
        """Tell a disk that another guest has."""
        self.lacking.append(Pending(self.guest["name"], self.key, there, new, needs_of_holder(holder, new["vdev"])))

    def give_up(self, device: str, argv: list[str], what: str, there: Any) -> None:
        if self.may_detach:
            self.change("detach", device, argv, what)
        else:
            self.wait(DETACH, there, None)

    def add(self, device: str, argv: list[str], what: str, new: Any, needs: list[str]) -> None:
        self.adding.append((self._change("attach", device, argv, what), new, needs))

    def change(self, verb: str, device: str, argv: list[str], what: str, needs: Iterable[str] = ()) -> None:
        self.changes.append(self._change(verb, device, argv, what))
        self.needs += needs

    def _change(self, verb: str, device: str, argv: list[str], what: str) -> LiveChange:
        name = self.guest["name"]
        return LiveChange(name, self.key, argv, Action(verb, f"{device} of guest {name}", what), device, verb in ("detach", "eject"))

    def difference(self) -> Difference:
        held = next((by for by in (REBOOT, DETACH) if by in self.staying), None)
        for change, new, needs in self.adding:
            if held:
                self.wanted[held].append(new)
            else:
                self.changes.append(change)
                self.needs += needs
        return Difference(self.changes, [
            Pending.of(self.guest["name"], self.key, self.running[by], self.wanted[by], by)
            for by in (DETACH, REBOOT) if self.running[by] or self.wanted[by]
        ] + self.lacking, self.needs)


def _backend(device: Config, names: Mapping[int, str]) -> str | None:
    """The name of the domain that serves a device; None for dom0."""
    domid = int(device.get("backend_domid") or 0)
    name = device.get("backend_domname") or names.get(domid, str(domid))
    return None if name in ("0", "Domain-0") else str(name)


def _disk(disk: Config, names: Mapping[int, str]) -> dict[str, Any]:
    target = disk.get("pdev_path") or None
    if target and os.path.basename(disk.get("script") or "") == DRBD_SCRIPT:
        target = DRBD + target.removeprefix(DRBD)
    return {
        "vdev": str(disk.get("vdev")), "target": target, "format": disk.get("format", "raw") if target else "raw",
        "access": "rw" if disk.get("readwrite") else "ro", "cdrom": bool(disk.get("is_cdrom")), "backend": _backend(disk, names),
    }


def disks_of(config: Config, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The disks that a domain has."""
    return [_disk(disk, names) for disk in config.get("disks") or []]


def networks_of(config: Config, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """The cards that a domain has, with the rates that it was started with."""
    return [_network(card, {}, names) for card in sorted(config.get("nics") or [], key=lambda card: int(card.get("devid", 0)))]


def _wanted_disk(disk: Guest) -> dict[str, Any]:
    return {key: disk[key] for key in ("vdev", "target", "format", "access", "cdrom", "backend")}


def _network(nic: Config, rates: Mapping[str, Any], names: Mapping[int, str]) -> dict[str, Any]:
    """A card of the guest. A wanted rate counts as there: module_utils/limits sets it while the guest works."""
    mac = str(nic.get("mac")).lower()
    usecs = int(nic.get("rate_interval_usecs") or _RATE_INTERVAL_USECS)
    bits = int(nic.get("rate_bytes_per_interval", 0)) * 8 * 1_000_000 // usecs
    return {"mac": mac, "bridge": nic.get("bridge"), "rate_mbps": rates.get(mac) or round(bits / 1_000_000) or None,
            "mtu": nic.get("mtu") or MTU, "backend": _backend(nic, names)}


def _wanted_network(network: Guest) -> dict[str, Any]:
    return {key: network[key] for key in ("mac", "bridge", "rate_mbps", "backend")} | {"mtu": network["mtu"] or MTU}
