# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The QEMU command line of one host, as a pure function. docs/lab.md says why each flag is there."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lab.spec import Spec, host_name, mac_address

# Xen 4.17 under QEMU's software emulation: SMAP kills dom0 (emulated IRET), MONITOR panics Xen's mwait idle, RDTSCP
# cannot be emulated for PVH guests, and XSAVE with all that rests on it is lost when a PVH guest migrates.
TCG_CPU = "EPYC,-smap,-monitor,-rdtscp,-xsave,-xsaveopt,-xgetbv1,-avx,-avx2,-fma,-f16c"
OVMF = "/usr/share/ovmf/OVMF.fd"
XEN_OPTIONS = (
    "dom0_mem=896M,max:896M dom0_max_vcpus=1 console=com1 com1=115200,8n1 loglvl=all guest_loglvl=all "
    "noreboot cpuidle=0 spec-ctrl=no"
)
KERNEL_OPTIONS = "root=/dev/vda rw console=hvc0 net.ifnames=0 loglevel=4 mitigations=off audit=0"
_UUID_SPACE = uuid.UUID("6f1f6b1c-3f35-4e62-9f37-0b8a6f3f6d9e")

# Fixed places on the PCI bus: interface names follow the order, and a saved state finds its devices by place.
_ROOT_DISK_SLOT, _RNG_SLOT, _FIRST_NIC_SLOT, _SPARE_SLOT, _FIRST_PORT_SLOT = 2, 3, 4, 14, 15
SPARE_ADDRESS = f"0000:00:{_SPARE_SLOT:02x}.0"
"""Of the device that a host with an IOMMU has for a guest: another source of random bytes."""

# In a host's folder, with spec.log_writes: its images as they were when QEMU started, and what was written to them since.
LOG_FOLDER = "writes"
ROOT_FILE = "root.qcow2"


@dataclasses.dataclass(frozen=True)
class Disk:
    """A data disk as it is plugged in: `bay` from 1, `file` in the host's folder."""

    bay: int
    file: str
    serial: str

    @property
    def drive(self) -> str:
        """Name of the drive behind the device: one for each file, so that a new disk never meets an old name."""
        return "d" + self.file.removeprefix("disk").removesuffix(".qcow2").replace("-", "r")

    @property
    def device(self) -> str:
        return f"disk{self.bay}"


@dataclasses.dataclass(frozen=True)
class Machine:
    """All that decides the command line of one host. Ports are loopback ports of this machine."""

    spec: Spec
    number: int
    accel: str
    ssh_port: int
    links: tuple[tuple[int, int], ...]  # for each data NIC: own port, port it sends to (UDP)
    disks: tuple[Disk, ...]
    # CPU features, by QEMU's names, that it has not.
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return host_name(self.number)


@dataclasses.dataclass(frozen=True)
class Nic:
    """A network interface: its name in the guest and the names of its parts in QEMU."""

    interface: str
    netdev: str
    mac: str
    data: bool


def nics_of(spec: Spec, number: int) -> list[Nic]:
    """All NICs of a host in the order of the PCI bus, which is the order of eth0, eth1 ..."""
    nics = [Nic("eth0", "m0", mac_address(number, 0), False)]
    nics += [Nic(f"eth{k}", f"n{k}", mac_address(number, k), True) for k in range(1, spec.data_nics + 1)]
    if spec.management_nics == 2:
        nics.append(Nic(f"eth{spec.data_nics + 1}", "m1", mac_address(number, 0x10), False))
    return nics


def system_uuid(number: int) -> str:
    return str(uuid.uuid5(_UUID_SPACE, host_name(number)))


def command(machine: Machine, pidfile: Path, loadvm: str | None = None) -> list[str]:
    """The command line, to be run in the host's folder: every file but the pid file is named relative to it.

    The pid file is named in full, so that a process can be told by its command line. With `loadvm` the host comes up in
    that saved state, paused, for all hosts to go on together.
    """
    spec = machine.spec
    words = ["qemu-system-x86_64", "-name", machine.name, "-M", "q35"]
    if machine.accel == "kvm":
        accel, cpu = "kvm", "host"
    else:
        accel, cpu = "tcg,thread=multi,tb-size=512", TCG_CPU
    words += ["-accel", accel, "-cpu", ",".join([cpu, *(f"-{feature}" for feature in machine.without)])]
    words += ["-smp", "2", "-m", str(spec.memory_mib), "-uuid", system_uuid(machine.number)]
    words += ["-smbios", f"type=1,manufacturer=Xenfold,product=Lab,serial={machine.name},uuid={system_uuid(machine.number)}"]
    if spec.kind == "xen":
        initrd = f"vmlinux {KERNEL_OPTIONS} lab.host={machine.name},initrd.img"
        words += ["-kernel", "xen", "-append", XEN_OPTIONS, "-initrd", initrd, "-no-reboot"]
    if spec.kind == "uefi":
        # Firmware that remembers nothing, so GRUB lies where any firmware looks for it.
        words += ["-bios", OVMF]
    if spec.iommu:
        # Before the devices that are behind it.
        words += ["-device", "amd-iommu"]
    words += _storage(machine)
    words += _network(machine)
    words += ["-object", "rng-random,filename=/dev/urandom,id=r0"]
    words += ["-device", f"virtio-rng-pci,rng=r0,addr={_RNG_SLOT:#x}{_through(spec)}"]
    if spec.iommu:
        words += ["-device", f"virtio-rng-pci,rng=r0,id=spare,addr={_SPARE_SLOT:#x}{_through(spec)}"]
    words += ["-display", "none", "-vga", "none", "-nodefaults"]
    words += ["-chardev", "file,id=serial,path=serial.log,append=on", "-serial", "chardev:serial"]
    words += ["-qmp", "unix:qmp,server=on,wait=off", "-pidfile", str(pidfile), "-daemonize"]
    if loadvm is not None:
        words += ["-loadvm", loadvm, "-S"]
    return words


def _through(spec: Spec) -> str:
    """What a virtio device is told so that its DMA goes through the IOMMU, as that of any real device does."""
    return ",iommu_platform=on,disable-legacy=on" if spec.iommu else ""


def _storage(machine: Machine) -> list[str]:
    spec = machine.spec
    words = ["-drive", _drive(ROOT_FILE, "root", spec)]
    words += ["-device", f"virtio-blk-pci,drive=root,id=rootdisk,addr={_ROOT_DISK_SLOT:#x}{_through(spec)}"]
    for bay in range(1, spec.data_disks + 1):
        words += ["-device", f"pcie-root-port,id=rp{bay},bus=pcie.0,chassis={bay},slot={bay},addr={_FIRST_PORT_SLOT + bay:#x}"]
    for disk in machine.disks:
        words += ["-drive", _drive(disk.file, disk.drive, spec)]
        words += ["-device", f"virtio-blk-pci,drive={disk.drive},id={disk.device},bus=rp{disk.bay},serial={disk.serial}{_through(spec)}"]
    return words


def image_files(disks: Iterable[Disk]) -> list[str]:
    """The images of a host with these data disks."""
    return [ROOT_FILE, *(disk.file for disk in disks)]


def log_file(file: str) -> str:
    return f"{LOG_FOLDER}/{file}.log"


def _drive(file: str, drive: str, spec: Spec, folder: str = "") -> str:
    """A drive of an image in `folder`, which ends with a slash or is the one that QEMU starts in."""
    # A comma in a path is doubled.
    place = folder.replace(",", ",,")
    if not spec.log_writes:
        return f"file={place}{file},if=none,id={drive},cache=unsafe,discard=unmap"
    # Flushes must reach the log, but not this machine's disks. What a guest discards stays: qcow2 would use its place again for
    # what is written next, and after a cut that would be read where the discarded was.
    filtered = f"file.driver=blklogwrites,file.file.driver=file,file.file.filename={place}{file},file.file.cache.no-flush=on"
    log = f"file.log.driver=file,file.log.filename={place}{log_file(file)},file.log.cache.no-flush=on"
    # Written at flushes alone, the superblock never counts too few.
    return f"driver=qcow2,if=none,id={drive},{filtered},{log},file.log-super-update-interval={2**32}"


def _network(machine: Machine) -> list[str]:
    spec = machine.spec
    # A xen host reaches nothing outside; a plain host fetches its packages.
    user = f"hostfwd=tcp:127.0.0.1:{machine.ssh_port}-:22" + (",restrict=on" if spec.kind == "xen" else "")
    if spec.management_nics == 1:
        words = ["-netdev", f"user,id=m0,{user}"]
    else:
        # Both NICs and the user network meet in one hub, as two ports of one switch would.
        words = ["-netdev", f"user,id=u0,{user}", "-netdev", "hubport,id=h0,hubid=0,netdev=u0"]
        words += ["-netdev", "hubport,id=m0,hubid=0", "-netdev", "hubport,id=m1,hubid=0"]
    for index, (own, other) in enumerate(machine.links, start=1):
        words += ["-netdev", f"socket,id=n{index},udp=127.0.0.1:{other},localaddr=127.0.0.1:{own}"]
    for place, nic in enumerate(nics_of(spec, machine.number)):
        # LACP aggregates only ports that have a speed, and virtio has none unless told.
        speed = "speed=1000,duplex=full," if nic.data or spec.management_nics == 2 else ""
        device = f"virtio-net-pci,netdev={nic.netdev},id=nic-{nic.interface},{speed}mac={nic.mac}"
        words += ["-device", f"{device},romfile=,addr={_FIRST_NIC_SLOT + place:#x}{_through(spec)}"]
    return words


def drive_options(disk: Disk, spec: Spec, folder: Path) -> str:
    """The same drive for a running QEMU (monitor command `drive_add`)."""
    return _drive(disk.file, disk.drive, spec, f"{folder}/")


def device_arguments(disk: Disk, spec: Spec) -> dict[str, Any]:
    """The same device for a running QEMU (QMP command `device_add`)."""
    through = {"iommu_platform": True, "disable-legacy": "on"} if spec.iommu else {}
    return {
        **through,
        "driver": "virtio-blk-pci",
        "drive": disk.drive,
        "id": disk.device,
        "bus": f"rp{disk.bay}",
        "serial": disk.serial,
    }
