# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Candidates made better without another host: back home, off broken soft rules, level."""
from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .objective import evaluate, loads
from .packing import Item
from .problem import Bools, Ints, Problem
from .rules import Rule, occupancy_of
from .state import State

STEPS = {"quick": 20, "normal": 200, "thorough": 1000}
LEVELS = {"quick": 200, "normal": 2000, "thorough": 20000}


def restore(problem: Problem, rules: Sequence[Rule], allowed: Bools, items: Sequence[Item], host_of: Ints,
            usable: Ints | None = None) -> State:
    """The state of a placement."""
    state = State(problem, rules, allowed, usable)
    for item in items:
        for member in item:
            if host_of[member] >= 0:
                state.place((member,), int(host_of[member]))
    return state


def go_home(state: State, items: Sequence[Item]) -> None:
    """Move back what finds room on its current host, if that host is used anyway; dearest moves first."""
    problem = state.problem
    movers = [item for item in items if len({int(problem.current[m]) for m in item}) == 1
              and problem.current[item[0]] >= 0 <= state.host_of[item[0]] != problem.current[item[0]]]
    movers.sort(key=lambda item: (-int(problem.move_cost[list(item)].sum()), item))
    for item in movers:
        host, home = int(state.host_of[item[0]]), int(problem.current[item[0]])
        if state.count[home] == 0 or len({int(state.host_of[m]) for m in item}) > 1:
            continue
        state.remove(item)
        state.place(item, home if state.may(item, home) else host)


def relabel(problem: Problem, allowed: Bools, host_of: Ints) -> Ints:
    """Exchange whole hosts of equal size so that more workloads stay where they are; largest overlap first."""
    placed = np.nonzero((host_of >= 0) & (problem.current >= 0))[0]
    overlap = np.zeros((len(problem.hosts), len(problem.hosts)), dtype=np.int64)
    np.add.at(overlap, (host_of[placed], problem.current[placed]), problem.move_cost[placed] + 1)
    label = {}
    taken: set[int] = set()
    pairs = [(-int(overlap[a, b]), int(a), int(b)) for a, b in np.argwhere(overlap > 0)]
    for _, source, target in sorted(pairs):
        members = np.nonzero(host_of == source)[0]
        if source in label or target in taken or not (problem.usable[source] == problem.usable[target]).all():
            continue
        if allowed[members, target].all():
            label[source] = target
            taken.add(target)
    for source in sorted(set(host_of[host_of >= 0].tolist()) - set(label)):
        free = source if source not in taken else None
        members = np.nonzero(host_of == source)[0]
        for target in range(len(problem.hosts)) if free is None else ():
            equal = (problem.usable[source] == problem.usable[target]).all()
            if target not in taken and equal and allowed[members, target].all():
                free = target
                break
        if free is None:
            return host_of
        label[source] = free
        taken.add(free)
    return np.array([label[int(host)] if host >= 0 else -1 for host in host_of], dtype=np.int64)


def level(state: State, items: Sequence[Item]) -> None:
    """Move single items off the fullest host, each to where the fuller of the two hosts is emptiest, until none gets better."""
    problem = state.problem
    usable = np.maximum(problem.usable, 1)[:, :, None]
    room = state.free + loads(problem, state.host_of)

    def shares(free: Ints, hosts: Ints) -> NDArray[np.float64]:
        load = room[hosts] - free
        return np.asarray(np.where(load > 0, load / usable[hosts], 0.0).max(axis=(1, 2), initial=0.0))
    everywhere = np.arange(len(problem.hosts))
    for _ in range(LEVELS[problem.policy.effort]):
        share = shares(state.free, everywhere)
        fullest = int(np.argmax(share))
        there = [item for item in items if state.host_of[item[0]] == fullest]
        there.sort(key=lambda item: (-int(problem.demand[list(item)].sum(axis=0).max()), item))
        moved = False
        for item in there:
            if any(state.host_of[member] != fullest for member in item):
                continue
            state.remove(item)
            options = np.nonzero(state.options(item))[0]
            options = options[options != fullest]
            after = shares(state.free[options] - problem.demand[list(item)].sum(axis=0), options)
            best = int(np.argmin(after)) if len(options) else -1
            moved = best >= 0 and bool(after[best] < share[fullest])
            state.place(item, int(options[best]) if moved else fullest)
            if moved and not _affordable(state):
                state.remove(item)
                state.place(item, fullest)
                moved = False
            if moved:
                break
        if not moved:
            return


def descend(problem: Problem, rules: Sequence[Rule], state: State, items: Sequence[Item]) -> State:
    """Single moves that make the evaluation smaller: of workloads in broken soft rules, and off the fullest host for `balance`.

    Stops when none does, or after the number of tries that policy.effort allows.
    """
    best = evaluate(problem, rules, state.host_of)
    # An evaluation of a large estate costs as much as many of a small one.
    tries = STEPS[problem.policy.effort] // (1 + len(problem.workloads) * len(problem.hosts) // 1_000_000)
    item_of = {member: item for item in items for member in item}
    improved = True
    while improved and tries > 0:
        improved = False
        for item in _suspects(problem, rules, state, item_of):
            host = int(state.host_of[item[0]])
            state.remove(item)
            options = [int(h) for h in np.nonzero(state.options(item))[0] if h != host]
            options.sort(key=lambda h: (-int(state.count[h] > 0), -float((state.free[h].min(axis=1) / np.maximum(
                problem.usable[h], 1)).min()), h))
            for target in options[:8]:
                tries -= 1
                state.place(item, target)
                value = evaluate(problem, rules, state.host_of)
                if value < best and _affordable(state):
                    best, improved = value, True
                    break
                state.remove(item)
            if improved or tries <= 0:
                if not improved:
                    state.place(item, host)
                break
            state.place(item, host)
    return state


def _affordable(state: State) -> bool:
    limit = state.problem.policy.max_moves
    return limit is None or state.moves() <= limit


def _suspects(problem: Problem, rules: Sequence[Rule], state: State, item_of: dict[int, Item]) -> list[Item]:
    """Items worth moving: members of broken soft rules (and outsiders on exclusive hosts), and who fills the fullest host."""
    occupancy = occupancy_of(state.host_of, len(problem.hosts))
    members: list[int] = []
    for rule in rules:
        if not rule.spec.hard and rule.spec.weight and rule.amount(occupancy):
            members.extend(rule.spec.workloads)
            if rule.spec.kind == "exclusive":
                members.extend(np.nonzero(np.isin(state.host_of, state.host_of[rule.members]))[0].tolist())
    if problem.policy.objective == "balance":
        shares = loads(problem, state.host_of).max(axis=2) / np.maximum(problem.usable, 1)
        fullest = int(np.argmax(shares.max(axis=1)))
        there = np.nonzero(state.host_of == fullest)[0]
        resource = int(np.argmax(shares[fullest]))
        peaks = problem.demand[there, resource].max(axis=1)
        members.extend(int(there[index]) for index in np.argsort(-peaks, kind="stable"))
    items = dict.fromkeys(item_of[int(m)] for m in members if state.host_of[int(m)] >= 0)
    return [item for item in items if len({int(state.host_of[m]) for m in item}) == 1]
