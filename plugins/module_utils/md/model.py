# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Arrays as the kernel runs them, the steps of a plan, and what is said of them in more than one place; pure."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.actions import Action
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.look import Disk

# States of `array_state` in which an array takes a disk; `read-auto` after a boot, until the first write.
TAKES = ("clean", "active", "active-idle", "write-pending", "read-auto")


@dataclass(frozen=True)
class Running:
    """An array that the kernel knows. device: as mdadm names it; active: False when it waits for disks."""

    device: str
    active: bool


@dataclass(frozen=True)
class Member:
    """A disk that the kernel counts to an array. path: as it was named when it joined; slot: its place, None for a spare;
        states: the kernel's words (`in_sync`, `faulty`, `spare`, `want_replacement`, `replacement`); attached: whether the disk is there;
    room_bytes: what it has from where its data begins, 0 when that is not known."""

    path: str
    slot: int | None
    states: frozenset[str]
    attached: bool = True
    room_bytes: int = 0


@dataclass(frozen=True)
class Live:
    """An array as the kernel runs it (sysfs, Documentation/admin-guide/md.rst). missing: members that it lacks; policy: its
    `consistency_policy`, empty when the kernel does not tell; speeds: `sync_speed_min` and `sync_speed_max` as they read;
    sync: what sync_of() says; least_bytes: what a disk must have at least to become a member, 0 when the kernel does not tell;
    raid_disks: its number of members, the new one while it is reshaped, 0 when the kernel does not tell; component_bytes: what it uses of
    each; frozen: whether no synchronisation may begin."""

    kernel: str
    level: str = ""
    state: str = ""
    missing: int = 0
    policy: str = ""
    speeds: Mapping[str, str] = field(default_factory=dict)
    sync: Mapping[str, Any] | None = None
    least_bytes: int = 0
    members: tuple[Member, ...] = ()
    raid_disks: int = 0
    component_bytes: int = 0
    reshaping: bool = False
    frozen: bool = False

    def extra_bytes(self) -> int:
        """What it could use of each disk beyond what it uses. Spares count: the kernel makes no array larger than one of them."""
        least = min((member.room_bytes for member in self.members), default=0)
        return least - self.component_bytes if least and self.component_bytes else 0

    def there(self) -> list[str]:
        """Kernel devices of the disks that are there, in the order of their slots, spares last."""
        ranked = sorted(self.members, key=lambda member: (member.slot is None, member.slot or 0, member.path))
        return [member.path for member in ranked if member.attached]


@dataclass(frozen=True)
class Step:
    """One array's change: the action that a person is shown, the disks to wipe first (by consent, or empty and about to hold a new
    array, in which nothing of before may show), and the commands.

    first: commands before anything is wiped; attributes: (file, text) to write below the array's `md` folder in sysfs, after the
    commands; chunk_bytes: of a new array, 0 of one without chunks.
    """

    action: Action
    device: str
    commands: tuple[tuple[str, ...], ...]
    wipe: tuple[Disk, ...] = ()
    attributes: tuple[tuple[str, str], ...] = ()
    first: tuple[tuple[str, ...], ...] = ()
    chunk_bytes: int = 0


@dataclass
class Plan:
    """errors: why nothing may be done at all; steps: in order; uuids: of every wanted array; lacking: name -> what a person should
    know of an array that runs without some of its members, and is left alone; notes: what waits or was not done, for people."""

    errors: list[str] = field(default_factory=list)
    lacking: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    uuids: dict[str, str] = field(default_factory=dict)


def may_be_written(disk: Disk, consents: frozenset[str]) -> str | None:
    """Why a disk may not be taken into an array; None when it is provably empty or has its own consent and no use."""
    if not disk.uses:
        return None
    if disk.work:
        return f"{disk.whole()} (serial {disk.serial}) is in use and is never wiped: {'; '.join(disk.uses)}"
    if disk.serial not in consents:
        return (f"{disk.whole()} (serial {disk.serial}) is not empty: {'; '.join(disk.uses)}. It is not touched. If its data may be"
                f" lost, say so: storage_wipe: [{{serial: {disk.serial}, confirm: {disk.serial}}}]")
    return None


def wakes(device: str, now: Live | None) -> list[tuple[str, ...]]:
    """What makes an array begin that waits after a boot, with a rebuild too, for the first write; nothing when it does not wait."""
    return [("mdadm", "--readwrite", device)] if now and now.state == "read-auto" else []


def kernel_name(path: str) -> str:
    """A device's name in sysfs, by which mdadm takes a member whose device is no more."""
    return path.removeprefix("/dev/").replace("/", "!")


def why_frozen(now: Live) -> str:
    """What to say, beside the rest, of an array where nothing begins; empty when it is not frozen."""
    if not now.frozen:
        return ""
    file = f"/sys/block/{kernel_name(now.kernel)}/md/sync_action"
    return f"{file}: value 'frozen', as an mdadm that was killed leaves it, allowed idle. On the host: echo idle > {file}"
