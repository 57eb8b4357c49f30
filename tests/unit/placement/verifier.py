# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks a plan against its problem in exact fractions; shares no code with the planner.

`violations(problem, plan)` returns one line per promise of the contract that the plan breaks.
"""
from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations
from typing import Any


class _Estate:
    """The problem, read on its own terms."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.hosts = {host["name"]: host for host in problem["hosts"]}
        self.workloads = {workload["name"]: workload for workload in problem["workloads"]}
        self.rules = problem.get("rules") or []
        self.policy = problem.get("policy") or {}
        self.resources = sorted({r for h in self.hosts.values() for r in h["capacity"]}
                                | {r for w in self.workloads.values() for r in w["demand"]})
        lengths = {len(v) for w in self.workloads.values() for v in w["demand"].values() if isinstance(v, list)}
        self.slots = lengths.pop() if lengths else 1

    def demand(self, workload: str, resource: str, slot: int) -> Fraction:
        value = self.workloads[workload]["demand"].get(resource, 0)
        return _exact(value[slot] if isinstance(value, list) else value)

    def capacity(self, host: str, resource: str, headroom: bool) -> Fraction:
        value = _exact(self.hosts[host]["capacity"].get(resource, 0))
        value *= _exact((self.policy.get("overcommit") or {}).get(resource, 1))
        return value * (1 - _exact((self.policy.get("headroom") or {}).get(resource, 0)) if headroom else 1)

    def domain(self, host: str, scope: str) -> tuple[str, str]:
        if scope == "zone" and self.hosts[host].get("zone") is not None:
            return ("zone", self.hosts[host]["zone"])
        return ("host", host)

    def load(self, members: Any, resource: str, slot: int) -> Fraction:
        return sum((self.demand(name, resource, slot) for name in members), Fraction(0))


def _exact(value: Any) -> Fraction:
    return Fraction(str(value))


def violations(problem: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """What is wrong with a plan; an infeasible one is held to what it does place."""
    estate = _Estate(problem)
    placement = plan["placement"]
    found = []
    missing = set(estate.workloads) - set(placement)
    if {entry["workload"] for entry in plan["unplaced"]} != missing or plan["summary"]["unplaced"] != len(missing):
        found.append(f"unplaced says {plan['unplaced']}, missing are {missing}")
    if missing and plan["status"] != "infeasible":
        found.append(f"status {plan['status']} with {missing} unplaced")
    if plan["status"] == "infeasible" and not plan["conflict"]:
        found.append("infeasible without a conflict")
    found += _single(estate, placement) + _capacity(estate, placement)
    broken = [rule for rule in estate.rules if rule.get("enforce", "hard") == "hard" and amount(estate, rule, _where(placement))]
    found += [f"broken: {rule}" for rule in broken]
    found += _summary(estate, plan) + _moves(estate, plan)
    if plan["status"] != "infeasible":
        found += _failover(estate, placement)
    return found


def _where(placement: dict[str, str]) -> dict[str, set[str]]:
    return {name: {host} for name, host in placement.items()}


def _single(estate: _Estate, placement: dict[str, str]) -> list[str]:
    found = []
    for name, host_name in placement.items():
        workload, host = estate.workloads[name], estate.hosts[host_name]
        home = workload.get("current") == host_name
        state = host.get("state", "active")
        if state == "drain" or (state == "closed" and not home):
            found.append(f"{name} on {state} {host_name}")
        if workload.get("movable") is False and not home:
            found.append(f"{name} is not movable, yet on {host_name}")
        if not set(workload.get("requires") or ()) <= set(host.get("features") or ()):
            found.append(f"{name} lacks features on {host_name}")
        if workload.get("vcpus", 0) > (host.get("limits") or {}).get("vcpus", 10**9):
            found.append(f"{name} too wide for {host_name}")
    return found


def _capacity(estate: _Estate, placement: dict[str, str]) -> list[str]:
    found = []
    for host in estate.hosts:
        members = [name for name, there in placement.items() if there == host]
        for resource in estate.resources:
            for slot in range(estate.slots):
                if estate.load(members, resource, slot) > estate.capacity(host, resource, True):
                    found.append(f"{host} holds too much {resource} in slot {slot}")
    return found


def amount(estate: _Estate, rule: dict[str, Any], where: dict[str, set[str]]) -> int:
    """By how much a rule is broken when workloads stand on these hosts (two while they move live)."""
    members = [name for name in rule["workloads"] if where.get(name)]
    hosts_of = {name: where[name] for name in members}
    used = set().union(*hosts_of.values()) if members else set()
    kind, scope = rule["rule"], rule.get("scope", "host")
    if kind in ("anti_affinity", "spread"):
        most = rule.get("at_most", 1) if kind == "spread" else 1
        per = [{name for name in members for host in hosts_of[name] if estate.domain(host, scope) == domain}
               for domain in {estate.domain(host, scope) for host in used}]
        return sum(max(len(group) - most, 0) for group in per)
    if kind == "affinity":
        return max(len({estate.domain(host, scope) for host in used}) - 1, 0)
    if kind == "limit_hosts":
        return max(len(used) - rule["at_most"], 0)
    if kind == "exclusive":
        return sum(len(hosts & used) for name, hosts in where.items() if name not in rule["workloads"])
    if kind == "root":
        return sum(len(hosts - {estate.workloads[name].get("current") or next(iter(hosts))}) for name, hosts in hosts_of.items())
    bad = set(rule["hosts"]) if kind == "ban" else set(estate.hosts) - set(rule["hosts"])
    return sum(len(hosts & bad) for hosts in hosts_of.values())


def _summary(estate: _Estate, plan: dict[str, Any]) -> list[str]:
    found = []
    summary, placement = plan["summary"], plan["placement"]
    used = len(set(placement.values()))
    if summary["hosts_used"] != used or (not plan["unplaced"] and summary["hosts_bound"] > used):
        found.append(f"hosts used {used}, summary {summary}")
    changed = {n for n, host in placement.items() if estate.workloads[n].get("current") not in (None, host)}
    if summary["moves"] != len(changed):
        found.append(f"moves {len(changed)}, summary {summary['moves']}")
    limit = estate.policy.get("max_moves")
    if limit is not None and len(changed) > limit:
        found.append(f"{len(changed)} moves, allowed {limit}")
    if not plan["unplaced"] and plan["status"] == "optimal" and used != summary["hosts_bound"]:
        found.append("optimal, yet not at the bound")
    return found


def _failover(estate: _Estate, placement: dict[str, str]) -> list[str]:
    """Every set of k used hosts: search exhaustively for a way to restart what they hold."""
    used = sorted(set(placement.values()))
    k = min(estate.policy.get("failover") or 0, len(used))
    lost_for_good = [failed for failed in combinations(used, k) if k and not _restarts(
        estate, {n: h for n, h in placement.items() if h not in failed}, sorted(n for n, h in placement.items() if h in failed), failed)]
    return [f"the failure of {failed} is not survived" for failed in lost_for_good]


def _restarts(estate: _Estate, at: dict[str, str], waiting: list[str], failed: tuple[str, ...]) -> bool:
    if not waiting:
        return True
    name, workload = waiting[0], estate.workloads[waiting[0]]
    for host, told in estate.hosts.items():
        able = told.get("state", "active") == "active" and set(workload.get("requires") or ()) <= set(told.get("features") or ())
        if host in failed or not able or workload.get("vcpus", 0) > (told.get("limits") or {}).get("vcpus", 10**9):
            continue
        trial = {**at, name: host}
        members = [n for n, there in trial.items() if there == host]
        fits = all(estate.load(members, r, s) <= estate.capacity(host, r, False) for r in estate.resources for s in range(estate.slots))
        kept = not any(amount(estate, rule, _where(trial)) > amount(estate, rule, _where(at)) for rule in estate.rules
                       if rule.get("enforce", "hard") == "hard" and (rule["rule"] in ("fence", "ban") or (
                           rule["rule"] == "anti_affinity" and rule.get("scope", "host") == "host")))
        if fits and kept and _restarts(estate, trial, waiting[1:], failed):
            return True
    return False


def _method(estate: _Estate, workload: dict[str, Any], source: str | None, target: str) -> str:
    if source is None:
        return "define"
    storage = workload.get("storage", "local")
    live = storage == "shared" or (storage == "replicated" and workload.get("replica") == target)
    same = estate.hosts[source].get("pool") == estate.hosts[target].get("pool")
    return "live" if live and workload.get("live", True) and same else "offline"


def _moves(estate: _Estate, plan: dict[str, Any]) -> list[str]:
    """Carry the moves out, and check every order within small waves."""
    found = []
    at = {name: workload["current"] for name, workload in estate.workloads.items() if workload.get("current")}
    tolerated = {i: amount(estate, rule, _where(at)) for i, rule in enumerate(estate.rules)}
    start = {(h, r, s): estate.load([n for n in at if at[n] == h], r, s)
             for h in estate.hosts for r in estate.resources for s in range(estate.slots)}
    if [move["step"] for move in plan["moves"]] != list(range(1, len(plan["moves"]) + 1)):
        found.append("steps are not 1, 2, 3 ...")
    waves: dict[int, list[dict[str, Any]]] = {}
    for move in plan["moves"]:
        waves.setdefault(move["wave"], []).append(move)
    if list(waves) != list(range(1, len(waves) + 1)):
        found.append(f"waves in the order {list(waves)}")
    for wave in waves.values():
        found += _limits(estate, wave)
        orders = permutations(wave) if len(wave) <= 3 else [tuple(wave), tuple(reversed(wave))]
        for order in orders:
            trial = dict(at)
            for move in order:
                name = move["workload"]
                if trial.get(name) != move["from"]:
                    found.append(f"{name} moves from {move['from']}, but stands on {trial.get(name)}")
                if move["method"] != _method(estate, estate.workloads[name], move["from"], move["to"]):
                    found.append(f"{name}: method {move['method']}")
                found += _standing(estate, _during(trial, [move]), start, tolerated)
                trial[name] = move["to"]
        found += _standing(estate, _during(at, wave), start, tolerated)
        at.update({move["workload"]: move["to"] for move in wave})
        found += _standing(estate, _where(at), start, tolerated)
    ended = {name: host for name, host in at.items() if name in plan["placement"]}
    return found + ([f"moves end at {ended}, placement is {plan['placement']}"] if ended != plan["placement"] else [])


def _during(at: dict[str, str], moves: list[dict[str, Any]]) -> dict[str, set[str]]:
    where = _where(at)
    for move in moves:
        where[move["workload"]] = where.get(move["workload"], set()) | {move["to"]}
    return where


def _standing(estate: _Estate, where: dict[str, set[str]], start: dict[Any, Fraction], tolerated: dict[int, int]) -> list[str]:
    found = []
    for host in estate.hosts:
        members = [name for name, hosts in where.items() if host in hosts]
        for resource in estate.resources:
            for slot in range(estate.slots):
                most = max(estate.capacity(host, resource, False), start[host, resource, slot])
                if estate.load(members, resource, slot) > most:
                    found.append(f"while moving: {host} holds too much {resource} in slot {slot}")
    for index, rule in enumerate(estate.rules):
        always = rule.get("during") == "always" and rule.get("enforce", "hard") == "hard"
        if always and amount(estate, rule, where) > tolerated[index]:
            found.append(f"while moving: broken {rule}")
    return found


def _limits(estate: _Estate, wave: list[dict[str, Any]]) -> list[str]:
    found = []
    for name, host in estate.hosts.items():
        limits = host.get("limits") or {}
        for key, end in (("moves_in", "to"), ("moves_out", "from")):
            if sum(move[end] == name for move in wave) > limits.get(key, 10**9):
                found.append(f"{name}: more than {limits[key]} {key}")
    return found
