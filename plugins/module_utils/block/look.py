# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is on a disk, and whether it is provably empty: the test before anything is ever written to it."""
from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.block import parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.block.partition import Cut
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

BY_ID = "/dev/disk/by-id"
EDGE = 2**20
# mdadm starts the data of an array below 130 MiB of a disk, so zeros up to here leave nothing of an earlier array in a new one.
ARRAY_FRONT = 256 * EDGE
# Superblock, bitmap and logs of an array end below this.
_METADATA = 2 * EDGE
# md's superblock ends here, before the bitmap.
_HEAD = 8 * 2**10
_ASK_AGAIN_SECONDS = (0.5, 2.0, 0.0)
_DOM0 = "/proc/xen/capabilities"
_BACKENDS = "/local/domain/0/backend"


@dataclass(frozen=True)
class Disk:
    """One device as the host shows it.

    path: kernel device; uses: everything that lies on it, in plain words, empty when it is provably empty;
    work: the part of that which is in use right now, which no consent covers; md: fields of its superblock;
    sector_bytes: its logical sector; bare: with the superblock of an array that counts no event, whether there are zeros where that
    array's data begins; part: the one partition of its GPT, when there is nothing else on it; part_uuid: of a partition, its UUID in the
    table, as udev tells it, also of an empty one, of which blkid shows nothing.

    A device that is or will be such a partition of a disk: on, on_bytes: that disk and its size; cut: the partition, when it has yet to
    be made. clear: it holds nothing but the superblock of an array that never was, which has to go first.
    """

    path: str
    serial: str
    size_bytes: int
    uses: tuple[str, ...]
    work: tuple[str, ...]
    md: Mapping[str, str]
    sector_bytes: int = 512
    bare: bool = False
    part: Disk | None = None
    part_uuid: str = ""
    on: str = ""
    on_bytes: int = 0
    cut: Cut | None = None
    clear: bool = False

    def whole(self) -> str:
        """The disk, for people: also when the device is a partition that is not there yet."""
        return self.on if self.cut else self.path

    def first_written(self) -> bool:
        """Whether it has to be wiped or partitioned before it can be used."""
        return bool(self.uses or self.cut or self.clear)


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


def _bare(path: str) -> bool:
    """Whether zeros are all there is behind the metadata of an array, up to where its data has begun on a disk of any size."""
    try:
        with open(path, "rb", buffering=0) as stream:
            for offset in range(_METADATA, ARRAY_FRONT, EDGE):
                stream.seek(offset)
                if stream.read(EDGE).strip(b"\0"):
                    return False
    except OSError:
        return False
    return True


def zero_edges(path: str, front: int = EDGE, ends: Iterable[int] = ()) -> None:
    """Zero the first bytes (as many as `front`) and the last MiB of a device that nobody else uses, and the MiB before each of `ends`.

    The first MiB comes last: a device whose zeroing was cut off does not pass for an empty one. Of that MiB the superblock of an array is
    the last to go: what is left by a zeroing that was cut off shows whose it is.
    Raises OSError, EBUSY among others, before anything is written when the device is in use.
    """
    handle = os.open(path, os.O_WRONLY | os.O_EXCL)
    try:
        size = os.lseek(handle, 0, os.SEEK_END)
        tails = sorted({max(0, end - EDGE) for end in (size, *ends)})
        for offset in (*tails, *reversed(range(EDGE, min(front, size), EDGE))):
            os.pwrite(handle, b"\0" * min(EDGE, size - offset), offset)
        for start, end in ((_HEAD, EDGE), (0, _HEAD)):
            os.fsync(handle)
            os.pwrite(handle, b"\0" * (min(end, size) - start), start)
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


def listing(runner: Runner, wanted: Iterable[str] = ()) -> dict[str, Mapping[str, Any]]:
    """Every device of the host, by its kernel path. wanted: those that it is asked for.

    lsblk was seen once, on a busy host, to leave out disks that were there before and after: without one of those that are wanted it is
    asked again. What stays out is refused by who looks at it, having no size.
    """
    paths = list(wanted)
    for seconds in _ASK_AGAIN_SECONDS:
        known = parse.devices(runner.read(["lsblk", "--json", "--bytes", "-o", parse.COLUMNS]).out)
        if all(path in known or not _is_device(path) for path in paths):
            break
        time.sleep(seconds)
    return known


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return False


class _Look:
    """One look at the host: what is asked once for all devices."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._swaps = Path("/proc/swaps").read_text().split()
        self._numbers, self._files, self._answered = _guests(runner)

    def _work(self, path: str, entry: Mapping[str, Any]) -> list[str]:
        inside = list(parse.descend(entry))
        work = parse.work_of(entry) + _holders(entry)
        if not entry.get("size"):
            work.append("lsblk shows no such device with a size")
        work += [f"{device['name']} is swap in use" for device in inside if f"/dev/{device['kname']}" in self._swaps]
        work += [f"{device['name']} is the disk of a running guest" for device in inside
                 if device.get("maj:min") in self._numbers or f"/dev/{device['kname']}" in self._files]
        if not self._answered:
            work.append("it may be the disk of a running guest: xenstore does not answer")
        return work + _exclusive(path)

    def at(self, path: str, entry: Mapping[str, Any]) -> Disk:
        """The device, and the partition on it when there is one alone."""
        size, work = int(entry.get("size") or 0), self._work(path, entry)
        probe = self._runner.read(["blkid", "-p", "-o", "export", path], ok=(0, 2, 8))
        values = parse.fields(probe.out)
        md = parse.superblock(values)
        if self._runner.tool("mdadm"):
            md = parse.fields(self._runner.read(["mdadm", "--examine", "--export", path], ok=()).out) or md
        kinds = {values.get("TYPE", ""), values.get("PTTYPE", ""), "several kinds of" if probe.rc == 8 else ""} - {""}
        kinds |= set(parse.signatures(self._runner.read(["wipefs", "-n", "--json", path]).out))
        shown = parse.uses_of(entry)
        untold = [kind for kind in sorted(kinds) if not {f"{kind} on {entry['name']}", f"partition table {kind}"} & set(shown)]
        uses = shown + [f"{kind} signature" for kind in untold] + work
        if md.get("MD_UUID"):
            uses.append(f"member of array {md.get('MD_NAME', '?')} {md['MD_UUID']}")
        uses = uses or _edge_uses(path, size)
        bare = md.get("MD_EVENTS") == "0" and md.get("MD_LEVEL") != "raid0" and _bare(path)
        return Disk(
            path, str(entry.get("serial") or ""), size, tuple(dict.fromkeys(uses)), tuple(work), md, int(entry.get("log-sec") or 512), bare,
            self._part(entry, kinds), str(entry.get("partuuid") or "").lower(),
        )

    def _part(self, entry: Mapping[str, Any], kinds: set[str]) -> Disk | None:
        children = entry.get("children") or []
        gpt = entry.get("pttype") == "gpt" or "gpt" in kinds
        if entry["type"] != "disk" or not gpt or kinds - {"gpt", "PMBR"} or entry.get("fstype") or len(children) != 1:
            return None
        if children[0]["type"] != "part":
            return None
        # lsblk shows the disk's kind of table at the partition, too.
        return self.at(f"/dev/{children[0]['kname']}", {**children[0], "serial": entry.get("serial"), "pttype": None})


def look(runner: Runner, paths: Iterable[str], listed: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Disk]:
    """Look at devices, given by kernel path. Only reads, so it may be used in check mode. listed: what listing() returned, if it ran."""
    wanted = sorted(set(paths))
    if not wanted:
        return {}
    known = listing(runner, wanted) if listed is None else listed
    view = _Look(runner)
    return {path: view.at(path, known.get(path) or {"kname": os.path.basename(path), "name": path, "type": "unknown", "size": 0})
            for path in wanted}
