# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a problem as written to its normalised form, or every finding at once."""
from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from . import schema
from .problem import Host, Ints, Nodes, Policy, Problem, RuleSpec, Workload, exact, fingerprint, plain, product, scaled
from .schema import Findings, ProblemError, label, shown

KEYS = ("hosts", "workloads", "rules", "policy")
DEFAULT_LINK_MBPS = 1000
DEFAULT_MOVES = 2
_LARGEST_SUM = 2**61


def normalise(document: Any) -> Problem:
    """Check {hosts, workloads, rules, policy} and bring it to its normalised form.

    The order in which hosts, workloads and rules are written does not matter. Raises ProblemError with all findings.
    """
    findings = Findings()
    if not isinstance(document, Mapping):
        raise ProblemError([f"problem: value {shown(document)}, allowed a mapping with {', '.join(KEYS)}"])
    for key in document:
        if key not in KEYS:
            findings.append(f"problem: unknown key '{label(key)}': value {shown(document[key])}, allowed {', '.join(sorted(KEYS))}")
    hosts = _items(findings, document, "hosts", "host", schema.HOST_KEYS, ("name", "capacity"))
    workloads = _items(findings, document, "workloads", "workload", schema.WORKLOAD_KEYS, ("name", "demand"))
    if not hosts and document.get("hosts") in (None, []):
        findings.note("problem", "hosts", document.get("hosts"), "a list of at least one host")
    rules = _rules(findings, document.get("rules"))
    policy = document.get("policy")
    if policy is None:
        policy = {}
    if isinstance(policy, Mapping):
        policy = schema.fill(findings, "policy", policy, schema.POLICY_KEYS)
    else:
        findings.note("problem", "policy", policy, f"a mapping with {', '.join(sorted(schema.POLICY_KEYS))}")
    if not findings:
        _between(findings, hosts, workloads, rules, policy)
    if findings:
        raise ProblemError(findings)
    return _build(sorted(hosts, key=_name), sorted(workloads, key=_name), rules, policy)


def _name(item: Mapping[str, Any]) -> str:
    return str(item["name"])


def _list(findings: Findings, value: Any, key: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        findings.note("problem", key, value, f"a list of {key}")
        return []
    return list(value)


def _items(findings: Findings, document: Mapping[str, Any], key: str, word: str, keys: Mapping[str, schema.Check],
           required: Sequence[str]) -> list[dict[str, Any]]:
    """Check a list of named items; names must differ."""
    result = []
    seen: set[str] = set()
    for index, item in enumerate(_list(findings, document.get(key), key)):
        if not isinstance(item, Mapping):
            findings.note("problem", f"{key}[{index}]", item, f"a mapping with {', '.join(sorted(keys))}")
            continue
        name = item.get("name")
        title = f"{word} '{label(name)}'" if isinstance(name, str) and name.strip() else f"{key}[{index}]"
        result.append(schema.fill(findings, title, item, keys, required))
        if isinstance(name, str) and name in seen:
            findings.note(title, "name", name, f"a name that no other {word} has")
        elif isinstance(name, str):
            seen.add(name)
    return result


def _rules(findings: Findings, value: Any) -> list[dict[str, Any]]:
    result = []
    for index, rule in enumerate(_list(findings, value, "rules")):
        if not isinstance(rule, Mapping):
            findings.note("problem", f"rules[{index}]", rule, "a mapping with rule, workloads ...")
            continue
        kind = rule.get("rule")
        extra = schema.RULE_KEYS.get(kind) if isinstance(kind, str) else None
        title = f"rules[{index}] ({kind})" if extra is not None else f"rules[{index}]"
        own = extra if extra is not None else tuple(schema.RULE_CHECKS)
        required = ["rule", "workloads"] + [key for key in ("hosts", "at_most") if key in (extra or ()) and kind != "spread"]
        checks = {**schema.COMMON_RULE_KEYS, **{key: schema.RULE_CHECKS[key] for key in own}}
        result.append({**schema.fill(findings, title, rule, checks, required), "title": title})
    return result


def _between(findings: Findings, hosts: list[dict[str, Any]], workloads: list[dict[str, Any]],
             rules: list[dict[str, Any]], policy: Mapping[str, Any]) -> None:
    """What must hold between items: names that exist, series of one length, sums that can be computed."""
    host_names = {host["name"] for host in hosts}
    workload_names = {workload["name"] for workload in workloads}
    known = _few(host_names)
    lengths: dict[int, str] = {}
    for workload in sorted(workloads, key=_name):
        title = f"workload '{label(workload['name'])}'"
        for key in ("current", "replica"):
            if key in workload and workload[key] not in host_names:
                findings.note(title, key, workload[key], f"a host of the problem: {known}")
        if workload.get("movable") is False and "current" not in workload:
            findings.note(title, "movable", "false", "true, or a 'current' host to stay on")
        if "replica" in workload and workload.get("storage") != "replicated":
            findings.note(title, "replica", workload["replica"], "only with storage: replicated")
        if "replica" in workload and workload["replica"] == workload.get("current"):
            findings.note(title, "replica", workload["replica"], "another host than 'current'")
        for resource, value in sorted(workload["demand"].items()):
            if isinstance(value, list):
                lengths.setdefault(len(value), f"{title}: demand.{label(resource)}")
                if len(lengths) > 1 and len(value) != next(iter(lengths)):
                    findings.note(title, f"demand.{label(resource)}", f"a series of {len(value)} slots",
                                  f"{next(iter(lengths))} slots, as {lengths[next(iter(lengths))]} has")
    few = _few(workload_names)
    for rule in rules:
        for key, there, allowed in (("workloads", workload_names, f"a workload of the problem: {few}"),
                                    ("hosts", host_names, f"a host of the problem: {known}")):
            for name in rule.get(key) or ():
                if name not in there:
                    findings.note(rule["title"], key, name, allowed)
    resources = set(_resources(hosts, workloads))
    few = _few(resources)
    for key in ("headroom", "overcommit"):
        for resource in policy.get(key) or {}:
            if resource not in resources:
                findings.note("policy", f"{key}.{label(resource)}", policy[key][resource], f"resources of the problem: {few}")
    for host in hosts if policy.get("objective") == "watts" else ():
        watts = host.get("watts") or {}
        if "idle" not in watts or "busy" not in watts:
            findings.note(f"host '{label(host['name'])}'", "watts", watts or None, "idle and busy, since policy.objective is watts")
    for host in hosts:
        for resource in (host.get("numa_nodes") or [{}])[0]:
            if resource not in host["capacity"]:
                findings.note(f"host '{label(host['name'])}'", "numa_nodes", resource,
                              f"resources of its capacity: {_few(set(host['capacity']))}")
        for resource in host.get("reserved") or ():
            if resource not in host["capacity"]:
                findings.note(f"host '{label(host['name'])}'", f"reserved.{label(resource)}", host["reserved"][resource],
                              f"resources of its capacity: {_few(set(host['capacity']))}")
        watts = host.get("watts") or {}
        if watts and watts.get("busy", watts.get("idle", 0)) < watts.get("idle", 0):
            findings.note(f"host '{label(host['name'])}'", "watts.busy", watts["busy"],
                          f"a number of at least watts.idle ({watts['idle']})")
    _check_sums(findings, hosts, workloads, rules, policy)


def _check_sums(findings: Findings, hosts: list[dict[str, Any]], workloads: list[dict[str, Any]], rules: list[dict[str, Any]],
                policy: Mapping[str, Any]) -> None:
    """All sums must stay within 64 bits."""
    totals: dict[str, int] = {}
    for host in hosts:
        for resource in host["capacity"]:
            most = sum((product(node.get(resource, 0), exact((policy.get("overcommit") or {}).get(resource, 1)))
                        for node in host.get("numa_nodes") or ()), 0)
            if most >= _LARGEST_SUM:
                findings.note(f"host '{label(host['name'])}'", f"sum of numa_nodes of {label(resource)}", most // 10**6,
                              f"at most {_LARGEST_SUM // 10**6}; use a larger unit")
    for item, key in [(workload, "demand") for workload in workloads] + [(host, "capacity") for host in hosts]:
        for resource, value in item[key].items():
            peak = max(value) if isinstance(value, list) else value
            factor = exact((policy.get("overcommit") or {}).get(resource, 1)) if key == "capacity" else Decimal(1)
            what = f"{key} of {label(resource)}"
            totals[what] = totals.get(what, 0) + product(peak, factor)
    if policy.get("objective") == "watts":
        # Power takes the mean over the slots, so here their sums have to fit as well.
        slots = max((len(v) for w in workloads for v in w["demand"].values() if isinstance(v, list)), default=1)
        totals |= {f"{what} over {slots} slots": total * slots for what, total in totals.items() if what.startswith("demand")}
    totals["weight of soft rules"] = sum(scaled(rule.get("weight", 1)) for rule in rules if rule.get("enforce") == "soft")
    totals["move_cost"] = sum(scaled(workload["move_cost"]) if "move_cost" in workload else _moved(workload) for workload in workloads)
    for what, total in sorted(totals.items()):
        if total >= _LARGEST_SUM:
            findings.note("problem", f"sum of {what}", total // 10**6, f"at most {_LARGEST_SUM // 10**6}; use a larger unit")


def _few(values: set[str]) -> str:
    ordered = sorted(values)
    return ", ".join(map(label, ordered[:8])) + (f" ... ({len(ordered)})" if len(ordered) > 8 else "")


def _resources(hosts: list[dict[str, Any]], workloads: list[dict[str, Any]]) -> tuple[str, ...]:
    """Sorted by name; never none at all, since the largest of nothing is no number."""
    named = {name for host in hosts for name in host["capacity"]} | {name for w in workloads for name in w["demand"]}
    return tuple(sorted(named or {"cpu_cores"}))


def _build(hosts: list[dict[str, Any]], workloads: list[dict[str, Any]], rules: list[dict[str, Any]],
           policy: Mapping[str, Any]) -> Problem:
    resources = _resources(hosts, workloads)
    host_index = {host["name"]: index for index, host in enumerate(hosts)}
    workload_index = {workload["name"]: index for index, workload in enumerate(workloads)}
    slots = max((len(v) for w in workloads for v in w["demand"].values() if isinstance(v, list)), default=1)
    overcommit = {name: exact((policy.get("overcommit") or {}).get(name, 1)) for name in resources}
    spare = {name: 1 - exact((policy.get("headroom") or {}).get(name, 0)) for name in resources}

    def per_host(key: str, value: Any) -> Ints:
        return np.array([[value((host.get(key) or {}).get(name, 0), name) for name in resources] for host in hosts],
                        dtype=np.int64).reshape(len(hosts), len(resources))

    reserved = per_host("reserved", lambda value, name: scaled(value))

    def nodes_of(host: Mapping[str, Any]) -> Nodes | None:
        if "numa_nodes" not in host:
            return None
        named = sorted(host["numa_nodes"][0])
        room = [[product(node[name], overcommit[name], spare[name]) for name in named] for node in host["numa_nodes"]]
        return Nodes(np.array([resources.index(name) for name in named], dtype=np.int64), np.array(room, dtype=np.int64))

    demand = np.zeros((len(workloads), len(resources), slots), dtype=np.int64)
    for row, workload in enumerate(workloads):
        for name, value in workload["demand"].items():
            demand[row, resources.index(name)] = [scaled(part) for part in value] if isinstance(value, list) else scaled(value)
    costs = [scaled(w["move_cost"]) if "move_cost" in w else _moved(w) for w in workloads]
    zones = sorted({_zone(host) for host in hosts})
    specs = _different(_rule(rule, host_index, workload_index) for rule in rules)
    settled = Policy(policy.get("objective", "hosts"), policy.get("failover", 0), policy.get("max_moves"),
                     policy.get("effort", "normal"), policy.get("seed", 0), policy.get("tradeoff", False))
    made_hosts = tuple(_host(host) for host in hosts)
    made = tuple(_workload(w, cost, host_index) for w, cost in zip(workloads, costs, strict=True))
    return Problem(
        hosts=made_hosts, workloads=made, resources=resources, rules=tuple(specs), policy=settled,
        raw=per_host("capacity", lambda value, name: scaled(value)),
        capacity=np.maximum(per_host("capacity", lambda value, name: product(value, overcommit[name])) - reserved, 0),
        usable=np.maximum(per_host("capacity", lambda value, name: product(value, overcommit[name], spare[name])) - reserved, 0),
        demand=demand, current=np.array([w.current for w in made], dtype=np.int64),
        move_cost=np.array(costs, dtype=np.int64), zone=np.array([zones.index(_zone(h)) for h in hosts], dtype=np.int64),
        nodes=tuple(nodes_of(host) for host in hosts),
        sha256=fingerprint(_canonical(zip(hosts, made_hosts, strict=True), zip(workloads, made, strict=True), specs, settled, policy)),
    )


def _different(specs: Iterable[RuleSpec]) -> list[RuleSpec]:
    """Sorted; a soft rule that is written several times is one with the sum of the weights."""
    found: dict[str, RuleSpec] = {}
    for spec in specs:
        there = found.get(spec.text)
        found[spec.text] = spec if there is None else replace(there, weight=there.weight + spec.weight)
    return [found[text] for text in sorted(found)]


def _zone(host: Mapping[str, Any]) -> tuple[str, str]:
    """A host without a zone is one of its own, whatever names the zones have."""
    return ("zone", host["zone"]) if "zone" in host else ("host", host["name"])


def _moved(workload: Mapping[str, Any]) -> int:
    """What a move costs when nothing is said: its memory, else 1."""
    memory = workload["demand"].get("memory_mib")
    return scaled(1 if memory is None else max(memory) if isinstance(memory, list) else memory)


def _host(host: Mapping[str, Any]) -> Host:
    limits, watts = host.get("limits") or {}, host.get("watts") or {}
    return Host(
        name=host["name"], pool=host.get("pool", ""), zone=host.get("zone", host["name"]), features=frozenset(host.get("features", ())),
        state=host.get("state", "active"), vcpus=limits.get("vcpus"), link_mbps=float(limits.get("link_mbps", DEFAULT_LINK_MBPS)),
        moves_in=limits.get("moves_in", DEFAULT_MOVES), moves_out=limits.get("moves_out", DEFAULT_MOVES),
        watts_idle=float(watts.get("idle", 0)), watts_busy=float(watts.get("busy", watts.get("idle", 0))),
    )


def _workload(workload: Mapping[str, Any], move_cost: int, hosts: Mapping[str, int]) -> Workload:
    return Workload(
        name=workload["name"], current=hosts[workload["current"]] if "current" in workload else -1,
        movable=workload.get("movable", True), storage=workload.get("storage", "local"), live=workload.get("live", True),
        replica=hosts[workload["replica"]] if "replica" in workload else -1, vcpus=workload.get("vcpus", 0),
        move_cost=move_cost, dirty_mbps=float(workload.get("dirty_mbps", 0)), requires=frozenset(workload.get("requires", ())),
    )


def _rule(rule: Mapping[str, Any], hosts: Mapping[str, int], workloads: Mapping[str, int]) -> RuleSpec:
    hard = rule.get("enforce", "hard") == "hard"
    written = {"rule": rule["rule"], "workloads": rule["workloads"], "enforce": "hard" if hard else "soft",
               "during": rule.get("during", "end")}
    own = schema.RULE_KEYS[rule["rule"]]
    if "hosts" in own:
        written["hosts"] = rule["hosts"]
    if "scope" in own:
        written["scope"] = rule.get("scope", "host")
    if "at_most" in own:
        written["at_most"] = rule.get("at_most", 1)
    if not hard:
        written["weight"] = plain(scaled(rule.get("weight", 1)))
    return RuleSpec(
        kind=rule["rule"], workloads=tuple(workloads[name] for name in rule["workloads"]),
        hosts=tuple(hosts[name] for name in rule.get("hosts", ())), scope=written.get("scope", "host"),
        at_most=written.get("at_most", 1), hard=hard, weight=0 if hard else scaled(rule.get("weight", 1)),
        always=written["during"] == "always", text=_text(written),
    )


def _text(written: Mapping[str, Any]) -> str:
    """Canonical JSON of one rule."""
    return json.dumps(written, sort_keys=True, ensure_ascii=False)


def _canonical(hosts: Iterable[tuple[Mapping[str, Any], Host]], workloads: Iterable[tuple[Mapping[str, Any], Workload]],
               rules: Sequence[RuleSpec], settled: Policy, policy: Mapping[str, Any]) -> dict[str, Any]:
    """What the plan depends on, in one order, with defaults filled in and numbers in millionths."""
    def settle(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {str(key): settle(value[key]) for key in value}
        if isinstance(value, (list, tuple)):
            return [settle(part) for part in value]
        if isinstance(value, frozenset):
            return sorted(value)
        return scaled(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    return {
        "hosts": [settle({**vars(made), "zone": _zone(host), "capacity": host["capacity"], "numa_nodes": host.get("numa_nodes"),
                          **({"reserved": host["reserved"]} if any((host.get("reserved") or {}).values()) else {})})
                  for host, made in hosts],
        "workloads": [settle({**vars(made), "demand": workload["demand"]}) for workload, made in workloads],
        "rules": [{"text": rule.text, "weight": rule.weight} for rule in rules],
        "policy": settle({
            **vars(settled), "headroom": {name: value for name, value in (policy.get("headroom") or {}).items() if value},
            "overcommit": {name: value for name, value in (policy.get("overcommit") or {}).items() if value != 1},
        }),
    }
