# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host in a folder: files stand for its disks, so that the real code reads and writes them, without root and without its tools."""
from __future__ import annotations

import errno
import json
import os
import re
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.block import look, parse
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import host as lvm_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.lvm import volumes as lvm
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import configuration as md_conf
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import host as md_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.md import watch
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner
from ansible_collections.xenfold.consolidation.plugins.modules import lvm_volumes, md_array, md_replace

MIB = 2**20
PROVIDES = {"mdadm": ["mdadm"], "lvm2": ["vgs"], "fdisk": ["sfdisk"]}
SWAPS = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"


class _Paths:
    def __init__(self, host: Host) -> None:
        self._host = host

    def __getattr__(self, name: str) -> Any:
        return getattr(os.path, name)

    def exists(self, path: str) -> bool:
        return os.path.exists(self._host.real(path))

    def realpath(self, path: str) -> str:
        return os.path.realpath(self._host.real(path)).removeprefix(str(self._host.root))


class _Os:
    """The module os with the paths of the host in the folder. A disk in use cannot be opened exclusively."""

    def __init__(self, host: Host) -> None:
        self._host, self.path = host, _Paths(host)

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str, flags: int) -> int:
        if flags & os.O_EXCL and path in self._host.busy:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        return os.open(self._host.real(path), flags)


class _Time:
    """A clock that only waiting moves; each wait changes the host's files as its case says."""

    def __init__(self, host: Host) -> None:
        self._host, self._now, self._waits = host, 0.0, list(host.given.get("sleeps", []))

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds
        self._host.put(self._waits.pop(0) if self._waits else {})


def member_files(name: str, slot: str, states: str) -> dict[str, str | None]:
    """The files in sysfs of a member of md127."""
    folder = f"/sys/block/md127/md/dev-{name}"
    return {f"{folder}/slot": slot, f"{folder}/state": states, f"{folder}/offset": "2048", f"/sys/class/block/{name}/holders/md127": ""}


class Host:
    """The host of a case.

    given: `tools`, the commands that are installed; `files`: path -> text; `times`: path -> seconds of its last change; `disks`:
    kernel name -> {id, serial, size_mib, data: {offset: text}, busy}; `arrays`: name -> kernel name of those that run;
    `sysfs`: what differs of what the kernel shows of an array; `appears: false`: arrays never come up; `named`: what the new map
    names, as name and kernel name; `busy_later`: kernel devices that come into use after the first change; `then`: command, as one
    text -> files that it changes (null: removes); `sleeps`: such files for each time that a module waits 2 s; `md_members`: kernel
    name -> [slot, states] of a member of md127 that is there.
    """

    def __init__(self, root: Path, given: dict[str, Any], monkeypatch: Any) -> None:
        self.root, self.given = root.resolve(), given
        self.tools = set(given.get("tools", []))
        self.disks: dict[str, dict[str, Any]] = given.get("disks", {})
        self.busy = {f"/dev/{name}" for name, disk in self.disks.items() if disk.get("busy")}
        for path, text in ({"/proc/swaps": SWAPS} | given.get("files", {})).items():
            self.write(path, text)
        for path, seconds in given.get("times", {}).items():
            os.utime(self.real(path), (seconds, seconds))
        for name, disk in self.disks.items():
            self._add(name, disk)
        for name, kernel in given.get("arrays", {}).items():
            self.start(name, kernel)
        for name, (slot, states) in given.get("md_members", {}).items():
            self.put(member_files(name, slot, states))
        self._patch(monkeypatch)

    def real(self, path: str | Path) -> str:
        """Where a path of the host lies in the folder."""
        text = str(path)
        return text if text.startswith(str(self.root)) else f"{self.root}{text}"

    def write(self, path: str, text: str) -> None:
        target = Path(self.real(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def put(self, files: dict[str, str | None]) -> None:
        """Files appear with their text, or go."""
        for path, text in files.items():
            if text is None:
                os.unlink(self.real(path))
                if "/dev-" in path and not os.listdir(os.path.dirname(self.real(path))):
                    os.rmdir(os.path.dirname(self.real(path)))
            else:
                self.write(path, str(text))

    def start(self, name: str, kernel: str = "md127") -> None:
        """An array comes up under its name."""
        if not os.path.exists(self.real(f"/dev/{kernel}")):
            self._add(kernel, {"data": self.given.get("array_data", {})})
        link = Path(self.real(f"/dev/md/{name}"))
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(f"../{kernel}")
        shown = {"array_state": "clean", "degraded": "0", "sync_action": "resync", "sync_completed": "10 / 40"}
        for field, value in (shown | self.given.get("sysfs", {})).items():
            self.write(f"/sys/block/{kernel}/md/{field}", f"{value}\n")

    def partition(self, disk: str, script: str) -> None:
        """A disk gets the one partition of the script of sfdisk; the script is kept, for the case to look at."""
        found = re.search(r"start=(\d+), size=(\d+), ", script)
        assert found
        name = disk.removeprefix("/dev/") + "1"
        self._add(name, {"size_mib": int(found[2]) * 512 // MIB})
        self.write(f"/sfdisk/{name}", script)

    def _add(self, name: str, disk: dict[str, Any]) -> None:
        path = Path(self.real(f"/dev/{name}"))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            stream.truncate(disk.get("size_mib", 4) * MIB)
            for offset, text in disk.get("data", {}).items():
                stream.seek(int(offset))
                stream.write(text.encode())
        if disk.get("id"):
            link = Path(self.real(f"/dev/disk/by-id/{disk['id']}"))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(f"../../{name}")

    def _open(self, path: str, mode: str, buffering: int) -> Any:
        return Path(self.real(path)).open(mode, buffering)

    def _patch(self, monkeypatch: Any) -> None:
        real_install, real_change = packages.install, Runner.change

        def install(runner: Runner, names: list[str]) -> None:
            real_install(runner, names)
            self.tools |= {tool for name in names for tool in PROVIDES[name]}

        def change(runner: Runner, argv: Any, ok: Any = (0,), data: Any = None) -> Any:
            result = real_change(runner, argv, ok, data)
            words = list(argv)
            if words[:2] in (["mdadm", "--create"], ["mdadm", "--assemble"]) and self.given.get("appears", True):
                self.start(words[2].removeprefix("/dev/md/"))
            elif words == ["mdadm", "--incremental", "--rebuild-map"] and self.given.get("named"):
                self.start(*self.given["named"])
            elif words[0] == "sfdisk":
                self.partition(words[-1], str(data))
            elif words == ["udevadm", "settle"]:
                self.busy |= set(self.given.get("busy_later", []))
            self.put(self.given.get("then", {}).get(" ".join(words), {}))
            return result

        monkeypatch.setattr(packages, "install", install)
        monkeypatch.setattr(Runner, "change", change)
        monkeypatch.setattr(Runner, "tool", lambda _runner, name: name in self.tools)
        for module in (look, lvm_host):
            monkeypatch.setattr(module, "os", _Os(self))
        monkeypatch.setattr(look, "open", self._open, raising=False)
        for module in (look, md_host, md_array, lvm_host):
            monkeypatch.setattr(module, "Path", lambda path: Path(self.real(path)))
        # The disks here are small, too.
        monkeypatch.setattr(look, "ARRAY_FRONT", 2 * MIB)
        for module, constant in (
                (md_conf, "CONFIGURATION"), (md_conf, "RULES"), (watch, "DEFAULTS"), (watch, "UNITS"),
                (lvm, "MAIN_FILE"), (lvm, "FILTER_FILE")):
            monkeypatch.setattr(module, constant, self.real(getattr(module, constant)))
        monkeypatch.setattr(md_replace, "time", _Time(self))
        assert lvm_volumes.lvm is lvm

    def snapshot(self) -> dict[str, bytes]:
        """Every file of the host, disks among them."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*")
                if path.is_file() and not path.is_symlink()}


def entry(name: str, disk: dict[str, Any]) -> dict[str, Any]:
    """What `lsblk` shows of a disk; `lsblk` in the case changes keys."""
    return {
        "kname": name, "name": name, "path": f"/dev/{name}", "type": "disk", "size": disk.get("size_mib", 4) * MIB,
        "serial": disk.get("serial"), "fstype": None, "pttype": None, "mountpoints": [None], "maj:min": "254:16",
        "uuid": None, "partuuid": None, "log-sec": 512,
    } | disk.get("lsblk", {})


def look_commands(shown: dict[str, dict[str, Any]], mdadm: bool, xen: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """The commands of one look at the disks: kernel name -> {lsblk, blkid, blkid_rc, md, wipefs} with their answers.

    `md` is what mdadm tells, where it is installed; xen: the answer of xenstore-ls, where Xen runs.
    """
    listing = {"blockdevices": [entry(name, disk) for name, disk in shown.items() if not disk.get("unlisted")]}
    commands = [{"command": ["lsblk", "--json", "--bytes", "-o", parse.COLUMNS], "out": json.dumps(listing)}]
    if xen is not None:
        commands.append({"command": ["xenstore-ls", "-f", "/local/domain/0/backend"], **xen})
    for name, disk in sorted(shown.items()):
        commands += _look_at(name, disk, mdadm)
    return commands


def _look_at(name: str, disk: dict[str, Any], mdadm: bool) -> list[dict[str, Any]]:
    """The commands for one device, and for the partition that is looked at with it (`part`)."""
    path, probe, commands = f"/dev/{name}", disk.get("blkid", {}), []
    commands.append({"command": ["blkid", "-p", "-o", "export", path], "rc": disk.get("blkid_rc", 0 if probe else 2),
                     "out": "".join(f"{key}={value}\n" for key, value in probe.items())})
    if mdadm:
        fields = disk.get("md", {})
        commands.append({"command": ["mdadm", "--examine", "--export", path], "rc": 0 if fields else 1,
                         "out": "".join(f"{key}={value}\n" for key, value in fields.items())})
    kinds = disk.get("wipefs", [])
    found = {"signatures": [{"device": name, "offset": "0x0", "type": kind, "uuid": None, "label": None} for kind in kinds]}
    commands.append({"command": ["wipefs", "-n", "--json", path], "out": json.dumps(found) if kinds else ""})
    return commands + (_look_at(f"{name}1", disk["part"], mdadm) if "part" in disk else [])
