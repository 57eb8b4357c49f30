# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which guests leave a host that is to be empty, with the fewest moves, and which stay there, and why. Pure; it plans."""
from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.operations import running
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.running import OperationError, Problem, Told
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import conflict_text, reasons_text

ASKED = "it was asked to stay (-e stay)"


def drain(problem: Mapping[str, Any], told: Told, host: str, stay: Collection[str] = (), consents: Collection[str] = ()) -> dict[str, Any]:
    """How a host becomes empty. stay: guests that are to stay there; consents: guests that may be shut down to move.

    Returns `problem`, to be planned; `leave`, the guests of the host that move; `stays`, guest -> why, of those that run there and do not;
    `notes`. Raises OperationError when it cannot be done at all.
    """
    if host not in told:
        raise OperationError(f"host {host!r}: it does not answer; what runs there is not known")
    base = running.as_it_runs(running.in_state(problem, host, "active"), told)
    there = {guest for guest, state in told[host]["guests"].items() if state != running.STARTS_ONLY}
    known = {workload["name"] for workload in base["workloads"] if workload["current"] == host and workload["name"] in there}
    stays = dict.fromkeys(there - known, "it is not in the estate")
    stays |= dict.fromkeys(known & set(stay), ASKED)
    # What only starts with the host is no guest to move, and its room there is nobody's business.
    gone = {workload["name"] for workload in base["workloads"] if workload["current"] == host} - known
    names = {workload["name"] for workload in base["workloads"]} - gone
    base = {**base, "workloads": [workload for workload in base["workloads"] if workload["name"] in names],
            "rules": running.rules_of(base["rules"], names)}
    fixed: set[str] = set()
    while leavers := sorted(known - set(stays)):
        asked, plan, notes = _fewest_moves(_emptied(running.pinned(base, fixed), host, leavers, known - set(leavers)), leavers)
        if plan["status"] == "infeasible":
            lost = {entry["workload"]: entry for entry in plan["unplaced"] if entry["workload"] in leavers}
            if not lost:
                why = [conflict_text(entry) for entry in plan["conflict"]] or [entry["workload"] for entry in plan["unplaced"]]
                raise OperationError(f"host {host!r}: no placement without it holds: {'; '.join(why)}")
            stays |= {guest: f"no other host takes it: {reasons_text(entry['reasons'])}" for guest, entry in lost.items()}
            continue
        offline = running.offline_movers(plan, consents)
        if not offline:
            return {"problem": asked, "leave": leavers, "stays": dict(sorted(stays.items())), "notes": notes}
        # Others that would be shut down to make room stay where they are.
        fixed |= set(offline) - set(leavers)
        stays |= {guest: running.consent_text(move) for guest, move in offline.items() if guest in leavers}
    return {"problem": base, "leave": [], "stays": dict(sorted(stays.items())), "notes": []}


def _emptied(problem: Mapping[str, Any], host: str, leavers: Sequence[str], stayers: Collection[str]) -> Problem:
    """The problem in which some guests have to leave a host, and those that stay are no error there."""
    if not stayers:
        return running.in_state(problem, host, "drain")
    ban = {"rule": "ban", "workloads": list(leavers), "hosts": [host]}
    return running.pinned({**running.in_state(problem, host, "closed"), "rules": [*problem["rules"], ban]}, stayers)


def _fewest_moves(problem: Problem, leavers: Sequence[str]) -> tuple[Problem, dict[str, Any], list[str]]:
    """The problem to be planned and its plan, first with all others where they are, then with few more moves; notes on what it costs.

    When nothing holds, the last plan that failed.
    """
    policy = problem["policy"]
    ways: list[tuple[Problem, list[str]]] = [(problem, [])]
    if policy.get("failover"):
        note = f"the hosts that are left do not take over for {policy['failover']} that fail (policy failover)"
        ways.append(({**problem, "policy": {**policy, "failover": 0}}, [note]))
    plan: dict[str, Any] = {}
    for way, notes in ways:
        still = running.pinned(way, {workload["name"] for workload in way["workloads"]} - set(leavers))
        plan = place(still)
        if plan["status"] != "infeasible":
            return still, plan, notes
        plan = place(way)
        if plan["status"] != "infeasible":
            return *_narrowed(way, plan, len(leavers)), notes
    return ways[-1][0], plan, []


def _narrowed(problem: Problem, plan: dict[str, Any], least: int) -> tuple[Problem, dict[str, Any]]:
    """A plan with fewer moves than one that is free to make many."""
    more = 1
    while least + more < plan["summary"]["moves"]:
        bounded = {**problem, "policy": {**problem["policy"], "max_moves": least + more}}
        tried = place(bounded)
        if tried["status"] != "infeasible":
            return bounded, tried
        more *= 2
    return problem, plan


def _on(host: str, entry: Mapping[str, Any]) -> str:
    return reasons_text([reason for reason in entry["reasons"] if reason["host"] == host])


def bring_back(
    problem: Mapping[str, Any], told: Told, host: str, guests: Collection[str], consents: Collection[str] = (),
) -> dict[str, Any]:
    """How guests come back to a host, with everything else where it is. Returns `problem`, `leave` (the guests that move) and `stays`."""
    if host not in told:
        raise OperationError(f"host {host!r}: it does not answer")
    base = running.as_it_runs(running.in_state(problem, host, "active"), told)
    at = {workload["name"]: workload["current"] for workload in base["workloads"]}
    runs, _starts = running.homes_of(told)
    movers = {guest for guest in guests if guest in runs and at.get(guest, host) != host}
    stays = {guest: "it is not in the estate" if guest in runs else "it does not run" for guest in guests
             if guest not in at or guest not in runs}
    while movers:
        fence = {"rule": "fence", "workloads": sorted(movers), "hosts": [host]}
        asked = running.pinned({**base, "rules": [*base["rules"], fence]}, set(at) - movers)
        plan = place(asked)
        lost = {entry["workload"]: f"no room for it on {host}: {_on(host, entry)}"
                for entry in plan["unplaced"] if entry["workload"] in movers}
        lost |= {guest: running.consent_text(move) for guest, move in running.offline_movers(plan, consents).items()}
        if not lost and plan["status"] == "infeasible":
            raise OperationError(f"host {host!r}: {'; '.join(map(conflict_text, plan['conflict']))}")
        if not lost:
            return {"problem": asked, "leave": sorted(movers), "stays": dict(sorted(stays.items())), "notes": []}
        stays |= lost
        movers -= set(lost)
    return {"problem": base, "leave": [], "stays": dict(sorted(stays.items())), "notes": []}
