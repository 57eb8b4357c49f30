# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which CPUs of the host the vCPUs of guests may use, and in which pools guests are. `xl list -l` tells neither of now."""
from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ansible_collections.xenfold.consolidation.plugins.module_utils.guest.schema import cpus_are_sound

_SHOWN = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*")
_TOPOLOGY_ROW = re.compile(r"\s*([0-9]+):\s+[0-9]+\s+[0-9]+\s+([0-9]+)\s*")
_VCPU_HEADING = ["Name", "ID", "VCPU", "CPU", "State", "Time(s)", "Affinity"]
_VCPU_WORDS, _DOMAIN_WORDS, _POOL_WORDS = 9, 7, 5


@dataclass(frozen=True)
class Placing:
    """What was asked of the host; empty where nobody needs it. nodes: its CPUs -> their NUMA nodes; allowed: guest -> the CPUs of each of
    its vCPUs, as xl prints them; pools: guest -> pool; schedulers: pool -> scheduler."""

    nodes: Mapping[int, int] = field(default_factory=dict)
    allowed: Mapping[str, list[str]] = field(default_factory=dict)
    pools: Mapping[str, str] = field(default_factory=dict)
    schedulers: Mapping[str, str] = field(default_factory=dict)


def parse_topology(text: str) -> dict[int, int]:
    """CPU -> NUMA node of `xl info -n`. Raises ValueError when there is no such table."""
    _before, heading, after = text.partition("cpu_topology")
    found: dict[int, int] = {}
    for line in after.splitlines()[2:]:
        row = _TOPOLOGY_ROW.fullmatch(line)
        if row is None:
            break
        found[int(row[1])] = int(row[2])
    if not heading or not found:
        raise ValueError(f"'xl info -n' printed {text[:200]!r} without a table of CPUs")
    return found


def parse_vcpu_list(text: str) -> dict[str, list[str]]:
    """Guest -> the hard affinity of each vCPU, of `xl vcpu-list`. Raises ValueError with the line that is none of its table."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines or lines[0].split()[:7] != _VCPU_HEADING:
        raise ValueError(f"'xl vcpu-list' printed {text[:200]!r} in place of its table")
    found: dict[str, list[str]] = {}
    for line in lines[1:]:
        words = line.split()
        hard = words[6] if len(words) == _VCPU_WORDS and words[7] == "/" else ""
        if hard not in ("all", "none") and not _SHOWN.fullmatch(hard):
            raise ValueError(f"'xl vcpu-list' printed the line {line!r}, which is no row of its table")
        found.setdefault(words[0], []).append(hard)
    return found


def parse_pools_of_domains(text: str) -> dict[str, str]:
    """Guest -> CPU pool, of `xl list -c`. Raises ValueError with the line that is none of its table."""
    return {words[0]: words[6] for words in _rows("xl list -c", text, "Name", _DOMAIN_WORDS)}


def parse_pools(text: str) -> dict[str, str]:
    """CPU pool -> its scheduler, of `xl cpupool-list`. Raises ValueError with the line that is none of its table."""
    return {words[0]: words[2] for words in _rows("xl cpupool-list", text, "Name", _POOL_WORDS)}


def _rows(command: str, text: str, heading: str, count: int) -> list[list[str]]:
    rows = [line.split() for line in text.splitlines() if line.strip()]
    odd = [row for row in rows[1:] if len(row) != count]
    if not rows or rows[0][0] != heading or odd:
        raise ValueError(f"'{command}' printed {' '.join(odd[0]) if odd else text[:200]!r}, which is no row of its table")
    return rows[1:]


def cpu_set(cpus: str, nodes: Mapping[int, int]) -> set[int]:
    """The CPUs that a definition or xl names, whether the host has them or not. Raises ValueError for what is no list.

    As xl reads it (parse_cpurange in tools/xl/xl_parse.c): each part adds CPUs or, after `^`, takes them away.
    """
    if cpus == "none":
        return set()
    if not cpus_are_sound(cpus):
        raise ValueError(f"{cpus!r} is no list of CPUs")
    wanted: set[int] = set()
    for item in cpus.split(","):
        if item == "all":
            wanted |= set(nodes)
            continue
        kind, _colon, numbers = item.lstrip("^").rpartition(":")
        first, _dash, last = numbers.partition("-")
        named = set(range(int(first), int(last or first) + 1))
        if kind:
            named = {cpu for cpu, node in nodes.items() if node in named}
        wanted = wanted - named if item.startswith("^") else wanted | named
    return wanted


def text_of(cpus: Collection[int]) -> str:
    """CPUs as xl prints them: 0-3,8."""
    parts: list[list[int]] = []
    for cpu in sorted(cpus):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


def problem(cpus: str, nodes: Mapping[int, int]) -> str | None:
    """Why a guest cannot be held to these CPUs on this host, if anything; xl takes what is not there without a word."""
    wanted = cpu_set(cpus, nodes)
    if wanted and wanted <= set(nodes):
        return None
    return f"cpus: value {cpus!r}, allowed one or more of the host's CPUs {text_of(nodes)} (nodes {text_of(set(nodes.values()))})"


def differing(cpus: str, shown: Iterable[str], nodes: Mapping[int, int]) -> str | None:
    """What the vCPUs of a guest may use where that is not what is wanted: the first that differs, as xl prints it.

    xl prints as many bits of an affinity as CPUs are online (vcpulist in tools/xl/xl_vcpu.c), so of a host without hyperthreading, whose
    CPUs have even numbers, the upper half is not seen.
    """
    seen = set(range(len(nodes)))

    def bits(text: str) -> set[int]:
        return seen if text == "all" else cpu_set(text, nodes) & seen

    return next((text for text in shown if bits(text) != bits(cpus)), None)
