# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a plan wants workloads, and whether it is a plan of the estate as it is now; pure."""
from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.running import Hosts, keep_running, without

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing

_SCHEMA = 1
_MOST_NAMES = 5


@dataclass(frozen=True)
class Planned:
    """hosts: workload -> host; moves: workload -> its first move {step, from, to, method}; note: why less can be told, or "";
    stale: whether the estate has changed since."""

    hosts: Mapping[str, str] = field(default_factory=dict)
    moves: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    note: str = ""
    stale: bool = False


def parse(text: str | None) -> Planned:
    """The plan in a file's text, None for no file. Raises ValueError for what is no plan."""
    if text is None:
        return Planned(note="there is no plan.json: where guests should run was not compared")
    try:
        plan = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(plan, dict) or plan.get("schema") != _SCHEMA:
        raise ValueError(f"it is no plan with schema {_SCHEMA}")
    placement, moves = plan.get("placement"), plan.get("moves")
    if not isinstance(placement, dict) or not all(isinstance(host, str) for host in placement.values()):
        raise ValueError("placement: is no mapping of workloads to hosts")
    if not isinstance(moves, list) or not all(isinstance(move, dict) and {"step", "workload", "from", "to", "method"} <= set(move)
                                              and isinstance(move["step"], int) for move in moves):
        raise ValueError("moves: is no list of moves with step, workload, from, to and method")
    first: dict[str, Mapping[str, Any]] = {}
    for move in sorted(moves, key=lambda move: move["step"]):
        first.setdefault(str(move["workload"]), move)
    return Planned(placement, first)


def read(text: str | None, problem: Mapping[str, Any]) -> Planned:
    """The plan of a file's text beside the estate's problem. What is no plan is told in the note."""
    try:
        planned = parse(text)
    except ValueError as error:
        return Planned(note=f"plan.json cannot be taken for a plan ({error}): where guests should run was not compared")
    if planned.note:
        return planned
    plan = json.loads(text or "{}")
    known = set(planned.hosts) | {str(entry.get("workload")) for entry in plan.get("unplaced") or [] if isinstance(entry, Mapping)}
    more = {str(workload["name"]) for workload in problem["workloads"]} - known
    why = _stale(plan, planned, known, without(problem, more))
    if not why:
        # playbooks/site.yml leaves out guests whose disks it cannot see.
        note = f"plan.json says nothing of {_few(more)}: left out when it was made, or new since then" if more else ""
        return Planned(planned.hosts, planned.moves, note)
    new = f"new workloads: {_few(more)}; " if more else ""
    return Planned(planned.hosts, planned.moves, f"the estate has changed since plan.json was made ({new}{why})", stale=True)


def _stale(plan: Mapping[str, Any], planned: Planned, known: Collection[str], problem: Mapping[str, Any]) -> str:
    """How the estate differs from the one that was planned, whose workloads are `known`; "" when it does not."""
    there = {str(workload["name"]) for workload in problem["workloads"]}
    hosts = {str(host["name"]) for host in problem["hosts"]}
    parts = [f"{what}: {_few(names)}" for what, names in (
        ("workloads that are gone", set(known) - there), ("hosts that are gone", set(planned.hosts.values()) - hosts)) if names]
    return "; ".join(parts) or ("" if _same(plan, planned, problem) else "hosts, demands, rules or policy")


def _same(plan: Mapping[str, Any], planned: Planned, problem: Mapping[str, Any]) -> bool:
    """Whether a plan was computed from a problem, wherever the guests were at that time. Without NumPy the names have to do."""
    if NUMPY_ERROR is not None:
        return True
    try:
        return any(normalise(candidate).sha256 == plan.get("inputs_sha256") for candidate in _problems(planned, problem))
    except ProblemError:
        return False


def _problems(planned: Planned, problem: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The problem as the inventory tells it; then with guests where they were when the plan was made, which its moves tell, without and
    with the policy that keeps them there (estate.running.keep_running)."""
    yield dict(problem)
    workloads = []
    for workload in problem["workloads"]:
        name = workload["name"]
        here = planned.moves[name]["from"] if name in planned.moves else planned.hosts.get(name, workload.get("current"))
        rest = {key: value for key, value in workload.items() if key != "current"}
        workloads.append({**rest, **({"current": here} if here else {})})
    yield {**problem, "workloads": workloads}
    found: dict[str, dict[str, str]] = {}
    for workload in workloads:
        if workload.get("current") and (workload["name"] in planned.hosts or workload["name"] in planned.moves):
            found.setdefault(workload["current"], {})[workload["name"]] = "running"
    unknown = [workload if workload["name"] in planned.hosts else given
               for workload, given in zip(workloads, problem["workloads"], strict=True)]
    yield keep_running({**problem, "policy": problem.get("policy") or {}, "workloads": unknown}, Hosts(found))


def _few(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:_MOST_NAMES]) + (f" and {len(listed) - _MOST_NAMES} more" if len(listed) > _MOST_NAMES else "")
