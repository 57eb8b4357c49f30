# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A power cut that loses what a disk had taken and was not yet told to make durable.

In a lab made with --log-writes each start of QEMU copies the image files and logs all that is written to them from then on. A cut
puts the copy, with the log replayed up to its last flush, in the place of the image. The log is of the image file, below qcow2, so
saved states work as in any lab; qcow2 keeps its own order by flushes of the file, and the file is whole at each of them.
"""

from __future__ import annotations

import random
import shutil
import struct
import time
from pathlib import Path

from lab import process
from lab.console import say
from lab.errors import LabError
from lab.qemu import LOG_FOLDER, image_files, log_file
from lab.state import Lab
from lab.writelog import Entry, HoleError, flushed, read_log, replay

_WHOLE_SECONDS = 20
# Magic, version, backing file (offset, length), cluster bits, size, encryption, level 1 (entries, offset), refcounts (offset, clusters).
_HEADER = struct.Struct(">4sIQIIQIIQQI")
_POINTER = 0x00FFFFFFFFFFFE00


def lose_unflushed(lab: Lab, host: str, seed: int | None = None) -> None:
    """End a host's QEMU and take back from its disks what was not flushed.

    seed: each of these writes is lost or not, by chance, as a disk may write what it was not told to.
    """
    if not lab.spec.log_writes:
        raise LabError(
            f"power-off {host} --lose-unflushed: lab {lab.name} does not log what is written to its disks; "
            f"such a lab is made by: python3 -m lab --name {lab.name} up --log-writes"
        )
    folder = lab.host_folder(host)
    files = [file for file in image_files(lab.disks(host)) if (folder / LOG_FOLDER / file).exists()]
    logs = _stopped(lab, host, files)
    process.kill_host(lab, host)
    lost = sum(take_back(folder, file, entries, seed) for file, entries in logs.items())
    # Only now: until here the same command can be given again.
    for file in files:
        (folder / LOG_FOLDER / file).replace(folder / file)
    shutil.rmtree(folder / LOG_FOLDER, ignore_errors=True)
    say(f"{host}: " + (f"power cut, {lost} writes lost" if files else "was off already"))


def _stopped(lab: Lab, host: str, files: list[str]) -> dict[str, list[Entry]]:
    """The logs of a host that does nothing any more. A log with a hole in it is whole a moment later."""
    end = time.monotonic() + _WHOLE_SECONDS
    while True:
        running = process.freeze(lab, host)
        try:
            return {file: read_log(lab.host_folder(host) / log_file(file)) for file in files}
        except BaseException as error:
            process.thaw(lab, host)
            if not running or not isinstance(error, HoleError) or time.monotonic() > end:
                raise
        time.sleep(0.05)


def take_back(folder: Path, file: str, entries: list[Entry], seed: int | None) -> int:
    """Bring the copy of an image to what outlives the cut. How many writes do not."""
    log, image = folder / log_file(file), folder / LOG_FOLDER / file
    durable = flushed(entries)
    replay(log, entries[:durable], image)
    rest = [entry for entry in entries[durable:] if not entry.flags]
    if seed is None:
        return len(rest)
    chance = random.Random(f"{seed}/{file}")
    tables = table_ranges(image)
    lucky = [entry for entry in rest if chance.random() < 0.5 and not any(_meet(entry, table) for table in tables)]
    replay(log, lucky, image)
    return len(rest) - len(lucky)


def _meet(entry: Entry, table: tuple[int, int]) -> bool:
    return entry.offset < table[1] and table[0] < entry.offset + entry.length


def table_ranges(image: Path) -> list[tuple[int, int]]:
    """Where a qcow2 image has what is not the guest's: its header and both levels of its two tables, as (start, end) in bytes.

    A disk of the guest has no such tables: QEMU writes them in an order that chance must not break.
    Source: QEMU's docs/interop/qcow2.txt.
    """
    with image.open("rb") as file:
        *_, bits, _size, _crypt, l1_entries, l1_at, refcounts_at, refcounts_clusters = _HEADER.unpack(file.read(_HEADER.size))
        cluster = 1 << bits
        ranges = [(0, cluster)]
        for start, length in ((l1_at, l1_entries * 8), (refcounts_at, refcounts_clusters * cluster)):
            ranges.append((start, start + length))
            file.seek(start)
            data = file.read(length)
            pointers = (int.from_bytes(data[at : at + 8], "big") & _POINTER for at in range(0, len(data), 8))
            ranges += [(pointer, pointer + cluster) for pointer in pointers if pointer]
    return ranges
