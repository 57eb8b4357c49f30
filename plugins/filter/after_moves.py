# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: after_moves
short_description: The problem that is left of a plan that has been carried out in part
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes the problem of a plan and what became of its moves. The plan of the result has only what is left to do, and its waves begin anew.
  - A workload with steps in O(done) has the C(current) where the last of them took it, which may be a stop on the way. A replicated one
    that went to its C(replica) has the host it left as its replica now, and none when it was defined there.
  - A workload in O(failed) gets C(movable) V(false) on the host where it stands. One that was to be defined stands nowhere, is planned
    anew, and a hard rule C(ban) keeps it off the host where it failed.
  - C(max_moves) of the policy is reduced by the workloads that have moved, but not below 0. A workload on a stop counts when it moves on,
    or now, when it failed there.
requirements:
  - numpy
  - highspy
positional: plan
options:
  _input:
    description: The problem that the plan was computed from.
    type: dict
    required: true
  plan:
    description: The plan, or the text of its file. Its C(inputs_sha256) must be that of the problem.
    type: raw
    required: true
  done:
    description: The steps that are done, as a list of numbers or as a text such as V(1-12,15) or V(none).
    type: raw
    default: []
  failed:
    description: The workloads whose next step failed, as a list of names or as a text with commas.
    type: raw
    default: []
"""

EXAMPLES = r"""
- name: Plan what is left after web01 could not be moved
  ansible.builtin.set_fact:
    left: "{{ problem | xenfold.consolidation.after_moves(plan, done=[1, 2, 3], failed=['web01']) | xenfold.consolidation.place }}"

- name: Take the plan from its file
  ansible.builtin.set_fact:
    problem_left: "{{ problem | xenfold.consolidation.after_moves(lookup('ansible.builtin.file', 'build/plan.json'), done='1-12') }}"
"""

RETURN = r"""
_value:
  description: The problem that is left, with all hosts and workloads.
  type: dict
"""

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.progress import ProgressError, after
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _plan_of(value: Any) -> Any:
    """A plan, from the text of its file where it is one."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise AnsibleFilterError(f"after_moves: plan: text that is no JSON ({error}), allowed the text of a plan's file") from None


def _after_moves(problem: Any, plan: Any, done: Any = (), failed: Any = ()) -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("after_moves: needs numpy and highspy on the control node") from NUMPY_ERROR
    if not isinstance(problem, Mapping):
        raise AnsibleFilterError(f"after_moves: problem: value of type {type(problem).__name__}, allowed a mapping of plain values")
    try:
        return after(*plain([problem, _plan_of(plan), done, failed]))
    except ProblemError as error:
        raise AnsibleFilterError(f"after_moves: the problem is not sound:\n{error}") from error
    except ProgressError as error:
        raise AnsibleFilterError(f"after_moves: {error}") from None
    except RecursionError as error:
        raise AnsibleFilterError("after_moves: value that is nested too deeply, allowed plain values") from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"after_moves: value that is not plain ({error}), allowed plain values for problem, plan, done and"
                                 " failed") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"after_moves": _after_moves}
