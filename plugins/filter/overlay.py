# Copyright: (c) 2026, The Xenfold Authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
name: overlay
short_description: A problem with hosts taken away, hosts added or demands grown
version_added: 0.1.0
author: The Xenfold Authors (@xenfold)
description:
  - Changes a problem for the question what if; the plan of the result is the answer.
  - Workloads of a host that is taken away count as new. Rules, policy and replicas lose it as well; a hard C(fence) that is left without
    any host is refused.
  - At least one of O(without_host), O(add_hosts) and O(growth_percent) is needed. Numbers may be texts.
options:
  _input:
    description: A problem of P(xenfold.consolidation.placement#module), as M(xenfold.consolidation.estate) returns it.
    type: dict
    required: true
  without_host:
    description: The name of a host, several with commas, or a list of names.
    type: raw
  add_hosts:
    description:
      - How many hosts to add, from 1 to 1000, which are then called C(new01), C(new02) and so on; or a list of C(name) and C(like).
      - A new host is active, and no rule names it.
    type: raw
  like:
    description: The host that new ones are like when O(add_hosts) does not say.
    type: str
  growth_percent:
    description: By how much all demands grow, a number above -100; or a mapping of resources to such numbers.
    type: raw
"""

EXAMPLES = r"""
- name: Ask whether everything still fits without xen03, with a fifth more demand
  ansible.builtin.debug:
    msg: "{{ (changed.problem | xenfold.consolidation.place).status }}"
  vars:
    changed: "{{ problem | xenfold.consolidation.overlay(without_host='xen03', growth_percent=20) }}"
"""

RETURN = r"""
_value:
  description: The result.
  type: dict
  contains:
    problem:
      description: The problem after the changes.
      type: dict
    changes:
      description: What was asked, in words.
      type: list
      elements: str
      sample: [without xen03, all demands +20 %]
    notes:
      description: What had to be adapted for it, in words.
      type: list
      elements: str
    homeless:
      description: The workloads whose host is gone.
      type: list
      elements: str
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.xenfold.consolidation.plugins.module_utils.estate.overlay import KEYS, OverlayError, overlay
from ansible_collections.xenfold.consolidation.plugins.module_utils.plain import plain


def _overlay(problem: Any, **changes: Any) -> dict[str, Any]:
    lists = [problem.get(key) for key in ("hosts", "workloads")] if isinstance(problem, Mapping) else [None]
    if not all(isinstance(items, list | tuple) and all(isinstance(item, Mapping) and "name" in item for item in items) for items in lists):
        raise AnsibleFilterError(f"overlay: problem: value of type {type(problem).__name__} without lists 'hosts' and 'workloads' of named"
                                 " items, allowed the problem of the module estate")
    for key, value in changes.items():
        if key not in KEYS:
            raise AnsibleFilterError(f"overlay: {key}: unknown key with value {value!r}, allowed {', '.join(KEYS)}")
    try:
        return asdict(overlay(plain(problem), **plain(changes)))
    except OverlayError as error:
        raise AnsibleFilterError(f"overlay: {error}") from None
    except RecursionError as error:
        raise AnsibleFilterError("overlay: value that is nested too deeply, allowed plain values") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise AnsibleFilterError(f"overlay: problem: value that does not hold together ({error!r}), allowed the problem of the module"
                                 " estate") from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"overlay": _overlay}
