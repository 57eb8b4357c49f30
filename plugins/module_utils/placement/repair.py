# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One host less: its workloads go onto the others beyond what fits, and tabu search takes the overload away again.

Working in overloaded states is what finds dense packings: a greedy move that must fit at once meets a wall long before the
capacity is used up. The idea of searching among infeasible states with few hosts follows Buljubasic and Vasquez, Consistent
neighborhood search for one-dimensional bin packing and two-dimensional vector packing (2016); here the measure is the overload
itself, so that any number of resources, time slots, unlike hosts and rules take part.

All numbers are whole, held as floats far below 2**53 where sums are exact in any order (and eight times as fast as numpy's
integers), and chance is a generator with a fixed seed: every machine searches alike.
"""
from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .packing import Item
from .problem import Ints
from .state import NOWHERE, State

Floats = NDArray[np.float64]

WORK = {"quick": 0, "normal": 5_000_000_000, "thorough": 12_000_000_000}
"""Elements of arrays that may be looked at in all, which bounds the time on every machine alike."""
ROUNDS_AN_ITEM = {"quick": 0, "normal": 150, "thorough": 1_500}

_FINE_BITS = 20
SOLVED_BITS = 26
"""For programs that HiGHS solves, whose answers are held against whole numbers afterwards: exact for most numbers that people write."""
_SWAP_ELEMENTS = 300_000
_ROUND_ELEMENTS = 40_000
_TENURE = 8
_WATCHED = 72
_CANDIDATES = 12
_NEVER = 2.0**61


class Units:
    """Demands and room in small whole numbers, resources and slots in one axis.

    demand[items, d] is rounded up and room[hosts, d] down where the largest host takes more than `bits`, so what fits here fits.
    Each resource is divided by its greatest common divisor first, so that usual numbers (whole MiB, whole percent) stay exact.
    relaxed: demand is rounded down as well, so what fits in truth fits here, which is what a bound needs. exact: nothing was rounded.
    weight: makes resources comparable: overload times weight is a share of the largest host in parts of 2**20.
    """

    def __init__(self, state: State, items: Sequence[Item], relaxed: bool = False, bits: int = _FINE_BITS) -> None:
        problem = state.problem
        resources, slots = len(problem.resources), problem.slots
        room = state.free + _loads(state)
        demand = np.stack([problem.demand[list(item)].sum(axis=0) for item in items])
        self.demand = np.empty((len(items), resources * slots))
        self.room = np.empty((len(problem.hosts), resources * slots))
        self.weight = np.empty(resources * slots)
        self.exact = True
        for resource in range(resources):
            columns = slice(resource * slots, (resource + 1) * slots)
            divisor = int(np.gcd.reduce(np.concatenate([demand[:, resource].ravel(), room[:, resource].ravel()]))) or 1
            largest = int(room[:, resource].max()) // divisor
            shift = max(0, largest.bit_length() - bits)
            self.exact = self.exact and not shift
            sizes = demand[:, resource] // divisor
            self.demand[:, columns] = sizes >> shift if relaxed else -(-sizes >> shift)
            self.room[:, columns] = (room[:, resource] // divisor) >> shift
            self.weight[columns] = max(1, (1 << _FINE_BITS) // max(largest >> shift, 1))


def _loads(state: State) -> Ints:
    result = np.zeros_like(state.free)
    placed = np.nonzero(state.host_of >= 0)[0]
    np.add.at(result, state.host_of[placed], state.problem.demand[placed])
    return result


class Repair:
    """Places what a state leaves out on hosts that it names, moving whatever helps.

    Items that only their own host may take, and members of an item that stand on different hosts, stay as they are.
    """

    def __init__(self, state: State, items: Sequence[Item], units: Units, seed: int) -> None:
        self.state = state
        self.items = list(items)
        self.units = units
        # The resources and slots that are short. Others are looked at when nothing is overloaded in these; what is found then
        # joins them.
        tension = units.demand.sum(axis=0) / np.maximum(units.room.sum(axis=0), 1)
        self.watched = np.sort(np.lexsort((np.arange(len(tension)), -np.round(tension, 9)))[:_WATCHED])
        self.dice = random.Random(seed)
        self.allowed = np.stack([state.allowed[list(item)].all(axis=0) for item in items])
        self.ruled = np.array([any(state.rules_of[member] for member in item) for item in items], dtype=bool)

    def run(self, hosts: Sequence[int], work: int, rounds: int) -> State | None:
        """The state with every item on `hosts`, or None when the effort is used up. work: elements that may be looked at."""
        state = self.state.copy()
        self.left = work
        self._begin(state, hosts)
        if not self._seat_all(state):
            return None
        best, number = float(self.cost.sum()), 0
        while work > 0 and number < rounds:
            number += 1
            overloaded = np.nonzero(self.cost)[0]
            if not len(overloaded):
                if not self._watch_more():
                    return self._settled(state)
                best = float(self.cost.sum())
                continue
            host = int(overloaded[int(self.dice.random() * len(overloaded))])
            work -= self._improve(state, host, number, best)
            self.left = work
            best = min(best, float(self.cost.sum()))
        return None

    def _begin(self, state: State, hosts: Sequence[int]) -> None:
        self.hosts = np.array(sorted(hosts), dtype=np.int64)
        self.may = self.allowed[:, self.hosts]
        place_of = np.full(len(state.problem.hosts), -1, dtype=np.int64)
        place_of[self.hosts] = np.arange(len(self.hosts))
        first = np.array([state.host_of[item[0]] for item in self.items], dtype=np.int64)
        self.at = np.where(first >= 0, place_of[first], -1)
        self._look()
        self.tabu = np.zeros((len(self.items), len(self.hosts)), dtype=np.int64)

    def _look(self) -> None:
        """Demands, and what each host has too much (below 0: free), of all that is watched."""
        self.demand = np.ascontiguousarray(self.units.demand[:, self.watched])
        self.weight = self.units.weight[self.watched]
        self.excess = -self.units.room[self.hosts][:, self.watched]
        seated = np.nonzero(self.at >= 0)[0]
        np.add.at(self.excess, self.at[seated], self.demand[seated])
        self.cost = self._overload(self.excess.copy())

    def _watch_more(self) -> bool:
        """Watch what is overloaded elsewhere; False when nothing is."""
        excess = -self.units.room[self.hosts]
        seated = np.nonzero(self.at >= 0)[0]
        np.add.at(excess, self.at[seated], self.units.demand[seated])
        over = np.nonzero((excess > 0).any(axis=0))[0]
        self.watched = np.union1d(self.watched, over)
        self._look()
        return bool(len(over))

    def _overload(self, excess: Floats) -> Floats:
        """The overload along the last axis; `excess` is used up."""
        return np.asarray(np.maximum(excess, 0, out=excess) @ self.weight)

    def _seat_all(self, state: State) -> bool:
        """Put every loose item where it overloads least, the largest first; False when rules leave one no host."""
        sizes = self.demand @ self.weight
        loose = np.nonzero(self.at < 0)[0]
        for item in loose[np.lexsort((loose, -sizes[loose]))].tolist():
            more = self._overload(self.excess + self.demand[item]) - self.cost
            for place in np.lexsort((np.arange(len(more)), more)).tolist():
                if self.may[item, place] and self._rules_allow(state, item, place):
                    self._seat(state, item, place)
                    break
            else:
                return False
        return True

    def _improve(self, state: State, host: int, number: int, best: float) -> int:
        """The best step that takes something off an overloaded host, tabu ones only for a new best; returns the elements seen."""
        total, width = float(self.cost.sum()), len(self.watched)
        there = np.nonzero(self.at == host)[0]
        without = self.excess[host] - self.demand[there]
        gain = self._overload(without.copy()) - self.cost[host]
        # One item to another host.
        steps = gain[:, None] + self._overload(self.excess[None] + self.demand[there][:, None]) - self.cost[None]
        tabu = self.tabu[there] > number
        forbidden = ~self.may[there] | (tabu & (total + steps >= best))
        forbidden[:, host] = True
        moves = np.where(forbidden, _NEVER, steps)
        # One item against another one.
        others = self._partners(host, width)
        few = max(1, _SWAP_ELEMENTS // max(len(others) * width, 1))
        rows = np.arange(len(there)) if len(there) <= few else np.array(self.dice.sample(range(len(there)), few), dtype=np.int64)
        swaps = self._swaps(host, there[rows], without[rows], others, number, total, best)
        chosen = self._choose(state, there, moves, there[rows], others, swaps)
        if chosen is not None:
            self._take(state, host, chosen, number)
        return _ROUND_ELEMENTS + width * (len(there) * len(self.hosts) + 2 * len(rows) * len(others))

    def _partners(self, host: int, width: int) -> Ints:
        """Items on other hosts: all of them, or those of some hosts chosen by chance where there are too many."""
        others = np.nonzero(self.at != host)[0]
        most = max(_SWAP_ELEMENTS // width, 1)
        if len(others) <= most:
            return others
        places = list(range(len(self.hosts)))
        count = max(1, len(places) * most // len(others))
        picked = np.zeros(len(self.hosts), dtype=bool)
        picked[self.dice.sample(places, count)] = True
        return np.asarray(others[picked[self.at[others]]])

    def _swaps(self, host: int, mine: Ints, without: Floats, others: Ints, number: int, total: float, best: float) -> Floats:
        """float[mine, others]: how the overload changes when two items change places."""
        theirs, demand = self.at[others], self.demand[others]
        here = self._overload(without[:, None] + demand[None]) - self.cost[host]
        there = self._overload((self.excess[theirs] - demand)[None] + self.demand[mine][:, None]) - self.cost[theirs][None]
        steps = here + there
        tabu = (self.tabu[mine][:, theirs] > number) | (self.tabu[others, host] > number)[None]
        fine = self.may[mine][:, theirs] & self.may[others, host][None]
        return np.where(fine & ~(tabu & (total + steps >= best)), steps, _NEVER)

    def _choose(self, state: State, there: Ints, moves: Floats, mine: Ints, others: Ints, swaps: Floats) -> tuple[int, int, int] | None:
        """(item, place, partner or -1) of the best step that the rules allow."""
        for _ in range(_CANDIDATES):
            move, swap = int(moves.argmin()), int(swaps.argmin()) if swaps.size else -1
            if swap >= 0 and swaps.flat[swap] < moves.flat[move]:
                item, partner = int(mine[swap // len(others)]), int(others[swap % len(others)])
                place, value, matrix, index = int(self.at[partner]), swaps.flat[swap], swaps, swap
            else:
                item, place, partner = int(there[move // len(self.hosts)]), move % len(self.hosts), -1
                value, matrix, index = moves.flat[move], moves, move
            if value >= _NEVER:
                return None
            if self._step_allowed(state, item, place, partner):
                return item, place, partner
            matrix.flat[index] = _NEVER
        return None

    def _step_allowed(self, state: State, item: int, place: int, partner: int) -> bool:
        """Whether the rules between workloads allow a step; only items with such rules are tried out."""
        moved = [item] if partner < 0 else [item, partner]
        if not self.ruled[moved].any():
            return True
        home = int(self.at[item])
        for one in moved:
            state.remove(self.items[one])
        allowed = self._rules_allow(state, item, place)
        if allowed and partner >= 0:
            state.place(self.items[item], int(self.hosts[place]))
            allowed = self._rules_allow(state, partner, home)
            state.remove(self.items[item])
        state.place(self.items[item], int(self.hosts[home]))
        if partner >= 0:
            state.place(self.items[partner], int(self.hosts[place]))
        return allowed

    def _rules_allow(self, state: State, item: int, place: int) -> bool:
        host = int(self.hosts[place])
        return all(rule.allows(member, host, state.host_of, state.count) for member in self.items[item] for rule in state.rules_of[member])

    def _take(self, state: State, host: int, step: tuple[int, int, int], number: int) -> None:
        item, place, partner = step
        until = number + 1 + _TENURE + int(self.dice.random() * _TENURE)
        self._leave(state, item)
        if partner >= 0:
            self._leave(state, partner)
            self._seat(state, partner, host)
            self.tabu[partner, place] = until
        self._seat(state, item, place)
        self.tabu[item, host] = until

    def _leave(self, state: State, item: int) -> None:
        place = int(self.at[item])
        state.remove(self.items[item])
        self.excess[place] -= self.demand[item]
        self.cost[place] = self._overload(self.excess[place].copy())
        self.at[item] = -1

    def _seat(self, state: State, item: int, place: int) -> None:
        state.place(self.items[item], int(self.hosts[place]))
        self.excess[place] += self.demand[item]
        self.cost[place] = self._overload(self.excess[place].copy())
        self.at[item] = place

    def _settled(self, state: State) -> State | None:
        """The state, once more held against the exact numbers."""
        return state if (state.free >= 0).all() and (state.host_of[[m for item in self.items for m in item]] != NOWHERE).all() else None


def fewer_hosts(state: State, items: Sequence[Item], least: int) -> list[State]:
    """Complete states with one host less each, from a complete one down to `least` hosts or until the effort is used up.

    Hosts are given up in the order of what they hold: the least load first, and what costs least to move away where something
    runs already.
    """
    problem = state.problem
    found: list[State] = []
    rounds = ROUNDS_AN_ITEM[problem.policy.effort] * len(items)
    if not rounds or not items or any(len({int(state.host_of[m]) for m in item}) > 1 for item in items):
        return found
    units = Units(state, items)
    work = WORK[problem.policy.effort]
    while int((state.count > 0).sum()) > least and work > 0:
        smaller, work = _without_one(state, items, units, work, rounds, len(found))
        if smaller is None:
            break
        found.append(smaller)
        state = smaller
    return found


def _without_one(state: State, items: Sequence[Item], units: Units, work: int, rounds: int, step: int) -> tuple[State | None, int]:
    """The state with one host less, or None; and what is left of the work."""
    problem = state.problem
    used = np.nonzero(state.count > 0)[0]
    load = np.zeros(len(problem.hosts))
    sizes = units.demand @ units.weight
    for position, item in enumerate(items):
        load[state.host_of[item[0]]] += sizes[position]
    order = used[np.lexsort((used, load[used]))]
    for host in order.tolist():
        inside = [item for item in items if state.host_of[item[0]] == host]
        others = [int(other) for other in used if other != host]
        if not others or any(not np.asarray(state.allowed[list(item)].all(axis=0))[others].any() for item in inside):
            continue
        room = units.room[others].sum(axis=0)
        if (units.demand.sum(axis=0) > room).any():
            continue
        trial = state.copy()
        for item in inside:
            trial.remove(item)
        repair = Repair(trial, items, units, problem.policy.seed + step)
        return repair.run(others, work, rounds), repair.left
    return None, work
