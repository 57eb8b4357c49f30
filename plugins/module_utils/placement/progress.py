# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A problem after some moves of its plan: what is done counts as done, what failed is pinned. Pure; the problem itself stays as it is."""
from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .normalise import normalise
from .plan import SCHEMA
from .problem import Problem
from .schema import shown

_RANGE = re.compile(r"([0-9]{1,9})(?:\s*-\s*([0-9]{1,9}))?")
_NAMES = 6
_DONE = "numbers of steps, such as [1, 2, 3] or 1-12,15, or none"


class ProgressError(ValueError):
    """A progress that does not fit the plan, or a plan that does not fit the problem; one line for each finding."""


@dataclass(frozen=True)
class _Move:
    step: int
    workload: str
    source: str | None
    target: str
    parking: bool


def after(document: Mapping[str, Any], plan: Mapping[str, Any], done: Any = (), failed: Any = ()) -> dict[str, Any]:
    """The problem that is left of a plan that has been carried out in part.

    done: numbers of steps, or a text like 1-12,15 or none; failed: names of workloads whose next step failed, or a text with commas.
    A failed workload is pinned where it stands; one that stands nowhere may go to any host but the one where it failed.
    Raises ProblemError when the document is not sound, ProgressError with all that is wrong with the rest.
    """
    problem = normalise(document)
    moves = _moves(problem, plan)
    findings: list[str] = []
    steps = _steps(findings, done, len(moves))
    stuck = _stuck(findings, failed, moves)
    if not findings:
        _between(findings, moves, steps, stuck)
    if findings:
        raise ProgressError("\n".join(findings))
    names = [host.name for host in problem.hosts]
    before = {w.name: names[w.current] for w in problem.workloads if w.current >= 0}
    at = dict(before)
    replica: dict[str, str | None] = {w.name: names[w.replica] for w in problem.workloads if w.replica >= 0}
    parked: set[str] = set()
    for move in moves:
        if move.step not in steps:
            continue
        at[move.workload] = move.target
        # The two copies exchange their parts; a move to any other host leaves the replica where it is. One that is defined there has none.
        if replica.get(move.workload) == move.target:
            replica[move.workload] = move.source
        (parked.add if move.parking else parked.discard)(move.workload)
    # A stop on the way is half a move: the other half counts in the new plan, unless there is none.
    moved = sum(at[name] != before[name] and (name in stuck or name not in parked) for name in before)
    return {
        **document,
        "workloads": [_workload(workload, at, replica, stuck) for workload in document.get("workloads") or ()],
        "rules": [*(document.get("rules") or ()), *_bans(moves, at, stuck)],
        "policy": _policy(document.get("policy") or {}, moved),
    }


def _workload(given: Mapping[str, Any], at: Mapping[str, str], replica: Mapping[str, str | None], stuck: set[str]) -> dict[str, Any]:
    """A workload where it stands now."""
    workload, name = dict(given), given["name"]
    if name in at:
        workload["current"] = at[name]
    if name in replica:
        workload["replica"] = replica[name]
        if replica[name] is None:
            del workload["replica"]
    if name in stuck and name in at:
        workload["movable"] = False
    return workload


def _bans(moves: Sequence[_Move], at: Mapping[str, str], stuck: set[str]) -> list[dict[str, Any]]:
    """One rule for each workload that could not be defined, which stands nowhere: not there again."""
    return [{"rule": "ban", "workloads": [move.workload], "hosts": [move.target]}
            for move in moves if move.workload in stuck and move.workload not in at]


def _policy(given: Mapping[str, Any], moved: int) -> dict[str, Any]:
    policy = dict(given)
    if policy.get("max_moves") is not None:
        policy["max_moves"] = max(policy["max_moves"] - moved, 0)
    return policy


def _moves(problem: Problem, plan: Any) -> list[_Move]:
    """The moves of a plan in their order. Raises ProgressError when it is no plan of this problem that can be carried out."""
    allowed = "a plan of the module placement"
    if not isinstance(plan, Mapping) or plan.get("schema") != SCHEMA or not isinstance(plan.get("moves"), list):
        raise ProgressError(f"plan: value {shown(plan)}, allowed {allowed}")
    if plan.get("inputs_sha256") != problem.sha256:
        raise ProgressError(f"plan: inputs_sha256: value {shown(str(plan.get('inputs_sha256'))[:12])}, allowed "
                            f"{shown(problem.sha256[:12])}, that of the problem: it is the plan of another one, or hosts, workloads, rules "
                            "or policy have changed since, or it is already the plan of what was left")
    if plan.get("status") == "infeasible":
        raise ProgressError("plan: status: value 'infeasible', allowed a plan that can be carried out")
    at = {w.name: problem.hosts[w.current].name if w.current >= 0 else None for w in problem.workloads}
    hosts = {host.name for host in problem.hosts}
    moves = []
    for step, move in enumerate(plan["moves"], 1):
        title = f"plan: moves[{step - 1}]"
        if not isinstance(move, Mapping) or move.get("step") != step:
            raise ProgressError(f"{title}: value {shown(move)}, allowed the move with step {step} of {allowed}")
        workload, source, target = (move.get(key) for key in ("workload", "from", "to"))
        if not isinstance(workload, str) or workload not in at or source != at[workload] \
                or not isinstance(target, str) or target not in hosts:
            raise ProgressError(f"{title}: value {shown(move)}, allowed a workload of the problem, from where it stands, to a host")
        moves.append(_Move(step, workload, at[workload], target, bool(move.get("parking"))))
        at[workload] = target
    return moves


def _steps(findings: list[str], value: Any, last: int) -> set[int]:
    """The steps that are done."""
    if isinstance(value, str) and value.strip() == "none":
        return set()
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list | tuple) else [value]
    found: set[int] = set()
    for part in parts:
        match = _RANGE.fullmatch(part.strip()) if isinstance(part, str) else None
        if match:
            start, end = int(match[1]), int(match[2] or match[1])
        elif isinstance(part, int) and not isinstance(part, bool):
            start = end = part
        else:
            findings.append(f"done: value {shown(part)}, allowed {_DONE}")
            continue
        if not 1 <= start <= end <= last:
            steps = f"steps of the plan, from 1 to {last}" if last else "none, since the plan has no moves"
            findings.append(f"done: value {shown(part)}, allowed {steps}")
        else:
            found.update(range(start, end + 1))
    return found


def _stuck(findings: list[str], value: Any, moves: Sequence[_Move]) -> set[str]:
    """The workloads whose next step failed."""
    names = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
    if not isinstance(names, list | tuple):
        findings.append(f"failed: value {shown(value)}, allowed names of workloads")
        return set()
    moving = {move.workload for move in moves}
    for name in names:
        if not isinstance(name, str) or name not in moving:
            near = difflib.get_close_matches(name, sorted(moving), 5) if isinstance(name, str) else []
            findings.append(f"failed: value {shown(name)}, allowed workloads that the plan moves"
                            + (f" (did you mean {', '.join(near)}?)" if near else f": {_few(sorted(moving))}"))
    return {name for name in names if isinstance(name, str)}


def _few(names: Sequence[str]) -> str:
    return (", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")) or "none"


def _between(findings: list[str], moves: Sequence[_Move], steps: set[int], stuck: set[str]) -> None:
    """A workload goes its way step by step, and what failed is not done."""
    steps_of: dict[str, list[int]] = {}
    for move in moves:
        steps_of.setdefault(move.workload, []).append(move.step)
    for workload, own in sorted(steps_of.items()):
        left = [step for step in own if step not in steps]
        early = [step for step in own if step in steps and left and step > left[0]]
        if early:
            findings.append(f"done: value {early[0]}, allowed only with step {left[0]}, which takes {workload} to where that step begins")
        if workload in stuck and not left:
            findings.append(f"failed: value {shown(workload)}, allowed workloads with a step that is not done: done has all of its steps"
                            f" ({', '.join(map(str, own))})")
