# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The list `cpuid` of an xl.cfg: what its lines may be, and how `xl list -l` shows those that a guest was started with.

xl prints what it does not take of a line and goes on without it, `xl create --dryrun` too. Sources: tools/libs/light/libxl_cpuid.c
(the legacy form of the list, and its JSON), xl.cfg(5).
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_LINE = re.compile(r"(0x[0-9a-f]{1,8})(?:,(0|[1-9][0-9]{0,2}))?:(e[abcd]x=[01xk]{32}(?:,e[abcd]x=[01xk]{32})*)")
_ALLOWED = "LEAF:REGISTER=BITS,... as 0x7,0:ebx=xxxxxxxxxxxxxxx0xxxxxxxxxxxxxxxx: eax to edx, each once, with 32 bits of 0, 1, x and k"
_NO_LEAF = 0xFFFFFFFF
"""libxl's mark of the list's end, and of a leaf without subleaves."""
_REGISTERS = ("eax", "ebx", "ecx", "edx")


def check(key: str, lines: Sequence[str]) -> list[str]:
    """What is wrong with the lines of a list, one text each, beginning with the key; key: of the list."""
    errors = []
    seen: dict[tuple[int, str | None], str] = {}
    for index, line in enumerate(lines):
        place = f"{key}[{index}]"
        match = _LINE.fullmatch(line)
        names = [register[:3] for register in match[3].split(",")] if match else []
        if match is None or int(match[1], 16) == _NO_LEAF or len(names) != len(set(names)):
            errors.append(f"{place}: value {line!r}, allowed {_ALLOWED}")
            continue
        # A second line would take the place of registers of the first, or add to them.
        leaf = (int(match[1], 16), match[2])
        if leaf in seen:
            errors.append(f"{place}: value {line!r}, allowed a leaf of its own, {seen[leaf]} has this one")
        seen.setdefault(leaf, place)
    return errors


def canonical(lines: Iterable[str]) -> list[str]:
    """The lines as two lists of one meaning have them: sorted, leaves without leading zeros. A line of another form stays as it is."""
    return sorted(_canonical(line) for line in lines)


def _canonical(line: str) -> str:
    match = _LINE.fullmatch(line)
    return _line(int(match[1], 16), match[2], sorted(match[3].split(","))) if match else line


def _line(leaf: int, subleaf: int | str | None, registers: Iterable[str]) -> str:
    return f"{leaf:#x}{'' if subleaf is None else f',{subleaf}'}:{','.join(registers)}"


def of_config(shown: Any) -> list[str] | None:
    """The canonical lines of a running guest; None for a form that this does not know.

    shown: `cpuid` of `b_info` in `xl list -l`, None where xl leaves it out because nothing was given. Up to Xen 4.17 a list of
    {leaf, subleaf, eax, ebx, ecx, edx}; then {cpuid: such a list, msr: a list}, the latter from names of features alone.
    """
    if isinstance(shown, Mapping) and set(shown) <= {"cpuid", "msr"}:
        leaves, registers = shown.get("cpuid") or [], shown.get("msr") or []
    else:
        leaves, registers = [] if shown is None else shown, []
    if not isinstance(leaves, list) or not isinstance(registers, list):
        return None
    lines = [_shown_line(entry) for entry in leaves]
    return None if None in lines else sorted([*filter(None, lines), *(f"msr {json.dumps(entry, sort_keys=True)}" for entry in registers)])


def _shown_line(entry: Any) -> str | None:
    if not isinstance(entry, Mapping) or not set(entry) <= {"leaf", "subleaf", *_REGISTERS}:
        return None
    leaf, subleaf = entry.get("leaf"), entry.get("subleaf")
    if not isinstance(leaf, int) or not isinstance(subleaf, int | None):
        return None
    return _line(leaf, subleaf, [f"{name}={entry[name]}" for name in _REGISTERS if name in entry])
