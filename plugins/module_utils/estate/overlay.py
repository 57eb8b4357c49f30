# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What if: a problem with hosts taken away, hosts added and demands grown. Pure; the problem itself stays as it is."""
from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import shown

KEYS = ("without_host", "add_hosts", "like", "growth_percent")
MOST_HOSTS = 1000
MOST_PERCENT = 10**6
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_MILLIONTH = Decimal(1).scaleb(-6)
_FEW = 6


class OverlayError(ValueError):
    """An overlay that says nothing or does not fit the problem; one line for each finding."""


@dataclass
class Overlay:
    """changes: what was asked, in words; notes: what had to be adapted for it; homeless: workloads whose host is gone."""

    problem: dict[str, Any]
    changes: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    homeless: list[str] = field(default_factory=list)


def overlay(problem: Mapping[str, Any], without_host: Any = None, add_hosts: Any = None, like: Any = None,
            growth_percent: Any = None) -> Overlay:
    """The problem after the changes. Raises OverlayError with all that is wrong with them.

    without_host: one name (or several with commas) or a list; add_hosts: a number, with `like`, or a list of {name, like};
    growth_percent: a number for all demands, or a mapping of resources to numbers. Numbers may be texts, as -e gives them.
    """
    findings: list[str] = []
    hosts = {str(host["name"]): host for host in problem["hosts"]}
    gone = _gone(findings, without_host, hosts)
    added = _added(findings, add_hosts, like, hosts, gone)
    growth = _growth(findings, growth_percent, _resources(problem))
    if all(value is None for value in (without_host, add_hosts, like, growth_percent)):
        findings.append("what if: nothing to change, allowed without_host, add_hosts with like, growth_percent")
    if not findings and len(gone) == len(hosts) and not added:
        findings.append(f"without_host: value {shown(gone)}, allowed fewer hosts than all of the estate, or add_hosts")
    result = Overlay({**problem})
    if not findings:
        _take_away(findings, result, gone)
        _add(result, hosts, added)
        _grow(result, growth, not isinstance(growth_percent, Mapping))
    if findings:
        raise OverlayError("\n".join(findings))
    return result


def _resources(problem: Mapping[str, Any]) -> set[str]:
    return {str(name) for host in problem["hosts"] for name in host["capacity"]} | {
        str(name) for workload in problem["workloads"] for name in workload["demand"]}


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_FEW]) + (f" and {len(names) - _FEW} more" if len(names) > _FEW else "")


def _gone(findings: list[str], value: Any, hosts: Mapping[str, Any]) -> list[str]:
    """The names of the hosts to take away."""
    if value is None:
        return []
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) and name for name in names):
        findings.append(f"without_host: value {shown(value)}, allowed the name of a host, or a list of names")
        return []
    for name in sorted(set(names) - set(hosts)):
        findings.append(f"without_host: value {shown(name)}, allowed hosts of the estate: {_few(sorted(hosts))}")
    return sorted(set(names) & set(hosts))


def _added(findings: list[str], value: Any, like: Any, hosts: Mapping[str, Any], gone: Sequence[str]) -> list[tuple[str, str]]:
    """(name, model) of the hosts to add."""
    sound = like is None or (isinstance(like, str) and like in hosts)
    if not sound:
        findings.append(f"like: value {shown(like)}, allowed a host of the estate: {_few(sorted(hosts))}")
    if value is None:
        if like is not None:
            findings.append(f"like: value {shown(like)}, allowed only with add_hosts, the number of hosts to add")
        return []
    taken = set(hosts) - set(gone)
    if isinstance(value, list | tuple):
        return _named(findings, value, like, hosts, taken)
    count = _decimal(value)
    if count is None or count != count.to_integral_value() or not 1 <= count <= MOST_HOSTS:
        findings.append(f"add_hosts: value {shown(value)}, allowed a whole number from 1 to {MOST_HOSTS} with like, or a list of mappings"
                        " with name and like")
        return []
    if like is None:
        findings.append(f"like: missing, allowed with add_hosts {int(count)} the host that the new ones are like: {_few(sorted(hosts))}")
        return []
    free = (name for name in (f"new{number:02d}" for number in range(1, int(count) + len(hosts) + 1)) if name not in hosts)
    return [(next(free), like) for _ in range(int(count))] if sound else []


def _named(findings: list[str], items: Sequence[Any], like: Any, hosts: Mapping[str, Any], taken: set[str]) -> list[tuple[str, str]]:
    if not 1 <= len(items) <= MOST_HOSTS:
        findings.append(f"add_hosts: value {shown(items)}, allowed 1 to {MOST_HOSTS} hosts")
        return []
    result = []
    for index, item in enumerate(items):
        title = f"add_hosts[{index}]"
        if not isinstance(item, Mapping):
            findings.append(f"{title}: value {shown(item)}, allowed a mapping with name and like")
            continue
        for key in item:
            if key not in ("name", "like"):
                findings.append(f"{title}: {key}: unknown key with value {shown(item[key])}, allowed name, like")
        name, model = item.get("name"), item.get("like", like)
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name in taken:
            findings.append(f"{title}: name: value {shown(name)}, allowed letters, digits, dots and hyphens, and no name of another host")
        else:
            taken.add(name)
        if not isinstance(model, str) or model not in hosts:
            findings.append(f"{title}: like: value {shown(model)}, allowed a host of the estate: {_few(sorted(hosts))}")
        result.append((str(name), str(model)))
    return result


def _decimal(value: Any) -> Decimal | None:
    """A finite number, also one written as a text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value).strip())
    except (InvalidOperation, ValueError):  # ValueError: more digits than Python writes out
        return None
    return number if number.is_finite() else None


def _growth(findings: list[str], value: Any, resources: set[str]) -> dict[str, Decimal]:
    """Per resource the percentage."""
    if value is None:
        return {}
    told = value if isinstance(value, Mapping) else dict.fromkeys(resources, value)
    if not told:
        findings.append(f"growth_percent: value {shown(value)}, allowed a number, or a mapping of resources to numbers")
    result = {}
    for resource in sorted(told, key=str):
        key = f"growth_percent.{resource}" if isinstance(value, Mapping) else "growth_percent"
        percent = _decimal(told[resource])
        if resource not in resources:
            findings.append(f"{key}: unknown key with value {shown(told[resource])}, allowed resources of the estate: "
                            f"{', '.join(sorted(resources))}")
        elif percent is None or not -100 < percent <= MOST_PERCENT:
            findings.append(f"{key}: value {shown(told[resource])}, allowed a number above -100 and at most {MOST_PERCENT}")
            if not isinstance(value, Mapping):
                return {}
        else:
            result[str(resource)] = percent
    return result


def _take_away(findings: list[str], result: Overlay, gone: Sequence[str]) -> None:
    """Hosts out of everything that names them."""
    if not gone:
        return
    problem = result.problem
    problem["hosts"] = [host for host in problem["hosts"] if str(host["name"]) not in gone]
    workloads, unreplicated, pinned = [], [], []
    for given in problem["workloads"]:
        workload = dict(given)
        name = str(workload["name"])
        if workload.get("current") in gone:
            del workload["current"]
            result.homeless.append(name)
            if workload.get("movable") is False:
                del workload["movable"]
                pinned.append(name)
        if workload.get("replica") in gone:
            del workload["replica"]
            unreplicated.append(name)
        workloads.append(workload)
    problem["workloads"] = workloads
    result.changes.append(f"without {', '.join(gone)}")
    if result.homeless:
        result.notes.append(f"new, since their host is gone: {_few(result.homeless)}")
    if pinned:
        result.notes.append(f"movable: false does not hold for {_few(pinned)}, whose host is gone")
    if unreplicated:
        result.notes.append(f"no replica any more, so no live move to it: {_few(unreplicated)}")
    problem["rules"] = _rules_without(findings, result, gone)
    # Nothing is left to reserve or to share out of what only those hosts had.
    left, policy = _resources(problem), dict(problem.get("policy") or {})
    for key in ("headroom", "overcommit"):
        if policy.get(key):
            policy[key] = {name: value for name, value in policy[key].items() if name in left}
    problem["policy"] = policy


def _rules_without(findings: list[str], result: Overlay, gone: Sequence[str]) -> list[Any]:
    """The rules with the hosts out of their lists; one that would say nothing goes, one that would leave no host is a finding."""
    rules = []
    for number, rule in enumerate(result.problem.get("rules") or [], 1):
        named = [name for name in rule.get("hosts") or [] if name in gone]
        if not named:
            rules.append(rule)
            continue
        left = [name for name in rule["hosts"] if name not in gone]
        title, who = f"rule number {number} ({rule['rule']})", _few([str(name) for name in rule["workloads"]])
        if left:
            rules.append({**rule, "hosts": left})
            result.notes.append(f"{title}: hosts without {', '.join(named)}: {', '.join(left)}")
        elif rule["rule"] == "fence" and rule.get("enforce", "hard") == "hard":
            findings.append(f"{title}: hosts: value {shown(rule['hosts'])} has no host left for {who}, allowed in without_host are hosts "
                            "that leave one; or change the rule")
        else:
            result.notes.append(f"{title}: left out, since it names no other host ({who})")
    return rules


def _add(result: Overlay, hosts: Mapping[str, Mapping[str, Any]], added: Sequence[tuple[str, str]]) -> None:
    """New hosts with the capacity, pool, zone and features of others; active, and named by no rule."""
    if not added:
        return
    made = []
    for name, model in added:
        # What is reserved there is of guests that are there.
        host = {key: value for key, value in hosts[model].items() if key not in ("state", "reserved")}
        # A host that is a zone of its own makes another such host.
        if host.get("zone") == model:
            host["zone"] = name
        made.append({**host, "name": name, "state": "active"})
    result.problem["hosts"] = [*result.problem["hosts"], *made]
    by_model: dict[str, list[str]] = {}
    for name, model in added:
        by_model.setdefault(model, []).append(name)
    for model, names in by_model.items():
        count = f"{len(names)} more host{'' if len(names) == 1 else 's'}"
        result.changes.append(f"{count} like {model} ({_few(names)})")
        if any(model in (rule.get("hosts") or []) for rule in result.problem.get("rules") or []):
            result.notes.append(f"rules that name {model} do not name {_few(names)}")


def _grow(result: Overlay, growth: Mapping[str, Decimal], everything: bool) -> None:
    """Demands, and what hosts have reserved for workloads, times 1 + percent / 100, to a millionth."""
    if not growth:
        return

    def grown(item: Mapping[str, Any], key: str) -> dict[str, Any]:
        return {**item, key: {name: _grown(value, growth.get(str(name), Decimal(0))) for name, value in item[key].items()}}

    result.problem["workloads"] = [grown(workload, "demand") for workload in result.problem["workloads"]]
    result.problem["hosts"] = [grown(host, "reserved") if host.get("reserved") else host for host in result.problem["hosts"]]
    for percent in sorted(set(growth.values())):
        named = "all demands" if everything else f"demand of {', '.join(sorted(name for name in growth if growth[name] == percent))}"
        result.changes.append(f"{named} {percent.normalize():+f} %")


def _grown(value: Any, percent: Decimal) -> Any:
    if isinstance(value, list | tuple):
        return [_grown(part, percent) for part in value]
    if percent == 0:
        return value
    grown = (Decimal(str(value)) * (1 + percent / 100)).quantize(_MILLIONTH, ROUND_HALF_EVEN)
    return int(grown) if grown == grown.to_integral_value() else float(grown)
