# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""LVM in a folder: files stand for its volumes, so that the real tools write them, without root and without LVM."""
from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.xenfold.consolidation.plugins.module_utils import packages
from ansible_collections.xenfold.consolidation.plugins.module_utils.images import fill
from ansible_collections.xenfold.consolidation.plugins.module_utils.removal import apply
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

EXTENT = 4 * 2**20
QUESTIONS = ("vgs", "pvs", "lvs", "dpkg-query")


class Cut(BaseException):
    """The run is killed here."""


class Lvm:
    """Volumes by group/name as files in a folder, with their tags; one group `vg` with so many extents.

    `changes`: commands so far that change something; `cut`: the number of the change before which the run is killed, with `after` once it
    was carried out; `answers`: what other commands say, first word -> function of the command; `open`: volumes in use; `origins`:
    snapshot -> name of the volume that it is of.
    """

    def __init__(self, root: Path, monkeypatch: Any, extents: int = 64, tools: tuple[str, ...] = ("vgs", "lvs")) -> None:
        self.root, self.extents = root, extents
        self.tags: dict[str, set[str]] = {}
        self.open: set[str] = set()
        self.origins: dict[str, str] = {}
        self.changes: list[list[str]] = []
        self.cut, self.after = 0, False
        self.answers: dict[str, Any] = {}
        (root / "vg").mkdir()
        monkeypatch.setattr(Runner, "tool", lambda _runner, name: name in tools)
        monkeypatch.setattr(AnsibleModule, "run_command", lambda _module, args, **_kwargs: self.run(list(args)))
        monkeypatch.setattr(fill, "DEVICES", str(root))
        monkeypatch.setattr(apply, "DEVICES", str(root))
        monkeypatch.setattr(fill, "LOCKS", str(root / "locks"))
        monkeypatch.setattr(packages, "missing", lambda _runner, _names: [])

    def make(self, volume: str, extents: int, *tags: str, content: bytes = b"\xa5" * EXTENT) -> None:
        """A volume, full of what was there before."""
        (self.root / volume).write_bytes((content * extents)[:extents * EXTENT])
        self.tags[volume] = set(tags)

    def volumes(self) -> list[str]:
        return sorted(self.tags)

    def content(self, volume: str) -> bytes:
        return (self.root / volume).read_bytes()

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        question = argv[0] in QUESTIONS or argv[:2] in (["xl", "list"], ["xl", "info"])
        if not question:
            self.changes.append(argv)
            if len(self.changes) == self.cut and not self.after:
                raise Cut
        result = self._carry_out(argv)
        if not question and len(self.changes) == self.cut:
            raise Cut
        return result

    def _carry_out(self, argv: list[str]) -> tuple[int, str, str]:
        tool = getattr(self, f"_{argv[0]}", None)
        if tool:
            return 0, tool(argv) or "", ""
        if argv[0] in self.answers:
            answer: tuple[int, str, str] = self.answers[argv[0]](argv)
            return answer
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    def _used(self) -> int:
        return sum(os.path.getsize(self.root / volume) for volume in self.tags)

    def _vgs(self, _argv: list[str]) -> str:
        row = {"vg_name": "vg", "vg_free": str(self.extents * EXTENT - self._used()), "vg_extent_size": str(EXTENT)}
        return json.dumps({"report": [{"vg": [row]}]})

    def _pvs(self, _argv: list[str]) -> str:
        return json.dumps({"report": [{"pv": []}]})

    def _lvs(self, argv: list[str]) -> str:
        rows = [{"vg_name": "vg", "lv_name": volume.partition("/")[2], "lv_size": str(os.path.getsize(self.root / volume)),
                 "lv_tags": ",".join(sorted(tags)), "lv_device_open": "open" if volume in self.open else "",
                 "origin": self.origins.get(volume, "")}
                for volume, tags in self.tags.items()]
        return json.dumps({"report": [{"lv": [{column: row[column] for column in argv[-1].split(",")} for row in rows]}]})

    def _lvcreate(self, argv: list[str]) -> None:
        tags = [argv[argv.index("--addtag") + 1]] if "--addtag" in argv else []
        self.make(f"{argv[-1]}/{argv[argv.index('-n') + 1]}", int(argv[argv.index("-l") + 1]), *tags)

    def _lvextend(self, argv: list[str]) -> None:
        os.truncate(self.root / argv[-1], int(argv[2]) * EXTENT)

    def _lvremove(self, argv: list[str]) -> None:
        assert argv[1:-1] == ["--yes"]
        assert argv[-1] not in self.open
        (self.root / argv[-1]).unlink()
        del self.tags[argv[-1]]

    def _lvrename(self, argv: list[str]) -> None:
        group, old, new = argv[1:]
        assert f"{group}/{new}" not in self.tags
        os.rename(self.root / group / old, self.root / group / new)
        self.tags[f"{group}/{new}"] = self.tags.pop(f"{group}/{old}")

    def _lvchange(self, argv: list[str]) -> None:
        for option, tag in zip(argv[1:-1:2], argv[2:-1:2], strict=True):
            if option == "--addtag":
                self.tags[argv[-1]].add(tag)
            else:
                assert option == "--deltag"
                self.tags[argv[-1]].discard(tag)
