# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Domains with their UUIDs, from one listing: of two listings at two moments nothing could be concluded."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.names import UUID
from ansible_collections.xenfold.consolidation.plugins.module_utils.xl.parse import DOM0, INCOMING, LEFT, Domain, parse_list

COMMAND = ["xl", "list", "-v"]
_COLUMNS, _UUID_COLUMN = 6, 6


@dataclass(frozen=True)
class Copy:
    """A domain of a guest on one host. state: in a word; flags: the six letters of xl; seconds: CPU time, to a tenth."""

    name: str
    domid: int
    uuid: str
    state: str
    flags: str
    seconds: float
    memory_mib: int = 0

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Copy:
        return cls(**{key: data[key] for key in cls.__dataclass_fields__})

    @property
    def suspended(self) -> bool:
        """Whether it was suspended, as for a move or a save, and nobody has resumed it."""
        return self.flags[3] == "s" and self.flags[4] == "s"

    @property
    def stopped(self) -> bool:
        """Whether Xen has shut it down, for any reason (tools/xl/xl_list.c: the fourth letter)."""
        return self.flags[3] == "s"

    @property
    def never_ran(self) -> bool:
        return self.state == "paused" and self.seconds == 0

    @property
    def guest(self) -> str:
        """The guest's own name, without the mark of a move."""
        return self.name.removesuffix(INCOMING).removesuffix(LEFT)

    def told(self) -> str:
        """It in words, for a message."""
        state = "suspended" if self.suspended else self.state
        return f"domain {self.domid} ({self.name}, {state}, {self.seconds:g} s of CPU time)"


def parse(text: str) -> list[Copy]:
    """The table of `xl list -v`, without dom0. Raises ValueError with the line that is none of it.

    Beyond the columns of `xl list` each row has UUID, shutdown reason and security label; versions to come may append more.
    """
    lines = [line for line in text.splitlines() if line.strip()]
    rows = [line.split() for line in lines[1:]]
    plain = parse_list("\n".join([*lines[:1], *(" ".join(row[:_COLUMNS]) for row in rows)]))
    uuids = {}
    for row, line in zip(rows, lines[1:], strict=True):
        if len(row) <= _UUID_COLUMN or not UUID.fullmatch(row[_UUID_COLUMN].lower()):
            raise ValueError(f"'xl list -v' printed the line {line!r}, which has no UUID in its seventh column")
        uuids[int(row[1])] = row[_UUID_COLUMN].lower()
    return [_copy(domain, uuids[domain.domid]) for domain in plain.values() if domain.name != DOM0]


def _copy(domain: Domain, uuid: str) -> Copy:
    return Copy(domain.name, domain.domid, uuid, domain.state, domain.flags, domain.seconds, domain.memory_mib)
