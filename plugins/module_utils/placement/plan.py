# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`place`: from a problem {hosts, workloads, rules, policy} to a plan."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .assignment import Model
from .bound import hosts_bound
from .conflict import find_conflict, pack, unplaced_reasons
from .estimates import estimates, reasons
from .exact import place_all
from .failover import weak_hosts
from .improve import descend, go_home, level, relabel, restore
from .moves import Schedule
from .normalise import normalise
from .numa import seats
from .objective import evaluate, loads
from .packing import Item
from .patterns import prove
from .polish import few_pairs, polish
from .problem import SCALE, Bools, Ints, Problem, plain
from .repair import fewer_hosts
from .rules import Rule, compile_rules
from .search import Search
from .state import State, group, static_mask

SCHEMA = 1
_SCHEDULED = 40


@dataclass(frozen=True)
class Candidate:
    """A placement with its worth (see objective.evaluate)."""

    worth: tuple[float, ...]
    host_of: Ints

    def complete(self) -> bool:
        """Whether all are placed and all hard rules hold."""
        return self.worth[0] == 0 and self.worth[1] == 0


def place(document: Mapping[str, Any]) -> dict[str, Any]:
    """Plan a problem. Raises ProblemError with every finding when the problem is not sound; returns the plan.

    The plan is plain data (dict, list, str, int, float, bool, None) and depends on nothing but the problem.
    """
    problem = normalise(document)
    rules = compile_rules(problem)
    allowed = static_mask(problem, rules)
    items = group(problem, rules, allowed)
    bound = hosts_bound(problem, allowed)
    ranking = Ranking(problem, rules, bound)
    candidates = find_candidates(ranking, allowed, items)
    bound, candidates = _prove(ranking, allowed, items, bound, candidates)
    ranking.bound = bound
    model = Model(State(problem, rules, allowed), items, rules)
    candidates = _cheapest(ranking, allowed, _fewest(ranking, candidates, model), model)
    chosen, schedule, weak = choose(problem, rules, candidates)
    if problem.policy.failover and weak is not None and chosen.complete():
        chosen, schedule, weak = spread_out(ranking, allowed, items, int(chosen.worth[6])) or (chosen, schedule, weak)
    return _plan(problem, rules, allowed, candidates, chosen, schedule, weak, bound, model)


def find_candidates(ranking: Ranking, allowed: Bools, items: Sequence[Item], usable: Ints | None = None) -> list[Candidate]:
    """All placements found, best first."""
    problem, rules = ranking.problem, ranking.rules
    least = ranking.bound
    found = Search(problem, rules, allowed, items, usable, least=least).run()
    found += _repaired(ranking, allowed, items, found, usable)
    if any(not rule.spec.hard and rule.spec.weight for rule in rules):
        strict = static_mask(problem, rules, soft=True)
        found += Search(problem, rules, np.where(strict.any(axis=1, keepdims=True), strict, allowed), items, usable, soft=True,
                        least=least).run()
    ranked = ranking.of(found)
    found += [better for candidate in ranked[:6] for better in _improved(problem, rules, allowed, items, candidate.host_of, usable)]
    ranked = ranking.of(found)
    if usable is None and (not ranked or ranked[0].worth[0]):
        ranked = ranking.of(found + _rescued(problem, rules, allowed, items))
    return ranked


def _improved(problem: Problem, rules: Sequence[Rule], allowed: Bools, items: Sequence[Item], host_of: Ints,
              usable: Ints | None = None) -> list[Ints]:
    """A placement, as it is and with whole hosts exchanged, made better without another host."""
    found = []
    for start in (host_of, relabel(problem, allowed, host_of)):
        state = restore(problem, rules, allowed, items, start, usable)
        go_home(state, items)
        if problem.policy.objective == "balance":
            level(state, items)
        found.append(descend(problem, rules, state, items).host_of.copy())
    return found


def _prove(ranking: Ranking, allowed: Bools, items: Sequence[Item], bound: int,
           candidates: list[Candidate]) -> tuple[int, list[Candidate]]:
    """A better bound, and better candidates, where the best one is above the bound."""
    problem, rules = ranking.problem, ranking.rules
    if problem.policy.objective != "hosts" or not candidates or not candidates[0].complete():
        return bound, candidates
    state = restore(problem, rules, allowed, items, candidates[0].host_of)
    bound, packed = _packed(state, items, bound)
    if packed is None:
        return bound, candidates
    found = [candidate.host_of for candidate in candidates] + _improved(problem, rules, allowed, items, packed)
    return bound, ranking.of(found)


def _fewest(ranking: Ranking, candidates: list[Candidate], model: Model) -> list[Candidate]:
    """The candidates, and on a small estate those on fewer hosts than the best of them that the exact model finds."""
    problem = ranking.problem
    if not candidates or problem.policy.objective != "hosts" or not candidates[0].complete() or not model.small:
        return candidates
    found = [candidate.host_of for candidate in candidates]
    for hosts in range(int(candidates[0].worth[6]) - 1, ranking.bound - 1, -1):
        solved = model.solve(hosts, [int((problem.current[list(item)] >= 0).sum()) for item in model.items])
        if solved is None:
            break
        found.append(solved)
    return ranking.of(found)


def _cheapest(ranking: Ranking, allowed: Bools, candidates: list[Candidate], model: Model) -> list[Candidate]:
    """The candidates, the one that moves least on the fewest hosts found, by the exact model where it is small enough, and the
    best of them made better step by step.
    """
    problem = ranking.problem
    if not candidates or not candidates[0].complete():
        return candidates
    found = [candidate.host_of for candidate in candidates]
    if problem.policy.objective == "hosts" and candidates[0].worth[5]:
        # Cost first, then the number of moves: one move more never outweighs any cost.
        many = len(problem.workloads) + 1
        moving = [[member for member in item if problem.current[member] >= 0] for item in model.items]
        worth = [int(problem.move_cost[members].sum()) * many + len(members) * SCALE for members in moving]
        solved = model.solve(int(candidates[0].worth[6]), worth)
        found += [solved] if solved is not None else []
    best = ranking.of(found)[0].host_of
    if not few_pairs(problem):
        return ranking.of(found)
    return ranking.of([*found, polish(problem, ranking.rules, allowed, model.items, best)])


def _packed(state: State, items: Sequence[Item], bound: int) -> tuple[int, Ints | None]:
    """The bound of column generation, and its packing where that needs fewer hosts than a state."""
    proof = prove(state, items, int((state.count > 0).sum()), bound, state.problem.policy.seed)
    if proof.groups is None:
        return proof.bound, None
    host_of = state.host_of.copy()
    for host, together in zip(np.nonzero(state.allowed.any(axis=0))[0], proof.groups, strict=False):
        for position in together:
            host_of[list(items[position])] = host
    return proof.bound, host_of


def _repaired(ranking: Ranking, allowed: Bools, items: Sequence[Item], found: Sequence[Ints], usable: Ints | None) -> list[Ints]:
    """Placements on fewer hosts than the best of those found, down to the bound."""
    problem, rules = ranking.problem, ranking.rules
    ranked = ranking.of(found)
    if problem.policy.objective == "balance" or not ranked or not ranked[0].complete():
        return []
    state = restore(problem, rules, allowed, items, ranked[0].host_of, usable)
    least, fewer = ranking.bound, []
    if usable is None and problem.demand.shape[1:] == (1, 1):
        # With one number a workload, patterns are quicker than any search.
        least, packed = _packed(state, items, least)
        if packed is not None:
            fewer.append(packed)
            state = restore(problem, rules, allowed, items, packed)
    return fewer + [smaller.host_of for smaller in fewer_hosts(state, items, least)]


def _rescued(problem: Problem, rules: Sequence[Rule], allowed: Bools, items: Sequence[Item]) -> list[Ints]:
    """Complete placements by other ways than the search's, which left somebody out."""
    hard = [rule for rule in rules if rule.spec.hard]
    ways = (place_all(State(problem, rules, allowed), items), pack(problem, hard, range(len(problem.workloads))))
    found = [host_of for host_of in ways if host_of is not None]
    for host_of in list(found):
        state = restore(problem, rules, allowed, items, host_of)
        go_home(state, items)
        found.append(descend(problem, rules, state, items).host_of.copy())
    return found


class Ranking:
    """Sorts placements, best first, and evaluates each only once. bound: hosts below which nothing exists."""

    def __init__(self, problem: Problem, rules: Sequence[Rule], bound: int) -> None:
        self.problem, self.rules, self.bound = problem, rules, bound
        self.worths: dict[bytes, tuple[float, ...]] = {}

    def of(self, found: Sequence[Ints]) -> list[Candidate]:
        """The different ones of some placements that move no more than they may."""
        limit = self.problem.policy.max_moves
        unique = {host_of.tobytes(): host_of for host_of in found}
        for key, host_of in unique.items():
            if key not in self.worths:
                self.worths[key] = evaluate(self.problem, self.rules, host_of)
        ranked = [Candidate(self.worths[key], host_of) for key, host_of in unique.items()]
        ranked = [candidate for candidate in ranked if limit is None or candidate.worth[5] <= limit]
        return sorted(ranked, key=lambda candidate: (candidate.worth, candidate.host_of.tolist()))


def spread_out(ranking: Ranking, allowed: Bools, items: Sequence[Item],
               least: int) -> tuple[Candidate, Schedule, None] | None:
    """A placement on as few hosts as found, from `least` on, that leaves room on every host for what k others may lose."""
    problem, rules = ranking.problem, ranking.rules
    k, hosts = problem.policy.failover, len(problem.hosts)
    for used in range(max(k + 1, least), hosts + 1):
        room = np.minimum(problem.usable, problem.capacity // used * (used - k))
        complete = [c for c in find_candidates(ranking, allowed, items, room) if c.complete()]
        if complete:
            chosen, schedule, weak = choose(problem, rules, complete)
            if weak is None and not schedule.stuck:
                return chosen, schedule, None
    return None


def choose(problem: Problem, rules: Sequence[Rule], candidates: Sequence[Candidate],
           ) -> tuple[Candidate, Schedule, tuple[int, ...] | None]:
    """The best candidate that survives failures and whose moves have an order; else the best one with what is wrong.

    weak: the hosts whose failure it does not survive, or None.
    """
    first: tuple[Candidate, Schedule, tuple[int, ...] | None] | None = None
    for candidate in candidates[:_SCHEDULED]:
        if first is not None and first[0].complete() and first[2] is not None and not candidate.complete():
            # Not to survive a failure is no reason to leave somebody out: `spread_out` comes next.
            break
        weak = weak_hosts(problem, rules, candidate.host_of)
        if weak is not None and first is not None:
            continue
        schedule = Schedule(problem, rules, candidate.host_of)
        first = first or (candidate, schedule, weak)
        if weak is None and not schedule.stuck:
            if candidate.worth[:2] == first[0].worth[:2] or first[1].stuck or first[2] is not None:
                return (*_reached(problem, rules, candidate, schedule), weak)
            break
    if first is None:
        raise AssertionError("the search found no placement at all, not even an empty one")
    return first


def _reached(problem: Problem, rules: Sequence[Rule], candidate: Candidate, schedule: Schedule) -> tuple[Candidate, Schedule]:
    """A candidate made better step by step, as long as its moves have an order and it survives failures."""
    if not candidate.complete() or not few_pairs(problem):
        return candidate, schedule
    allowed = static_mask(problem, rules)

    def reachable(host_of: Ints) -> bool:
        return weak_hosts(problem, rules, host_of) is None and not Schedule(problem, rules, host_of).stuck
    host_of = polish(problem, rules, allowed, group(problem, rules, allowed), candidate.host_of, reachable)
    if host_of is candidate.host_of:
        return candidate, schedule
    return Candidate(evaluate(problem, rules, host_of), host_of), Schedule(problem, rules, host_of)


def _plan(problem: Problem, rules: Sequence[Rule], allowed: Bools, candidates: Sequence[Candidate], chosen: Candidate,
          schedule: Schedule, weak: tuple[int, ...] | None, bound: int, model: Model) -> dict[str, Any]:
    host_of, stuck = chosen.host_of.copy(), set(schedule.stuck)
    while schedule.stuck:
        # Those who cannot get there stay where they are, so that nobody is left on half of the way; which may hold up others.
        host_of[list(schedule.stuck)] = -1
        schedule = Schedule(problem, rules, host_of)
        stuck |= set(schedule.stuck)
    worth = evaluate(problem, rules, host_of)
    good = worth[0] == 0 and worth[1] == 0 and weak is None
    moved = sorted({move.workload for move in schedule.moves if move.source >= 0})
    names = [host.name for host in problem.hosts]
    before = problem.current[problem.current >= 0]
    plan: dict[str, Any] = {
        "schema": SCHEMA,
        "status": _status(problem, good, int(worth[6]), bound, bool(schedule.moves)),
        "inputs_sha256": problem.sha256,
        "summary": {
            "workloads": len(problem.workloads), "hosts_before": len(set(before.tolist())) if len(before) else None,
            "hosts_used": int(worth[6]), "hosts_bound": bound, "moves": int(worth[5]),
            "moved_mib": _moved_mib(problem, moved), "unplaced": int(worth[0]),
        },
        "placement": {w.name: names[host_of[i]] for i, w in enumerate(problem.workloads) if host_of[i] >= 0},
        "hosts": _hosts(problem, host_of),
        "moves": _moves(problem, rules, host_of, schedule),
        "unplaced": unplaced_reasons(problem, rules, allowed, host_of, sorted(stuck)),
        "conflict": [] if good else find_conflict(problem, rules, allowed, host_of, sorted(stuck), weak),
    }
    if problem.policy.tradeoff or problem.policy.effort == "thorough":
        plan["tradeoff"] = tradeoff([*candidates, chosen], model)
    return plan


def _status(problem: Problem, good: bool, used: int, bound: int, moves: bool) -> str:
    if not good:
        return "infeasible"
    if not moves:
        return "nothing_to_do"
    return "optimal" if problem.policy.objective == "hosts" and used == bound else "feasible"


def tradeoff(candidates: Sequence[Candidate], model: Model) -> list[dict[str, int]]:
    """Fewest moves for each number of hosts, most hosts first; only points that no other beats.

    By the exact model where the problem is small enough for it, else the fewest that any candidate has.
    """
    fewest: dict[int, int] = {}
    for candidate in candidates:
        if candidate.complete():
            hosts, moves = int(candidate.worth[6]), int(candidate.worth[5])
            fewest[hosts] = min(moves, fewest.get(hosts, moves))
    current = model.problem.current
    if fewest and model.fits and (current >= 0).any():
        ones = [int((current[list(item)] >= 0).sum()) for item in model.items]
        most = max(*fewest, len(set(current[current >= 0].tolist())))
        for hosts in range(min(fewest), most + 1):
            found = model.solve(hosts, ones)
            if found is not None:
                moved = int(((current >= 0) & (found != current)).sum())
                fewest[hosts] = min(moved, fewest.get(hosts, moved))
    return [{"hosts": hosts, "moves": fewest[hosts]} for hosts in sorted(fewest, reverse=True)
            if not any(other < hosts and fewest[other] <= fewest[hosts] for other in fewest)]


def _moved_mib(problem: Problem, moved: Sequence[int]) -> int | float:
    if "memory_mib" not in problem.resources:
        return 0
    peaks = problem.demand[list(moved), problem.resources.index("memory_mib")].max(axis=1)
    return plain(int(peaks.sum()))


def _hosts(problem: Problem, host_of: Ints) -> dict[str, Any]:
    load = loads(problem, host_of)
    peak = load.argmax(axis=2)
    result = {}
    for index, host in enumerate(problem.hosts):
        result[host.name] = {
            "workloads": [problem.workloads[int(w)].name for w in np.nonzero(host_of == index)[0]],
            "used": {name: plain(int(load[index, r].max())) for r, name in enumerate(problem.resources)},
            "usable": {name: plain(int(problem.usable[index, r])) for r, name in enumerate(problem.resources)},
            "peak_slot": {name: int(peak[index, r]) for r, name in enumerate(problem.resources)},
        }
        if problem.nodes[index] is not None:
            there = seats(problem, index, np.nonzero(host_of == index)[0].tolist()).node_of
            result[host.name]["numa_nodes"] = {problem.workloads[w].name: there[w] for w in sorted(there)}
    return result


def _moves(problem: Problem, rules: Sequence[Rule], host_of: Ints, schedule: Schedule) -> list[dict[str, Any]]:
    told = reasons(problem, rules, host_of, schedule.moves)
    times = estimates(problem, schedule.moves)
    result = []
    for step, (move, reason, (seconds, downtime)) in enumerate(zip(schedule.moves, told, times, strict=True), 1):
        entry: dict[str, Any] = {
            "step": step, "wave": move.wave, "workload": problem.workloads[move.workload].name,
            "from": problem.hosts[move.source].name if move.source >= 0 else None, "to": problem.hosts[move.target].name,
            "method": move.method, "seconds": seconds, "downtime_seconds": downtime, "reason": reason,
        }
        if move.parking:
            entry["parking"] = True
        result.append(entry)
    return result
