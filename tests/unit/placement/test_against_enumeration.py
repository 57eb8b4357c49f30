# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""On estates small enough to try every placement: the bound holds, and `optimal` is never claimed in vain."""
from __future__ import annotations

from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.unit.placement.test_promises import problems
from tests.unit.placement.verifier import _Estate, _single, _where, amount

SMALL = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def fewest_hosts(problem: dict[str, Any]) -> int | None:
    """Hosts used by the best of all placements that keep capacity, every hard rule and max_moves; None when there is none."""
    estate = _Estate(problem)
    hard = [rule for rule in estate.rules if rule.get("enforce", "hard") == "hard"]
    usable = {(h, r): estate.capacity(h, r, True) for h in estate.hosts for r in estate.resources}
    needs = {
        name: {(r, s): estate.demand(name, r, s) for r in estate.resources for s in range(estate.slots)} for name in estate.workloads
    }
    names = sorted(estate.workloads, key=lambda name: (-max(needs[name].values(), default=0), name))
    limit = estate.policy.get("max_moves")
    used: dict[str, dict[tuple[str, int], Any]] = {h: dict.fromkeys(next(iter(needs.values()), {}), 0) for h in estate.hosts}
    placement: dict[str, str] = {}
    best: list[int | None] = [None]

    def go(index: int, moves: int) -> None:
        if best[0] is not None and len(set(placement.values())) >= best[0]:
            return
        if index == len(names):
            best[0] = len(set(placement.values()))
            return
        name = names[index]
        home = estate.workloads[name].get("current")
        for host in estate.hosts:
            moved = moves + (home not in (None, host))
            if limit is not None and moved > limit:
                continue
            if any(used[host][key] + need > usable[host, key[0]] for key, need in needs[name].items()):
                continue
            placement[name] = host
            # A broken rule stays broken while workloads are added, so such a branch is left at once.
            if not _single(estate, {name: host}) and not any(amount(estate, rule, _where(placement)) for rule in hard):
                for key, need in needs[name].items():
                    used[host][key] += need
                go(index + 1, moved)
                for key, need in needs[name].items():
                    used[host][key] -= need
            del placement[name]

    go(0, 0)
    return best[0]


@SMALL
@given(problems())
def test_bound_and_claims_hold(problem: dict[str, Any]) -> None:
    assume(len(problem["hosts"]) <= 4 and len(problem["workloads"]) <= 7)
    plan = place(problem)
    fewest = fewest_hosts(problem)
    if fewest is None:
        assert plan["status"] == "infeasible"
        return
    assert plan["summary"]["hosts_bound"] <= fewest
    if plan["status"] != "infeasible":
        assert plan["summary"]["hosts_used"] >= fewest
    if plan["status"] == "optimal":
        assert plan["summary"]["hosts_used"] == fewest


@SMALL
@given(problems(), st.sampled_from(["normal", "thorough"]))
def test_small_estates_without_rules_are_solved(problem: dict[str, Any], effort: str) -> None:
    """New workloads alone, so that no order of moves stands in the way."""
    assume(len(problem["hosts"]) <= 4 and 0 < len(problem["workloads"]) <= 7)
    problem = {**problem, "rules": [], "policy": {"effort": effort}}
    for workload in problem["workloads"]:
        workload.pop("current", None)
        workload.pop("movable", None)
    fewest = fewest_hosts(problem)
    plan = place(problem)
    assert (plan["status"] == "infeasible") == (fewest is None)
    if fewest is not None:
        assert plan["summary"]["hosts_used"] == fewest
