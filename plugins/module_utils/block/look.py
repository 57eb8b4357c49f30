# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on a disk, and whether it is provably empty: the test before anything is ever written to it."""
from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.block import parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

BY_ID = "/dev/disk/by-id"
EDGE = 2**20
# mdadm starts the data of an array below 130 MiB of a disk, so zeros up to here leave nothing of an earlier array in a new one.
ARRAY_FRONT = 256 * EDGE
_DOM0 = "/proc/xen/capabilities"
_BACKENDS = "/local/domain/0/backend"


@dataclass(frozen=True)
class Disk:
    """One device as the host shows it.

    path: kernel device; uses: everything that lies on it, in plain words, empty when it is provably empty;
    work: the part of that which is in use right now, which no consent covers; md: fields of its superblock.
    """

    path: str
    serial: str
    size_bytes: int
    uses: tuple[str, ...]
    work: tuple[str, ...]
    md: Mapping[str, str]


def resolve(device: str) -> str | None:
    """The kernel device behind a stable name, None when there is none."""
    return os.path.realpath(device) if os.path.exists(device) else None


def ids_of(path: str) -> list[str]:
    """The names under /dev/disk/by-id that lead to a kernel device, sorted."""
    folder = Path(BY_ID)
    names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
    return [name for name in names if resolve(f"{BY_ID}/{name}") == path]


def _edge_uses(path: str, size: int) -> list[str]:
    """What the first and last MiB tell: anything but zeros is data that no tool may know."""
    try:
        with open(path, "rb", buffering=0) as stream:
            for offset in (0, max(0, size - EDGE)):
                stream.seek(offset)
                edge = stream.read(EDGE)
                if edge.strip(b"\0"):
                    return ["data in its first or last MiB"]
                if len(edge) < min(EDGE, size):
                    return ["it cannot be read in full"]
    except OSError as error:
        return [f"it cannot be read: {error.strerror}"]
    return []


def _exclusive(path: str) -> list[str]:
    """Whether the kernel gives the device to us alone: it does not while a file system, array or volume has it."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_EXCL))
    except OSError as error:
        return ["the kernel has it in use"] if error.errno == errno.EBUSY else [f"it cannot be opened: {error.strerror}"]
    return []


def zero_edges(path: str, front: int = EDGE) -> None:
    """Zero the first bytes (as many as `front`) and the last MiB of a device that nobody else uses.

    The first MiB comes last: a device whose zeroing was cut off does not pass for an empty one.
    Raises OSError, EBUSY among others, before anything is written when the device is in use.
    """
    handle = os.open(path, os.O_WRONLY | os.O_EXCL)
    try:
        size = os.lseek(handle, 0, os.SEEK_END)
        for offset in (max(0, size - EDGE), *reversed(range(0, min(front, size), EDGE))):
            if offset == 0:
                os.fsync(handle)
            os.pwrite(handle, b"\0" * min(EDGE, size - offset), offset)
        os.fsync(handle)
    finally:
        os.close(handle)


def _guests(runner: Runner) -> tuple[set[str], set[str], bool]:
    """Numbers and real paths behind guests' disks, and whether Xen answered at all."""
    capabilities = Path(_DOM0)
    if not capabilities.exists() or "control_d" not in capabilities.read_text() or not runner.tool("xenstore-ls"):
        return set(), set(), True
    answer = runner.read(["xenstore-ls", "-f", _BACKENDS], ok=())
    numbers, paths = parse.guest_disks(answer.out)
    # Without any backend the path is not there, which is an answer too.
    known = answer.rc == 0 or ("No such file or directory" in answer.err and "xs_directory" in answer.err)
    return numbers, {os.path.realpath(path) for path in paths}, known


def _holders(entry: Mapping[str, Any]) -> list[str]:
    held = []
    for device in parse.descend(entry):
        folder = Path("/sys/class/block") / str(device.get("kname")) / "holders"
        held += [f"{device['name']} is held by {name}" for name in sorted(os.listdir(folder))] if folder.is_dir() else []
    return held


def look(runner: Runner, paths: Iterable[str]) -> dict[str, Disk]:
    """Look at devices, given by kernel path. Only reads, so it may be used in check mode."""
    wanted = sorted(set(paths))
    if not wanted:
        return {}
    listing = parse.devices(runner.read(["lsblk", "--json", "--bytes", "-o", parse.COLUMNS]).out)
    swaps = Path("/proc/swaps").read_text().split()
    numbers, files, answered = _guests(runner)
    found = {}
    for path in wanted:
        entry = listing.get(path) or {"kname": os.path.basename(path), "name": path, "type": "unknown", "size": 0}
        size = int(entry["size"] or 0)
        inside = list(parse.descend(entry))
        work = parse.work_of(entry) + _holders(entry)
        if not size:
            work.append("lsblk shows no such device with a size")
        work += [f"{device['name']} is swap in use" for device in inside if f"/dev/{device['kname']}" in swaps]
        work += [f"{device['name']} is the disk of a running guest" for device in inside
                 if device.get("maj:min") in numbers or f"/dev/{device['kname']}" in files]
        if not answered:
            work.append("it may be the disk of a running guest: xenstore does not answer")
        work += _exclusive(path)
        probe = runner.read(["blkid", "-p", "-o", "export", path], ok=(0, 2, 8))
        values = parse.fields(probe.out)
        md = parse.superblock(values)
        if runner.tool("mdadm"):
            md = parse.fields(runner.read(["mdadm", "--examine", "--export", path], ok=()).out) or md
        kinds = {values.get("TYPE", ""), values.get("PTTYPE", ""), "several kinds of" if probe.rc == 8 else ""} - {""}
        kinds |= set(parse.signatures(runner.read(["wipefs", "-n", "--json", path]).out))
        shown = parse.uses_of(entry)
        untold = [kind for kind in sorted(kinds) if not {f"{kind} on {entry['name']}", f"partition table {kind}"} & set(shown)]
        uses = shown + [f"{kind} signature" for kind in untold] + work
        if md.get("MD_UUID"):
            uses.append(f"member of array {md.get('MD_NAME', '?')} {md['MD_UUID']}")
        uses = uses or _edge_uses(path, size)
        found[path] = Disk(path, str(entry.get("serial") or ""), size, tuple(dict.fromkeys(uses)), tuple(work), md)
    return found
