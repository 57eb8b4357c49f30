# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The log that QEMU's `blklogwrites` filter keeps of what is written to a file, and its replay.

Source: QEMU's block/blklogwrites.c and Linux' Documentation/admin-guide/device-mapper/log-writes.rst. A superblock in the first
sector, then one sector for each entry with its data behind it; all numbers are little-endian. An entry gets its place when its write
has reached the file, so what had ended before a flush began stands before the flush.
"""

from __future__ import annotations

import dataclasses
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from lab.errors import LabError

# A write that is to be durable by itself (FUA, 2) is logged by QEMU as a write and a flush.
FLUSH, DISCARD = 1, 4
_MAGIC, _VERSION = 0x6A736677736872, 1
_SUPERBLOCK = struct.Struct("<QQQI")  # magic, version, entries, bytes a sector
_ENTRY = struct.Struct("<QQQQ")  # first sector, sectors, flags, unused
# What the superblock says when it is there; QEMU writes it with the first flush.
_SECTOR = 512
_CHUNK = 2**20


class HoleError(LabError):
    """An entry that must be there is not written yet: QEMU was at it when it was stopped."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """One request: bytes `offset` to `offset + length` of the file; what was written stands at `data_at` in the log."""

    offset: int
    length: int
    flags: int
    data_at: int


def read_log(path: Path) -> list[Entry]:
    """All entries, those that the superblock does not count yet included.

    HoleError when the superblock counts more than there are.
    """
    with path.open("rb") as log:
        size = os.fstat(log.fileno()).st_size
        counted, sector = _superblock(path, os.pread(log.fileno(), _SUPERBLOCK.size, 0))
        entries: list[Entry] = []
        at = sector
        while at + _ENTRY.size <= size:
            first, sectors, flags, _ = _ENTRY.unpack(os.pread(log.fileno(), _ENTRY.size, at))
            if flags & ~(FLUSH | DISCARD):
                raise LabError(f"{path}: entry {len(entries)} has flags {flags:#x}, which are unknown")
            entry = Entry(first * sector, sectors * sector, flags, at + sector)
            after = entry.data_at + (0 if flags & DISCARD else entry.length)
            # A request of no bytes that is no flush is never logged: nothing has been written here.
            if not (flags or sectors) or after > size:
                break
            entries.append(entry)
            at = after
    if len(entries) < counted:
        raise HoleError(f"{path}: entry {len(entries)} of {counted} is not whole")
    return entries


def _superblock(path: Path, data: bytes) -> tuple[int, int]:
    """How many entries are counted, and the size of a sector in bytes."""
    if not data.strip(b"\0"):
        return 0, _SECTOR
    magic, version, counted, sector = _SUPERBLOCK.unpack(data.ljust(_SUPERBLOCK.size, b"\0"))
    if (magic, version) != (_MAGIC, _VERSION):
        raise LabError(f"{path}: no log of writes: magic {magic:#x}, version {version}; {_MAGIC:#x}, {_VERSION} wanted")
    return counted, sector


def flushed(entries: list[Entry]) -> int:
    """How many entries, from the first on, are durable: all up to the last flush."""
    return max((number for number, entry in enumerate(entries, start=1) if entry.flags & FLUSH), default=0)


def replay(path: Path, entries: Iterable[Entry], target: Path) -> None:
    """Do to `target` what the entries of a log say. A discarded range reads as zeros, as QEMU leaves it in a file."""
    with path.open("rb") as log, target.open("r+b") as file:
        for entry in entries:
            for done in range(0, entry.length, _CHUNK):
                count = min(_CHUNK, entry.length - done)
                data = bytes(count) if entry.flags & DISCARD else os.pread(log.fileno(), count, entry.data_at + done)
                os.pwrite(file.fileno(), data, entry.offset + done)
