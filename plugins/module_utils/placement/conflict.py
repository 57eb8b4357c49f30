# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Why something cannot be placed, and which few rules and demands cannot hold together."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from .failover import LARGEST_CHECK, weak_hosts
from .moves import Schedule
from .packing import VARIANTS, Scale, best_fit, eject, fill_hosts
from .problem import Bools, Ints, Problem, plain
from .rules import Rule, occupancy_of
from .state import NOWHERE, State, group, static_mask

_TRIALS = 300
_EJECTIONS = 40
_EARLY = ("exclusive", "limit_hosts", "affinity")
T = TypeVar("T")


def unplaced_reasons(problem: Problem, rules: Sequence[Rule], allowed: Bools, host_of: Ints,
                     stuck: Sequence[int]) -> list[dict[str, Any]]:
    """Per unplaced workload and host the first obstacle: a state, a feature, a limit, a rule, or the resource that is shortest."""
    state = State(problem, rules, allowed)
    for workload in np.nonzero(host_of >= 0)[0].tolist():
        state.place((workload,), int(host_of[workload]))
    result = []
    for workload in np.nonzero(host_of < 0)[0].tolist():
        entries = []
        for host in range(len(problem.hosts)):
            entry = _obstacle(problem, rules, state, workload, host) or (
                {"moves": "no order of moves leads there"} if workload in stuck or problem.policy.max_moves is None
                else {"policy": "max_moves"})
            entries.append({"host": problem.hosts[host].name, **entry})
        result.append({"workload": problem.workloads[workload].name, "reasons": entries})
    return result


def _obstacle(problem: Problem, rules: Sequence[Rule], state: State, workload: int, host: int) -> dict[str, Any] | None:
    item, place = problem.workloads[workload], problem.hosts[host]
    home = item.current == host
    if place.state == "drain" or (place.state == "closed" and not home):
        return {"state": place.state}
    if not item.movable and not home:
        return {"movable": False}
    if not item.requires <= place.features:
        return {"requires": sorted(item.requires - place.features)}
    if place.vcpus is not None and item.vcpus > place.vcpus:
        return {"limit": "vcpus", "short_by": item.vcpus - place.vcpus}
    for rule in rules:
        mask = rule.static() if rule.spec.hard and workload in rule.spec.workloads else None
        if mask is not None and not mask[rule.spec.workloads.index(workload), host]:
            return {"rule": rule.spec.kind, "explanation": rule.explain()}
    short = (problem.demand[workload] - state.free[host]).max(axis=1)
    if (short > 0).any():
        worst = int(np.argmax(short / np.maximum(problem.usable[host], 1)))
        return {"resource": problem.resources[worst], "short_by": plain(int(short[worst]))}
    for rule in state.rules_of[workload]:
        if not rule.allows(workload, host, state.host_of, state.count):
            return {"rule": rule.spec.kind, "explanation": rule.explain()}
    if not state.allowed[workload, host]:
        return {"rule": "affinity", "explanation": "an affinity with during: always holds it where it is"}
    return None


def find_conflict(problem: Problem, rules: Sequence[Rule], allowed: Bools, host_of: Ints, stuck: Sequence[int],
                  weak: tuple[int, ...] | None) -> list[dict[str, Any]]:
    """Rules and demands that cannot hold together, none of which can be left out, as far as the search can tell.

    Entries: {rule, explanation, ...}, {workload, demand}, {policy, value, ...} or {moves}.
    """
    missing = [int(w) for w in np.nonzero(host_of < 0)[0]]
    hard = [rule for rule in rules if rule.spec.hard]
    if not missing:
        if weak is not None:
            return [_failover(problem, weak)]
        occupancy = occupancy_of(host_of, len(problem.hosts))
        return _written(problem, [rule for rule in hard if rule.amount(occupancy)], [])
    alone = [w for w in missing if not allowed[w].any()]
    if alone:
        def impossible(kept: list[Rule]) -> bool:
            return not static_mask(problem, kept)[alone[0]].any()
        kept_rules = _shrink([rule for rule in hard if alone[0] in rule.spec.workloads], impossible)
        held = _held(problem, alone[0])
        # Its size matters only where nothing else stands against it.
        size_matters = not held or (held["state"] != "drain" and not kept_rules)
        return _written(problem, kept_rules, alone[:1] if size_matters else []) + ([held] if held else [])
    everyone = list(range(len(problem.workloads)))
    packed = None if set(missing) == set(stuck) else pack(problem, hard, everyone)
    if packed is not None or set(missing) == set(stuck):
        return _no_way(problem, rules, missing, stuck, packed)
    kept_rules = _shrink(hard, lambda kept: not _fits(problem, kept, everyone))
    # The last to be dropped are the first of the list: what could not be placed, then the large ones.
    sizes = (problem.demand.max(axis=2) / np.maximum(problem.usable.max(axis=0), 1)).max(axis=1)
    order = sorted(everyone, key=lambda w: (w not in missing, -float(sizes[w]), w))
    kept = _shrink(order, lambda some: not _fits(problem, kept_rules, some))
    return _written(problem, kept_rules, kept)


def _no_way(problem: Problem, rules: Sequence[Rule], missing: Sequence[int], stuck: Sequence[int],
            packed: Ints | None) -> list[dict[str, Any]]:
    """What stands between a plan that leaves somebody out and a placement of everyone, `packed`."""
    limit = problem.policy.max_moves
    if packed is not None and not stuck:
        moved = int(((problem.current >= 0) & (packed != problem.current)).sum())
        if limit is not None and moved > limit:
            return [{"policy": "max_moves", "value": limit}]
        weak = weak_hosts(problem, rules, packed)
        stuck = Schedule(problem, rules, packed).stuck
        if weak is not None and not stuck:
            return [_failover(problem, weak)]
    return [{"moves": [problem.workloads[w].name for w in stuck or missing], "explanation": "no order of moves keeps within capacity"}]


def _held(problem: Problem, workload: int) -> dict[str, Any] | None:
    """That a workload may not leave its host, which cannot keep it."""
    item = problem.workloads[workload]
    if item.movable:
        return None
    host = problem.hosts[item.current]
    drains = f", and {host.name} drains" if host.state == "drain" else ""
    return {"workload": item.name, "movable": False, "host": host.name, "state": host.state,
            "explanation": f"{item.name} stays on {host.name} since movable is false{drains}"}


def _failover(problem: Problem, weak: Sequence[int]) -> dict[str, Any]:
    entry = {"policy": "failover", "value": problem.policy.failover, "hosts": [problem.hosts[host].name for host in weak]}
    if not weak:
        entry["explanation"] = f"too many sets of hosts to check, more than {LARGEST_CHECK}"
    return entry


def _shrink(elements: list[T], still_fails: Callable[[list[T]], bool]) -> list[T]:
    """A smallest part of the elements with which it still fails: drop ever smaller pieces from the end (delta debugging)."""
    kept, trials = list(elements), 0
    piece = max(len(kept) // 2, 1)
    while kept:
        end = len(kept)
        while end > 0 and trials < _TRIALS:
            start = max(end - piece, 0)
            trial = kept[:start] + kept[end:]
            trials += 1
            if still_fails(trial):
                kept = trial
            end = start
        if piece == 1 or trials >= _TRIALS:
            break
        piece = max(piece // 2, 1)
    return kept


def _fits(problem: Problem, rules: Sequence[Rule], workloads: Sequence[int]) -> bool:
    return pack(problem, rules, workloads) is not None


def pack(problem: Problem, rules: Sequence[Rule], workloads: Sequence[int]) -> Ints | None:
    """host_of where the greedy packing places these workloads under these rules, whatever moves that takes, or None."""
    if not workloads:
        return np.full(len(problem.workloads), NOWHERE, dtype=np.int64)
    allowed = static_mask(problem, rules)
    if (problem.demand[list(workloads)].sum(axis=0) > problem.usable.sum(axis=0)[:, None]).any():
        return None
    chosen = set(workloads)
    items = [tuple(m for m in item if m in chosen) for item in group(problem, rules, allowed)]
    items = [item for item in items if item]
    scale = Scale(problem, items)
    # What rules draw together goes first, before others take the room beside it.
    early = {w for rule in rules if rule.spec.kind in _EARLY for w in rule.spec.workloads}
    rank = [(int(allowed[list(item)].all(axis=0).sum()), not early & set(item)) for item in items]
    hosts = list(range(len(problem.hosts)))
    for variant in (None, *VARIANTS):
        state = State(problem, rules, allowed)
        left = sorted(scale.order(), key=lambda position: rank[position])
        if variant is not None:
            left = fill_hosts(state, scale, left, hosts, variant)
        left = best_fit(state, scale, left, hosts)
        if not left or not eject(state, scale, left, hosts, _EJECTIONS):
            return state.host_of
    return None


def _written(problem: Problem, rules: Sequence[Rule], workloads: Sequence[int]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for rule in rules:
        written = rule.written()
        written["workloads"] = [problem.workloads[w].name for w in rule.spec.workloads]
        if rule.spec.hosts:
            written["hosts"] = [problem.hosts[h].name for h in rule.spec.hosts]
        entries.append({**written, "explanation": rule.explain()})
    for workload in sorted(workloads):
        peaks = problem.demand[workload].max(axis=1)
        demand = {name: plain(int(peak)) for name, peak in zip(problem.resources, peaks, strict=True) if peak}
        entries.append({"workload": problem.workloads[workload].name, "demand": demand})
    return entries
