# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem of what runs, for operations that move guests and start none: from the estate's problem and what every host told. Pure.

Told is host -> what the module xl_move_info returned, of those hosts that answered.
"""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import placed
from ansible_collections.xenfold.consolidation.plugins.module_utils.moves.offline import BACK, DOWN, OFFLINE

Told = Mapping[str, Mapping[str, Any]]
Problem = dict[str, Any]

STARTS_ONLY = "autostart"
IN_TRANSIT = ("--incoming", "--migratedaway")


class OperationError(ValueError):
    """What stands against an operation, one line for each finding."""


def homes_of(told: Told) -> tuple[dict[str, str], dict[str, str]]:
    """Guest -> host, of those that run, and of those that only start with the host. Raises OperationError for one on two hosts."""
    runs: dict[str, str] = {}
    starts: dict[str, str] = {}
    findings = []
    for host in sorted(told):
        for guest, state in told[host]["guests"].items():
            if state == STARTS_ONLY:
                starts.setdefault(guest, host)
            elif guest in runs:
                findings.append(f"guest {guest!r}: {runs[guest]} and {host} both have it; find out which is right, and end the other")
            else:
                runs[guest] = host
    if findings:
        raise OperationError("\n".join(findings))
    return runs, {guest: host for guest, host in starts.items() if guest not in runs}


def in_transit(told: Told) -> list[str]:
    """The guests that move right now, or that a move has left between two hosts."""
    found = {guest for answer in told.values() for guest in answer.get("moving", ())}
    found |= {domain["name"].partition("--")[0] for answer in told.values() for domain in answer["domains"]
              if domain["name"].endswith(IN_TRANSIT)}
    return sorted(found)


def unfinished(told: Told) -> list[str]:
    """The guests whose moves are to be gone on with before others begin: in transit, or shut down for a move and started nowhere yet."""
    there = {guest for answer in told.values() for guest, state in answer["guests"].items() if state != STARTS_ONLY}
    down = {guest for answer in told.values() for guest, journal in (answer.get("journals") or {}).items()
            if journal.get("stage") in (DOWN, BACK)}
    return sorted({*in_transit(told), *(down - there)})


def as_it_runs(problem: Mapping[str, Any], told: Told, fixed: Collection[str] = ()) -> Problem:
    """The problem of the guests that run, each with `current` where it does; what runs nowhere is left out.

    A host that did not answer is closed, and what the inventory has there stays; so does what only starts with a host. A host that drains
    is closed, and keeps what it has. fixed: guests that stay. The policy's max_moves is left out.
    """
    runs, starts = homes_of(told)
    workloads = []
    for given in problem["workloads"]:
        name, silent = given["name"], given.get("current") not in told
        home = runs.get(name) or starts.get(name) or (given.get("current") if silent else None)
        if home is None:
            continue
        workload = placed(given, home)
        if name not in runs or name in fixed or _state(problem, home) == "drain":
            workload["movable"] = False
        workloads.append(workload)
    hosts = [{**host, "state": "closed"} if host["name"] not in told or host.get("state") == "drain" else host for host in problem["hosts"]]
    policy = {key: value for key, value in (problem.get("policy") or {}).items() if key != "max_moves"}
    return {**problem, "hosts": hosts, "workloads": workloads, "policy": policy,
            "rules": rules_of(problem.get("rules") or (), {workload["name"] for workload in workloads})}


def rules_of(rules: Iterable[Mapping[str, Any]], names: Collection[str]) -> list[Mapping[str, Any]]:
    """The rules without the workloads that are left out; a rule that would name none goes."""
    kept = [{**rule, "workloads": [name for name in rule["workloads"] if name in names]} for rule in rules]
    return [rule for rule in kept if rule["workloads"]]


def pinned(problem: Mapping[str, Any], names: Collection[str]) -> Problem:
    """The problem in which some workloads stay."""
    return {**problem, "workloads": [{**workload, "movable": False} if workload["name"] in names else workload
                                     for workload in problem["workloads"]]}


def in_state(problem: Mapping[str, Any], host: str, state: str) -> Problem:
    """The problem with a host in another state."""
    return {**problem, "hosts": [{**other, "state": state} if other["name"] == host else other for other in problem["hosts"]]}


def offline_movers(plan: Mapping[str, Any], consents: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Workload -> its move, of those that would be shut down for it without consent."""
    return {move["workload"]: move for move in plan["moves"] if move["method"] == OFFLINE and move["workload"] not in consents}


def consent_text(move: Mapping[str, Any]) -> str:
    """Why a guest without consent stays."""
    return (f"it cannot move live to {move['to']}; to shut it down for the move is by consent: -e moves_offline={move['workload']}"
            " (a list of guests, or all)")


def _state(problem: Mapping[str, Any], name: str) -> str:
    return next((str(host.get("state") or "active") for host in problem["hosts"] if host["name"] == name), "active")
