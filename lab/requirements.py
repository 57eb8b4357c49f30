# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the lab needs from the machine: programs, memory, disk, privilege. Each check names what is missing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from lab.errors import LabError

# Program -> the Debian package that holds it (lab/packages.txt lists the packages).
RUN_PROGRAMS = {
    "qemu-system-x86_64": "qemu-system-x86",
    "qemu-img": "qemu-utils",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "cp": "coreutils",
}
BUILD_PROGRAMS = {
    **RUN_PROGRAMS,
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "chroot": "coreutils",
    "zstd": "zstd",
}
UEFI_BUILD_PROGRAMS = {"mformat": "mtools", "mcopy": "mtools", "mmd": "mtools", "sfdisk": "fdisk"}
# QEMU's own share beside the guest's memory: translated code, device state, caches. Measured: 40-90 MiB.
HOST_OVERHEAD_MIB = 300
# Root overlay, data disks as far as tests fill them, and one saved state, per host.
HOST_DISK_MIB = 3072
# A lab that logs writes has each image twice, and the log.
_LOGGED_TIMES = 3
BUILD_DISK_MIB = 6144


def find_program(name: str) -> str | None:
    """Path of a program, with the folders of the administrator that a plain user's PATH lacks."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which(name, path=path)


def missing_packages(programs: dict[str, str], find: Callable[[str], str | None] = find_program) -> list[str]:
    """The sorted Debian packages whose programs are not on this machine."""
    return sorted({package for program, package in programs.items() if find(program) is None})


def need_programs(programs: dict[str, str], find: Callable[[str], str | None] = find_program) -> None:
    missing = missing_packages(programs, find)
    if missing:
        raise LabError(f"missing Debian packages: {' '.join(missing)}. Run: apt-get install {' '.join(missing)}")


def need_root(step: str, uid: int | None = None) -> None:
    if (os.geteuid() if uid is None else uid) != 0:
        raise LabError(f"{step} needs root (it unpacks a Debian system with its owners and devices); run it once with sudo")


def available_memory_mib(meminfo: str | None = None) -> int:
    """MemAvailable of /proc/meminfo in MiB."""
    text = Path("/proc/meminfo").read_text(encoding="ascii") if meminfo is None else meminfo
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    raise LabError("/proc/meminfo has no MemAvailable line; the lab needs Linux 3.14 or newer")


def host_disk_mib(log_writes: bool) -> int:
    return HOST_DISK_MIB * (_LOGGED_TIMES if log_writes else 1)


def need_memory(hosts: int, memory_mib: int, available_mib: int) -> None:
    wanted = hosts * (memory_mib + HOST_OVERHEAD_MIB)
    if wanted > available_mib:
        raise LabError(
            f"not enough memory: {hosts} hosts x ({memory_mib} + {HOST_OVERHEAD_MIB}) MiB = {wanted} MiB wanted, "
            f"{available_mib} MiB available. Use fewer --hosts, less --memory-mib, or free memory"
        )


def nearest_existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def need_disk(wanted_mib: int, where: Path, what: str, free_mib: int | None = None) -> None:
    if free_mib is None:
        free_mib = shutil.disk_usage(nearest_existing(where)).free // 2**20
    if wanted_mib > free_mib:
        raise LabError(f"not enough disk for {what}: {wanted_mib} MiB wanted under {where}, {free_mib} MiB free")


def listed_packages() -> list[str]:
    """The packages of lab/packages.txt."""
    text = (Path(__file__).parent / "packages.txt").read_text(encoding="ascii")
    return [line.strip() for line in text.splitlines() if line.strip()]


def unlisted(programs: Iterable[str]) -> list[str]:
    """Packages that a program table names and lab/packages.txt does not (a unit test holds this empty)."""
    return sorted(set(programs) - set(listed_packages()))
