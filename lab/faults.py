# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults on running hosts: disks pulled and inserted, cables unplugged, power cut."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

from lab import images, process, qemu, snapshots, ssh
from lab.console import say
from lab.errors import LabError
from lab.qemu import Disk, Nic
from lab.spec import LIMITS, disk_serial, host_number
from lab.state import Lab

BOOT_SECONDS = 480
_UNPLUG_SECONDS = 60
_CPU_FEATURE = re.compile(r"[a-z0-9_.-]{1,32}")
_SERIAL_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,20}")


def check_bay(lab: Lab, bay: int) -> int:
    if not 1 <= bay <= lab.spec.data_disks:
        raise LabError(f"disk {bay}: this lab has disks 1 to {lab.spec.data_disks} in a host")
    return bay


def pull_disk(lab: Lab, host: str, bay: int) -> None:
    """Take a data disk out while the host runs. The disk is gone for good: what comes next is a new one."""
    check_bay(lab, bay)
    disks = lab.disks(host)
    disk = next((disk for disk in disks if disk.bay == bay), None)
    if disk is None:
        raise LabError(f"pull-disk {host} {bay}: no disk is in that bay")
    with process.monitor(lab, host) as qmp:
        qmp.execute("device_del", {"id": disk.device})
        if not qmp.wait_event("DEVICE_DELETED", "device", disk.device, _UNPLUG_SECONDS):
            raise LabError(ssh.failure(lab, host, f"disk {bay} was not released within {_UNPLUG_SECONDS} s"))
    lab.write_disks(host, [other for other in disks if other.bay != bay])
    say(f"{host}: disk {bay} ({disk.serial}) pulled")


def insert_disk(lab: Lab, host: str, bay: int, serial: str | None = None, size_gib: int | None = None) -> None:
    """Put a new empty disk into a bay, by default with a serial number that no disk of this bay had before.

    size_gib: by default that of the lab's disks.
    """
    check_bay(lab, bay)
    size = lab.spec.disk_gib if size_gib is None else size_gib
    low, high = LIMITS["disk_gib"]
    if not low <= size <= high:
        raise LabError(f"--size-gib {size}: allowed: {low} to {high}")
    disks = lab.disks(host)
    if any(disk.bay == bay for disk in disks):
        raise LabError(f"insert-disk {host} {bay}: a disk is in that bay; run: pull-disk {host} {bay}")
    disk = new_disk(lab, host, bay, serial)
    if any(other.serial == disk.serial for other in disks):
        raise LabError(f"insert-disk {host} {bay}: serial {disk.serial} is that of another disk of this host")
    folder = lab.host_folder(host)
    images.create_empty(folder / disk.file, size)
    if lab.spec.log_writes:
        images.begin_log(folder, disk.file)
    with process.monitor(lab, host) as qmp:
        said = qmp.monitor(f'drive_add 0 "{qemu.drive_options(disk, lab.spec, folder)}"')
        if said != "OK":
            raise LabError(f"{host}: drive_add: {said}")
        qmp.execute("device_add", qemu.device_arguments(disk, lab.spec))
    lab.write_disks(host, [*disks, disk])
    say(f"{host}: new disk in bay {bay}: {disk.serial}")


def plug_disk(lab: Lab, host: str, serial: str, size_gib: int | None = None) -> None:
    """Put a new empty disk into the first bay that has none."""
    bay = free_bay(lab, host)
    if bay is None:
        raise LabError(f"plug-disk {host}: all of its {lab.spec.data_disks} bays hold a disk; run: pull-disk {host} DISK")
    insert_disk(lab, host, bay, serial, size_gib)


def free_bay(lab: Lab, host: str) -> int | None:
    taken = {disk.bay for disk in lab.disks(host)}
    return next((bay for bay in range(1, lab.spec.data_disks + 1) if bay not in taken), None)


def new_disk(lab: Lab, host: str, bay: int, serial: str | None) -> Disk:
    """The next disk of a bay: disk2.qcow2, then disk2-1.qcow2, disk2-2.qcow2 with serials XF1D2R1, XF1D2R2."""
    if serial is not None and not _SERIAL_PATTERN.fullmatch(serial):
        raise LabError(f"--serial {serial!r}: allowed: letters, digits, '-' and '_', at most 20")
    number = 1
    while (lab.host_folder(host) / f"disk{bay}-{number}.qcow2").exists():
        number += 1
    own = f"{disk_serial(host_number(lab.spec, host), bay)}R{number}"
    return Disk(bay, f"disk{bay}-{number}.qcow2", serial or own)


def find_nic(lab: Lab, host: str, name: str) -> Nic:
    nics = qemu.nics_of(lab.spec, host_number(lab.spec, host))
    for nic in nics:
        if nic.interface == name:
            return nic
    raise LabError(f"{name}: {host} has {', '.join(nic.interface for nic in nics)}")


def set_cable(lab: Lab, host: str, nics: list[Nic], plugged: bool) -> None:
    """Plug or unplug the cable of NICs: the interface stays, its link comes or goes."""
    with process.monitor(lab, host) as qmp:
        for nic in nics:
            qmp.execute("set_link", {"name": nic.netdev, "up": plugged})
    names = ", ".join(nic.interface for nic in nics)
    say(f"{host}: {names} {'plugged' if plugged else 'unplugged'}")


def data_nics(lab: Lab, host: str) -> list[Nic]:
    return [nic for nic in qemu.nics_of(lab.spec, host_number(lab.spec, host)) if nic.data]


def power_off(lab: Lab, host: str) -> None:
    """As when the plug is pulled: nothing is written any more."""
    host_number(lab.spec, host)
    say(f"{host}: " + ("power cut" if process.kill_host(lab, host) else "was off already"))


def power_on(lab: Lab, hosts: list[str], timeout: float = BOOT_SECONDS, without: Sequence[str] = ()) -> None:
    """Boot hosts from their disks as they are, and wait for SSH. without: CPU features that they have not until they are started again."""
    for feature in without:
        if not _CPU_FEATURE.fullmatch(feature):
            raise LabError(f"--without {feature}: allowed: the name of a CPU feature as QEMU has it, such as bmi2 or sha-ni")
    for host in hosts:
        if process.alive(lab, host):
            raise LabError(f"power-on {host}: it is running")
    process.start_hub(lab)
    snapshots.in_all(hosts, lambda host: process.start(lab, dataclasses.replace(lab.machine(host), without=tuple(without))))
    ssh.wait_ready(lab, hosts, timeout, process.alive)
