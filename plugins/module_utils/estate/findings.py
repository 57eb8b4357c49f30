# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is wrong with an estate: collected in full, told once each, with the place in the files."""
from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.secrets import Mask

Path = tuple[str | int, ...]
"""Where a value stands: ('hosts', host, variable, ...) or ('estate', variable, ...), then keys and indexes."""
Locate = Callable[[Path, bool], tuple[str, int] | None]
"""Gives file and line of a path (true: of the key at its end, not of its value), None when nobody knows."""

LIMIT = 50
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Finding:
    """text: `item: key: value ..., allowed ...`; at_key: the key at the end of the path is wrong, not its value."""

    path: Path
    text: str
    at_key: bool = False

    @property
    def host(self) -> str | None:
        """The host whose variable it is, if any."""
        return str(self.path[1]) if self.path[0] == "hosts" else None


class Findings:
    """Collects findings in any order; `report` sorts and bounds them."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        """secrets: texts that no message may show, wherever they come up."""
        self.all: list[Finding] = []
        self._mask = Mask(secrets)

    def __bool__(self) -> bool:
        return bool(self.all)

    def note(self, path: Path, text: str, at_key: bool = False) -> None:
        """Record a complete text."""
        self.all.append(Finding(path, text, at_key))

    def wrong(self, path: Path, item: str, key: str, value: Any, allowed: str) -> None:
        """Record a value that is not allowed."""
        self.note(path, f"{item}: {key}: value {shown(value)}, allowed {allowed}")

    def missing(self, path: Path, item: str, key: str, allowed: str) -> None:
        """Record a key without which the item says nothing."""
        self.note(path, f"{item}: {key}: missing, allowed {allowed}")

    def unknown(self, path: Path, item: str, key: str, value: Any, known: Iterable[str]) -> None:
        """Record a key that nobody reads."""
        names = sorted(known)
        near = difflib.get_close_matches(key, names, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        text = f"{item}: {key}: unknown key with value {shown(value)}{hint}, allowed {', '.join(names)}"
        self.note(path, text, at_key=True)

    def report(self, locate: Locate) -> str:
        """All findings as text: one line each with its place, the same finding of many hosts once, at most LIMIT lines."""
        hosts_of: dict[tuple[str, int, str], list[str]] = {}
        for finding in self.all:
            place = locate(finding.path, finding.at_key) or ("", 0)
            variable = variable_of(finding.path)
            told = place[0] or finding.text.startswith(f"{variable}:")
            text = finding.text if told else f"{variable}: {finding.text}"
            named = hosts_of.setdefault((*place, text), [])
            if finding.host is not None and finding.host not in named:
                named.append(finding.host)
        lines = []
        for (file, line, text), hosts in sorted(hosts_of.items())[:LIMIT]:
            where = f"{file}:{line}: " if line else f"{file}: " if file else ""
            lines.append(f"{where}{_hosts_text(sorted(hosts))}{self._mask.apply(text)}")
        count = f"{len(hosts_of)} error{'' if len(hosts_of) == 1 else 's'} in the estate, nothing was written"
        more = [f"... and {len(hosts_of) - LIMIT} more"] if len(hosts_of) > LIMIT else []
        # YAML takes characters that UTF-8 does not hold; a message has to reach the screen.
        return "\n".join([count, *lines, *more]).encode("utf-8", "backslashreplace").decode()


def _hosts_text(hosts: list[str]) -> str:
    if not hosts:
        return ""
    others = len(hosts) - 1
    return f"host '{hosts[0]}'{f' and {others} more' if others else ''}: "


def variable_of(path: Path) -> str:
    """The variable of a path with the index of the item, for places that no file is known for."""
    steps = path[2:] if path[0] == "hosts" else path[1:]
    if not steps:
        return "inventory"
    return str(steps[0]) + (f"[{steps[1]}]" if len(steps) > 1 and isinstance(steps[1], int) else "")


def shown(value: Any) -> str:
    """A value as it is quoted in messages, shortened when it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE - 3]}..."
