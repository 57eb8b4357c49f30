# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Checks a plan against its problem in exact fractions; shares no code with the planner.

`violations(problem, plan)` returns one line per promise of the contract that the plan breaks.
"""
from __future__ import annotations

from fractions import Fraction
from itertools import combinations, pairwise, permutations
from typing import Any


class Estate:
    """The problem, read on its own terms."""

    def __init__(self, problem: dict[str, Any]) -> None:
        self.hosts = {host["name"]: host for host in problem["hosts"]}
        self.workloads = {workload["name"]: workload for workload in problem.get("workloads") or ()}
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
        value *= 1 - _exact((self.policy.get("headroom") or {}).get(resource, 0)) if headroom else 1
        return max(Fraction(0), value - _exact((self.hosts[host].get("reserved") or {}).get(resource, 0)))

    def of_node(self, value: Any, resource: str) -> Fraction:
        usable = _exact(value) * _exact((self.policy.get("overcommit") or {}).get(resource, 1))
        return usable * (1 - _exact((self.policy.get("headroom") or {}).get(resource, 0)))

    def domain(self, host: str, scope: str) -> tuple[str, str]:
        if scope == "zone" and self.hosts[host].get("zone") is not None:
            return ("zone", self.hosts[host]["zone"])
        return ("host", host)

    def load(self, members: Any, resource: str, slot: int) -> Fraction:
        return sum((self.demand(name, resource, slot) for name in members), Fraction(0))


def _exact(value: Any) -> Fraction:
    """The number that was written, to six decimals: half of the last one goes to the even side."""
    return Fraction(round(Fraction(str(value)) * 10**6), 10**6)


def _limit(host: dict[str, Any], key: str, default: int) -> int:
    value = (host.get("limits") or {}).get(key)
    return default if value is None else int(value)


def violations(problem: dict[str, Any], plan: dict[str, Any]) -> list[str]:
    """What is wrong with a plan; an infeasible one is held to what it does place."""
    estate = Estate(problem)
    placement = plan["placement"]
    if sorted(plan["hosts"]) != sorted(estate.hosts):
        return [f"hosts {sorted(plan['hosts'])}, of the problem {sorted(estate.hosts)}"]
    found = []
    missing = set(estate.workloads) - set(placement)
    if {entry["workload"] for entry in plan["unplaced"]} != missing or plan["summary"]["unplaced"] != len(missing):
        found.append(f"unplaced says {plan['unplaced']}, missing are {missing}")
    if missing and plan["status"] != "infeasible":
        found.append(f"status {plan['status']} with {missing} unplaced")
    if plan["status"] == "infeasible" and not plan["conflict"]:
        found.append("infeasible without a conflict")
    found += _single(estate, placement) + _capacity(estate, placement) + _numa(estate, plan)
    broken = [rule for rule in estate.rules if (rule.get("enforce") or "hard") == "hard" and amount(estate, rule, _where(placement))]
    found += [f"broken: {rule}" for rule in broken]
    found += _summary(estate, plan) + _status(estate, plan) + _hosts(estate, plan) + _tradeoff(estate, plan) + _moves(estate, plan)
    found += _shape(plan["moves"])
    if plan["status"] != "infeasible":
        found += _failover(estate, placement)
    return found


def _where(placement: dict[str, str]) -> dict[str, set[str]]:
    return {name: {host} for name, host in placement.items()}


def _single(estate: Estate, placement: dict[str, str]) -> list[str]:
    found = []
    for name, host_name in placement.items():
        workload, host = estate.workloads[name], estate.hosts[host_name]
        home = workload.get("current") == host_name
        state = host.get("state") or "active"
        if state == "drain" or (state == "closed" and not home):
            found.append(f"{name} on {state} {host_name}")
        if workload.get("movable") is False and not home:
            found.append(f"{name} is not movable, yet on {host_name}")
        if not set(workload.get("requires") or ()) <= set(host.get("features") or ()):
            found.append(f"{name} lacks features on {host_name}")
        if (workload.get("vcpus") or 0) > _limit(host, "vcpus", 10**15):
            found.append(f"{name} too wide for {host_name}")
    return found


def _capacity(estate: Estate, placement: dict[str, str]) -> list[str]:
    found = []
    for host in estate.hosts:
        members = [name for name, there in placement.items() if there == host]
        for resource in estate.resources:
            for slot in range(estate.slots):
                if estate.load(members, resource, slot) > estate.capacity(host, resource, True):
                    found.append(f"{host} holds too much {resource} in slot {slot}")
    return found


def _numa(estate: Estate, plan: dict[str, Any]) -> list[str]:
    """Every workload in one node of a host that names its nodes, unless it is larger than each; then on all in proportion."""
    found = []
    for name, host in estate.hosts.items():
        nodes, there = host.get("numa_nodes"), {n for n, at in plan["placement"].items() if at == name}
        told = plan["hosts"][name].get("numa_nodes")
        if (nodes is None) != (told is None) or (nodes is not None and set(told) != there):
            found.append(f"{name}: numa_nodes says {told}, there are {there}")
            continue
        if nodes is None:
            continue
        size = {(i, r): estate.of_node(value, r) for i, node in enumerate(nodes) for r, value in node.items()}
        for workload, seat in told.items():
            inside = [i for i in range(len(nodes)) if all(
                estate.demand(workload, r, s) <= size[i, r] for r in nodes[0] for s in range(estate.slots))]
            if (seat is None) != (not inside) or (seat is not None and seat not in inside):
                found.append(f"{workload} on node {seat} of {name}, fits into {inside}")
        for i, node in enumerate(nodes):
            for resource in node:
                whole = sum(size[j, resource] for j in range(len(nodes)))
                for slot in range(estate.slots):
                    load = sum((estate.demand(n, resource, slot) * (1 if seat == i else Fraction(size[i, resource], whole or 1))
                                for n, seat in told.items() if seat in (i, None)), Fraction(0))
                    if load > size[i, resource]:
                        found.append(f"node {i} of {name} holds too much {resource} in slot {slot}")
    return found


def amount(estate: Estate, rule: dict[str, Any], where: dict[str, set[str]]) -> int:
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


def _summary(estate: Estate, plan: dict[str, Any]) -> list[str]:
    found = []
    summary, placement = plan["summary"], plan["placement"]
    used = len(set(placement.values()))
    if summary["hosts_used"] != used or (not plan["unplaced"] and summary["hosts_bound"] > used):
        found.append(f"hosts used {used}, summary {summary}")
    changed = {n for n, host in placement.items() if estate.workloads[n].get("current") not in (None, host)}
    if summary["moves"] != len(changed):
        found.append(f"moves {len(changed)}, summary {summary['moves']}")
    homes = {workload["current"] for workload in estate.workloads.values() if workload.get("current")}
    if (summary["workloads"], summary["hosts_before"]) != (len(estate.workloads), len(homes) or None):
        found.append(f"workloads {len(estate.workloads)}, hosts before {len(homes)}, summary {summary}")
    moved = {move["workload"] for move in plan["moves"] if move["from"] is not None}
    mib = sum((max(estate.demand(name, "memory_mib", slot) for slot in range(estate.slots)) for name in moved), Fraction(0))
    if _exact(summary["moved_mib"]) != mib:
        found.append(f"moved_mib {mib}, summary {summary['moved_mib']}")
    limit = estate.policy.get("max_moves")
    if limit is not None and len(changed) > limit:
        found.append(f"{len(changed)} moves, allowed {limit}")
    if not plan["unplaced"] and plan["status"] == "optimal" and used != summary["hosts_bound"]:
        found.append("optimal, yet not at the bound")
    return found


def _status(estate: Estate, plan: dict[str, Any]) -> list[str]:
    """What the status promises. Only a plan of all workloads without any move has nothing to do; only `hosts` has a bound to reach."""
    if plan["status"] == "infeasible":
        return []
    best = (estate.policy.get("objective") or "hosts") == "hosts" and len(set(plan["placement"].values())) == plan["summary"]["hosts_bound"]
    due = "nothing_to_do" if not plan["moves"] else "optimal" if best else "feasible"
    found = [] if plan["status"] == due else [f"status {plan['status']}, due is {due}"]
    return found + ([f"{plan['status']} with conflict {plan['conflict']}"] if plan["conflict"] else [])


def _hosts(estate: Estate, plan: dict[str, Any]) -> list[str]:
    """Who is where, what is used at the peak of each resource and when, what is usable: rounded down to six decimals."""
    found = []
    for host, told in plan["hosts"].items():
        members = sorted(name for name, there in plan["placement"].items() if there == host)
        if told["workloads"] != members:
            found.append(f"hosts: {host}: workloads {told['workloads']}, there are {members}")
        for resource in estate.resources:
            series = [estate.load(members, resource, slot) for slot in range(estate.slots)]
            if _exact(told["used"][resource]) != max(series):
                found.append(f"hosts: {host}: used {resource} {told['used'][resource]}, is {max(series)}")
            if told["peak_slot"][resource] != series.index(max(series)):
                found.append(f"hosts: {host}: peak_slot {resource} {told['peak_slot'][resource]}, is {series.index(max(series))}")
            usable = Fraction(estate.capacity(host, resource, True) * 10**6 // 1, 10**6)
            if _exact(told["usable"][resource]) != usable:
                found.append(f"hosts: {host}: usable {resource} {told['usable'][resource]}, is {usable}")
    return found


def _tradeoff(estate: Estate, plan: dict[str, Any]) -> list[str]:
    """Fewer hosts take more moves, or the point would not be there; the plan itself is no better than its point."""
    wanted = bool(estate.policy.get("tradeoff")) or estate.policy.get("effort") == "thorough"
    points = plan.get("tradeoff")
    if (points is not None) != wanted:
        return [f"tradeoff is {points}, wanted is {wanted}"]
    if not points:
        return ["tradeoff without any point"] if wanted and plan["status"] != "infeasible" else []
    found = [f"tradeoff: {after} after {before}" for before, after in pairwise(points)
             if after["hosts"] >= before["hosts"] or after["moves"] <= before["moves"]]
    placed = sum(bool(workload.get("current")) for workload in estate.workloads.values())
    most = min(len(estate.hosts), len(estate.workloads))
    found += [f"tradeoff: {point}" for point in points if not plan["summary"]["hosts_bound"] <= point["hosts"] <= most
              or not 0 <= point["moves"] <= placed]
    used, moves = plan["summary"]["hosts_used"], plan["summary"]["moves"]
    if plan["status"] != "infeasible" and not any(point["hosts"] <= used and point["moves"] <= moves for point in points):
        found.append(f"tradeoff: nothing as good as the plan with {used} hosts and {moves} moves")
    return found


def _shape(moves: list[dict[str, Any]]) -> list[str]:
    """One move a workload, or two of which the first is a parking stop; times that can be."""
    found = []
    for name in sorted({move["workload"] for move in moves}):
        own = [move for move in moves if move["workload"] == name]
        stops = [bool(move.get("parking")) for move in own]
        if stops not in ([False], [True, False]) or (len(own) == 2 and own[0]["from"] == own[1]["to"]):
            found.append(f"{name}: stops {stops} on the way from {own[0]['from']} to {own[-1]['to']}")
    for move in moves:
        if not 0 <= move["downtime_seconds"] <= move["seconds"] or (move["method"] == "offline") != (
                move["downtime_seconds"] == move["seconds"] and move["method"] != "live") or not move["reason"]:
            found.append(f"step {move['step']}: {move}")
    return found


def _failover(estate: Estate, placement: dict[str, str]) -> list[str]:
    """Every set of k used hosts: search exhaustively for a way to restart what they hold."""
    used = sorted(set(placement.values()))
    k = min(estate.policy.get("failover") or 0, len(used))
    lost_for_good = [failed for failed in combinations(used, k) if k and not _restarts(
        estate, {n: h for n, h in placement.items() if h not in failed}, sorted(n for n, h in placement.items() if h in failed), failed)]
    return [f"the failure of {failed} is not survived" for failed in lost_for_good]


def _restarts(estate: Estate, at: dict[str, str], waiting: list[str], failed: tuple[str, ...]) -> bool:
    if not waiting:
        return True
    name, workload = waiting[0], estate.workloads[waiting[0]]
    for host, told in estate.hosts.items():
        able = (told.get("state") or "active") == "active" and set(workload.get("requires") or ()) <= set(told.get("features") or ())
        if host in failed or not able or (workload.get("vcpus") or 0) > _limit(told, "vcpus", 10**15):
            continue
        trial = {**at, name: host}
        members = [n for n, there in trial.items() if there == host]
        fits = all(estate.load(members, r, s) <= estate.capacity(host, r, False) for r in estate.resources for s in range(estate.slots))
        pair = {workload.get("current"), workload.get("replica")} if workload.get("storage") == "replicated" else set()
        kept = not any(amount(estate, rule, _where(trial)) > amount(estate, rule, _where(at)) for rule in estate.rules
                       if (rule.get("enforce") or "hard") == "hard" and (rule["rule"] == "ban" or (
                           # Where disks are is not looked at.
                           rule["rule"] == "fence" and not set(rule["hosts"]) <= pair) or (
                           rule["rule"] == "anti_affinity" and rule.get("scope", "host") == "host")))
        if fits and kept and _restarts(estate, trial, waiting[1:], failed):
            return True
    return False


def _method(estate: Estate, workload: dict[str, Any], source: str | None, target: str) -> str:
    if source is None:
        return "define"
    storage = workload.get("storage") or "local"
    live = storage == "shared" or (storage == "replicated" and workload.get("replica") == target)
    same = estate.hosts[source].get("pool") == estate.hosts[target].get("pool")
    return "live" if live and workload.get("live") is not False and same else "offline"


def _moves(estate: Estate, plan: dict[str, Any]) -> list[str]:
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


def _standing(estate: Estate, where: dict[str, set[str]], start: dict[Any, Fraction], tolerated: dict[int, int]) -> list[str]:
    found = []
    for host in estate.hosts:
        members = [name for name, hosts in where.items() if host in hosts]
        for resource in estate.resources:
            for slot in range(estate.slots):
                most = max(estate.capacity(host, resource, False), start[host, resource, slot])
                if estate.load(members, resource, slot) > most:
                    found.append(f"while moving: {host} holds too much {resource} in slot {slot}")
    for index, rule in enumerate(estate.rules):
        always = rule.get("during") == "always" and (rule.get("enforce") or "hard") == "hard"
        if always and amount(estate, rule, where) > tolerated[index]:
            found.append(f"while moving: broken {rule}")
    return found


def _limits(estate: Estate, wave: list[dict[str, Any]]) -> list[str]:
    found = []
    for name, host in estate.hosts.items():
        for key, end in (("moves_in", "to"), ("moves_out", "from")):
            if sum(move[end] == name for move in wave) > _limit(host, key, 2):
                found.append(f"{name}: more than {_limit(host, key, 2)} {key}")
    return found
