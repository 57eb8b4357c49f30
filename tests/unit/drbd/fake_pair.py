# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Two hosts with DRBD in folders: files stand for volumes, and a model for what the driver does with one resource.

The rules are those that DRBD 8.4 of Linux 6.1 was seen to follow: of two copies without data neither counts, one that never had any
becomes like the other, and two with data of their own stay apart.
"""
from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import host as drbd_host
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import plan, resources, state
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.plan import JUST_CREATED
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

NAME, MINOR, GROUP = "db01-root", 7, "vg0"
QUESTIONS = (["lvs"], ["blkid"], ["drbdmeta"], ["drbdsetup", "show"], ["systemctl", "show"], ["drbdadm", "--dry-run"],
             ["drbdadm", "get-gi"])


class Cut(BaseException):
    """The run is killed here."""


@dataclass
class Host:
    """meta: generation of the metadata, "" without; data: what is on the volume; attached, linked: what the driver does."""

    root: Path
    meta: str = ""
    data: str = ""
    configured: bool = False
    attached: bool = False
    linked: bool = False
    disk: str = "Diskless"
    role: str = "Secondary"
    two_primaries: bool = False
    in_use: bool = False
    unit: set[str] = field(default_factory=set)
    changes: list[list[str]] = field(default_factory=list)


class Pair:
    """`run_on` makes a module's commands those of one host; `cut`: the number of the change before which it is killed."""

    def __init__(self, root: Path, monkeypatch: Any) -> None:
        self.hosts = {name: Host(root / name) for name in ("xen01", "xen02")}
        for host in self.hosts.values():
            (host.root / GROUP).mkdir(parents=True)
            (host.root / "drbd.d").mkdir()
            self.write(host, NAME, "")
            self.write(host, f"{NAME}.drbd", "")
        self.patch, self.cut, self.here, self.generation = monkeypatch, 0, self.hosts["xen01"], 0x1000
        monkeypatch.setattr(Runner, "tool", lambda _runner, _name: True)
        monkeypatch.setattr(AnsibleModule, "run_command", lambda _module, args, **_kwargs: self.run(list(args)))
        monkeypatch.setattr(packages, "missing", lambda _runner, _names: [])
        seconds = iter(range(100_000))
        monkeypatch.setattr(drbd_host.time, "monotonic", lambda: next(seconds))
        monkeypatch.setattr(drbd_host.time, "sleep", lambda _seconds: None)

    @property
    def peer(self) -> Host:
        return next(host for host in self.hosts.values() if host is not self.here)

    @staticmethod
    def write(host: Host, volume: str, content: str) -> None:
        (host.root / GROUP / volume).write_bytes(content.encode().ljust(8192, b"\0"))

    def fill(self, name: str, content: str) -> None:
        self.hosts[name].data = content
        self.write(self.hosts[name], NAME, content)

    def run_on(self, name: str, cut: int = 0) -> None:
        self.here, self.cut = self.hosts[name], cut
        self.here.changes = []
        self.patch.setattr(resources, "DEVICES", str(self.here.root))
        self.patch.setattr(resources, "FOLDER", str(self.here.root / "drbd.d"))
        self.patch.setattr(plan, "UNIT_FILE", str(self.here.root / "unit"))
        self.patch.setattr(state, "PROC", str(self.here.root / "proc"))
        self.tell()

    def tell(self) -> None:
        for host in self.hosts.values():
            other = next(one for one in self.hosts.values() if one is not host)
            (host.root / "proc").write_text(f"version: 8.4.11 (api:1/proto:86-101)\n{self.line(host, other)}\n")

    @staticmethod
    def line(host: Host, other: Host) -> str:
        if not host.configured:
            return f" {MINOR}: cs:Unconfigured"
        joined = host.linked and other.linked
        connection = "Connected" if joined else "WFConnection" if host.linked else "StandAlone"
        peer = (other.role, other.disk) if joined else ("Unknown", "DUnknown")
        return f" {MINOR}: cs:{connection} ro:{host.role}/{peer[0]} ds:{host.disk}/{peer[1]} C r-----"

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        if not any(argv[:len(question)] == question for question in QUESTIONS):
            self.here.changes.append(argv)
            if len(self.here.changes) == self.cut:
                raise Cut
        answer = getattr(self, f"_{argv[0]}")(argv)
        self.tell()
        return answer if isinstance(answer, tuple) else (0, answer or "", "")

    def _lvs(self, argv: list[str]) -> str:
        rows = [{"vg_name": GROUP, "lv_name": name, "lv_size": "8192", "lv_tags": "", "origin": "",
                 "lv_device_open": "open" if self.here.in_use else ""} for name in (NAME, f"{NAME}.drbd")]
        return json.dumps({"report": [{"lv": [{column: row[column] for column in argv[-1].split(",")} for row in rows]}]})

    def _blkid(self, _argv: list[str]) -> tuple[int, str, str]:
        return (0, "ext4\n", "") if self.here.data else (2, "", "")

    def _systemctl(self, argv: list[str]) -> str:
        if argv[1] == "show":
            return (f"ActiveState={'active' if 'start' in self.here.unit else 'inactive'}\n"
                    f"UnitFileState={'enabled' if 'enable' in self.here.unit else 'disabled'}\n")
        self.here.unit |= {argv[-2]} - {"systemctl"}
        return ""

    def _drbdmeta(self, _argv: list[str]) -> tuple[int, str, str]:
        return (0, "version \"v08\";\n", "") if self.here.meta else (255, "No valid meta data found\n", "")

    def _drbdsetup(self, argv: list[str]) -> str:
        assert argv == ["drbdsetup", "show"]
        allow = "        allow-two-primaries\tyes;\n" if self.here.two_primaries else ""
        return f"resource {NAME} {{\n    net {{\n{allow}    }}\n}}\n" if self.here.configured else ""

    def _sh(self, argv: list[str]) -> str:
        assert argv[1:] == ["-c", f"drbdadm primary --force {NAME} && drbdadm secondary {NAME}"]
        self._drbdadm(["drbdadm", "primary", "--force", NAME])
        return self._drbdadm(["drbdadm", "secondary", NAME])

    def _drbdadm(self, argv: list[str]) -> str:
        host = self.here
        assert argv[-1] == NAME and (host.root / "drbd.d" / f"xenfold-{NAME}.res").exists()
        match argv[1:-1]:
            case ["--dry-run", "adjust"]:
                return "" if host.linked and host.attached else "drbdsetup connect ..."
            case ["get-gi"]:
                return f"{host.meta}:0000000000000000:0:0\n"
            case ["--", "--force", "create-md"]:
                assert not host.meta and not host.configured
                host.meta = JUST_CREATED
                self.write(host, f"{NAME}.drbd", "drbd")
            case ["new-resource"]:
                assert not host.configured
            case ["new-minor"]:
                host.configured = True
            case ["attach"]:
                self._attach()
            case ["adjust"]:
                host.configured = True
                self._attach()
                host.linked = True
                self._meet()
            case ["primary", "--force"]:
                assert host.attached
                self.generation += 1
                host.role, host.disk, host.meta = "Primary", "UpToDate", f"{self.generation:016X}"
                self._meet()
            case ["secondary"]:
                host.role = "Secondary"
            case ["resize"]:
                pass
            case ["net-options", option]:
                host.two_primaries = option == "--allow-two-primaries=yes"
            case other:
                raise AssertionError(other)
        return ""

    def _attach(self) -> None:
        host = self.here
        assert host.meta and not host.in_use
        if not host.attached:
            host.attached, host.disk = True, "Inconsistent" if host.meta == JUST_CREATED else "UpToDate"

    def _meet(self) -> None:
        one, other = self.hosts.values()
        if not (one.linked and other.linked) or one.meta == other.meta:
            return
        for host, peer in ((one, other), (other, one)):
            if host.meta == JUST_CREATED:
                host.meta, host.disk, host.data = peer.meta, "UpToDate", peer.data
                return
        one.linked = other.linked = False
