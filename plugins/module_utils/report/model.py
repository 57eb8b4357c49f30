# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the reports say about a plan, computed once for all of them.

problem: {hosts, workloads, rules, policy} as the module `placement` takes it; plan: as it returns it. Pure.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Item = Mapping[str, Any]

RESOURCES = ("cpu_cores", "memory_mib", "disk_gib", "disk_iops", "network_mbps", "dom0_cores")
LABELS = {
    "cpu_cores": "CPU", "memory_mib": "memory", "disk_gib": "disk", "disk_iops": "disk I/O", "network_mbps": "network",
    "dom0_cores": "dom0 CPU",
}
_SHORT = {
    "cpu_cores": "CPU", "memory_mib": "memory", "disk_gib": "disk", "disk_iops": "IOPS", "network_mbps": "net",
    "dom0_cores": "dom0",
}
_SHAPES = {  # how an amount is written: divisor, digits after the point, unit
    "cpu_cores": (1, 1, "cores"), "dom0_cores": (1, 2, "cores"), "memory_mib": (1024, 1, "GiB"), "disk_gib": (1, 0, "GiB"),
    "disk_iops": (1, 0, "IOPS"), "network_mbps": (1, 0, "Mbit/s"),
}
STATUS_TEXTS = {
    "optimal": "Everything is placed, on provably the fewest hosts",
    "feasible": "Everything is placed; fewer hosts are not ruled out",
    "nothing_to_do": "Everything stands well where it is: no move, and no fewer hosts found",
    "infeasible": "Not everything can be placed as asked; nothing may be carried out",
}
_MOST_REASONS = 4


@dataclass
class Usage:
    """Use of one resource of one host at its fullest slot. slot: None when no series takes part."""

    used: float = 0.0
    usable: float = 0.0
    slot: int | None = None

    @property
    def share(self) -> float:
        """used / usable; infinite when something is used of nothing."""
        if self.usable > 0:
            return self.used / self.usable
        return float("inf") if self.used > 0 else 0.0


@dataclass
class HostView:
    """A host before and after the plan.

    before: None when no workload says where it runs; left_behind: workloads that run here and could not be placed.
    """

    name: str
    pool: str
    zone: str
    state: str
    guests_before: list[str] = field(default_factory=list)
    guests_after: list[str] = field(default_factory=list)
    left_behind: int = 0
    before: dict[str, Usage] | None = None
    after: dict[str, Usage] = field(default_factory=dict)

    @property
    def freed(self) -> bool:
        """It held workloads and holds none any more."""
        return bool(self.guests_before) and not self.guests_after and not self.left_behind


@dataclass
class View:
    """All that a report shows. resources: in the order of the columns; refusal: empty when the plan may be carried out."""

    estate: str
    status: str
    summary: dict[str, Any]
    resources: list[str]
    hosts: list[HostView]
    moves: list[Item]
    unplaced: list[tuple[str, str]]
    conflict: list[str]
    tradeoff: list[Item]
    inputs_sha256: str
    seconds: float
    waves: int
    headline: str = ""
    refusal: str = ""


def view_of(estate: str, problem: Item, plan: Item) -> View:
    """Compute the view of a plan for an estate."""
    workloads = {str(workload["name"]): workload for workload in problem["workloads"]}
    policy = problem.get("policy") or {}
    placement = {str(name): str(host) for name, host in (plan.get("placement") or {}).items() if host is not None}
    current = {name: str(workload["current"]) for name, workload in workloads.items() if workload.get("current")}
    before = usage_of(problem["hosts"], workloads, current, policy) if current else None
    after = usage_of(problem["hosts"], workloads, placement, policy)
    hosts = [
        HostView(
            str(host["name"]), str(host.get("pool") or ""), str(host.get("zone") or host["name"]),
            str(host.get("state") or "active"),
            before=before[str(host["name"])] if before is not None else None, after=after[str(host["name"])],
        )
        for host in problem["hosts"]
    ]
    by_name = {host.name: host for host in hosts}
    for name, place in sorted(current.items()):
        if place in by_name:
            by_name[place].guests_before.append(name)
            by_name[place].left_behind += name not in placement
    for name, place in sorted(placement.items()):
        if place in by_name:
            by_name[place].guests_after.append(name)
    moves = sorted(plan.get("moves") or [], key=lambda move: move["step"])
    unplaced = [(str(entry["workload"]), reasons_text(entry.get("reasons") or [])) for entry in plan.get("unplaced") or []]
    conflict = [conflict_text(entry) for entry in plan.get("conflict") or []]
    longest: dict[Any, float] = {}
    for move in moves:
        longest[move["wave"]] = max(longest.get(move["wave"], 0.0), float(move.get("seconds") or 0))
    view = View(
        estate, str(plan["status"]), dict(plan.get("summary") or {}), _resources(problem["hosts"], after), hosts, moves, unplaced,
        conflict, list(plan.get("tradeoff") or []), str(plan.get("inputs_sha256") or ""), sum(longest.values()), len(longest),
    )
    view.headline = _headline(view)
    view.refusal = _refusal(view)
    return view


def usage_of(
    hosts: Sequence[Item], workloads: Mapping[str, Item], placement: Mapping[str, str], policy: Item
) -> dict[str, dict[str, Usage]]:
    """Use of every resource of every host under a placement and by what is reserved, at the fullest slot of each."""
    headroom, overcommit = policy.get("headroom") or {}, policy.get("overcommit") or {}
    level: dict[tuple[str, str], float] = {}
    series: dict[tuple[str, str], list[float]] = {}
    for name, host in placement.items():
        if name not in workloads:
            continue
        for resource, demand in workloads[name]["demand"].items():
            key = (host, resource)
            if isinstance(demand, list):
                sums = series.setdefault(key, [0.0] * len(demand))
                for slot, value in enumerate(demand):
                    sums[slot] += value
            else:
                level[key] = level.get(key, 0.0) + demand
    result: dict[str, dict[str, Usage]] = {}
    for offer in hosts:
        result[str(offer["name"])] = {
            resource: Usage((offer.get("reserved") or {}).get(resource, 0.0),
                            value * overcommit.get(resource, 1) * (1 - headroom.get(resource, 0)))
            for resource, value in offer["capacity"].items()
        }
    for place, resource in sorted({*level, *series}):
        if place not in result:
            continue
        usage = result[place].setdefault(resource, Usage())
        slots = series.get((place, resource), [0.0])
        usage.used += level.get((place, resource), 0.0) + max(slots)
        usage.slot = slots.index(max(slots)) if len(slots) > 1 else None
    return result


def _resources(hosts: Sequence[Item], after: Mapping[str, Mapping[str, Usage]]) -> list[str]:
    """The resources worth a column: those that some host has or uses, the well-known ones first."""
    there = {resource for host in hosts for resource, value in host["capacity"].items() if value}
    there |= {resource for usages in after.values() for resource, usage in usages.items() if usage.used}
    return [name for name in RESOURCES if name in there] + sorted(there.difference(RESOURCES))


def label(resource: str) -> str:
    """A resource as a heading."""
    return LABELS.get(resource, resource)


def amount(resource: str, value: float) -> str:
    """An amount of a resource with its unit."""
    divisor, digits, unit = _SHAPES.get(resource, (1, 2, ""))
    return f"{value / divisor:,.{digits}f} {unit}".rstrip()


def percent(share: float) -> str:
    """A share as text without its sign; what is used of nothing is 'over'."""
    return "over" if share == float("inf") else f"{100 * share:.0f}"


def duration(seconds: float | None) -> str:
    """A time as people say it."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def reasons_text(reasons: Sequence[Any]) -> str:
    """Why a workload is nowhere, the hosts with the same reason together."""
    short: dict[str, list[tuple[float, str]]] = {}
    other: dict[str, list[str]] = {}
    for reason in reasons:
        if isinstance(reason, Mapping) and reason.get("resource"):
            short.setdefault(str(reason["resource"]), []).append((float(reason.get("short_by") or 0), str(reason.get("host"))))
        elif isinstance(reason, Mapping):
            words = _obstacle_text({key: value for key, value in reason.items() if key != "host"})
            other.setdefault(words, []).append(str(reason.get("host") or ""))
        else:
            other.setdefault(str(reason), []).append("")
    parts: list[str] = []
    for name, lacks in sorted(short.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        least, host = min(lacks)
        where = f"on {host}" if len(lacks) == 1 else f"on {len(lacks)} hosts, least on {host}"
        parts.append(f"{label(name)} short by {amount(name, least)} {where}")
    for reason_words, hosts in sorted(other.items(), key=lambda entry: (-len(entry[1]), entry[0])):
        named = [host for host in hosts if host]
        parts.append(reason_words + (f" ({named[0]})" if len(named) == 1 else f" ({len(named)} hosts)" if named else ""))
    more = f"; and {len(parts) - _MOST_REASONS} more reasons" if len(parts) > _MOST_REASONS else ""
    return ("; ".join(parts[:_MOST_REASONS]) or "no reason given") + more


def _obstacle_text(reason: Item) -> str:
    """What keeps a workload off a host, as the planner names it, in words."""
    if "state" in reason:
        return f"the host's state is {reason['state']}"
    if "movable" in reason:
        return "movable is false"
    if "requires" in reason:
        return f"the host lacks {_plain_text(reason['requires'])}"
    if "limit" in reason:
        return f"limits.{reason['limit']} is lower by {reason.get('short_by')}"
    if "moves" in reason:
        return _plain_text(reason["moves"])
    return conflict_text(reason)


def conflict_text(entry: Any) -> str:
    """One entry of a conflict in words: a rule, a workload with its demand, or a part of the policy."""
    if not isinstance(entry, Mapping):
        return _plain_text(entry)
    if entry.get("explanation"):
        kind = next((f"{entry[key]}: " for key in ("rule", "policy") if key in entry), "order of moves: " if "moves" in entry else "")
        return f"{kind}{entry['explanation']}"
    if "workload" in entry and isinstance(entry.get("demand"), Mapping):
        parts = (f"{label(name)} {amount(name, float(peak))}" for name, peak in sorted(entry["demand"].items()))
        return f"{entry['workload']} needs {', '.join(parts)}"
    if "policy" in entry:
        hosts = f": without {_plain_text(entry['hosts'])} its workloads do not fit on the rest" if entry.get("hosts") else ""
        return f"policy {entry['policy']}" + (f" {entry['value']}" if "value" in entry else "") + hosts
    return _plain_text(entry)


def _plain_text(value: Any) -> str:
    """Structured words as one line."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain_text(part)}" for key, part in sorted(value.items()) if part not in (None, [], {}))
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain_text, value))
    return str(value)


def _headline(view: View) -> str:
    """The outcome in one sentence."""
    summary = view.summary
    used, before = summary.get("hosts_used"), summary.get("hosts_before")
    hosts = f"{used} hosts" if before is None else f"{before} hosts before, {used} after"
    count = len(view.moves)
    moves = f"{count} move{_plural(count)} in {view.waves} wave{_plural(view.waves)}" if count else "no moves"
    return f"{hosts} (at least {summary.get('hosts_bound')} are needed), {moves}"


def _plural(count: int) -> str:
    return "" if count == 1 else "s"


def _refusal(view: View) -> str:
    """Why the plan may not be carried out."""
    if view.status != "infeasible":
        return ""
    left = f"{len(view.unplaced)} of {view.summary.get('workloads')} workloads cannot be placed"
    lines = [f"The plan cannot be carried out: {left if view.unplaced else 'the policy or a hard rule does not hold'}."]
    lines += [f"{name}: {reasons}" for name, reasons in view.unplaced[:20]]
    lines += [f"... and {len(view.unplaced) - 20} more, see the report"] if len(view.unplaced) > 20 else []
    lines += [f"cannot hold together: {text}" for text in view.conflict[:20]]
    return "\n".join(lines)


def lines_of(view: View, files: Sequence[str]) -> list[str]:
    """The summary for a terminal: a few lines with the hosts that are used, fullest first."""
    lines = [f"{view.estate}: {view.headline}", STATUS_TEXTS.get(view.status, view.status)]
    used = sorted((host for host in view.hosts if host.guests_after), key=lambda host: (-_fullest(host), host.name))
    shown = [resource for resource in view.resources if resource in _SHORT]
    if used:
        # At most 72 characters, or the YAML of the callback folds the lines.
        width = max(6, *(min(20, len(host.name)) for host in used[:10]))
        lines.append(f"{'% used':<{width}} {'guests':>6}" + "".join(f"{_SHORT[resource]:>7}" for resource in shown))
        for host in used[:10]:
            cells = (f"{percent(host.after[name].share) if name in host.after else '-':>7}" for name in shown)
            lines.append(f"{host.name[:width]:<{width}} {len(host.guests_after):>6}" + "".join(cells))
    if len(used) > 10:
        lines.append(f"... and {len(used) - 10} more hosts")
    freed = [host.name for host in view.hosts if host.freed]
    if freed:
        more = f" and {len(freed) - 10} more" if len(freed) > 10 else ""
        lines.append(f"empty afterwards: {', '.join(freed[:10])}{more}")
    if view.unplaced:
        lines.append(f"not placed: {', '.join(name for name, _ in view.unplaced[:10])}")
    return lines + [f"written: {file}" for file in files]


def _fullest(host: HostView) -> float:
    return max((usage.share for usage in host.after.values()), default=0.0)


def fold(items: Sequence[Any], first: int, most: int) -> tuple[list[Any], list[Any], int]:
    """Items to show, to fold away, and the number of those left out."""
    return list(items[:first]), list(items[first:most]), max(0, len(items) - most)
