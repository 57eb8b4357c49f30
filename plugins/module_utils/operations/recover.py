# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which guests of a host that has died start on others, and which are lost until it is back, and why. Pure; it plans."""
from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.resources import names_of
from ansible_collections.xenfold.consolidation.plugins.module_utils.drbd.state import CONNECTED, UP_TO_DATE
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations import running
from ansible_collections.xenfold.consolidation.plugins.module_utils.operations.running import OperationError, Problem, Told
from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import place
from ansible_collections.xenfold.consolidation.plugins.module_utils.report.model import conflict_text, reasons_text

_NOTHING: Mapping[str, Any] = {"guests": {}, "domains": [], "stored": [], "journals": {}, "moving": []}


def recover(
    problem: Mapping[str, Any], told: Told, host: str, guests: Mapping[str, Mapping[str, Any]], off: Collection[str] = (),
) -> dict[str, Any]:
    """What starts elsewhere now that a host is off. guests: name -> definition, of the estate; off: all hosts without power.

    A guest of the estate counts as one of that host when it should run and no host that answers has it, running or stored and not held
    back there; one that the inventory has on another silent host may run there, and stays unless that is off, too. Returns `problem`, to
    be planned; `leave`, the guests that start elsewhere; `stays`, guest -> why, of those that do not; `notes`. Raises OperationError when
    it cannot be done at all.
    """
    if host in told:
        raise OperationError(f"host {host!r}: it answers, so it is not off; playbooks/drain.yml empties a host that works")
    seen = {**dict.fromkeys([host, *off], _NOTHING), **told}
    base = running.as_it_runs(running.in_state(problem, host, "closed"), seen)
    there = {guest for answer in told.values() for guest in (
        *answer["guests"], *(set(answer.get("stored") or ()) - set(answer.get("held") or ())))}
    lost = [workload for workload in problem["workloads"]
            if workload["name"] not in there and (guests.get(workload["name"]) or {}).get("state") == "running"]
    silent = {host, *off}
    stays = {workload["name"]: why for workload in lost if (why := _bound(workload, seen, silent, guests[workload["name"]]))}
    asked = running.pinned(base, {workload["name"] for workload in base["workloads"]})
    notes: list[str] = []
    while starters := [workload for workload in lost if workload["name"] not in stays]:
        tried, plan, notes = _start(problem, asked, starters, silent)
        names = {workload["name"] for workload in starters}
        refused = {entry["workload"]: f"no host takes it: {reasons_text(entry['reasons'])}"
                   for entry in plan["unplaced"] if entry["workload"] in names}
        if plan["status"] != "infeasible":
            return {"problem": tried, "leave": sorted(names), "stays": dict(sorted(stays.items())), "notes": notes}
        if not refused:
            lines = [conflict_text(entry) for entry in plan["conflict"]] or [entry["workload"] for entry in plan["unplaced"]]
            raise OperationError(f"host {host!r}: no placement without it holds: {'; '.join(lines)}")
        stays |= refused
    return {"problem": asked, "leave": [], "stays": dict(sorted(stays.items())), "notes": []}


def _bound(workload: Mapping[str, Any], seen: Told, silent: Collection[str], definition: Mapping[str, Any]) -> str:
    """Why a guest cannot start anywhere else; "" when nothing binds it. seen: the hosts of which it is known what runs there; silent: those
    of them without power."""
    storage, current = workload.get("storage") or "local", workload.get("current")
    if current and current not in seen:
        return f"it may run on {current}, which does not answer"
    if storage == "replicated":
        return _without_copy(workload, seen, silent, definition) or ("movable is false" if workload.get("movable") is False else "")
    if storage != "shared":
        return "its storage is local: it waits for the host that has its disks"
    return "movable is false" if workload.get("movable") is False else ""


def _copy_on(workload: Mapping[str, Any], silent: Collection[str]) -> str | None:
    """The host with the copy of a replicated guest's disks that is left."""
    return next((workload[key] for key in ("current", "replica") if workload.get(key) and workload[key] not in silent), None)


def _without_copy(workload: Mapping[str, Any], seen: Told, silent: Collection[str], definition: Mapping[str, Any]) -> str:
    """Why a replicated guest cannot start with the copy that is left; "" when it can."""
    names, host = names_of([definition]), _copy_on(workload, silent)
    if not names:
        return "its storage is replicated, but not from here (drbd_minor): the other copy of its disks is made primary by hand"
    if host is None or host not in seen:
        return f"its storage is replicated, and the other copy is on {host or 'no host'}, which does not answer"
    told = {name: seen[host].get("resources", {}).get(name, {}) for name in names}
    apart = [name for name, there in told.items() if not {workload["current"], workload["replica"]} & set(silent)
             and there.get("connection") != CONNECTED]
    if apart:
        return (f"its storage is replicated, and {workload['current']} and {workload['replica']} do not hear of each other's copy of"
                f" {', '.join(apart)}")
    states = {name: there.get("disk") or "missing" for name, there in told.items()}
    return "; ".join(f"its storage is replicated, and the copy of {name} on {host} is {state}, not {UP_TO_DATE}"
                     for name, state in states.items() if state != UP_TO_DATE)


def _start(
    problem: Mapping[str, Any], still: Problem, starters: list[Any], silent: Collection[str],
) -> tuple[Problem, dict[str, Any], list[str]]:
    """The problem in which some guests start while all others stay, its plan, and notes on what it costs."""
    copied = {workload["name"]: _copy_on(workload, silent) for workload in starters if workload.get("storage") == "replicated"}
    new = [{key: value for key, value in workload.items() if key not in ("current", "replica")}
           | ({"replica": copied[workload["name"]]} if workload["name"] in copied else {}) for workload in starters]
    workloads = sorted([*still["workloads"], *new], key=lambda workload: str(workload["name"]))
    rules = running.rules_of(problem.get("rules") or (), {workload["name"] for workload in workloads})
    # A replicated guest starts where the other copy is, so the fence of the estate to the two of them becomes narrower.
    rules = [rule for rule in rules if not (rule["rule"] == "fence" and rule["workloads"] in ([name] for name in copied)
                                            and copied[rule["workloads"][0]] in rule["hosts"])]
    rules += [{"rule": "fence", "workloads": [name], "hosts": [host]} for name, host in sorted(copied.items())]
    asked = {**still, "workloads": workloads, "rules": rules}
    plan = place(asked)
    failover = asked["policy"].get("failover")
    if plan["status"] == "infeasible" and failover:
        without = {**asked, "policy": {**asked["policy"], "failover": 0}}
        return without, place(without), [f"the hosts that are left do not take over for {failover} more that fail (policy failover)"]
    return asked, plan, []
