# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The text format of Ganeti's htools (man htools, option -t): to a problem, and with the placement of a plan back to text.

Five sections, one empty line between two of them, so that two empty lines in a row mean an empty section: groups, nodes,
instances, tags of the cluster, instance policies. Fields are split by ``|``; those at the end of a line may be missing, as
htools wrote fewer of them in the past.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..placement.schema import MOST_ERRORS, shown

DEFAULT_VCPU_RATIO = 4.0
# What htools charges to the disk of a node, and how the planner may move it; the data of all other templates is elsewhere.
STORAGES = {"drbd": "replicated", "file": "local", "plain": "local"}
TEMPLATES = ("blockdev", "diskless", "drbd", "ext", "file", "gluster", "plain", "rbd", "sharedfile")
# Whether an instance in that state takes memory of its node, as htools reckons.
STATUSES = {
    "ADMIN_down": False, "ADMIN_offline": False, "ERROR_down": False, "ERROR_nodedown": True, "ERROR_nodeoffline": True,
    "ERROR_up": True, "ERROR_wrongnode": True, "USER_down": False, "running": True,
}
POLICIES = ("allocable", "preferred", "unallocable")
EXCLUSION = "htools:iextags:"
UNKNOWN = "?"
_SECTIONS, _LEAST_SECTIONS = 5, 4
_DIGITS = 12
_FREE_MEMORY, _FREE_DISK, _FREE_SPINDLES = 3, 5, 12
_PRIMARY, _SECONDARY = 6, 7

Check = Callable[[str], Any]


class TextError(ValueError):
    """A text or a plan that cannot be used. errors: one line per finding, at most MOST_ERRORS and a count."""

    def __init__(self, errors: Sequence[str]) -> None:
        self.errors = list(errors[:MOST_ERRORS])
        if len(errors) > MOST_ERRORS:
            self.errors.append(f"and {len(errors) - MOST_ERRORS} more")
        super().__init__("\n".join(self.errors))


class _FieldError(ValueError):
    """A field that cannot be used. The message is what is allowed."""


@dataclass(frozen=True)
class Node:
    """A node. line: index; pool: name of its group; known: whether its numbers are, else they count as 0."""

    line: int
    name: str
    pool: str
    known: bool
    offline: bool
    memory_mib: int
    own_mib: int
    free_mib: int
    disk_mib: int
    free_disk_mib: int
    cpus: float
    own_cpus: float
    free_spindles: int | None


@dataclass(frozen=True)
class Instance:
    """An instance. occupies: whether it takes memory now; secondary: "" without one; spindles: None where nobody counts them."""

    line: int
    name: str
    memory_mib: int
    disk_mib: int
    vcpus: int
    occupies: bool
    primary: str
    secondary: str
    template: str
    tags: tuple[str, ...]
    spindles: int | None


@dataclass(frozen=True)
class Cluster:
    """A text that was read. sections: how many it has; ratios: vCPUs per CPU by name of a group, "" for the cluster."""

    lines: tuple[str, ...]
    sections: int
    nodes: tuple[Node, ...]
    instances: tuple[Instance, ...]
    tags: tuple[str, ...]
    ratios: Mapping[str, float]


def read(text: str) -> Cluster:
    """Read a text. Raises TextError with every finding: line, item, field, value and what is allowed."""
    lines = text.split("\n")
    written = lines[:-1] if lines[-1] == "" else lines
    sections: list[list[_Row]] = [[]]
    for index, line in enumerate(written):
        if line.strip():
            sections[-1].append(_Row(index, tuple(field.strip() for field in line.split("|"))))
        else:
            sections.append([])
    count = len(sections)
    group_rows, node_rows, instance_rows, tag_rows, policy_rows = (sections + [[] for _ in range(_SECTIONS)])[:_SECTIONS]
    findings: list[str] = []
    pools = _groups(findings, group_rows)
    nodes = _nodes(findings, node_rows, pools)
    if not node_rows:
        findings.append(f"text: section 2 (nodes): no line (of {len(written)} in {count} sections), allowed at least one node, between the"
                        " first and the second empty line")
    names = {row.fields[0] for row in node_rows}
    instances = _instances(findings, instance_rows, names)
    ratios = _ratios(findings, policy_rows, set(pools.values()))
    if findings:
        raise TextError(findings)
    tags = tuple("|".join(row.fields) for row in tag_rows)
    return Cluster(tuple(lines), count, tuple(nodes), tuple(instances), tags, ratios)


def parse(text: str) -> dict[str, Any]:
    """The problem {hosts, workloads, rules, policy} of a text, with where everything runs now. Raises TextError.

    Memory and vCPUs (CPUs times the vCPU ratio) count for all instances, disk for those on the nodes' own disks. A node that is
    offline, or whose numbers are not known, is to be emptied. Instances with the same tag under a prefix that a tag of the
    cluster ``htools:iextags:PREFIX`` names exclude each other.
    """
    cluster = read(text)
    ratio = cluster.ratios.get("", DEFAULT_VCPU_RATIO)
    hosts = [
        {
            "name": node.name, "pool": node.pool, "state": "drain" if node.offline else "active",
            "capacity": {"memory_mib": max(0, node.memory_mib - node.own_mib), "vcpus": _vcpus(cluster, node, ratio),
                         "disk_gib": node.disk_mib / 1024},
        }
        for node in cluster.nodes
    ]
    workloads = []
    for instance in cluster.instances:
        demand: dict[str, float] = {"memory_mib": instance.memory_mib, "vcpus": instance.vcpus}
        if instance.template in STORAGES:
            demand["disk_gib"] = instance.disk_mib / 1024
        workload: dict[str, Any] = {
            "name": instance.name, "demand": demand, "current": instance.primary,
            "storage": STORAGES.get(instance.template, "shared"), "move_cost": instance.memory_mib,
        }
        if instance.secondary and workload["storage"] == "replicated":
            workload["replica"] = instance.secondary
        workloads.append(workload)
    return {"hosts": hosts, "workloads": workloads, "rules": _rules(cluster), "policy": {"overcommit": {"vcpus": ratio}}}


def render(text: str, plan: Any) -> str:
    """The text with its instances where a plan puts them, and with free memory and disk of the nodes that follow from it.

    Free memory is total less the node's own less what its instances take, free disk is total less all local disks, mirrors too;
    a line that holds these numbers already stays as it is, byte for byte. Where an instance goes to its secondary node, the two
    change places; else the secondary stays. Raises TextError.
    """
    cluster = read(text)
    where = _placement(cluster, plan)
    lines = list(cluster.lines)
    memory: Counter[str] = Counter()
    disk: Counter[str] = Counter()
    spindles: Counter[str] = Counter()
    for instance in cluster.instances:
        primary = where[instance.name]
        secondary = instance.primary if primary == instance.secondary else instance.secondary
        if primary != instance.primary:
            lines[instance.line] = _with(lines[instance.line], {_PRIMARY: primary, _SECONDARY: secondary})
        memory[primary] += instance.memory_mib if instance.occupies else 0
        if instance.template in STORAGES:
            for node_name in {primary, secondary} - {""} if instance.template == "drbd" else {primary}:
                disk[node_name] += instance.disk_mib
            spindles[primary] += instance.spindles or 0
            spindles[instance.primary] -= instance.spindles or 0
    for node in cluster.nodes:
        if node.known:
            lines[node.line] = _with(lines[node.line], _free(node, memory[node.name], disk[node.name], spindles[node.name]))
    # htools wants four sections, even if the last of them are empty; what reads a file may have cut the empty lines at its end.
    missing = _LEAST_SECTIONS - cluster.sections
    if missing > 0:
        lines += [""] * (missing + (lines[-1] != ""))
    return "\n".join(lines)


@dataclass(frozen=True)
class _Row:
    """A line by its index, split and stripped."""

    index: int
    fields: tuple[str, ...]


def _free(node: Node, memory: int, disk: int, spindles: int) -> dict[int, str]:
    """The fields of a node that change. A node that is offline has no memory to speak of, so its free figures stop at 0."""
    least = 0 if node.offline else -10**_DIGITS
    wanted = {_FREE_MEMORY: (node.free_mib, max(least, node.memory_mib - node.own_mib - memory)),
              _FREE_DISK: (node.free_disk_mib, max(least, node.disk_mib - disk))}
    if node.free_spindles is not None:
        wanted[_FREE_SPINDLES] = (node.free_spindles, node.free_spindles - spindles)
    return {index: str(new) for index, (old, new) in wanted.items() if old != new}


def _with(line: str, changes: Mapping[int, str]) -> str:
    fields = line.split("|")
    for index, value in changes.items():
        fields[index] = value
    return "|".join(fields)


def _placement(cluster: Cluster, plan: Any) -> dict[str, str]:
    """Node by instance; a plan that does not belong to the text, or that leaves something out, is refused."""
    placement = plan.get("placement") if isinstance(plan, Mapping) else None
    if not isinstance(placement, Mapping):
        value = shown(placement if isinstance(plan, Mapping) else plan)
        raise TextError([f"plan: placement: value {value}, allowed a mapping of workloads to hosts, as in a plan of the module placement"])
    nodes, names = {node.name for node in cluster.nodes}, {instance.name for instance in cluster.instances}
    findings = []
    for workload in placement:
        if workload not in names:
            findings.append(f"plan: placement: workload {shown(workload)}, allowed an instance of the text: {_few(names)}")
        elif not isinstance(placement[workload], str) or placement[workload] not in nodes:
            findings.append(f"plan: placement.{workload}: value {shown(placement[workload])}, allowed a node of the text: {_few(nodes)}")
    for instance in cluster.instances:
        if instance.name not in placement:
            findings.append(f"plan: placement.{instance.name}: missing (value null; status {shown(plan.get('status'))}), allowed a plan"
                            " that places every instance of the text")
    if findings:
        raise TextError(findings)
    return {str(workload): str(host) for workload, host in placement.items()}


def _vcpus(cluster: Cluster, node: Node, ratio: float) -> float:
    """CPUs of a node in units of the cluster's ratio, which the policy holds; a group may have a ratio of its own."""
    own = cluster.ratios.get(node.pool, ratio)
    cpus = max(0.0, node.cpus - node.own_cpus)
    return cpus if own == ratio else cpus * own / ratio


def _rules(cluster: Cluster) -> list[dict[str, Any]]:
    prefixes = tuple(f"{tag[len(EXCLUSION):]}:" for tag in cluster.tags if tag.startswith(EXCLUSION) and tag != EXCLUSION)
    excluding: dict[str, list[str]] = {}
    for instance in cluster.instances:
        for tag in dict.fromkeys(instance.tags):
            if tag.startswith(prefixes):
                excluding.setdefault(tag, []).append(instance.name)
    return [{"rule": "anti_affinity", "workloads": names} for _, names in sorted(excluding.items()) if len(names) > 1]


# Reading the sections. Each returns what it could read; what it could not is in the findings.


class _Fields:
    """The fields of one line, each checked when it is asked for."""

    def __init__(self, findings: list[str], row: _Row, kind: str) -> None:
        self.findings, self.row = findings, row
        self.title = f"line {row.index + 1}: {kind} {shown(row.fields[0])}"

    def get(self, index: int, field: str, check: Check, absent: str | None = None) -> Any:
        """The value of a field, or None when it is not allowed. absent: what counts when the line ends before it, or it is empty."""
        text = self.row.fields[index] if index < len(self.row.fields) else ""
        if absent is not None and text == "":
            text = absent
        try:
            return check(text)
        except _FieldError as error:
            self.findings.append(f"{self.title}: {field}: value {shown(text)}, allowed {error}")
            return None


def _rows(findings: list[str], rows: Sequence[_Row], kind: str, least: int, form: str) -> list[_Fields]:
    """The lines of a section that have enough fields and a name of their own."""
    result = []
    seen: dict[str, int] = {}
    for row in rows:
        fields = _Fields(findings, row, kind)
        if len(row.fields) < least:
            findings.append(f"{fields.title}: {len(row.fields)} fields, allowed at least {least}: {form}")
            continue
        name = row.fields[0]
        if name == "" and kind != "policy":
            findings.append(f"{fields.title}: name: value '', allowed a name")
        elif name in seen:
            findings.append(f"{fields.title}: name: value {shown(name)}, allowed a name that no other {kind} has (line {seen[name] + 1})")
        seen.setdefault(name, row.index)
        result.append(fields)
    return result


def _groups(findings: list[str], rows: Sequence[_Row]) -> dict[str, str]:
    """Name of a group by its UUID."""
    pools: dict[str, str] = {}
    for fields in _rows(findings, rows, "group", 3, "name|uuid|policy|tags|networks"):
        uuid = fields.get(1, "uuid", _name)
        fields.get(2, "policy", _one_of(POLICIES))
        if uuid in pools:
            findings.append(f"{fields.title}: uuid: value {shown(uuid)}, allowed a UUID that no other group has")
        if uuid is not None:
            pools[uuid] = fields.row.fields[0]
    return pools


def _nodes(findings: list[str], rows: Sequence[_Row], pools: Mapping[str, str]) -> list[Node]:
    nodes = []
    form = "name|total memory|own memory|free memory|total disk|free disk|CPUs|offline|group"
    for fields in _rows(findings, rows, "node", 9, form):
        known = UNKNOWN not in fields.row.fields[1:7]
        zero = None if known else "0"
        total, own, disk = (fields.get(index, field, _whole(zero))
                            for index, field in ((1, "total memory"), (2, "own memory"), (4, "total disk")))
        free, free_disk = (fields.get(index, field, _whole(zero, signed=True))
                           for index, field in ((_FREE_MEMORY, "free memory"), (_FREE_DISK, "free disk")))
        cpus, own_cpus = fields.get(6, "CPUs", _number(zero)), fields.get(13, "own CPUs", _number(), absent="0")
        offline = fields.get(7, "offline", _one_of(("M", "N", "Y")))
        uuid = fields.get(8, "group", _one_of(sorted(pools)))
        exclusive = fields.get(11, "exclusive storage", _one_of(("N", "Y")), absent="N")
        spindles = fields.get(_FREE_SPINDLES, "free spindles", _whole(signed=True), absent="0") if exclusive == "Y" else None
        if None in (total, own, disk, free, free_disk, cpus, own_cpus, offline, uuid, exclusive):
            continue
        gone = offline == "Y" or not known
        if not gone and own > total:
            findings.append(f"{fields.title}: own memory: value {own}, allowed at most the total memory ({total})")
        if not gone and own_cpus > cpus:
            findings.append(f"{fields.title}: own CPUs: value {own_cpus:g}, allowed at most the node's CPUs ({cpus:g})")
        nodes.append(Node(
            line=fields.row.index, name=fields.row.fields[0], pool=pools[uuid], known=known, offline=gone,
            memory_mib=total if known else 0, own_mib=own if known else 0, free_mib=free, disk_mib=disk if known else 0,
            free_disk_mib=free_disk, cpus=cpus if known else 0.0, own_cpus=own_cpus if known else 0.0,
            free_spindles=spindles if len(fields.row.fields) > _FREE_SPINDLES else None,
        ))
    return nodes


def _instances(findings: list[str], rows: Sequence[_Row], nodes: set[str]) -> list[Instance]:
    instances = []
    form = "name|memory|disk|vCPUs|status|auto balance|primary|secondary|template|tags"
    for fields in _rows(findings, rows, "instance", 10, form):
        memory, disk, vcpus = (fields.get(index, field, _whole()) for index, field in ((1, "memory"), (2, "disk"), (3, "vCPUs")))
        status = fields.get(4, "status", _one_of(tuple(STATUSES)))
        fields.get(5, "auto balance", _one_of(("N", "Y")))
        primary = fields.get(_PRIMARY, "primary node", _member(nodes))
        secondary = fields.get(_SECONDARY, "secondary node", _member(nodes | {""}))
        template = fields.get(8, "template", _one_of(TEMPLATES))
        spindles = fields.get(11, "spindles", _whole("-"), absent="-")
        if template == "drbd" and primary is not None and primary == secondary:
            findings.append(f"{fields.title}: secondary node: value {shown(secondary)}, allowed another node than the primary one")
        if None in (memory, disk, vcpus, status, primary, secondary, template, spindles):
            continue
        instances.append(Instance(
            line=fields.row.index, name=fields.row.fields[0], memory_mib=memory, disk_mib=disk, vcpus=vcpus, occupies=STATUSES[status],
            primary=primary, secondary=secondary, template=template, tags=tuple(fields.row.fields[9].split(",")),
            spindles=None if spindles == "-" else spindles,
        ))
    return instances


def _ratios(findings: list[str], rows: Sequence[_Row], pools: set[str]) -> dict[str, float]:
    """vCPU ratio by owner."""
    ratios = {}
    for fields in _rows(findings, rows, "policy", 6, "owner|standard|min;max|templates|vCPU ratio|spindle ratio"):
        owner = fields.get(0, "owner", _member(pools | {""}))
        ratio = fields.get(4, "vCPU ratio", _number(above=True))
        if owner is not None and ratio is not None:
            ratios[owner] = ratio
    return ratios


def _name(text: str) -> str:
    if not text:
        raise _FieldError("a name")
    return text


def _one_of(choices: Sequence[str]) -> Check:
    def check(text: str) -> str:
        if text not in choices:
            raise _FieldError(", ".join(choices) or "nothing, since the section of its choices is empty")
        return text
    return check


def _member(names: set[str]) -> Check:
    """A name out of many; "" stands for none."""
    def check(text: str) -> str:
        if text not in names:
            raise _FieldError(f"one of {_few(names - {''})}" + (" or nothing" if "" in names else ""))
        return text
    return check


def _whole(other: str | None = None, signed: bool = False) -> Check:
    """A whole number. other: "-" is taken as it is; "0" allows "?" and takes it as 0."""
    pattern = re.compile(rf"{'-?' if signed else ''}[0-9]{{1,{_DIGITS}}}")
    allowed = f"a whole number of at most {_DIGITS} digits" + ("" if signed else ", of at least 0")

    def check(text: str) -> int | str:
        if other == "0" and text == UNKNOWN:
            return 0
        if other == "-" and text == "-":
            return text
        if not pattern.fullmatch(text):
            raise _FieldError(allowed + (" or '-'" if other == "-" else ""))
        return int(text)
    return check


def _number(other: str | None = None, above: bool = False) -> Check:
    """A number, of at least 0 or above it. other: "0" allows "?" and takes it as 0."""
    def check(text: str) -> float:
        if other == "0" and text == UNKNOWN:
            return 0.0
        value = float(text) if re.fullmatch(r"[0-9]+(\.[0-9]+)?(e-?[0-9]{1,2})?", text) else -1.0
        if not 0 <= value < 10**_DIGITS or (above and value == 0):
            raise _FieldError(f"a number {'above' if above else 'of at least'} 0 and below 1e{_DIGITS}")
        return value
    return check


def _few(names: set[str]) -> str:
    ordered = sorted(names)
    return ", ".join(ordered[:8]) + (f" ... ({len(ordered)})" if len(ordered) > 8 else "") if ordered else "(none)"
