# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: place
short_description: Place workloads on as few hosts as possible and order the moves
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Takes the same problem and returns the same plan as P(xenfold.consolidation.placement#module), and writes nothing.
  - An infeasible problem returns its plan too, with C(status) V(infeasible). One that is not sound is an error.
requirements:
  - numpy
  - highspy
positional: known
options:
  _input:
    description: C(hosts), C(workloads), C(rules) and C(policy).
    type: dict
    required: true
  known:
    description:
      - The text of a plan's file. When that plan was computed from the same problem it is returned, and nothing is computed.
      - Any other text counts as none.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Ask how many hosts would do
  ansible.builtin.debug:
    msg: "{{ (problem | xenfold.consolidation.place).summary.hosts_used }}"

- name: Take the plan that is there if it is of this problem
  ansible.builtin.set_fact:
    plan: "{{ problem | xenfold.consolidation.place(lookup('ansible.builtin.file', 'build/plan.json')) }}"
"""

RETURN = r"""
_value:
  description: The plan.
  type: dict
"""

import json
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain

try:
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.normalise import normalise
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.plan import SCHEMA, place
    from ansible_collections.xenfold.consolidation.plugins.module_utils.placement.schema import ProblemError
    NUMPY_ERROR: ImportError | None = None
except ImportError as missing:
    NUMPY_ERROR = missing


def _plan_in(text: Any) -> dict[str, Any]:
    """The plan that a text holds, empty when it holds none of this version."""
    if not isinstance(text, str):
        raise AnsibleFilterError(f"place: known: value of type {type(text).__name__}, allowed the text of a plan's file")
    try:
        plan = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    whole = isinstance(plan, dict) and plan.get("schema") == SCHEMA and all(
        isinstance(plan.get(key), kind) for key, kind in (("summary", Mapping), ("placement", Mapping), ("moves", list)))
    return plan if whole else {}


def _place(problem: Any, known: Any = "") -> dict[str, Any]:
    if NUMPY_ERROR is not None:
        raise AnsibleFilterError("place: needs numpy and highspy on the control node") from NUMPY_ERROR
    try:
        document = plain(problem)
        there = _plan_in(known)
        if there and there.get("inputs_sha256") == normalise(document).sha256:
            return there
        return place(document)
    except ProblemError as error:
        raise AnsibleFilterError(f"place: the problem is not sound:\n{error}") from error
    except RecursionError as error:
        raise AnsibleFilterError("place: value that is nested too deeply, allowed a mapping of plain values") from error
    except (TypeError, ValueError) as error:
        raise AnsibleFilterError(f"place: value of type {type(problem).__name__}: {error}, allowed a mapping of plain values") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"place": _place}
