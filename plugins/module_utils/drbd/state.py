# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What DRBD tells of its resources: pure parsers, and one that reads them on the host this runs on."""
from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd import resources
from ansible_collections.xenfold.consolidation.plugins.module_utils.files import read_texts
from ansible_collections.xenfold.consolidation.plugins.module_utils.runner import Runner

PROC = "/proc/drbd"
SUPPORTED = "8.4"
"""The series that Linux has in itself; that of LINBIT, 9, tells its state elsewhere and otherwise."""
UNCONFIGURED = "Unconfigured"
CONNECTED, STANDALONE = "Connected", "StandAlone"
PRIMARY, SECONDARY, UNKNOWN = "Primary", "Secondary", "Unknown"
UP_TO_DATE, INCONSISTENT = "UpToDate", "Inconsistent"
CONSISTENT = "Consistent"
"""Of a copy whose host started without the other one, with fencing."""
NO_DATA = ("Diskless", INCONSISTENT)
_VERSION = re.compile(r"^version: (\S+)", re.MULTILINE)
_LINE = re.compile(r"^ *([0-9]+): cs:(\w+)(?: ro:(\w+)/(\w+) ds:(\w+)/(\w+))?", re.MULTILINE)
_DONE = re.compile(r"sync'ed: *([0-9.]+)%")
_SHOWN = re.compile(r"^resource (\S+) \{(.*?)^\}", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class State:
    """Of one minor, ours first. synced_percent: how far a copy is that is being made."""

    connection: str = UNCONFIGURED
    role: str = ""
    peer_role: str = ""
    disk: str = ""
    peer_disk: str = ""
    synced_percent: float | None = None

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> State:
        """From a resource as modules return it."""
        return cls(**{key.name: told[key.name] for key in fields(cls)})

    @property
    def up(self) -> bool:
        """Whether the driver has it."""
        return self.connection != UNCONFIGURED

    @property
    def whole(self) -> bool:
        """Whether both copies are the same and each hears of every write to the other."""
        return self.connection == CONNECTED and self.disk == self.peer_disk == UP_TO_DATE

    def told(self) -> str:
        """In words for a person, as drbdadm has them."""
        if not self.up:
            return "not up"
        done = "" if self.synced_percent is None else f", {self.synced_percent:g} % synchronised"
        return f"{self.connection}, {self.role}/{self.peer_role}, {self.disk}/{self.peer_disk}{done}"


def version(text: str) -> str:
    """Of the driver, from /proc/drbd; "" when it is not loaded."""
    found = _VERSION.search(text)
    return found[1] if found else ""


def parse_proc(text: str) -> dict[int, State]:
    """Minor -> state, from /proc/drbd of DRBD 8.4."""
    matches = list(_LINE.finditer(text))
    found = {}
    ends = [*(match.start() for match in matches[1:]), len(text)]
    for match, end in zip(matches, ends[:len(matches)], strict=True):
        done = _DONE.search(text, match.end(), end)
        words = [match[group] or "" for group in range(2, 7)]
        found[int(match[1])] = State(words[0], words[1], words[2], words[3], words[4], float(done[1]) if done else None)
    return found


def parse_two_primaries(shown: str) -> set[str]:
    """The resources of `drbdsetup show` of which both copies may be written at once."""
    return {match[1] for match in _SHOWN.finditer(shown) if re.search(r"\ballow-two-primaries\s+yes;", match[2])}


@dataclass(frozen=True)
class Found:
    """version: of the driver, "" when it is not loaded; texts: our files by path; states: by minor; two_primaries: names of resources."""

    version: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[int, State] = field(default_factory=dict)
    two_primaries: frozenset[str] = frozenset()

    @cached_property
    def known(self) -> dict[str, resources.Known]:
        """Our resources by name, sorted."""
        parsed = filter(None, map(resources.parse_file, self.texts.values()))
        return dict(sorted((known.name, known) for known in parsed))

    def state(self, minor: int) -> State:
        return self.states.get(minor, State())

    def data(self) -> dict[str, dict[str, Any]]:
        """As modules return it: resource -> guest, minor, volumes, state and whether both copies may be written."""
        return {
            name: {"guest": known.guest, "minor": known.minor, "volumes": list(known.volumes), **asdict(self.state(known.minor)),
                   "two_primaries": name in self.two_primaries}
            for name, known in self.known.items()
        }


def read(runner: Runner) -> Found:
    """What is there now; a host without DRBD, or without resources of ours, is not asked more than that."""
    paths = [str(path) for path in sorted(Path(resources.FOLDER).glob(f"{resources.PREFIX}*.res"))]
    texts = {path: text for path, text in read_texts(paths).items() if text is not None}
    proc = read_texts([PROC])[PROC] or ""
    # drbdsetup would load the driver.
    shown = runner.read(["drbdsetup", "show"]).out if version(proc) and texts else ""
    return Found(version(proc), texts, parse_proc(proc), frozenset(parse_two_primaries(shown)))
