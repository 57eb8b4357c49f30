# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: explain
short_description: Why a workload stands where a plan puts it, and why on no other host
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Tries the workload on every other host, with all others where the plan puts them, and tells the first thing that is wrong with that.
  - Workloads that a hard rule C(affinity) binds to one host are tried together.
requirements:
  - numpy
  - highspy
positional: problem, workload
options:
  _input:
    description: A plan of P(xenfold.consolidation.placement#module).
    type: dict
    required: true
  problem:
    description: The problem that the plan was computed from.
    type: dict
    required: true
  workload:
    description: Name of a workload of the problem.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show why web01 is where it is
  ansible.builtin.debug:
    msg: "{{ plan | xenfold.consolidation.explain(problem, 'web01') }}"
"""

RETURN = r"""
_value:
  description: The answer.
  type: dict
  contains:
    workload:
      description: Its name.
      type: str
    host:
      description: Where the plan puts it; null when nowhere.
      type: str
    because:
      description: Why there, in words.
      type: str
    demand:
      description: Its largest demand of each resource.
      type: dict
    together:
      description: The workloads that have to stand on the same host.
      type: list
      elements: str
    not_on:
      description:
        - One entry for each other host, with C(host), C(because) in words, and C(kind), which is one of V(state), V(features), V(vcpus),
          V(movable), V(rule), V(room), V(criterion), V(equal), V(policy), V(moves) and V(better).
        - V(rule) has C(rule), C(explanation) and C(in_the_way), the workloads without which the rule would hold.
        - V(room) has C(resource), C(slot) of the worst shortage counted from 0, C(short_by), C(needs), C(free) and C(usable).
        - V(criterion) has C(criterion), and its value C(here) and C(there).
      type: list
      elements: dict
      sample: [{host: xen02, kind: state, state: drain, because: "cannot go there: the host's state is drain"}]
"""

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.explain import ExplainError, explain
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _explain(plan: Any, problem: Any, workload: Any) -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("explain: needs numpy and highspy on the control node") from NUMPY_ERROR
    moves = plan.get("moves") if isinstance(plan, Mapping) else None
    if not isinstance(plan, Mapping) or not isinstance(moves, list | tuple) or not all(isinstance(move, Mapping) for move in moves):
        raise AnsibleFilterError(f"explain: plan: value of type {type(plan).__name__} without a list 'moves' of mappings, allowed a plan of"
                                 " the module placement")
    try:
        return explain(plain(problem), plain(plan), workload)
    except ProblemError as error:
        raise AnsibleFilterError(f"explain: the problem is not sound:\n{error}") from error
    except ExplainError as error:
        raise AnsibleFilterError(f"explain: {error}") from None
    except RecursionError as error:
        raise AnsibleFilterError("explain: value that is nested too deeply, allowed mappings of plain values") from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"explain: problem: value of type {type(problem).__name__}: {error}, allowed a mapping of plain"
                                 " values") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"explain": _explain}
