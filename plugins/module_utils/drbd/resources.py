# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replicated disks of guests as resources of DRBD 8.4, and their files: pure functions (drbd.conf(5), drbd-8.4).

A copy lies on a volume of each of two hosts, which holds nothing but the disk, so that it can be a plain disk again; what DRBD has to
remember about it lies on a small volume of its own beside that.
"""
from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.files import WantedFile
from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.full import (
    DRBD,
    META_SUFFIX,
    is_replicated,
    normalise,
    volume_name,
)

FOLDER = "/etc/drbd.d"
DEVICES = "/dev"
PREFIX = "xenfold-"
PORT = 11000
"""Of the resource with the minor 0; Ganeti has its resources from here on as well, and IANA knows nothing of most of these numbers."""
_NAME = re.compile(r"^resource (\S+) \{$", re.MULTILINE)
_MINOR = re.compile(r"^ +device minor ([0-9]+);$", re.MULTILINE)
_GUEST = re.compile(r"^# A disk of the guest (\S+)\.$", re.MULTILINE)
_DISK = re.compile(r"^ +(?:meta-)?disk \S*/([^/\s]+/[^/\s]+);$", re.MULTILINE)


@dataclass(frozen=True)
class Resource:
    """One replicated disk. hosts: the two hosts with their addresses; first: the one whose volume the other becomes a copy of; new: whether
    this run has made the volume, so that what it holds is of an image at most."""

    guest: str
    name: str
    minor: int
    volume_group: str
    hosts: Mapping[str, str]
    first: str
    size_gib: float = 0.0
    new: bool = False

    @property
    def volumes(self) -> tuple[str, str]:
        """group/name of the disk and of what is known about it."""
        volume = f"{self.volume_group}/{self.name}"
        return volume, volume + META_SUFFIX

    @property
    def volume(self) -> str:
        return f"{DEVICES}/{self.volumes[0]}"

    @property
    def meta(self) -> str:
        return f"{DEVICES}/{self.volumes[1]}"

    @property
    def port(self) -> int:
        return PORT + self.minor


def replicated(guest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The replicated disks of a sound guest, normalised."""
    return [disk for disk in normalise(guest)["disks"] if disk["drbd_minor"] is not None] if is_replicated(guest) else []


def names_of(guests: Iterable[Mapping[str, Any]]) -> list[str]:
    """The resources of sound guests."""
    return [disk["target"].removeprefix(DRBD) for guest in guests for disk in replicated(guest)]


def of_guests(
    guests: Sequence[Mapping[str, Any]], copies: Mapping[str, Mapping[str, Any]], host: str, new: Collection[str] = (),
) -> tuple[list[Resource], list[str]]:
    """The resources of sound guests on a host, in order of their names, and what is wrong with where their copies are.

    copies: guest -> {"first": host, "hosts": {host: address}}; new: volumes (group/name) that this run has made.
    """
    found, errors = [], []
    for guest in guests:
        disks = replicated(guest)
        if not disks:
            continue
        told = copies.get(guest["name"])
        if told is None:
            errors.append(f"guest {guest['name']!r}: copies: is missing, allowed the two hosts of its replicated disks")
            continue
        hosts = told.get("hosts")
        if not isinstance(hosts, Mapping) or len(hosts) != 2 or host not in hosts or told.get("first") not in hosts:
            errors.append(f"guest {guest['name']!r}: copies: value {dict(told)!r}, allowed hosts with the addresses of two hosts, of which"
                          f" {host} is one, and first with one of the two")
            continue
        wrong = [f"guest {guest['name']!r}: copies: value {address!r} for {name}, allowed an IP address"
                 for name, address in hosts.items() if not _is_address(address)]
        errors += wrong
        if not wrong:
            found += [Resource(guest["name"], volume_name(guest["name"], disk["name"]), disk["drbd_minor"], disk["volume_group"],
                               dict(sorted(hosts.items())), told["first"], disk["size_gib"],
                               f"{disk['volume_group']}/{volume_name(guest['name'], disk['name'])}" in new) for disk in disks]
    return sorted(found, key=lambda resource: resource.name), errors


def _is_address(text: Any) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def path_of(name: str) -> str:
    return f"{FOLDER}/{PREFIX}{name}.res"


def file_of(resource: Resource) -> WantedFile:
    """The same text on both hosts: a host finds its own part by its address."""
    ends = "".join(f"    floating {_address(address, resource.port)};\n" for address in sorted(resource.hosts.values()))
    text = (
        "# Written by Xenfold; changes by hand are lost.\n"
        f"# A disk of the guest {resource.guest}.\n"
        f"resource {resource.name} {{\n"
        "    volume 0 {\n"
        f"        device minor {resource.minor};\n"
        f"        disk {resource.volume};\n"
        f"        meta-disk {resource.meta};\n"
        "    }\n"
        # Else a host whose peer is gone would not come up.
        "    startup { wfc-timeout 30; degr-wfc-timeout 30; outdated-wfc-timeout 30; }\n"
        # A guest whose host has lost its array goes on with the other copy. With fencing, a copy whose host starts alone does not count as
        # up to date, as the other one may have gone on; 5 says that the other host cannot be asked, so that one which works goes on.
        "    disk { on-io-error detach; fencing resource-only; }\n"
        "    handlers { fence-peer \"exit 5\"; }\n"
        "    net { protocol C; allow-two-primaries no; after-sb-0pri discard-zero-changes; verify-alg crc32c; }\n"
        f"{ends}}}\n"
    )
    return WantedFile(path_of(resource.name), text, 0o644)


def _address(address: str, port: int) -> str:
    return f"ipv6 [{address}]:{port}" if ":" in address else f"ipv4 {address}:{port}"


@dataclass(frozen=True)
class Known:
    """What a file of ours says. volumes: group/name of the disk and of what is known about it."""

    guest: str
    name: str
    minor: int
    volumes: tuple[str, ...]


def parse_file(text: str) -> Known | None:
    """The resource of a file that `file_of` wrote; None for any other text."""
    found = [pattern.search(text) for pattern in (_GUEST, _NAME, _MINOR)]
    guest, name, minor = (match[1] if match else "" for match in found)
    return Known(guest, name, int(minor), tuple(_DISK.findall(text))) if guest and name and minor else None
