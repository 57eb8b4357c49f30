# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks a plan against its problem in whole numbers, for cases that are too large for the exact verifier of the unit tests.

Shares no code with the planner or the verifier. Numbers count in millionths: demands rounded half to even, what a host may hold
rounded down. Promises about the failure of hosts and about NUMA nodes are not checked: such a problem is refused.
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = 10**6
MOVES_OF_A_WAVE = 2
Where = Mapping[str, set[str]]


class _Estate:
    """The problem as written. demand[w, r, slot], limit[h, r] (while moves run) and usable[h, r] (at the end) in millionths."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.hosts = {host["name"]: host for host in problem["hosts"]}
        self.workloads = {workload["name"]: workload for workload in problem["workloads"]}
        self.rules = [rule for rule in problem.get("rules") or () if (rule.get("enforce") or "hard") == "hard"]
        self.policy = problem.get("policy") or {}
        if self.policy.get("failover"):
            raise ValueError(f"policy: failover: value {self.policy['failover']}, allowed 0")
        for host in self.hosts.values():
            if host.get("numa_nodes") is not None:
                raise ValueError(f"host '{host['name']}': numa_nodes: value {host['numa_nodes']}, allowed none")
        self.resources = sorted({name for item in self.hosts.values() for name in item["capacity"]}
                                | {name for item in self.workloads.values() for name in item["demand"]})
        self.host_row = {name: row for row, name in enumerate(self.hosts)}
        self.row = {name: row for row, name in enumerate(self.workloads)}
        slots = max((len(value) for item in self.workloads.values() for value in item["demand"].values() if isinstance(value, list)),
                    default=1)
        self.demand = np.zeros((len(self.workloads), len(self.resources), slots), dtype=np.int64)
        for row, workload in enumerate(self.workloads.values()):
            for resource, value in workload["demand"].items():
                self.demand[row, self.resources.index(resource)] = _millionths(value)
        self.limit, self.usable = self._room(headroom=False), self._room(headroom=True)

    def _room(self, headroom: bool) -> NDArray[np.int64]:
        factors = [_number((self.policy.get("overcommit") or {}).get(name, 1)) * SCALE
                   * (1 - _number((self.policy.get("headroom") or {}).get(name, 0)) if headroom else 1) for name in self.resources]
        reserved = [host.get("reserved") or {} for host in self.hosts.values()]
        rows = [[max(0, math.floor(_number(host["capacity"].get(name, 0)) * factor - _number(kept.get(name, 0)) * SCALE))
                 for name, factor in zip(self.resources, factors, strict=True)]
                for host, kept in zip(self.hosts.values(), reserved, strict=True)]
        return np.array(rows, dtype=np.int64).reshape(len(self.hosts), len(self.resources))

    def load(self, at: Mapping[str, str]) -> NDArray[np.int64]:
        """[hosts, resources, slots] of a placement."""
        total = np.zeros((len(self.hosts), *self.demand.shape[1:]), dtype=np.int64)
        np.add.at(total, [self.host_row[host] for host in at.values()], self.demand[[self.row[name] for name in at]])
        return total

    def current(self) -> dict[str, str]:
        """Where workloads run now."""
        return {name: workload["current"] for name, workload in self.workloads.items() if workload.get("current") is not None}

    def domain(self, host: str, scope: str) -> tuple[str, str]:
        zone = self.hosts[host].get("zone") if scope == "zone" else None
        return ("host", host) if zone is None else ("zone", zone)

    def excess(self, rule: Mapping[str, Any], where: Where) -> int:
        """By how much a rule is broken; a workload that moves is on two hosts."""
        kind, scope, most = rule["rule"], rule.get("scope") or "host", rule.get("at_most") or 1
        pairs = {(name, host) for name in rule["workloads"] for host in where.get(name, ())}
        used = {host for _, host in pairs}
        if kind in ("anti_affinity", "spread"):
            per_domain = Counter(domain for _, domain in {(name, self.domain(host, scope)) for name, host in pairs})
            return sum(count - most for count in per_domain.values() if count > most)
        if kind == "affinity":
            return max(0, len({self.domain(host, scope) for host in used}) - 1)
        if kind == "limit_hosts":
            return max(0, len(used) - most)
        if kind == "exclusive":
            inside = set(rule["workloads"])
            return sum(host in used for name, hosts in where.items() if name not in inside for host in hosts)
        if kind == "root":
            home = {name: self.workloads[name].get("current") for name, _ in pairs}
            return sum(home[name] not in (None, host) for name, host in pairs)
        if kind in ("fence", "ban"):
            return sum((host in rule["hosts"]) == (kind == "ban") for _, host in pairs)
        raise ValueError(f"rule: value {kind!r}, allowed a rule of the contract")


def _number(value: Any) -> Fraction:
    """The number that was written, to six decimals."""
    return Fraction(round(Fraction(str(value)) * SCALE), SCALE)


def _limit(host: Mapping[str, Any], key: str, default: float) -> float:
    value = (host.get("limits") or {}).get(key)
    return default if value is None else float(value)


def _millionths(value: Any) -> NDArray[np.int64]:
    """Exact below 10**9, which a float holds to less than a tenth of a millionth."""
    return np.rint(np.asarray(value, dtype=float) * SCALE).astype(np.int64)


def violations(problem: Mapping[str, Any], plan: Mapping[str, Any]) -> list[str]:
    """One line for each promise that a plan breaks. Raises ValueError for a problem that it cannot check."""
    estate = _Estate(problem)
    placement, moves = plan["placement"], plan["moves"]
    found = _unknown(estate, placement.items()) + _unknown(
        estate, ((move["workload"], host) for move in moves for host in (move["from"], move["to"]) if host is not None))
    if found:
        return found
    missing = set(estate.workloads) - set(placement)
    if {entry["workload"] for entry in plan["unplaced"]} != missing or plan["summary"]["unplaced"] != len(missing):
        found.append(f"{len(plan['unplaced'])} unplaced in the list, {plan['summary']['unplaced']} in the summary, {len(missing)} in fact")
    if plan["status"] == "infeasible" and not plan["conflict"]:
        found.append("infeasible without a conflict")
    if plan["status"] != "infeasible" and missing:
        found.append(f"status {plan['status']}, {len(missing)} unplaced")
    found += _alone(estate, placement) + _together(estate, placement) + _summary(estate, plan) + _moves(estate, placement, moves)
    return found + _told(placement, plan.get("hosts") or {})


def _told(placement: Mapping[str, str], hosts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whether each host is told to have those that are placed on it."""
    members: dict[str, list[str]] = {}
    for name, host in sorted(placement.items()):
        members.setdefault(host, []).append(name)
    return [f"hosts: {host}: workloads {told['workloads']}, there are {members.get(host, [])}"
            for host, told in hosts.items() if told["workloads"] != members.get(host, [])]


def violations_of_moves(problem: Mapping[str, Any], placement: Mapping[str, str], moves: Sequence[Mapping[str, Any]]) -> list[str]:
    """The same for moves that are to lead to a placement, and nothing else."""
    return _moves(_Estate(problem), placement, moves)


def _unknown(estate: _Estate, pairs: Iterable[tuple[str, str]]) -> list[str]:
    return [f"{name} on {host}: the problem does not name both" for name, host in pairs
            if name not in estate.workloads or host not in estate.hosts]


def _alone(estate: _Estate, placement: Mapping[str, str]) -> list[str]:
    """What a workload and its host promise each other."""
    found = []
    for name, host_name in placement.items():
        workload, host = estate.workloads[name], estate.hosts[host_name]
        home, state = workload.get("current") == host_name, host.get("state") or "active"
        if state == "drain" or (state == "closed" and not home):
            found.append(f"{name} on {host_name}, which is {state}")
        if not (home or workload.get("movable") is not False):
            found.append(f"{name} on {host_name}, yet not movable")
        if not set(workload.get("requires") or ()).issubset(host.get("features") or ()):
            found.append(f"{name} on {host_name}, which lacks features")
        if (workload.get("vcpus") or 0) > _limit(host, "vcpus", math.inf):
            found.append(f"{name} on {host_name}, which takes fewer vCPUs")
    return found


def _together(estate: _Estate, placement: Mapping[str, str]) -> list[str]:
    """Capacity in every slot, and the hard rules."""
    names, load = list(estate.hosts), estate.load(placement)
    found = [f"{names[host]}: {estate.resources[resource]} in slot {slot}: {load[host, resource, slot] / SCALE:g}, "
             f"usable {estate.usable[host, resource] / SCALE:g}"
             for host, resource, slot in np.argwhere(load > estate.usable[:, :, None])]
    where = {name: {host} for name, host in placement.items()}
    return found + [f"broken at the end: {rule}" for rule in estate.rules if estate.excess(rule, where)]


def _summary(estate: _Estate, plan: Mapping[str, Any]) -> list[str]:
    summary, placement, found = plan["summary"], plan["placement"], []
    used = len(set(placement.values()))
    changed = sum(estate.workloads[name].get("current") not in (None, host) for name, host in placement.items())
    moved = {move["workload"] for move in plan["moves"] if move["from"] is not None}
    memory = 0
    if moved and "memory_mib" in estate.resources:
        rows = [estate.row[name] for name in moved]
        memory = int(estate.demand[rows, estate.resources.index("memory_mib")].max(axis=1).sum())
    for key, value in (("workloads", len(estate.workloads)), ("hosts_used", used), ("moves", changed)):
        if summary[key] != value:
            found.append(f"summary: {key} {summary[key]}, counted {value}")
    if int(_millionths(summary["moved_mib"])) != memory:
        found.append(f"summary: moved_mib {summary['moved_mib']}, counted {memory / SCALE:g}")
    if len(placement) == len(estate.workloads) and summary["hosts_bound"] > used:
        found.append(f"{used} hosts, below the bound of {summary['hosts_bound']}")
    if plan["status"] == "optimal" and summary["hosts_bound"] != used:
        found.append(f"optimal with {used} hosts, bound {summary['hosts_bound']}")
    most = estate.policy.get("max_moves")
    if most is not None and changed > most:
        found.append(f"{changed} moves, allowed {most}")
    return found


def _moves(estate: _Estate, placement: Mapping[str, str], moves: Sequence[Mapping[str, Any]]) -> list[str]:
    """Carry the moves out, wave by wave.

    Arrivals count from the start of a wave and departures after it, so a wave that holds does so in every order and after
    every step of it.
    """
    found = []
    at = estate.current()
    where = {name: {host} for name, host in at.items()}
    load = estate.load(at)
    limit = np.maximum(estate.limit[:, :, None], load)
    always = [rule for rule in estate.rules if rule.get("during") == "always"]
    tolerated = [estate.excess(rule, where) for rule in always]
    if [move["step"] for move in moves] != list(range(1, len(moves) + 1)):
        found.append("steps are not 1, 2, 3 ...")
    numbers = [number for number, _ in groupby(move["wave"] for move in moves)]
    if numbers != list(range(1, len(numbers) + 1)):
        found.append("waves are not 1, 2, 3 ...")
    for number, wave in groupby(moves, key=lambda move: move["wave"]):
        under_way = list(wave)
        found += _limits(estate, number, under_way)
        for move in under_way:
            name, source, target = move["workload"], move["from"], move["to"]
            if at.get(name) != source:
                found.append(f"step {move['step']}: {name} leaves {source}, stands on {at.get(name)}")
            if move["method"] != _method(estate, name, source, target):
                found.append(f"step {move['step']}: {name} goes {move['method']} from {source} to {target}")
            row, demand = estate.host_row[target], estate.demand[estate.row[name]]
            load[row] += demand
            if (load[row] > limit[row]).any():
                found.append(f"step {move['step']}: {name}: more than {target} can hold while wave {number} is under way")
            where.setdefault(name, set()).add(target)
        found += [f"wave {number}: broken under way: {rule}" for rule, most in zip(always, tolerated, strict=True)
                  if estate.excess(rule, where) > most]
        for move in under_way:
            name, stood = move["workload"], at.get(move["workload"])
            if stood is not None:
                load[estate.host_row[stood]] -= estate.demand[estate.row[name]]
            at[name], where[name] = move["to"], {move["to"]}
    found += [f"{name} ends on {at.get(name)}, planned {host}" for name, host in placement.items() if at.get(name) != host]
    return found


def _limits(estate: _Estate, number: int, wave: Sequence[Mapping[str, Any]]) -> list[str]:
    """Moves of one wave into and out of each host, and of each workload."""
    found = []
    for key, end in (("moves_in", "to"), ("moves_out", "from")):
        for host, count in Counter(move[end] for move in wave if move[end] is not None).items():
            most = _limit(estate.hosts[host], key, MOVES_OF_A_WAVE)
            if count > most:
                found.append(f"wave {number}: {host}: {key} {count}, allowed {most:g}")
    twice = Counter(move["workload"] for move in wave)
    return found + [f"wave {number}: {name} moves {count} times" for name, count in twice.items() if count > 1]


def _method(estate: _Estate, name: str, source: str | None, target: str) -> str:
    if source is None:
        return "define"
    workload = estate.workloads[name]
    storage = workload.get("storage") or "local"
    reached = storage == "shared" or (storage == "replicated" and workload.get("replica") == target)
    one_pool = estate.hosts[source].get("pool") == estate.hosts[target].get("pool")
    return "live" if reached and one_pool and workload.get("live") is not False else "offline"
