# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a lab consists of: the part that `up` is asked for, and the names, addresses and serials that follow from it."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from lab.errors import LabError
from lab.releases import RELEASES

KINDS = ("xen", "plain", "uefi")
"""`xen`: QEMU loads Xen; `plain`: Debian, booted by a BIOS and GRUB; `uefi`: the same by OVMF and GRUB."""
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
LIMITS = {
    "hosts": (1, 8),
    "data_nics": (0, 6),
    "data_disks": (0, 15),
    "disk_gib": (1, 64),
    "management_nics": (1, 2),
    "memory_mib": (1536, 16384),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """The shape of a lab. Two labs with equal specs are interchangeable (ports aside)."""

    kind: str = "xen"
    hosts: int = 2
    release: str = "bookworm"
    data_nics: int = 2
    data_disks: int = 4
    disk_gib: int = 2
    management_nics: int = 1
    memory_mib: int = 2560
    log_writes: bool = False
    iommu: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise LabError(f"--kind {self.kind}: allowed: {', '.join(KINDS)}")
        if self.release not in RELEASES:
            raise LabError(f"--release {self.release}: allowed: {', '.join(sorted(RELEASES))}")
        for key, (low, high) in LIMITS.items():
            value = getattr(self, key)
            if not low <= value <= high:
                raise LabError(f"--{key.replace('_', '-')} {value}: allowed: {low} to {high}")

    def host_names(self) -> list[str]:
        return [host_name(number) for number in range(1, self.hosts + 1)]

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def host_name(number: int) -> str:
    return f"xen{number:02d}"


def host_number(spec: Spec, name: str) -> int:
    """1 for xen01 and so on; an error for a host that the lab does not have."""
    names = spec.host_names()
    if name not in names:
        raise LabError(f"{name}: no such host in this lab; allowed: {', '.join(names)}")
    return names.index(name) + 1


def check_name(what: str, name: str) -> str:
    """Names of labs and snapshots become folder names and words of a QEMU monitor command."""
    if not NAME_PATTERN.fullmatch(name):
        raise LabError(f"{what} {name!r}: allowed: lower-case letters, digits, '.', '_' and '-', at most 32, none of '._-' first")
    return name


def mac_address(host: int, index: int) -> str:
    """NIC 0 is management, 1.. are data, 0x10 is the second management NIC."""
    return f"52:54:00:00:{host:02x}:{index:02x}"


def disk_serial(host: int, disk: int) -> str:
    return f"XF{host}D{disk}"


def differences(old: Spec, new: Spec) -> list[str]:
    """`key: old, asked for new` for each key that differs."""
    before, after = old.as_dict(), new.as_dict()
    return [
        f"--{key.replace('_', '-')}: it has {before[key]}, asked for {after[key]}"
        for key in sorted(before)
        if before[key] != after[key]
    ]
