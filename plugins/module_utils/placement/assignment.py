# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The exact model: who goes where on at most so many hosts, so that what stays at home is worth most.

One binary for each item and host, one for each host that may hold anything. That nobody stays at home on a host that is given up
is what makes its linear relaxation strong: without these rows the search tree explodes, with them it is usually one node.
"""
from __future__ import annotations

from collections.abc import Sequence

import highspy
import numpy as np

from .packing import Item
from .problem import Ints
from .repair import SOLVED_BITS, Units
from .rules import Rule, Spread
from .solver import new_solver
from .state import NOWHERE, State

MOST_BINARIES = {"quick": 0, "normal": 8_000, "thorough": 30_000}
_SMALL_BINARIES = 400
_MOST_NONZEROS = 1_500_000
_NODES = {"quick": 0, "normal": 500, "thorough": 20_000}
_MOST_COST = 2**40


class Model:
    """The model of one problem, to be solved for several numbers of hosts and several costs.

    empty: a state that holds nothing. Rules between workloads are part of it as far as they only limit how many of some may share
    a host or zone; `fits` is False for a problem with others, or one that is too large for policy.effort.
    """

    def __init__(self, empty: State, items: Sequence[Item], rules: Sequence[Rule]) -> None:
        self.problem, self.items = empty.problem, list(items)
        self.allowed = np.array([np.asarray(empty.allowed[list(item)].all(axis=0)) for item in items])
        self.hosts = len(self.problem.hosts)
        between = [rule for rule in rules if rule.between and rule.spec.hard]
        apart = {id(rule) for rule in between if isinstance(rule, Spread)}
        together = {id(rule) for rule in between if rule.spec.kind == "affinity" and rule.spec.scope == "host"}
        self.spreads = [rule for rule in between if id(rule) in apart]
        grouped = all(self._grouped(rule) for rule in between if id(rule) in together)
        effort = self.problem.policy.effort
        self.fits = (len(between) == len(apart) + len(together) and grouped and bool(items)
                     and len(items) * self.hosts <= MOST_BINARIES[effort])
        if self.fits:
            units = Units(empty, items, bits=SOLVED_BITS)
            columns = np.unique(np.concatenate([units.demand, units.room]), axis=1, return_index=True)[1]
            self.demand, self.room = units.demand[:, np.sort(columns)], units.room[:, np.sort(columns)]
            self.fits = len(items) * self.hosts * self.demand.shape[1] <= _MOST_NONZEROS
        # Whether to ask for fewer hosts than anything else found: without the rows of those at home the tree grows quickly.
        self.small = self.fits and len(items) * self.hosts <= _SMALL_BINARIES
        self.home = np.array([int(self.problem.current[item[0]]) for item in self.items], dtype=np.int64)

    def _grouped(self, rule: Rule) -> bool:
        return any(set(rule.spec.workloads) <= set(item) for item in self.items)

    def solve(self, most_hosts: int, worth: Sequence[int]) -> Ints | None:
        """host_of of the cheapest assignment to at most `most_hosts` hosts, or None when none was found.

        worth: for each item what it costs when it does not stay at home; whole numbers. Members of an item with different homes
        count by the first.
        """
        scaled = self._scaled(worth)
        if not self.fits or scaled is None:
            return None
        solver = new_solver(mip_abs_gap=0.99, mip_max_nodes=_NODES[self.problem.policy.effort])
        solver.passModel(self._program(most_hosts, scaled))
        solver.run()
        if solver.getInfo().primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            return None
        chosen = np.array(solver.getSolution().col_value)[:len(self.items) * self.hosts].reshape(len(self.items), self.hosts)
        at = chosen.argmax(axis=1)
        load = np.zeros_like(self.room)
        np.add.at(load, at, self.demand)
        # HiGHS keeps rows and whole numbers to 1e-6, which may be a unit too much.
        if (load > self.room).any() or len(np.unique(at)) > most_hosts:
            return None
        host_of = np.full(len(self.problem.workloads), NOWHERE, dtype=np.int64)
        for position, item in enumerate(self.items):
            host_of[list(item)] = int(at[position])
        return host_of

    @staticmethod
    def _scaled(worth: Sequence[int]) -> list[int] | None:
        divisor = int(np.gcd.reduce(np.array([int(value) for value in worth], dtype=object))) if len(worth) else 1
        scaled = [int(value) // max(divisor, 1) for value in worth]
        # Beyond this the solver's tolerances would blur the last digits.
        return scaled if sum(scaled) <= _MOST_COST else None

    def _program(self, most_hosts: int, worth: Sequence[int]) -> highspy.HighsLp:
        count, hosts, width = len(self.items), self.hosts, self.demand.shape[1]
        total = count * hosts
        cost = np.zeros(total + hosts)
        upper = np.concatenate([self.allowed.astype(float).reshape(-1), np.ones(hosts)])
        rows: list[tuple[np.ndarray, np.ndarray, float, float]] = []
        for position in range(count):
            cost[position * hosts:(position + 1) * hosts] = worth[position]
            home = int(self.home[position])
            if home >= 0:
                cost[position * hosts + home] = 0
                rows.append((np.array([position * hosts + home, total + home]), np.array([1.0, -1.0]), -highspy.kHighsInf, 0.0))
            else:
                cost[position * hosts:(position + 1) * hosts] = 0
            rows.append((np.arange(position * hosts, (position + 1) * hosts), np.ones(hosts), 1.0, 1.0))
        everyone = np.arange(count) * hosts
        for host in range(hosts):
            for column in range(width):
                values = np.append(self.demand[:, column], -self.room[host, column])
                rows.append((np.append(everyone + host, total + host), values, -highspy.kHighsInf, 0.0))
        rows += self._spread_rows(hosts)
        rows.append((total + np.arange(hosts), np.ones(hosts), -highspy.kHighsInf, float(most_hosts)))
        return _as_program(cost, upper, rows)

    def _spread_rows(self, hosts: int) -> list[tuple[np.ndarray, np.ndarray, float, float]]:
        rows = []
        position_of = {member: position for position, item in enumerate(self.items) for member in item}
        for rule in self.spreads:
            members = np.array([position_of[member] for member in rule.spec.workloads])
            positions, times = np.unique(members, return_counts=True)
            for domain in range(rule.domains):
                inside = np.nonzero(rule.domain == domain)[0]
                if len(inside):
                    index = (positions[:, None] * hosts + inside[None]).reshape(-1)
                    rows.append((index, np.repeat(times.astype(float), len(inside)), -highspy.kHighsInf, float(rule.spec.at_most)))
        return rows


def _as_program(cost: np.ndarray, upper: np.ndarray, rows: list[tuple[np.ndarray, np.ndarray, float, float]]) -> highspy.HighsLp:
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = len(cost), len(rows)
    program.col_cost_, program.col_lower_, program.col_upper_ = cost, np.zeros(len(cost)), upper
    program.row_lower_ = np.array([row[2] for row in rows])
    program.row_upper_ = np.array([row[3] for row in rows])
    program.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    program.a_matrix_.start_ = np.concatenate([[0], np.cumsum([len(row[0]) for row in rows])]).astype(np.int32)
    program.a_matrix_.index_ = np.concatenate([row[0] for row in rows]).astype(np.int32)
    program.a_matrix_.value_ = np.concatenate([row[1] for row in rows]).astype(float)
    program.integrality_ = [highspy.HighsVarType.kInteger] * len(cost)
    return program
