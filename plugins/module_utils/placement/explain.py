# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why a workload stands where a plan puts it, and why on no other host.

The question for another host is always the same: the plan as it is, but this workload there, with those that a hard affinity
binds to it. The first thing that is wrong with that is the answer; where nothing is, the criteria are compared.
"""
from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .failover import weak_hosts
from .moves import Schedule
from .normalise import normalise
from .objective import evaluate, loads
from .problem import Ints, Problem, plain
from .rules import Rule, compile_rules, occupancy_of
from .state import NOWHERE, group, static_mask

_NAMES = 6
# The places of objective.evaluate that compare placements in which everyone is placed and every hard rule holds.
_CRITERIA = {3: "soft_rules", 4: "move_cost", 5: "moves", 6: "hosts", 7: "utilisation"}
_FIRST = {"hosts": "hosts", "watts": "watts", "balance": "utilisation"}


class ExplainError(ValueError):
    """A question that has no answer: an unknown workload, or a plan of another problem."""


def explain(document: Mapping[str, Any], plan: Mapping[str, Any], workload: str) -> dict[str, Any]:
    """{workload, host, because, demand, together, not_on: [{host, kind, because, ...}]}, plain data.

    host: None when the plan leaves the workload out. together: workloads that a hard affinity binds to it, here moved with it.
    Raises ProblemError when the problem is not sound, ExplainError when plan or workload do not belong to it.
    """
    problem = normalise(document)
    rows = {item.name: row for row, item in enumerate(problem.workloads)}
    row = _row(rows, workload)
    host_of = _placement(problem, plan, rows)
    question = _Question(problem, host_of, row)
    here = int(host_of[row])
    peaks = problem.demand[row].max(axis=1)
    return {
        "workload": workload,
        "host": problem.hosts[here].name if here >= 0 else None,
        "because": _because(problem, plan, row, here),
        "demand": {name: plain(int(peak)) for name, peak in zip(problem.resources, peaks, strict=True) if peak},
        "together": [problem.workloads[member].name for member in question.members if member != row],
        "not_on": [{"host": host.name, **question.answer(index)} for index, host in enumerate(problem.hosts) if index != here],
    }


def find_workload(document: Mapping[str, Any], workload: str) -> None:
    """Raises ExplainError when a problem has no such workload, ProblemError when it is not sound."""
    _row({item.name: row for row, item in enumerate(normalise(document).workloads)}, workload)


def _row(rows: Mapping[str, int], workload: Any) -> int:
    if not isinstance(workload, str) or workload not in rows:
        raise ExplainError(f"workload: value {workload!r}, allowed {_allowed(workload, sorted(rows))}")
    return rows[workload]


def _allowed(name: Any, names: Sequence[str]) -> str:
    """What a workload may be called: the names that come close, else the first of all."""
    folded = {known.casefold(): known for known in names}
    near = [folded[found] for found in difflib.get_close_matches(name.casefold(), list(folded), 5)] if isinstance(name, str) else []
    if near:
        return f"a workload of the problem (did you mean {', '.join(near)}?)"
    return f"a workload of the problem: {_few(names)}" if names else "a workload of the problem, which has none"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")


def _placement(problem: Problem, plan: Mapping[str, Any], rows: Mapping[str, int]) -> Ints:
    if plan.get("inputs_sha256") != problem.sha256:
        raise ExplainError(f"plan: inputs_sha256: value {plan.get('inputs_sha256')!r}, allowed '{problem.sha256}', that of the problem")
    hosts = {host.name: index for index, host in enumerate(problem.hosts)}
    placement = plan.get("placement")
    if not isinstance(placement, Mapping) or not all(name in rows and host in hosts for name, host in placement.items()):
        raise ExplainError("plan: placement: value that does not belong to the problem, allowed a mapping of its workloads to its hosts")
    host_of = np.full(len(rows), NOWHERE, dtype=np.int64)
    for name, host in placement.items():
        host_of[rows[name]] = hosts[host]
    return host_of


def _because(problem: Problem, plan: Mapping[str, Any], row: int, here: int) -> str:
    """Why a workload stands where it does."""
    workload = problem.workloads[row]
    if here < 0:
        return "is not placed: nothing is left for it on any host"
    name = problem.hosts[here].name
    if workload.current == here:
        if not workload.movable:
            return f"stays at home: movable is false and it runs on {name}"
        closed = f" ({name} is closed to others but keeps what runs there)" if problem.hosts[here].state == "closed" else ""
        return f"stays at home{closed}: no move needed"
    moves = [move for move in plan.get("moves") or [] if move.get("workload") == workload.name and not move.get("parking")]
    return str(moves[-1].get("reason") or f"moves to {name}") if moves else f"stands on {name}"


class _Question:
    """What would be wrong with one workload, and those bound to it, on another host than in the plan."""

    def __init__(self, problem: Problem, host_of: Ints, row: int) -> None:
        self.problem, self.host_of, self.row = problem, host_of, row
        self.rules = compile_rules(problem)
        self.hard = [rule for rule in self.rules if rule.spec.hard]
        items = group(problem, self.rules, static_mask(problem, self.rules))
        item = next(item for item in items if row in item)
        # Those who are bound by an affinity but stand apart (some are placed nowhere) are asked about one by one.
        self.members = item if len({int(host_of[member]) for member in item}) == 1 else (row,)
        self.without = host_of.copy()
        self.without[list(self.members)] = NOWHERE
        self.rest = loads(problem, self.without)
        occupancy = occupancy_of(self.without, len(problem.hosts))
        self.broken = [rule.amount(occupancy) for rule in self.hard]
        self.worth = evaluate(problem, self.rules, host_of)

    def answer(self, host: int) -> dict[str, Any]:
        """The first obstacle on a host, else how the criteria compare."""
        there = self.host_of.copy()
        there[list(self.members)] = host
        for member in sorted(self.members, key=lambda member: member != self.row):
            found = self._alone(member, host)
            if found is not None:
                if member != self.row:
                    found["because"] = f"{self.problem.workloads[member].name}, which goes with it, {found['because']}"
                return found
        return self._rule(there, host) or self._room(host) or self._compare(there)

    def _alone(self, member: int, host: int) -> dict[str, Any] | None:
        """What keeps one workload off a host whatever the others do."""
        item, place = self.problem.workloads[member], self.problem.hosts[host]
        home = item.current == host
        if place.state == "drain" or (place.state == "closed" and not home):
            words = "has to leave: the host drains" if home else f"cannot go there: the host's state is {place.state}"
            return {"kind": "state", "state": place.state, "because": words}
        if not item.requires <= place.features:
            lacks = sorted(item.requires - place.features)
            return {"kind": "features", "lacks": lacks, "because": f"requires {', '.join(lacks)}, which the host does not offer"}
        if place.vcpus is not None and item.vcpus > place.vcpus:
            words = f"has {item.vcpus} vCPUs, the host takes at most {place.vcpus}"
            return {"kind": "vcpus", "short_by": item.vcpus - place.vcpus, "because": words}
        if not item.movable and not home:
            return {"kind": "movable", "because": f"stays on {self.problem.hosts[item.current].name}: movable is false"}
        for rule in self.hard:
            mask = rule.static() if member in rule.spec.workloads else None
            if mask is not None and not mask[rule.spec.workloads.index(member), host]:
                return self._forbidden(rule, [], "")
        return None

    def _rule(self, there: Ints, host: int) -> dict[str, Any] | None:
        """A hard rule between workloads that would be broken."""
        occupancy = occupancy_of(there, len(self.problem.hosts))
        for rule, before in zip(self.hard, self.broken, strict=True):
            if rule.between and rule.amount(occupancy) > before:
                return self._forbidden(rule, *self._in_the_way(rule, host))
        current = self.problem.current
        for rule in self.hard:
            if rule.spec.kind == "affinity" and rule.spec.always and set(self.members) & set(rule.spec.workloads):
                domains = set(rule.domain[current[rule.members]].tolist()) if (current[rule.members] >= 0).all() else set()
                if len(domains) == 1 and rule.domain[host] not in domains:
                    return self._forbidden(rule, [], "; it holds at all times, so nobody can leave first")
        return None

    def _forbidden(self, rule: Rule, others: Sequence[int], words: str) -> dict[str, Any]:
        names = [self.problem.workloads[other].name for other in others]
        return {"kind": "rule", "rule": rule.spec.kind, "explanation": rule.explain(), "in_the_way": names,
                "because": f"rule {rule.spec.kind}: {rule.explain()}{words}"}

    def _in_the_way(self, rule: Rule, host: int) -> tuple[list[int], str]:
        """The workloads without which the rule would hold with this one on a host, and where they are."""
        placed, kind = self.without, rule.spec.kind
        others = [int(member) for member in rule.members if placed[member] >= 0]
        near = [other for other in others if rule.domain[placed[other]] == rule.domain[host]]
        if kind == "affinity":
            found = [other for other in others if other not in near]
        elif kind == "limit_hosts":
            found = others
        elif kind == "exclusive" and set(self.members) & set(rule.spec.workloads):
            found = sorted(set(np.nonzero(placed == host)[0].tolist()) - set(rule.spec.workloads))
        else:
            found = near
        names = _few([self.problem.workloads[other].name for other in found])
        if not found:
            return found, ""
        stand = "is" if len(found) == 1 else "are"
        if kind in ("affinity", "limit_hosts"):
            return found, f"; {names} {stand} on {_few(sorted({self.problem.hosts[int(placed[other])].name for other in found}))}"
        return found, f"; {names} {stand} there" if rule.spec.scope == "host" else f"; {names} {stand} in that zone"

    def _room(self, host: int) -> dict[str, Any] | None:
        """The resource that is shortest beside what the plan puts on a host, in its worst slot."""
        usable = self.problem.usable[host]
        needs = self.problem.demand[list(self.members)].sum(axis=0)
        short = needs + self.rest[host] - usable[:, None]
        if not (short > 0).any():
            return None
        worst = int(np.argmax(short.max(axis=1) / np.maximum(usable, 1)))
        slot = int(np.argmax(short[worst]))
        free = int(usable[worst] - self.rest[host, worst, slot])
        found = {"kind": "room", "resource": self.problem.resources[worst], "slot": slot, "short_by": plain(int(short[worst, slot])),
                 "needs": plain(int(needs[worst, slot])), "free": plain(free), "usable": plain(int(usable[worst]))}
        empty = bool((needs > usable[:, None]).any())
        when = f" in time slot {slot + 1} of {self.problem.slots}" if self.problem.slots > 1 else ""
        who = "do not fit together" if len(self.members) > 1 else "does not fit"
        beside = "even when the host is empty" if empty else "beside what the plan puts there"
        found["because"] = (f"{who} {beside}: {found['resource']} short by {found['short_by']}{when}"
                            f" (needs {found['needs']}, free {found['free']} of {found['usable']})")
        return found

    def _compare(self, there: Ints) -> dict[str, Any]:
        """Nothing forbids it: the first criterion that differs, and what else speaks against it where that is better."""
        worth = evaluate(self.problem, self.rules, there)
        place = next((place for place, (new, old) in enumerate(zip(worth, self.worth, strict=True)) if new != old), None)
        if place is None:
            return {"kind": "equal", "because": "would fit, but is no better: equal by every criterion"}
        objective = _FIRST[self.problem.policy.objective]
        criterion = objective if place == 2 else _CRITERIA.get(place, "unplaced")
        found = {"criterion": criterion, "here": _number(criterion, self.worth[place]), "there": _number(criterion, worth[place])}
        if worth > self.worth:
            return {"kind": "criterion", **found, "because": f"would fit, but {self._worse(criterion, found, there)}"}
        return self._unreachable(there, int(worth[5])) or {
            "kind": "better", **found, "because": f"would be better by {criterion.replace('_', ' ')} ({found['there']} instead of"
            f" {found['here']}); the search did not come upon it"}

    def _worse(self, criterion: str, found: Mapping[str, Any], there: Ints) -> str:
        numbers = f"{found['there']} instead of {found['here']}"
        if criterion == "soft_rules":
            before, after = (occupancy_of(placed, len(self.problem.hosts)) for placed in (self.host_of, there))
            rule = next(rule for rule in self.rules if not rule.spec.hard and rule.spec.weight
                        and rule.amount(after) and not rule.amount(before))
            return f"would break the soft rule {rule.spec.kind}: {rule.explain()}"
        return {"hosts": f"would use another host: {numbers}", "watts": f"would take more power: {numbers} watts",
                "utilisation": f"would fill the fullest host more: {numbers} %", "move_cost": f"would cost a move: {numbers} in total",
                "moves": f"would cost a move: {numbers} moves"}[criterion]

    def _unreachable(self, there: Ints, moves: int) -> dict[str, Any] | None:
        """Why a placement that looks better may not be taken."""
        most = self.problem.policy.max_moves
        if most is not None and moves > most:
            words = f"would take {moves} move{'' if moves == 1 else 's'}, policy.max_moves allows {most}"
            return {"kind": "policy", "policy": "max_moves", "because": words}
        if Schedule(self.problem, self.rules, there).stuck:
            return {"kind": "moves", "because": "no order of moves leads there"}
        weak = weak_hosts(self.problem, self.rules, there)
        if weak is None:
            return None
        names = [self.problem.hosts[host].name for host in weak]
        lost = f"no room is found for what {', '.join(names)} would lose" if names else "too many sets of hosts to check"
        return {"kind": "policy", "policy": "failover", "because": f"would not keep policy.failover {self.problem.policy.failover}: {lost}"}


def _number(criterion: str, value: float) -> int | float:
    """A place of objective.evaluate as people write it: costs and weights are millionths there, utilisation a share."""
    if criterion in ("soft_rules", "move_cost"):
        return plain(int(value))
    if criterion == "utilisation":
        return round(100 * value, 7)
    return int(value) if float(value).is_integer() else float(value)
