# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules: each a class with one check, one mask for the search and one explanation.

`amount` counts by how much a rule is broken: 0 when it holds. It takes an occupancy bool[workloads, hosts], in which a
workload that migrates live stands on two hosts; a workload that is placed nowhere breaks no rule.
`mask` tells where one more member may go, given where the others are (`host_of`, -1 for nowhere) and how many
workloads each host holds; only rules between workloads have one, the others are part of the static mask.
"""
from __future__ import annotations

import json
from typing import Any

import numpy as np

from .affinity import bound_together
from .numa import seats
from .problem import Bools, Ints, Problem, RuleSpec


class Rule:
    """A rule of a problem. between: it relates workloads to one another, so that it cannot be checked one by one."""

    between = True

    def __init__(self, spec: RuleSpec, problem: Problem) -> None:
        self.spec = spec
        self.problem = problem
        self.members = np.array(spec.workloads, dtype=np.int64)
        self.domain = problem.zone if spec.scope == "zone" else np.arange(len(problem.hosts), dtype=np.int64)
        self.domains = int(self.domain.max()) + 1

    def amount(self, occupancy: Bools) -> int:
        """By how much the rule is broken; 0 when it holds."""
        raise NotImplementedError

    def static(self) -> Bools | None:
        """bool[members, hosts] of what the rule allows each member on its own, or None."""
        return None

    def mask(self, workload: int, host_of: Ints, count: Ints) -> Bools:
        """bool[hosts]: where the workload, placed nowhere yet, may go."""
        raise NotImplementedError

    def allows(self, workload: int, host: int, host_of: Ints, count: Ints) -> bool:
        """Whether the workload, placed nowhere yet, may go to one host."""
        return bool(self.mask(workload, host_of, count)[host])

    def concerns(self, workload: int) -> bool:
        """Whether a workload has to do with it that the rule is broken at the start."""
        return workload in self.spec.workloads

    def explain(self) -> str:
        """The rule in words."""
        raise NotImplementedError

    def written(self) -> dict[str, Any]:
        """The rule as it was written, with its defaults."""
        return dict(json.loads(self.spec.text))

    def _names(self) -> str:
        names = [self.problem.workloads[index].name for index in self.spec.workloads]
        return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")

    def _hosts(self) -> str:
        return ", ".join(self.problem.hosts[index].name for index in self.spec.hosts)

    def _in_domains(self, occupancy: Bools) -> Bools:
        """bool[members, domains]: which member is (also) where."""
        inside = np.zeros((len(self.members), self.domains), dtype=bool)
        rows, hosts = np.nonzero(occupancy[self.members])
        inside[rows, self.domain[hosts]] = True
        return inside

    def _others(self, workload: int, host_of: Ints) -> Ints:
        """The hosts of the other members that are placed."""
        places = host_of[self.members[self.members != workload]]
        return places[places >= 0]


class Spread(Rule):
    """At most `at_most` members per host or zone."""

    def amount(self, occupancy: Bools) -> int:
        per_domain = self._in_domains(occupancy).sum(axis=0)
        return int(np.maximum(per_domain - self.spec.at_most, 0).sum())

    def mask(self, workload: int, host_of: Ints, count: Ints) -> Bools:
        per_domain = np.bincount(self.domain[self._others(workload, host_of)], minlength=self.domains)
        return np.asarray(per_domain[self.domain] < self.spec.at_most)

    def explain(self) -> str:
        return f"at most {self.spec.at_most} of {self._names()} per {self.spec.scope}"


class AntiAffinity(Spread):
    """No two members on one host or zone."""

    def explain(self) -> str:
        return f"no two of {self._names()} on one {self.spec.scope}"


class Affinity(Rule):
    """All members on one host or in one zone."""

    def amount(self, occupancy: Bools) -> int:
        return max(int(self._in_domains(occupancy).any(axis=0).sum()) - 1, 0)

    def mask(self, workload: int, host_of: Ints, count: Ints) -> Bools:
        others = self._others(workload, host_of)
        if not len(others):
            return np.ones(len(self.domain), dtype=bool)
        return np.isin(self.domain, self.domain[others])

    def explain(self) -> str:
        return f"{self._names()} together on one {self.spec.scope}"


class Fence(Rule):
    """Members only on some hosts."""

    between = False

    def static(self) -> Bools:
        allowed = np.zeros((len(self.members), len(self.problem.hosts)), dtype=bool)
        allowed[:, list(self.spec.hosts)] = True
        return allowed

    def amount(self, occupancy: Bools) -> int:
        return int((occupancy[self.members] & ~self.static()).sum())

    def explain(self) -> str:
        return f"{self._names()} only on {self._hosts()}"


class Ban(Fence):
    """Members never on some hosts."""

    def static(self) -> Bools:
        return ~super().static()

    def explain(self) -> str:
        return f"{self._names()} never on {self._hosts()}"


class Root(Fence):
    """Members stay on their current host; those without one are free."""

    def static(self) -> Bools:
        allowed = np.ones((len(self.members), len(self.problem.hosts)), dtype=bool)
        for row, workload in enumerate(self.members):
            home = self.problem.current[workload]
            if home >= 0:
                allowed[row] = False
                allowed[row, home] = True
        return allowed

    def explain(self) -> str:
        return f"{self._names()} stay where they are"


class Exclusive(Rule):
    """The hosts of the members hold nobody else."""

    def amount(self, occupancy: Bools) -> int:
        inside = occupancy[self.members]
        return int((occupancy.sum(axis=0) - inside.sum(axis=0))[inside.any(axis=0)].sum())

    def mask(self, workload: int, host_of: Ints, count: Ints) -> Bools:
        held = np.bincount(self._others(workload, host_of), minlength=len(count))
        if workload in self.spec.workloads:
            return np.asarray(count == held)
        return np.asarray(held == 0)

    def explain(self) -> str:
        return f"the hosts of {self._names()} hold nobody else"


class LimitHosts(Rule):
    """The members use at most so many hosts."""

    def amount(self, occupancy: Bools) -> int:
        return max(int(occupancy[self.members].any(axis=0).sum()) - self.spec.at_most, 0)

    def mask(self, workload: int, host_of: Ints, count: Ints) -> Bools:
        held = np.bincount(self._others(workload, host_of), minlength=len(count)) > 0
        return held if int(held.sum()) >= self.spec.at_most else np.ones(len(count), dtype=bool)

    def explain(self) -> str:
        return f"{self._names()} on at most {self.spec.at_most} hosts"


class Numa(Rule):
    """Every workload within one NUMA node of its host where one is as large as it; nobody writes it, hosts with nodes make it."""

    REMEMBERED = 200_000

    def __init__(self, spec: RuleSpec, problem: Problem) -> None:
        super().__init__(spec, problem)
        self.divided = [host for host, nodes in enumerate(problem.nodes) if nodes is not None]
        self.bound = bound_together(problem.rules, len(problem.workloads))
        self._known: dict[tuple[int, bytes], int] = {}

    def amount(self, occupancy: Bools) -> int:
        return sum(self._loose(host, np.nonzero(occupancy[:, host])[0]) for host in self.divided)

    def mask(self, workload: int, host_of: Ints, count: Ints) -> Bools:
        result = np.ones(len(self.problem.hosts), dtype=bool)
        for host in self.divided:
            result[host] = self.allows(workload, host, host_of, count)
        return result

    def allows(self, workload: int, host: int, host_of: Ints, count: Ints) -> bool:
        if self.problem.nodes[host] is None:
            return True
        # Those who go with it are placed one after another: all that are placed nowhere yet have to find room as well.
        coming = [member for member in self.bound[workload] if host_of[member] < 0]
        return not self._loose(host, np.union1d(np.nonzero(host_of == host)[0], coming))

    def explain(self) -> str:
        names = [self.problem.hosts[host].name for host in self.divided]
        return f"each workload within one NUMA node of {', '.join(names[:6])}" + (f" and {len(names) - 6} more" if len(names) > 6 else "")

    def written(self) -> dict[str, Any]:
        return {"rule": "numa"}

    def concerns(self, workload: int) -> bool:
        home = int(self.problem.current[workload])
        return home in self.divided and self._loose(home, np.nonzero(self.problem.current == home)[0]) > 0

    def _loose(self, host: int, members: Ints) -> int:
        """How many of some workloads find no room in the nodes of a host."""
        key = (host, members.tobytes())
        if key not in self._known:
            if len(self._known) >= self.REMEMBERED:
                self._known.clear()
            self._known[key] = len(seats(self.problem, host, members.tolist()).loose)
        return self._known[key]


_CLASSES: dict[str, type[Rule]] = {
    "affinity": Affinity, "anti_affinity": AntiAffinity, "ban": Ban, "exclusive": Exclusive,
    "fence": Fence, "limit_hosts": LimitHosts, "root": Root, "spread": Spread,
}


def compile_rules(problem: Problem) -> list[Rule]:
    """The rules of a problem, in their canonical order; at the end the NUMA nodes of all hosts, where there are any."""
    rules = [_CLASSES[spec.kind](spec, problem) for spec in problem.rules]
    if any(nodes is not None for nodes in problem.nodes):
        everyone = tuple(range(len(problem.workloads)))
        rules.append(Numa(RuleSpec(kind="numa", workloads=everyone, hosts=(), scope="host", at_most=1, hard=True, weight=0,
                                   always=False, text=""), problem))
    return rules


def occupancy_of(host_of: Ints, hosts: int) -> Bools:
    """bool[workloads, hosts] of a placement."""
    occupancy = np.zeros((len(host_of), hosts), dtype=bool)
    placed = np.nonzero(host_of >= 0)[0]
    occupancy[placed, host_of[placed]] = True
    return occupancy
