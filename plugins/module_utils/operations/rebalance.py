# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A few moves that make an estate better by enough to be worth them. Pure; it plans."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.operations import running
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.running import OperationError, Told
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.objective import evaluate, loads
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.problem import Ints
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.problem import Problem as Planned
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.rules import compile_rules
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import conflict_text, reasons_text

# Objective -> (what is gained, factor of the planner's first criterion, least gain that is worth moves).
MEASURES = {
    "hosts": ("hosts freed", 1, 1.0),
    "balance": ("percentage points off the largest utilisation", 100, 5.0),
    "watts": ("watts saved", 1, 20.0),
}


def rebalance(
    problem: Mapping[str, Any], told: Told, max_moves: int, min_gain: float | None, rested: Collection[str] = (),
    consents: Collection[str] = (),
) -> dict[str, Any]:
    """A plan of at most max_moves, and whether it is worth it. rested: guests that have moved a short while ago and stay.

    min_gain: None for that of the objective. Returns `problem`, `leave` (the guests that move; empty when it is not worth it), `gain`,
    `least`, `unit`, `mends` (a broken rule or an overloaded host, which is always worth it), `rested` (those that run), `moves` (how many
    the plan has), and `stays` and `notes`, which are empty.
    """
    kept = set(rested)
    while True:
        base = running.as_it_runs(problem, told, kept)
        base = {**base, "policy": {**base["policy"], "max_moves": max_moves}}
        plan = place(base)
        offline = running.offline_movers(plan, consents)
        if not offline:
            break
        kept |= set(offline)
    if plan["status"] == "infeasible":
        why = [f"{entry['workload']}: {reasons_text(entry['reasons'])}" for entry in plan["unplaced"]]
        why += [conflict_text(entry) for entry in plan["conflict"]]
        raise OperationError(f"With at most {max_moves} moves no plan holds: {'; '.join(why[:10])}")
    objective = (base["policy"].get("objective")) or "hosts"
    unit, factor, default = MEASURES[objective]
    least = default if min_gain is None else min_gain
    asked = normalise(base)
    before, after = _worth(asked, asked.current), _worth(asked, _hosts_of(asked, plan))
    gain = round((before[2] - after[2]) * factor, 3)
    mends = bool(before[1] > after[1] or _overloaded(asked, asked.current) > _overloaded(asked, _hosts_of(asked, plan)))
    movers = sorted({move["workload"] for move in plan["moves"]})
    runs = {workload["name"] for workload in base["workloads"]}
    return {"problem": base, "leave": movers if mends or gain >= least else [], "moves": len(movers), "gain": gain, "least": least,
            "unit": unit, "mends": mends, "rested": sorted(set(rested) & runs), "stays": {}, "notes": []}


def _hosts_of(problem: Planned, plan: Mapping[str, Any]) -> Ints:
    index = {host.name: number for number, host in enumerate(problem.hosts)}
    found = problem.current.copy()
    for number, workload in enumerate(problem.workloads):
        found[number] = index[plan["placement"][workload.name]]
    return found


def _worth(problem: Planned, host_of: Ints) -> tuple[float, ...]:
    return evaluate(problem, compile_rules(problem), host_of)


def _overloaded(problem: Planned, host_of: Ints) -> int:
    """Hosts with more than their usable capacity of some resource."""
    return int((loads(problem, host_of).max(axis=2) > problem.usable).any(axis=1).sum())
